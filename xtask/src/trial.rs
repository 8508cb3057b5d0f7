//! A scripted run of Linux under the nanokernel: the machine that `demo` and `bench` share, and the
//! account of what it reported.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use darma_abi::codes::Mark;
use darma_abi::report;

use crate::account::Account;
use crate::image::Image;
use crate::kernels::Flavour;
use crate::live_view::View;
use crate::prepare::LinuxFiles;
use crate::qemu::{self, Backing, Bus, Clock, Disk, Machine, Serial};
use crate::ramdisk::{self, Parts};
use crate::run::Dumps;
use crate::session::{self, Event, Session};

/// Memory of the machine in MiB: Linux's part, a dump store for all of it, the image twice.
pub const MEMORY_MIB: u32 = 768;
/// Linux's part.
const GPOS_MEMORY: &str = "320M";
/// Room for the dump. Larger than Linux's part, so that no dump is ever cut.
const DUMP_STORE: &str = "328M";
/// An SD card's size must be a power of two.
const DISK_BYTES: u64 = 64 << 20;

/// Wall time without any sign of life after which a run counts as stuck.
const SILENCE: Duration = Duration::from_secs(300);
/// Wall time after which a run counts as endless.
const LONGEST: Duration = Duration::from_secs(3600);

/// How much of the consoles is shown while the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What happened, a line each.
    Events,
    /// Every line of both consoles as well.
    Everything,
}

/// What becomes of the machine when Linux powers off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It ends.
    End,
    /// It runs on, and Linux's console takes connections.
    Keep,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The run's folder below `target/darma/runs/`.
    pub name: &'static str,
    /// Which kernel; decides on the disk.
    pub flavour: Flavour,
    /// What drives time.
    pub clock: Clock,
    /// Words for the payload besides the console and the disk.
    pub words: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Kernel and initrd are padded to this many bytes together; 0 leaves them as they are.
    pub image_bytes: usize,
    /// What becomes of the machine.
    pub afterwards: Afterwards,
    /// What becomes of the dumps in it.
    pub dumps: Dumps,
}

/// The disk for the load, which depends on what repeats bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load(Option<Bus>);

impl Load {
    /// Under instruction counting only the SD card repeats (decision record "demo disk"), and the
    /// cloud kernel has no driver for it.
    #[must_use]
    pub fn of(flavour: Flavour, clock: Clock) -> Self {
        Self(match (flavour, clock) {
            (Flavour::Cloud, Clock::Instructions { .. }) => None,
            (Flavour::Cloud, Clock::Wall) => Some(Bus::Virtio),
            (Flavour::Generic | Flavour::Rt, _) => Some(Bus::Sd),
        })
    }

    /// The words for the payload.
    #[must_use]
    pub fn words(self) -> String {
        self.0.map_or_else(
            || "darma.disk=none".into(),
            |bus| format!("darma.disk=/dev/{} darma.overwrite=1", bus.linux_name()),
        )
    }

    /// For the reader of a report.
    #[must_use]
    pub const fn described(self) -> &'static str {
        match self.0 {
            None => "no disk (this kernel drives none whose requests repeat exactly)",
            Some(Bus::Virtio) => "disk on virtio-blk",
            Some(Bus::Ahci) => "disk on AHCI",
            Some(Bus::Sd) => "disk: SD card on sdhci-pci",
        }
    }

    /// Makes the disk, empty, in `folder`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn disks(self, folder: &Path) -> Result<Vec<Disk>> {
        let Some(bus) = self.0 else {
            return Ok(Vec::new());
        };
        let file = folder.join("disk.img");
        qemu::empty_disk(&file, DISK_BYTES)?;
        Ok(vec![Disk {
            bus,
            backing: Backing::Raw(file),
        }])
    }
}

/// A run in progress or at its end.
pub struct Trial {
    session: Session,
    /// What it reported so far.
    pub account: Account,
    /// What kept it from ending well, a sentence each.
    pub troubles: Vec<String>,
    began: Instant,
    afterwards: Afterwards,
    over: bool,
}

impl Trial {
    /// Packs the RAM-disk image and starts the machine.
    ///
    /// # Errors
    /// A part that the nanokernel would refuse; a file that cannot be written; no QEMU.
    pub fn start(plan: &Plan, image: &Image, files: &LinuxFiles) -> Result<Self> {
        let folder = session::folder(plan.name)?;
        let load = Load::of(plan.flavour, plan.clock);
        let line = format!("console=ttyS0 {} {}", plan.words, load.words());
        let mut parts = Parts::read(&files.kernel, Some(&files.initrd), &line)?
            .with("gpos.memory", GPOS_MEMORY)
            .with("dump.size", DUMP_STORE);
        if plan.afterwards == Afterwards::End {
            parts = parts.with("exit.on-poweroff", "yes");
        }
        // Zeros after an archive are skipped by the kernel.
        let padded = plan.image_bytes.saturating_sub(parts.kernel.len());
        if parts.initrd.len() < padded {
            parts.initrd.resize(padded, 0);
        }
        let mut machine = Machine::new(image.elf.clone(), &folder);
        machine.initrd = Some(ramdisk::store(&parts, plan.name)?);
        machine.clock = plan.clock;
        machine.memory_mib = plan.memory_mib;
        machine.disks = load.disks(&folder)?;
        machine.memory_file = plan.dumps.memory_file(&folder);
        if plan.afterwards == Afterwards::Keep {
            machine.serial = Serial::Socket {
                log: folder.join("console.log"),
            };
        }
        Ok(Self {
            session: Session::start(&machine, &folder)?,
            account: Account::default(),
            troubles: Vec::new(),
            began: Instant::now(),
            afterwards: plan.afterwards,
            over: false,
        })
    }

    /// Follows the machine until it ends, is stuck, or `enough` says so.
    ///
    /// # Errors
    /// QEMU's state cannot be asked.
    pub fn follow(
        &mut self,
        view: &mut View,
        detail: Detail,
        mut enough: impl FnMut(&Account) -> bool,
    ) -> Result<()> {
        while !self.over {
            if self.began.elapsed() > LONGEST && !self.is_in_hands() {
                self.stuck(format!("not over after {} s", LONGEST.as_secs()));
                break;
            }
            let Some(event) = self.session.next(SILENCE)? else {
                if self.is_in_hands() {
                    continue;
                }
                self.stuck(format!("silent for {} s", SILENCE.as_secs()));
                break;
            };
            self.take(event, view, detail);
            if enough(&self.account) {
                break;
            }
        }
        Ok(())
    }

    /// Follows the machine until it ends, however long that takes and however silent it is.
    ///
    /// # Errors
    /// QEMU's state cannot be asked.
    pub fn outlast(&mut self, view: &mut View, detail: Detail) -> Result<()> {
        while !self.over {
            if let Some(event) = self.session.next(SILENCE)? {
                self.take(event, view, detail);
            }
        }
        Ok(())
    }

    /// Whether the script is through and a person has the console: silence is no sign then.
    fn is_in_hands(&self) -> bool {
        self.afterwards == Afterwards::Keep
            && self.account.events().iter().any(|event| {
                matches!(event, report::Event::Mark { mark, .. } if *mark == Mark::BenchEnd)
            })
    }

    fn take(&mut self, event: Event, view: &mut View, detail: Detail) {
        match event {
            Event::Report(report) => match self.account.add(&report).cloned() {
                Some(event) => view.show(&event, &self.account),
                None => view.warn(&format!("unreadable report: {report}")),
            },
            Event::Damaged(line) => {
                view.warn(&format!("unreadable report: {line}"));
                self.account.add_damaged(&line);
            }
            Event::Log(line) => {
                // The nanokernel's own words for what must not be overlooked.
                if line.contains("darma: BUG") || line.contains("cannot start") {
                    view.warn(&line);
                    self.troubles.push(line);
                } else if detail == Detail::Everything {
                    view.log("nanokernel", &line);
                }
            }
            Event::Console(line) => {
                if detail == Detail::Everything {
                    view.log("Linux", &line);
                }
            }
            Event::Ended(ending) => {
                self.over = true;
                if self.account.end().is_none() {
                    self.troubles.push(format!(
                        "the machine ended early (code {:?}): {}",
                        ending.code,
                        self.session.last_words()
                    ));
                }
            }
        }
    }

    fn stuck(&mut self, how: String) {
        self.troubles.push(format!(
            "the machine was {how}; its last words: {}",
            self.session.last_words()
        ));
        self.session.stop();
        self.over = true;
    }

    /// Where the run's files are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.session.folder().to_path_buf()
    }
}

/// Whether the machine has reported all its figures, which it does last.
#[must_use]
pub fn is_complete(account: &Account) -> bool {
    account
        .events()
        .iter()
        .any(|event| matches!(event, report::Event::Figures { .. }))
}

#[cfg(test)]
mod tests {
    use super::Load;
    use crate::kernels::Flavour;
    use crate::qemu::Clock;

    #[test]
    fn counted_time_gets_only_a_disk_that_repeats() {
        let counted = |flavour| Load::of(flavour, Clock::REFERENCE).words();
        assert_eq!(counted(Flavour::Cloud), "darma.disk=none");
        assert!(counted(Flavour::Generic).contains("/dev/mmcblk0"));
        assert!(
            Load::of(Flavour::Cloud, Clock::Wall)
                .words()
                .contains("/dev/vda")
        );
    }
}
