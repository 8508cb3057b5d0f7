//! One machine of the campaign: made for a plan, followed to its end, and abandoned where it is
//! stuck.
//!
//! Linux's part of memory is small, for the dump of it is taken and read once per fault; the dump
//! store is larger than it, so that a dump that is not whole is a finding.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::account::{Account, Next};
use super::dump_check::{self, DumpCheck, Finding};
use super::outcome::Outcome;
use super::plan::Plan;
use super::seed::Seed;
use crate::image::{self, Application};
use crate::initramfs::{self, Contents};
use crate::kernels::{self, Flavour};
use crate::qemu::{Backing, Bus, Disk, Machine};
use crate::ramdisk::{self, Parts};
use crate::session::{self, Event, Session};
use crate::toolchain::Choice;
use crate::{cpio, fault_module, paths, prepare};

/// The application whose image has the injector.
const APPLICATION: &str = "darma-fault-injection";
/// The campaign's user space.
const PAYLOAD: &str = "tests/fault-campaign";
/// Memory of the machine.
const MEMORY_MIB: u32 = 640;
/// Of the disk whose rings are spoilt.
const DISK_BYTES: u64 = 64 << 20;
/// Linux's part.
const GPOS_MEMORY: &str = "160M";
/// Room for dumps: for a raw one beside two that are packed, so that Linux waits for a copy only.
const DUMP_STORE: &str = "288M";
const DUMP_STORE_BYTES: u64 = 288 << 20;
/// How long the campaign's user space may be silent; it beats four times a second.
const HEARTBEAT: &str = "3s";
/// Wall time without a start, a mark or a failure after which a machine is stuck: a hang that nobody
/// notices is found so. A hang that is looked for needs seconds of counted time, each of which takes
/// a few of the host's.
const STUCK: Duration = Duration::from_secs(600);
/// How often a silent machine is looked after.
const LOOK: Duration = Duration::from_secs(5);

/// What all machines of a campaign have in common.
pub struct Ground {
    image: PathBuf,
    kernel: PathBuf,
    initrd: Vec<u8>,
}

impl Ground {
    /// Builds and fetches what is missing.
    ///
    /// # Errors
    /// Something cannot be had, or does not compile.
    pub fn prepare() -> Result<Self> {
        prepare::machine()?;
        let built = image::build(&Application::package(APPLICATION), Choice::Auto)?;
        let kernel = kernels::ensure(Flavour::Cloud)?;
        let mut contents = Contents {
            drivers: vec!["pvpanic_pci", "virtio_pci", "virtio_blk"],
            extra_modules: vec![fault_module::build(&kernel)?],
            ..Contents::default()
        };
        contents.add_folder(&paths::root().join(PAYLOAD))?;
        let initrd = initramfs::store(&kernel, &contents, "faults")?;
        Ok(Self {
            image: built.elf,
            kernel: kernel.image,
            initrd: std::fs::read(initrd)?,
        })
    }

    /// Runs these faults on a machine of its own, in the folder of that name.
    ///
    /// Returns what came of those that had their turn; the rest did not, because the machine ended
    /// or was stuck.
    ///
    /// # Errors
    /// The machine cannot be started or followed.
    pub fn run(&self, name: &str, faults: Vec<Seed>) -> Result<Vec<Outcome>> {
        let folder = session::folder(name)?;
        let plan = Plan::new(faults);
        let mut initrd = self.initrd.clone();
        initrd.resize(initrd.len().next_multiple_of(4), 0);
        let mut archive = cpio::Writer::new();
        archive.file("plan", 0o644, plan.file().as_bytes())?;
        initrd.extend(archive.finish()?);
        let line = format!("console=ttyS0 quiet {}", plan.injections());
        let mut parts = Parts::read(&self.kernel, None, line.trim())?
            .with("gpos.memory", GPOS_MEMORY)
            .with("dump.size", DUMP_STORE)
            .with("exit.on-poweroff", "yes")
            .with("recovery.limit", "none")
            .with("watch.heartbeat", HEARTBEAT);
        parts.initrd = initrd;
        let module = folder.join("ramdisk.img");
        std::fs::write(&module, ramdisk::build(&parts)?)?;
        let mut machine = Machine::new(&self.image, &folder);
        machine.initrd = Some(module);
        machine.memory_mib = MEMORY_MIB;
        // Only `ring-scribble` uses it: a disk completes on the host's time, and its runs alone do not
        // repeat to the bit.
        machine.disks = vec![Disk {
            bus: Bus::Virtio,
            backing: Backing::Null { bytes: DISK_BYTES },
        }];
        machine.extra = ["-device", "edu,addr=0a.0,dma_mask=0xffffffff"]
            .into_iter()
            .chain(dump_check::ARGUMENTS)
            .map(Into::into)
            .collect();
        let mut lane = Lane {
            session: Session::start(&machine, &folder)?,
            account: Account::new(plan),
            check: None,
            moved: Instant::now(),
        };
        let complete = lane.follow()?;
        lane.session.stop();
        let mut outcomes = std::mem::take(&mut lane.account.outcomes);
        if complete {
            // Megabytes per run; a failed one keeps its own.
            std::fs::remove_file(folder.join("ramdisk.img"))?;
        } else {
            outcomes.truncate(lane.account.at() + 1);
        }
        Ok(outcomes)
    }
}

struct Lane {
    session: Session,
    account: Account,
    check: Option<DumpCheck>,
    /// When something happened last.
    moved: Instant,
}

impl Lane {
    /// Follows the machine; whether it came to the end of its plan.
    fn follow(&mut self) -> Result<bool> {
        loop {
            match self.session.next(LOOK)? {
                None if self.moved.elapsed() > STUCK => return Ok(false),
                None => {}
                Some(Event::Ended(ending)) => {
                    let complete = self.account.is_complete();
                    let silent = self
                        .account
                        .current()
                        .is_some_and(|one| one.cause.is_none());
                    if !complete && silent {
                        let words = self.session.last_words();
                        self.account.failed(&format!(
                            "the machine ended (code {:?}); its last words: {words}",
                            ending.code
                        ));
                    }
                    return Ok(complete);
                }
                Some(Event::Report(report)) => {
                    // What is only recorded is no way forward.
                    if report.get("incident").is_none() {
                        self.moved = Instant::now();
                    }
                    if let Next::CheckDump { failure, fault } = self.account.take(&report) {
                        let finding = self.look(failure)?;
                        if let Some(outcome) = self.account.outcomes.get_mut(fault) {
                            outcome.dump = Some(finding);
                        }
                    }
                }
                Some(Event::Damaged(line)) => {
                    self.account.failed(&format!("damaged report: {line}"));
                }
                // The nanokernel's own words for what must not happen.
                Some(Event::Log(line))
                    if line.contains("darma: BUG") || line.contains("cannot start") =>
                {
                    self.account.failed(&line);
                }
                Some(Event::Log(_) | Event::Console(_)) => {}
            }
        }
    }

    fn look(&mut self, failure: u64) -> Result<Finding> {
        if self.check.is_none() {
            let memory = u64::from(MEMORY_MIB) << 20;
            let check = DumpCheck::connect(self.session.folder(), memory, DUMP_STORE_BYTES)
                .context("cannot look at dumps")?;
            self.check = Some(check);
        }
        match &mut self.check {
            Some(check) => check.look(failure),
            None => Ok(Finding::Overtaken),
        }
    }
}
