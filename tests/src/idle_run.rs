//! One machine with an application above the idle guest: boots and ends in a second or two.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use xtask::idle_guest::{self, Step};
use xtask::image::Application;
use xtask::qemu::Machine;
use xtask::ramdisk::{self, Rescue};
use xtask::session;

use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// Firmware, nanokernel, its image twice, and a guest of two pages.
const MEMORY_MIB: u32 = 96;
/// Wall time after which such a run has failed, however busy the host is.
const LIMIT: Duration = Duration::from_secs(120);

/// A run to make, on the reference clock. Its name is the name of its folder.
#[derive(Clone, Debug)]
pub struct IdleRun {
    /// Unique among all scenarios.
    pub name: String,
    /// The application above.
    pub application: Application,
    /// What the guest does.
    pub steps: Vec<Step>,
    /// What the guest of the rescue system does, if there is one.
    pub rescue: Option<Vec<Step>>,
    /// `darma.conf`, besides ending the emulator when the guest powers off.
    pub configuration: Vec<(&'static str, String)>,
    /// More arguments for QEMU.
    pub extra: Vec<OsString>,
    /// Words to write over variables of the application.
    pub words: Vec<(&'static str, u32)>,
}

impl IdleRun {
    /// `application` above a guest that does `steps`.
    #[must_use]
    pub fn new(name: impl Into<String>, application: Application, steps: Vec<Step>) -> Self {
        Self {
            name: name.into(),
            application,
            steps,
            rescue: None,
            configuration: vec![("exit.on-poweroff", "yes".into())],
            extra: Vec::new(),
            words: Vec::new(),
        }
    }

    /// The machine for it, with its files in an empty folder of the run's name.
    ///
    /// # Errors
    /// The application does not compile, or the RAM-disk image cannot be made.
    pub fn machine(&self, lab: &Laboratory) -> Result<(Machine, PathBuf)> {
        let mut image = lab.image_of(&self.application)?;
        let folder = session::folder(&self.name)?;
        if !self.words.is_empty() {
            let own = folder.join("image.elf");
            std::fs::copy(&image, &own)?;
            for (variable, value) in &self.words {
                xtask::image::write_word(&own, variable, *value)?;
            }
            image = own;
        }
        let mut parts = idle_guest::parts(&self.steps)?;
        for (key, value) in &self.configuration {
            parts = parts.with(key, value);
        }
        if let Some(steps) = &self.rescue {
            let rescue = idle_guest::parts(steps)?;
            parts = parts.with_rescue(Rescue {
                command_line: "idle-rescue".into(),
                kernel: rescue.kernel,
                initrd: rescue.initrd,
            });
        }
        let module = folder.join("ramdisk.img");
        std::fs::write(&module, ramdisk::build(&parts)?)?;
        let mut machine = Machine::new(image, &folder);
        machine.initrd = Some(module);
        machine.memory_mib = MEMORY_MIB;
        machine.extra.clone_from(&self.extra);
        Ok((machine, folder))
    }

    /// Runs it to its end, whichever that is.
    ///
    /// # Errors
    /// It could not be started or did not end.
    pub fn run_to_any_end(&self, lab: &Laboratory) -> Result<Transcript> {
        let (machine, folder) = self.machine(lab)?;
        let transcript = Transcript::record(&machine, folder, LIMIT, |_| false)?;
        // Megabytes per run, made anew by the next; a failed run keeps its own.
        if !self.words.is_empty() {
            std::fs::remove_file(&machine.kernel)?;
        }
        Ok(transcript)
    }

    /// Runs it to the end that the nanokernel gives it, which has to be a good one.
    ///
    /// # Errors
    /// It did not come to that end.
    pub fn run(&self, lab: &Laboratory) -> Result<Transcript> {
        let transcript = self.run_to_any_end(lab)?;
        transcript.require_good_end()?;
        Ok(transcript)
    }
}

/// The ticks that the guest of [`idle_guest::ticking`] said, and whether it came to its end.
#[must_use]
pub fn ticks(run: &Transcript) -> (usize, bool) {
    let count = run.console.iter().filter(|line| *line == "tick").count();
    (count, run.said("guest: done"))
}
