//! Every example runs to its own end, above a sleeping GPOS, and its tasks are scheduled as the golden
//! trace beside it says.
//!
//! `cargo xtask test --only example- --bless` writes the traces anew; read the difference before it is
//! committed.

use anyhow::{Context, Result};
use darma_abi::report::{Event as Report, LAST_EVENTS};
use darma_trace::Kind;
use xtask::idle_guest::Step;
use xtask::image::Application;
use xtask::paths;

use super::Scenario;
use crate::golden::{self, Act};
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// The package of the examples, and where its programs and their traces are.
const PACKAGE: &str = "darma-examples";
const FOLDER: &str = "rtos/examples/src/bin";
/// CR8's value for the ceiling of the tasks of priority 1, less one.
const BELOW_TASKS: u32 = 0xb;

struct Example {
    name: &'static str,
    claim: &'static str,
    /// Faults that belong to it.
    faults: usize,
}

const EXAMPLES: [Example; 5] = [
    Example {
        name: "periodic",
        claim: "a control loop runs once a period",
        faults: 0,
    },
    Example {
        name: "producer_consumer",
        claim: "a full queue gives the message back, and none is lost",
        faults: 0,
    },
    Example {
        name: "three_priorities",
        claim: "tasks preempt across all classes, and wait for the locks that concern them only",
        faults: 0,
    },
    Example {
        name: "async_sequence",
        claim: "an async task waits for signals, delays and a channel without a processor",
        faults: 0,
    },
    Example {
        name: "watchdog",
        claim: "a task that faults is restarted, and the watchdog notices",
        faults: 2,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    EXAMPLES
        .iter()
        .map(|example| Scenario {
            name: format!("example-{}", example.name.replace('_', "-")),
            claim: format!("{}; as its golden trace says", example.claim),
            kernels: &[],
            seconds: 8,
            run: Box::new(|lab| follow(lab, example)),
        })
        .collect()
}

fn follow(lab: &Laboratory, example: &Example) -> Result<()> {
    let mut run = IdleRun::new(
        format!("example-{}", example.name),
        Application::binary(PACKAGE, example.name),
        vec![Step::SleepForever],
    );
    run.configuration.push(("trace.keep", "last".into()));
    let run = run.run(lab)?;
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
    let found = golden::trace(&acts(&run), &names(&run));
    golden::compare(&file, &found, lab.golden).with_context(|| run.failure("its trace"))
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
