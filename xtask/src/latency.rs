//! The latency laboratory: what a task, and what Linux's own real-time thread, waits for on the same
//! emulated machine under the same load, without and with Darma.
//!
//! Three machines make all rows: Debian's generic kernel alone, its `PREEMPT_RT` kernel alone, and the
//! generic kernel under Darma, in which cyclictest and the nanokernel's own histograms measure at the same
//! time. Two run at once: an instruction-counted machine uses one processor of the host, and does not feel
//! its neighbour.

pub mod cyclictest;
pub mod machine;
pub mod overhead;
pub mod payload;
pub mod rows;
mod systems;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::quantity::micros;
use crate::table::{self, Cell, Table};
use crate::terminal::{self, Tone};
use crate::{prepare, qemu};
use rows::{Row, Situation, System};

/// A part of the laboratory's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Debian's generic kernel, cyclictest.
    LinuxStock,
    /// Debian's `PREEMPT_RT` kernel, cyclictest.
    LinuxRt,
    /// A real-time task under Linux's load.
    Darma,
    /// Debian's generic kernel under Darma, cyclictest.
    LinuxUnderDarma,
    /// The same work with and without Darma.
    Overhead,
}

impl Part {
    /// The system whose latencies it measures, if it measures any.
    #[must_use]
    pub const fn system(self) -> Option<System> {
        match self {
            Self::LinuxStock => Some(System::LinuxStock),
            Self::LinuxRt => Some(System::LinuxRt),
            Self::Darma => Some(System::Darma),
            Self::LinuxUnderDarma => Some(System::LinuxUnderDarma),
            Self::Overhead => None,
        }
    }
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn wants_system(&self, system: System) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| part.system() == Some(system))
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only these; everything if empty.
    pub only: Vec<Part>,
    /// Virtual seconds of each measured phase.
    pub seconds: u32,
    /// Crashes under Darma for the recovery rows.
    pub crashes: u32,
}

/// Measures, prints the table, and writes the files.
///
/// # Errors
/// Set-up failed, or a run did not do all that it was to do.
pub fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    prepare::machine()?;
    let measured = systems::measure(options)?;
    if !measured.rows.is_empty() {
        print!("{}", text(&measured.rows));
    }
    if options.wants(Part::Overhead) {
        print!("{}", overhead::text(&overhead::measure()?));
    }
    terminal::note(&format!("took {} s", began.elapsed().as_secs()));
    if !measured.troubles.is_empty() {
        bail!("the laboratory failed ({})", measured.troubles.join("; "));
    }
    Ok(())
}

/// The table for the terminal.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "system", "load", "source", ">samples", ">missed", ">min", ">p50", ">p99", ">p99.9", ">max",
    ]);
    for row in rows {
        let summary = row.summary;
        let tone = if row.missed > 0 {
            Tone::Bad
        } else {
            Tone::Plain
        };
        table.row([
            row.system.name().into(),
            row.situation.name().into(),
            row.source.name().into(),
            summary.samples.to_string().into(),
            Cell::new(row.missed.to_string(), tone),
            micros(summary.min_ns).into(),
            micros(summary.p50_ns).into(),
            micros(summary.p99_ns).into(),
            micros(summary.p999_ns).into(),
            Cell::new(
                micros(summary.max_ns),
                if row.situation == Situation::Idle {
                    Tone::Plain
                } else {
                    Tone::Good
                },
            ),
        ]);
    }
    format!(
        "{}\n{}",
        table::heading(&format!(
            "Latency, us ({}: one instruction = 2 ns)",
            qemu::Clock::REFERENCE.tier()
        )),
        table.text()
    )
}
