//! All that one run said: Linux's console, the nanokernel's log, its reports, and how it ended.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use darma_abi::report::Event as Report;
use darma_abi::shared::{Mark, Phase};
use xtask::paths;
use xtask::qemu::Machine;
use xtask::session::{Ending, Event, Session};

/// Everything a finished run left.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Linux's console, line by line.
    pub console: Vec<String>,
    /// The nanokernel's log without its reports.
    pub log: Vec<String>,
    /// The nanokernel's reports.
    pub reports: Vec<Report>,
    /// Reports that no type fits; a finding in itself.
    pub damaged: Vec<String>,
    /// How QEMU ended; none if it was still running when the scenario had seen enough.
    pub ending: Option<Ending>,
    /// Where the files of the run are.
    pub folder: PathBuf,
}

/// One task's line of the final report, under one condition.
#[derive(Clone, Debug)]
pub struct Latency {
    /// The task.
    pub task: String,
    /// The condition.
    pub phase: Phase,
    /// Measured activations.
    pub samples: u64,
    /// Deadlines missed.
    pub missed: u64,
    /// Median, ns.
    pub p50_ns: u64,
    /// Greatest, ns.
    pub max_ns: u64,
}

impl Transcript {
    /// Runs `machine` until it ends, or until `enough` says so of what was heard so far.
    ///
    /// # Errors
    /// QEMU cannot be started, or the run was not over within `limit` of wall time.
    pub fn record(
        machine: &Machine,
        folder: PathBuf,
        limit: Duration,
        mut enough: impl FnMut(&Self) -> bool,
    ) -> Result<Self> {
        let mut session = Session::start(machine, &folder)?;
        let mut heard = Self {
            folder,
            ..Self::default()
        };
        let deadline = Instant::now() + limit;
        while let Some(event) = session.next(deadline.saturating_duration_since(Instant::now()))? {
            heard.hear(event);
            if heard.ending.is_some() || enough(&heard) {
                return Ok(heard);
            }
        }
        let last = heard.last_words();
        Err(heard.failure(format!(
            "not over within {} s; its last words: {last}",
            limit.as_secs()
        )))
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Console(line) => self.console.push(line),
            Event::Log(line) => self.log.push(line),
            Event::Damaged(line) => self.damaged.push(line),
            Event::Report(value) => match serde_json::from_value(value.clone()) {
                Ok(report) => self.reports.push(report),
                Err(error) => self.damaged.push(format!("{value} ({error})")),
            },
            Event::Ended(ending) => self.ending = Some(ending),
        }
    }

    /// An error that says where the files are.
    #[must_use]
    pub fn failure(&self, what: impl Display) -> anyhow::Error {
        anyhow!("{what}; logs: {}", paths::shown(&self.folder))
    }

    /// Fails with `what` unless `holds`.
    ///
    /// # Errors
    /// It does not hold.
    pub fn require(&self, holds: bool, what: impl Display) -> Result<()> {
        ensure!(holds, self.failure(what));
        Ok(())
    }

    /// The nanokernel found no bug in itself and every report could be read.
    ///
    /// # Errors
    /// It did, or one could not.
    pub fn require_sound(&self) -> Result<()> {
        if let Some(line) = self.log.iter().find(|line| line.contains("BUG")) {
            return Err(self.failure(line));
        }
        if let Some(line) = self.damaged.first() {
            return Err(self.failure(format!("a report cannot be read: {line}")));
        }
        Ok(())
    }

    /// The machine ended as the nanokernel ends it in good order.
    ///
    /// # Errors
    /// It ended otherwise or not at all.
    pub fn require_good_end(&self) -> Result<()> {
        self.require_sound()?;
        let ended = self
            .reports
            .iter()
            .any(|report| matches!(report, Report::End { .. }));
        // Exit value 0 of the debug-exit device makes code 1, which is also QEMU's own for an error:
        // the final report tells the two apart.
        let code = self.ending.and_then(|ending| ending.code);
        self.require(
            ended && code == Some(1),
            format!(
                "the machine did not end in good order (code {code:?}); its last words: {}",
                self.last_words()
            ),
        )
    }

    /// How often user space reported that it is up.
    #[must_use]
    pub fn userspace_ups(&self) -> usize {
        self.reports
            .iter()
            .filter(|report| {
                matches!(
                    report,
                    Report::Mark {
                        mark: Mark::UserspaceUp,
                        ..
                    }
                )
            })
            .count()
    }

    /// The final report's latencies; empty if there was no final report.
    #[must_use]
    pub fn latencies(&self) -> Vec<Latency> {
        self.reports
            .iter()
            .filter_map(|report| match report {
                Report::Task {
                    name,
                    phase,
                    samples,
                    missed,
                    p50_ns,
                    max_ns,
                    ..
                } => Some(Latency {
                    task: name.as_str().to_owned(),
                    phase: *phase,
                    samples: *samples,
                    missed: *missed,
                    p50_ns: *p50_ns,
                    max_ns: *max_ns,
                }),
                _ => None,
            })
            .collect()
    }

    /// Every task ran and no deadline was missed. To be asked of instruction-counted runs only: on
    /// the wall clock the host may take the emulator off its processor for any time.
    ///
    /// # Errors
    /// A deadline was missed, or nothing was measured.
    pub fn require_no_miss(&self) -> Result<()> {
        let latencies = self.latencies();
        self.require(
            latencies.iter().any(|latency| latency.samples > 0),
            "no latency was measured",
        )?;
        match latencies.iter().find(|latency| latency.missed > 0) {
            Some(late) => Err(self.failure(format!(
                "{} missed {} deadlines of {} ({}), latest {} ns",
                late.task, late.missed, late.samples, late.phase, late.max_ns
            ))),
            None => Ok(()),
        }
    }

    /// The last line that anything said.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.console
            .iter()
            .rev()
            .chain(self.log.iter().rev())
            .find(|line| !line.trim().is_empty())
            .cloned()
            .unwrap_or_else(|| "none".into())
    }

    /// Whether Linux's console has a line that contains `text`.
    #[must_use]
    pub fn said(&self, text: &str) -> bool {
        self.console.iter().any(|line| line.contains(text))
    }
}
