//! Every example runs to its own end, above a sleeping GPOS, and its tasks are scheduled as the golden
//! trace beside it says.
//!
//! `cargo xtask test --only example- --bless` writes the traces anew; read the difference before it is
//! committed.

use anyhow::{Context, Result};
use darma_abi::report::{Event as Report, LAST_EVENTS};
use darma_abi::shared::{Cause, CrashKind};
use darma_trace::Kind;
use xtask::idle_guest::Step;
use xtask::image::Application;
use xtask::paths;

use super::{CLOUD, Scenario, crash};
use crate::golden::{self, Act};
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// The package of the examples, and where its programs and their traces are.
const PACKAGE: &str = "darma-examples";
const FOLDER: &str = "rtos/examples/src/bin";
/// CR8's value for the ceiling of the tasks of priority 1, less one.
const BELOW_TASKS: u32 = 0xb;

/// How far the pendulum may swing under its pushes, in millionths of the unit: 7,280 with a controller
/// that is always in time. One that stays away for a tenth of a second lets it swing 7,308, for three
/// tenths 113,000, and for half a second lets it fall (computed). Shorter delays are what the count of
/// missed deadlines is for.
const WORST_PPM: u64 = 7_300;

struct Example {
    name: &'static str,
    claim: &'static str,
    /// Faults that belong to it.
    faults: usize,
    /// What it runs above.
    below: Below,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    /// A sleeping guest, on a machine with these devices besides.
    Sleeper(&'static [&'static str]),
    /// Linux, which panics and is reloaded. The trace counts from the example's last mark on.
    PanickingLinux,
}

const EXAMPLES: [Example; 7] = [
    Example {
        name: "periodic",
        claim: "a control loop runs once a period",
        faults: 0,
        below: Below::Sleeper(&[]),
    },
    Example {
        name: "interrupt_input",
        claim: "a device's interrupt releases its task, which passes the input on",
        faults: 0,
        below: Below::Sleeper(&["-device", "edu,addr=06.0"]),
    },
    Example {
        name: "producer_consumer",
        claim: "a full queue gives the message back, and none is lost",
        faults: 0,
        below: Below::Sleeper(&[]),
    },
    Example {
        name: "three_priorities",
        claim: "tasks preempt across all classes, and wait for the locks that concern them only",
        faults: 0,
        below: Below::Sleeper(&[]),
    },
    Example {
        name: "async_sequence",
        claim: "an async task waits for signals, delays and a channel without a processor",
        faults: 0,
        below: Below::Sleeper(&[]),
    },
    Example {
        name: "watchdog",
        claim: "a task that faults is restarted, and the watchdog notices",
        faults: 2,
        below: Below::Sleeper(&[]),
    },
    Example {
        name: "pid",
        claim: "a controller in fixed point stays stable through a panic of Linux",
        faults: 0,
        below: Below::PanickingLinux,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    EXAMPLES
        .iter()
        .map(|example| Scenario {
            name: format!("example-{}", example.name.replace('_', "-")),
            claim: format!("{}; as its golden trace says", example.claim),
            kernels: match example.below {
                Below::Sleeper(_) => &[],
                Below::PanickingLinux => CLOUD,
            },
            seconds: match example.below {
                Below::Sleeper(_) => 8,
                Below::PanickingLinux => 60,
            },
            run: Box::new(|lab| follow(lab, example)),
        })
        .collect()
}

fn follow(lab: &Laboratory, example: &Example) -> Result<()> {
    let name = format!("example-{}", example.name);
    let application = Application::binary(PACKAGE, example.name);
    let run = match example.below {
        Below::Sleeper(devices) => {
            let mut run = IdleRun::new(name, application, vec![Step::SleepForever]);
            run.configuration.push(("trace.keep", "last".into()));
            run.extra.extend(devices.iter().map(Into::into));
            run.run(lab)?
        }
        Below::PanickingLinux => {
            let mut experiment =
                crash::machine(&name, CrashKind::SysrqC).configure("trace.keep", "last");
            experiment.append = experiment.append.replace("crash-once", "crash-and-stay");
            let run = experiment.application(application).run(lab)?;
            survived(&run)?;
            run
        }
    };
    let ended = run
        .reports
        .iter()
        .any(|report| matches!(report, Report::End { reason, .. } if reason.as_str() == "exit"));
    run.require(ended, "the example did not come to its own end")?;
    let faults: Vec<&str> = run
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::TaskFault { line, .. } => Some(line.as_str()),
            _ => None,
        })
        .collect();
    run.require(
        faults.len() == example.faults,
        format!(
            "{} faults instead of {}: {faults:?}",
            faults.len(),
            example.faults
        ),
    )?;
    let file = paths::root()
        .join(FOLDER)
        .join(example.name)
        .with_extension("trace");
    let mut acts = acts(&run);
    if example.below == Below::PanickingLinux {
        let mark = acts.iter().rposition(|act| matches!(act, Act::Mark(_)));
        acts.drain(..mark.context("the example set no mark")?);
    }
    let found = golden::trace(&acts, &names(&run));
    golden::compare(&file, &found, lab.golden).with_context(|| run.failure("its trace"))
}

/// Linux panicked and came back, the pendulum never swung far, and no deadline was missed.
fn survived(run: &Transcript) -> Result<()> {
    let panics = run.reports.iter().filter(|report| {
        matches!(
            report,
            Report::Fault {
                cause: Cause::Panic,
                ..
            }
        )
    });
    run.require(
        panics.count() == 1 && run.userspace_ups() == 2,
        "Linux did not panic once and come back",
    )?;
    let deviations: Vec<u64> = run
        .log
        .iter()
        .filter_map(|line| line.split_once("deviation at most ")?.1.split_once(' '))
        .filter_map(|(ppm, _)| ppm.parse().ok())
        .collect();
    let worst = deviations.iter().max().copied().unwrap_or(u64::MAX);
    run.require(
        deviations.len() > 10 && worst <= WORST_PPM,
        format!("the pendulum swung {worst} ppm, {WORST_PPM} are allowed: {deviations:?}"),
    )?;
    run.require_no_miss()
}

/// The tasks' names in the order of the application's table, which is that of the report.
fn names(run: &Transcript) -> Vec<String> {
    run.reports
        .iter()
        .filter_map(|report| match report {
            Report::Response { name, .. } => Some(name.as_str().to_owned()),
            _ => None,
        })
        .collect()
}

/// What the scheduler did, of all that the trace has.
fn acts(run: &Transcript) -> Vec<Act> {
    let mut acts = Vec::new();
    for report in &run.reports {
        let Report::TraceEvents {
            index: LAST_EVENTS,
            events,
            ..
        } = report
        else {
            continue;
        };
        for (_, code, argument) in events.as_slice() {
            acts.extend(Kind::from_code(*code).and_then(|kind| act(kind, *argument)));
        }
    }
    acts
}

fn act(kind: Kind, argument: u32) -> Option<Act> {
    let ceiling = argument.saturating_sub(BELOW_TASKS);
    Some(match kind {
        Kind::Release | Kind::Pend => Act::Release(argument),
        Kind::TaskBegin => Act::Begin(argument),
        Kind::TaskEnd => Act::End(argument),
        Kind::TaskFault => Act::Fault(argument),
        Kind::Lock => Act::Lock(ceiling),
        Kind::Unlock => Act::Unlock(ceiling),
        Kind::Mark => Act::Mark(argument),
        _ => return None,
    })
}
