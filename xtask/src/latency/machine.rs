//! The laboratory's machines: the same emulated processor, memory, disk and clock for Linux alone and for
//! Linux under Darma, run to their end with everything that they said.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use darma_abi::report;
use darma_abi::shared::Phase;

use crate::image::Image;
use crate::kernels::Flavour;
use crate::paths;
use crate::prepare::LinuxFiles;
use crate::qemu::{Clock, Machine};
use crate::ramdisk::{self, Parts};
use crate::session::{self, Event, Session};
use crate::trial::{self, Load};

/// Linux's memory in MiB, alone as under Darma: its caches and its reclaim are the same.
const GPOS_MIB: u32 = 320;
/// Room for the dump. Larger than Linux's part, so that no dump is ever cut.
const DUMP_STORE: &str = "328M";
/// What the payload says of a part of the load that it cannot start.
const INCOMPLETE: &str = "the load goes without";
/// Wall time without any sign of life after which a run counts as stuck.
const SILENCE: Duration = Duration::from_secs(300);

/// What runs below Linux.
#[derive(Clone, Copy, Debug)]
pub enum Below<'a> {
    /// The machine itself.
    Nothing,
    /// The nanokernel with an application.
    Darma(&'a Image),
}

/// A machine to make and run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The run's folder below `target/darma/runs/`.
    pub name: String,
    /// What runs below Linux.
    pub below: Below<'a>,
    /// Which kernel; decides on the disk.
    pub flavour: Flavour,
    /// Kernel and initial RAM file system.
    pub files: &'a LinuxFiles,
    /// Words for the payload besides the console and the disk.
    pub words: String,
    /// Wall time after which the run has failed.
    pub limit: Duration,
}

/// What a run said, to its end.
#[derive(Debug, Default)]
pub struct Heard {
    /// Linux's console.
    pub console: Vec<String>,
    /// The nanokernel's reports.
    pub reports: Vec<report::Event>,
    /// What kept the run from being a good one.
    pub troubles: Vec<String>,
    /// The run's files.
    pub folder: PathBuf,
}

/// What the nanokernel counted of a task under one load.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Latencies in its histogram.
    pub samples: u64,
    /// Deadlines that were missed.
    pub missed: u64,
    /// Releases that found the last activation unfinished, under all loads.
    pub overruns: u64,
}

impl Heard {
    /// The counts of `task` under `load`. Reports are of all time: the last one counts.
    ///
    /// # Errors
    /// There is none.
    pub fn counted(&self, task: &str, load: Phase) -> Result<Counted> {
        let last = self.reports.iter().rev().find_map(|event| match event {
            report::Event::Task {
                name,
                phase,
                samples,
                missed,
                overruns,
                ..
            } if name.as_str() == task && *phase == load => Some(Counted {
                samples: *samples,
                missed: *missed,
                overruns: *overruns,
            }),
            _ => None,
        });
        last.with_context(|| format!("the nanokernel reported no task {task}"))
    }
}

impl Run<'_> {
    /// Runs it to its end; `progress` sees each event.
    ///
    /// # Errors
    /// A file cannot be written, the emulator cannot be started, or the run is stuck.
    pub fn record(&self, mut progress: impl FnMut(&Event)) -> Result<Heard> {
        let folder = session::folder(&self.name)?;
        let machine = self.machine(&folder)?;
        let mut session = Session::start(&machine, &folder)?;
        let mut heard = Heard {
            folder: folder.clone(),
            ..Heard::default()
        };
        let deadline = Instant::now() + self.limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = session.next(SILENCE.min(left))? else {
                bail!(
                    "run {} is stuck; its last words: {}; see {}",
                    self.name,
                    session.last_words(),
                    paths::shown(&folder)
                );
            };
            progress(&event);
            match event {
                Event::Console(line) => heard.console.push(line),
                Event::Report(value) => match serde_json::from_value(value.clone()) {
                    Ok(report) => heard.reports.push(report),
                    Err(_) => heard.troubles.push(format!("unreadable report: {value}")),
                },
                Event::Damaged(line) => heard.troubles.push(format!("unreadable report: {line}")),
                Event::Log(line) if line.contains("darma: BUG") => heard.troubles.push(line),
                Event::Log(_) => {}
                Event::Ended(ending) => {
                    heard.judge_end(self.below, ending.code, &session.last_words());
                    break;
                }
            }
        }
        // A load that lacks a part is another load.
        if let Some(line) = heard.console.iter().find(|line| line.contains(INCOMPLETE)) {
            heard.troubles.push(line.clone());
        }
        // Megabytes per run, made anew by the next.
        if let (Below::Darma(_), Some(module)) = (self.below, &machine.initrd) {
            std::fs::remove_file(module)?;
        }
        Ok(heard)
    }

    fn machine(&self, folder: &Path) -> Result<Machine> {
        let load = Load::of(self.flavour, Clock::REFERENCE);
        let line = format!("console=ttyS0 {} {}", self.words, load.words());
        let mut machine = match self.below {
            Below::Nothing => {
                let mut machine = Machine::new(&self.files.kernel, folder);
                machine.initrd = Some(self.files.initrd.clone());
                machine.append = Some(line);
                machine.memory_mib = GPOS_MIB;
                machine
            }
            Below::Darma(image) => {
                let parts = Parts::read(&self.files.kernel, Some(&self.files.initrd), &line)?
                    .with("gpos.memory", format!("{GPOS_MIB}M"))
                    .with("dump.size", DUMP_STORE)
                    .with("exit.on-poweroff", "yes");
                let mut machine = Machine::new(image.elf.clone(), folder);
                machine.initrd = Some(ramdisk::store(&parts, &self.name)?);
                machine.memory_mib = trial::MEMORY_MIB;
                machine
            }
        };
        machine.disks = load.disks(folder)?;
        Ok(machine)
    }
}

impl Heard {
    fn judge_end(&mut self, below: Below<'_>, code: Option<i32>, last_words: &str) {
        let good = match below {
            // The machine powers off by ACPI.
            Below::Nothing => code == Some(0),
            Below::Darma(_) => self
                .reports
                .iter()
                .any(|event| matches!(event, report::Event::End { .. })),
        };
        if !good {
            self.troubles.push(format!(
                "the machine ended early (code {code:?}): {last_words}"
            ));
        }
    }
}
