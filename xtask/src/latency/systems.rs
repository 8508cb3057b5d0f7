//! Which machines there are, what each is told to do, and the rows that they yield.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use darma_abi::codes::Mark;
use darma_latency::{Collected, Distribution, Load, Report, Row, Source, System};

use super::machine::{Counted, Heard};
use super::{Options, Part, budgets, cyclictest, overhead};
use crate::image;
use crate::kernels::Flavour;
use crate::session::Event;

/// Wall time within which a machine has measured everything.
pub(super) const LIMIT: Duration = Duration::from_secs(3600);
/// A period of cyclictest, ns.
const PERIOD_NS: u64 = 1_000_000;

/// A machine to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// cyclictest in Debian's generic kernel, alone.
    Stock,
    /// cyclictest in the `PREEMPT_RT` kernel, alone.
    Rt,
    /// Tasks, and cyclictest in the generic kernel, under Darma.
    Darma,
    /// The works of the overhead table in the generic kernel, alone.
    WorkAlone,
    /// The same under Darma.
    WorkUnderDarma,
    /// Every hot path, again and again.
    Budgets,
}

impl Job {
    pub(super) const fn flavour(self) -> Flavour {
        match self {
            Self::Rt => Flavour::Rt,
            Self::Budgets => Flavour::Cloud,
            Self::Stock | Self::Darma | Self::WorkAlone | Self::WorkUnderDarma => Flavour::Generic,
        }
    }

    /// The package of the application below Linux; none where Linux has the machine.
    pub(super) const fn application(self) -> Option<&'static str> {
        match self {
            Self::Stock | Self::Rt | Self::WorkAlone => None,
            Self::Darma | Self::Budgets => Some(super::APPLICATION),
            // What a program costs Linux depends on what its tasks do: those of the demonstration run.
            Self::WorkUnderDarma => Some(image::APPLICATION),
        }
    }

    /// The name of its folder.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stock => "latency-stock",
            Self::Rt => "latency-rt",
            Self::Darma => "latency-darma",
            Self::WorkAlone => "overhead-alone",
            Self::WorkUnderDarma => "overhead-darma",
            Self::Budgets => "latency-budgets",
        }
    }

    /// What the user is told.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Stock => "stock Linux alone",
            Self::Rt => "PREEMPT_RT Linux alone",
            Self::Darma => "Darma with stock Linux",
            Self::WorkAlone => "fixed work on Linux alone",
            Self::WorkUnderDarma => "fixed work on Linux under Darma",
            Self::Budgets => "hot paths of Darma",
        }
    }

    /// Words for the payload.
    pub(super) fn words(self, options: &Options) -> String {
        let crashes = match self {
            Self::Darma => options.crashes,
            Self::WorkAlone | Self::WorkUnderDarma => return overhead::words(),
            Self::Budgets => return format!("darma.script=budgets {}", budgets::WORDS),
            Self::Stock | Self::Rt => 0,
        };
        format!(
            "darma.script=latency darma.samples={} darma.cycles={crashes} darma.short=1",
            options.seconds * 1000
        )
    }
}

/// The machines to run, the longest to run first: the last to start decides when all
/// have ended.
pub(super) fn jobs(options: &Options) -> Vec<Job> {
    let mut jobs = Vec::new();
    if options.wants_system(System::Darma) || options.wants_system(System::LinuxUnderDarma) {
        jobs.push(Job::Darma);
    }
    if options.wants_system(System::LinuxRt) {
        jobs.push(Job::Rt);
    }
    if options.wants_system(System::LinuxStock) {
        jobs.push(Job::Stock);
    }
    if options.wants(Part::Overhead) {
        jobs.extend(overhead::JOBS);
    }
    if options.wants(Part::Budgets) {
        jobs.push(Job::Budgets);
    }
    jobs
}

/// What to show of an event while the machine runs.
pub(super) fn milestone(event: &Event) -> Option<String> {
    match event {
        Event::Console(line) if line.starts_with("DARMA user space") => Some("Linux is up".into()),
        Event::Console(line) if line.starts_with("DARMA load") => Some("under load".into()),
        Event::Console(line) => line
            .strip_prefix("DARMA crash: ")
            .map(|kind| format!("crashing by {kind}"))
            .or_else(|| {
                let work = line.strip_prefix(overhead::WORD)?.split(' ').next()?;
                Some(format!("{work} is done"))
            }),
        Event::Report(value) => {
            let mark = value.get("mark")?.get("mark")?.as_str()?;
            match Mark::from_name(mark)? {
                Mark::IdleBegin => Some("idle".into()),
                Mark::LoadedBegin => Some("under load".into()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Adds the rows of a machine, and what it says of the longest waits.
///
/// # Errors
/// The machine did not say all that it was to say.
pub(super) fn add_rows(job: Job, heard: &Heard, report: &mut Report) -> Result<()> {
    match job {
        Job::Stock => report.rows.extend(linux(System::LinuxStock, heard)?),
        Job::Rt => report.rows.extend(linux(System::LinuxRt, heard)?),
        Job::Darma => {
            report.rows.extend(linux(System::LinuxUnderDarma, heard)?);
            let collected = Collected::of(&heard.reports);
            report.rows.extend(tasks(&collected, heard)?);
            report.worst = collected.worst();
        }
        Job::Budgets => {
            let measured = budgets::measured(&heard.reports);
            let (table, breaches) = budgets::read()?.check(&measured);
            report.budgets = table;
            ensure!(breaches.is_empty(), "{}", breaches.join("; "));
        }
        Job::WorkAlone | Job::WorkUnderDarma => {}
    }
    Ok(())
}

/// The rows of cyclictest.
fn linux(system: System, heard: &Heard) -> Result<Vec<Row>> {
    [Load::Idle, Load::Loaded]
        .into_iter()
        .map(|load| {
            let counts = cyclictest::parse(&heard.console, load.name())
                .with_context(|| format!("{} {}", system.name(), load.name()))?;
            let late = counts.iter().filter(|(ns, _)| *ns > PERIOD_NS);
            let missed = late.map(|(_, count)| count).sum();
            Ok(Row::new(
                (system, load, Source::Timer),
                Distribution::of(counts),
                missed,
                "",
            ))
        })
        .collect()
}

/// Which of the application's tasks is measured for which source.
const TASKS: [(&str, Source); 2] = [
    ("timer-1khz", Source::Timer),
    ("device-1khz", Source::Device),
];

/// The rows of the real-time tasks.
fn tasks(collected: &Collected, heard: &Heard) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (task, source) in TASKS {
        for load in [Load::Idle, Load::Loaded, Load::Recovery] {
            let Counted {
                samples, missed, ..
            } = heard.counted(task, load)?;
            if samples == 0 {
                continue;
            }
            let distribution = collected
                .latency(task, load)
                .with_context(|| format!("the nanokernel reported no histogram of {task}"))?;
            ensure!(
                distribution.samples() == samples,
                "the histogram of {task}, {load}, holds {} samples of {samples}",
                distribution.samples()
            );
            rows.push(Row::new(
                (System::Darma, load, source),
                distribution,
                missed,
                collected.culprit(task, load),
            ));
        }
    }
    Ok(rows)
}
