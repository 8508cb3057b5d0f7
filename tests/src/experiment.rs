//! One machine with Linux under Darma, described by what differs from the ordinary.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;
use xtask::image::{self, Application};
use xtask::kernels::Flavour;
use xtask::qemu::{Clock, Disk, Machine};
use xtask::ramdisk::{self, Parts};
use xtask::run::Dumps;
use xtask::session;

use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// A run to make. Its name is the name of its folder.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Unique among all scenarios.
    pub name: String,
    /// The application above Linux.
    pub application: Application,
    /// Which kernel.
    pub flavour: Flavour,
    /// The kernel's command line, after `console=ttyS0`.
    pub append: String,
    /// `darma.conf`, besides ending the emulator when Linux powers off.
    pub configuration: Vec<(&'static str, String)>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What drives time.
    pub clock: Clock,
    /// An archive that is unpacked over the kernel's user space.
    pub more_initrd: Vec<u8>,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Whether the memory, with the dumps in it, outlives the machine. Whoever keeps it removes it.
    pub dumps: Dumps,
    /// More arguments for QEMU.
    pub extra: Vec<OsString>,
    /// Wall time after which the run has failed.
    pub limit: Duration,
}

impl Experiment {
    /// The cloud kernel on the reference clock, with script `script` of the user space.
    #[must_use]
    pub fn new(name: impl Into<String>, script: &str) -> Self {
        Self {
            name: name.into(),
            application: Application::package(image::APPLICATION),
            flavour: Flavour::Cloud,
            append: format!("darma.script={script}"),
            configuration: vec![("exit.on-poweroff", "yes".into())],
            memory_mib: 512,
            clock: Clock::REFERENCE,
            more_initrd: Vec::new(),
            disks: Vec::new(),
            dumps: Dumps::Forgotten,
            extra: Vec::new(),
            limit: Duration::from_secs(600),
        }
    }

    /// Adds words to the kernel's command line.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        if !words.is_empty() {
            self.append.push(' ');
            self.append.push_str(words);
        }
        self
    }

    /// Takes another kernel.
    #[must_use]
    pub fn kernel(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Takes another application.
    #[must_use]
    pub fn application(mut self, application: Application) -> Self {
        self.application = application;
        self
    }

    /// Sets a key of `darma.conf`.
    #[must_use]
    pub fn configure(mut self, key: &'static str, value: impl ToString) -> Self {
        self.configuration.retain(|(set, _)| *set != key);
        self.configuration.push((key, value.to_string()));
        self
    }

    /// The whole command line of the kernel, but for what the nanokernel appends.
    #[must_use]
    pub fn command_line(&self) -> String {
        format!("console=ttyS0 {}", self.append)
    }

    /// The machine for it, with its files in an empty folder of the run's name.
    ///
    /// # Errors
    /// The RAM-disk image cannot be made.
    pub fn machine(&self, lab: &Laboratory) -> Result<(Machine, std::path::PathBuf)> {
        let files = lab.linux(self.flavour)?;
        let folder = session::folder(&self.name)?;
        let mut parts = Parts::read(&files.kernel, Some(&files.initrd), &self.command_line())?;
        parts.initrd.extend_from_slice(&self.more_initrd);
        for (key, value) in &self.configuration {
            parts = parts.with(key, value);
        }
        let module = folder.join("ramdisk.img");
        std::fs::write(&module, ramdisk::build(&parts)?)?;
        let mut machine = Machine::new(lab.image_of(&self.application)?, &folder);
        machine.initrd = Some(module);
        machine.memory_mib = self.memory_mib;
        machine.clock = self.clock;
        machine.disks.clone_from(&self.disks);
        machine.memory_file = self.dumps.memory_file(&folder);
        machine.extra.clone_from(&self.extra);
        Ok((machine, folder))
    }

    /// Runs it to the end that the nanokernel gives it, which has to be a good one.
    ///
    /// # Errors
    /// It did not come to that end.
    pub fn run(&self, lab: &Laboratory) -> Result<Transcript> {
        let transcript = self.run_until(lab, |_| false)?;
        transcript.require_good_end()?;
        Ok(transcript)
    }

    /// Runs it until `enough` is said, or to its end.
    ///
    /// # Errors
    /// Neither came within the limit.
    pub fn run_until(
        &self,
        lab: &Laboratory,
        enough: impl FnMut(&Transcript) -> bool,
    ) -> Result<Transcript> {
        let (machine, folder) = self.machine(lab)?;
        let transcript = Transcript::record(&machine, folder, self.limit, enough)?;
        // Megabytes per run, made anew by the next; a failed run keeps its own.
        if let Some(module) = &machine.initrd {
            std::fs::remove_file(module)?;
        }
        Ok(transcript)
    }
}
