//! The three machines, run two at once, and the rows that they yield.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use darma_abi::codes::{Mark, Phase};
use darma_abi::report;

use super::cyclictest;
use super::machine::{Below, Heard, Run};
use super::rows::{Row, Situation, Source, Summary, System};
use super::{Options, payload};
use crate::image::{self, Application, Image};
use crate::kernels::Flavour;
use crate::prepare::LinuxFiles;
use crate::session::Event;
use crate::terminal;
use crate::toolchain::Choice;

/// Wall time within which a machine has measured everything.
const LIMIT: Duration = Duration::from_secs(1800);
/// A period of cyclictest, ns.
const PERIOD_NS: u64 = 1_000_000;

/// What the machines yielded.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// The rows, in the order of the table.
    pub(super) rows: Vec<Row>,
    /// What went wrong, a sentence each.
    pub(super) troubles: Vec<String>,
}

/// A machine of the laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bench {
    Stock,
    Rt,
    Darma,
}

impl Bench {
    const fn flavour(self) -> Flavour {
        match self {
            Self::Stock | Self::Darma => Flavour::Generic,
            Self::Rt => Flavour::Rt,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Stock => "latency-stock",
            Self::Rt => "latency-rt",
            Self::Darma => "latency-darma",
        }
    }

    fn yields(self, system: System) -> bool {
        match self {
            Self::Stock => system == System::LinuxStock,
            Self::Rt => system == System::LinuxRt,
            Self::Darma => matches!(system, System::Darma | System::LinuxUnderDarma),
        }
    }
}

/// Runs the machines that the options ask for.
///
/// # Errors
/// A part cannot be fetched or built.
pub(super) fn measure(options: &Options) -> Result<Measured> {
    let wanted = |bench: Bench| {
        System::ALL
            .into_iter()
            .any(|system| bench.yields(system) && options.wants_system(system))
    };
    // The longest first: the last to start decides when all have ended.
    let benches: Vec<Bench> = [Bench::Darma, Bench::Rt, Bench::Stock]
        .into_iter()
        .filter(|bench| wanted(*bench))
        .collect();
    let mut files = Vec::new();
    for flavour in [Flavour::Generic, Flavour::Rt] {
        if benches.iter().any(|bench| bench.flavour() == flavour) {
            files.push((flavour, payload::prepare(flavour)?));
        }
    }
    let image = if benches.contains(&Bench::Darma) {
        Some(image::build(
            &Application::package(image::APPLICATION),
            Choice::Auto,
        )?)
    } else {
        None
    };
    let queue = Mutex::new(VecDeque::from(benches));
    let measured = Mutex::new(Measured::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop_front();
                    let Some(bench) = next else { break };
                    let files = files.iter().find(|(f, _)| *f == bench.flavour());
                    let result = files
                        .context("a kernel was prepared for each machine")
                        .and_then(|(_, files)| perform(bench, options, files, image.as_ref()));
                    let mut all = lock(&measured);
                    match result {
                        Ok(one) => {
                            all.rows.extend(one.rows);
                            all.troubles.extend(one.troubles);
                        }
                        Err(error) => all.troubles.push(format!("{}: {error:#}", bench.name())),
                    }
                }
            });
        }
    });
    let mut measured = measured
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    measured.rows.retain(|row| options.wants_system(row.system));
    measured
        .rows
        .sort_by_key(|row| (row.system, row.source, row.situation));
    Ok(measured)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn perform(
    bench: Bench,
    options: &Options,
    files: &LinuxFiles,
    image: Option<&Image>,
) -> Result<Measured> {
    let (below, crashes) = match (bench, image) {
        (Bench::Darma, Some(image)) => (Below::Darma(image), options.crashes),
        _ => (Below::Nothing, 0),
    };
    let run = Run {
        name: bench.name().to_owned(),
        below,
        flavour: bench.flavour(),
        files,
        words: format!(
            "darma.script=latency darma.samples={} darma.cycles={crashes} darma.short=1",
            options.seconds * 1000
        ),
        limit: LIMIT,
    };
    let step = terminal::step(bench.name());
    let heard = run.record(|event| {
        if let Some(what) = milestone(event) {
            step.now(what);
        }
    })?;
    let mut measured = Measured {
        troubles: heard.troubles.clone(),
        ..Measured::default()
    };
    match bench {
        Bench::Stock => measured.rows = linux(System::LinuxStock, &heard)?,
        Bench::Rt => measured.rows = linux(System::LinuxRt, &heard)?,
        Bench::Darma => {
            measured.rows = linux(System::LinuxUnderDarma, &heard)?;
            measured.rows.extend(tasks(&heard));
        }
    }
    step.done(&format!("{} rows", measured.rows.len()));
    Ok(measured)
}

/// What to show of an event while the machine runs.
fn milestone(event: &Event) -> Option<&'static str> {
    match event {
        Event::Console(line) if line.starts_with("DARMA user space") => Some("Linux is up"),
        Event::Console(line) if line.starts_with("DARMA load") => Some("under load"),
        Event::Console(line) if line.starts_with("DARMA crash") => Some("crashing"),
        Event::Report(value) if value.get("mark").is_some() => {
            let mark = value["mark"]["mark"].as_str().unwrap_or_default();
            Mark::from_name(mark).and_then(|mark| match mark {
                Mark::IdleBegin => Some("idle"),
                Mark::LoadedBegin => Some("under load"),
                _ => None,
            })
        }
        _ => None,
    }
}

/// The rows of cyclictest.
fn linux(system: System, heard: &Heard) -> Result<Vec<Row>> {
    [Situation::Idle, Situation::Loaded]
        .into_iter()
        .map(|situation| {
            let counts = cyclictest::parse(&heard.console, situation.name())
                .with_context(|| format!("{} {}", system.name(), situation.name()))?;
            let late = counts.iter().filter(|(ns, _)| *ns > PERIOD_NS);
            Ok(Row {
                system,
                situation,
                source: Source::Timer,
                missed: late.map(|(_, count)| count).sum(),
                summary: Summary::of(&counts),
                counts,
            })
        })
        .collect()
}

/// The rows of the real-time task with the shortest period, as last reported: reports are of all time.
fn tasks(heard: &Heard) -> Vec<Row> {
    let mut last: Vec<Row> = Vec::new();
    for row in task_reports(heard) {
        last.retain(|earlier| earlier.situation != row.situation);
        last.push(row);
    }
    last
}

fn task_reports(heard: &Heard) -> Vec<Row> {
    let shortest = heard
        .reports
        .iter()
        .filter_map(|event| match event {
            report::Event::Task { period_ns, .. } if *period_ns > 0 => Some(*period_ns),
            _ => None,
        })
        .min();
    heard
        .reports
        .iter()
        .filter_map(|event| match event {
            report::Event::Task {
                period_ns,
                phase,
                samples,
                missed,
                min_ns,
                p50_ns,
                p99_ns,
                p999_ns,
                max_ns,
                ..
            } if Some(*period_ns) == shortest && *samples > 0 => Some(Row {
                system: System::Darma,
                situation: match phase {
                    Phase::Idle => Situation::Idle,
                    Phase::Loaded => Situation::Loaded,
                    Phase::Recovery => Situation::Recovery,
                },
                source: Source::Timer,
                missed: *missed,
                summary: Summary {
                    samples: *samples,
                    min_ns: *min_ns,
                    p50_ns: *p50_ns,
                    p99_ns: *p99_ns,
                    p999_ns: *p999_ns,
                    max_ns: *max_ns,
                },
                counts: Vec::new(),
            }),
            _ => None,
        })
        .collect()
}
