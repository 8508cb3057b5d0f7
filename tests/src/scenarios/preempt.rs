//! The tasks run on time whatever Linux does. Instruction-counted: the figures are path lengths.

use std::time::Duration;

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::shared::{Cause, CrashKind, Phase};

use super::{CLOUD, Scenario, crash};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// The task at the highest priority, to which the promise is made.
const CONTROL: &str = "control-1khz";
/// Release to first instruction, ns.
const LATEST: u64 = 1_500;
/// The longest section with interrupts off, ns.
const INTERRUPTS_OFF: u64 = 1_000;
const EXERCISES: &[&str] = &[
    "port-storm",
    "mmio-storm",
    "cpuid-storm",
    "msr-storm",
    "wbinvd",
    "hlt-storm",
    "cli-busy",
];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "preempt-storms".into(),
            claim: "no storm of exits and no stretch with interrupts off delays the control task"
                .into(),
            kernels: CLOUD,
            seconds: 90,
            run: Box::new(storms),
        },
        Scenario {
            name: "preempt-cli-spin".into(),
            claim: "an endless loop with interrupts off costs no deadline, is noticed and ended"
                .into(),
            kernels: CLOUD,
            seconds: 120,
            run: Box::new(spin),
        },
    ]
}

/// The control task's latencies and the sections with interrupts off are within the promise.
fn require_figures(run: &Transcript) -> Result<()> {
    run.require_no_miss()?;
    for latency in run.latencies() {
        run.require(
            latency.task != CONTROL || latency.max_ns <= LATEST,
            format!(
                "{CONTROL} began {} ns after its release ({}), {LATEST} are promised",
                latency.max_ns, latency.phase
            ),
        )?;
    }
    for report in &run.reports {
        if let Report::IrqOff { section, ns } = report {
            run.require(
                *ns <= INTERRUPTS_OFF,
                format!(
                    "section {} has interrupts off for {ns} ns, {INTERRUPTS_OFF} are promised",
                    section.as_str()
                ),
            )?;
        }
    }
    Ok(())
}

fn storms(lab: &Laboratory) -> Result<()> {
    let run = Experiment::new("preempt-storms", "preempt").run(lab)?;
    for exercise in EXERCISES {
        run.require(
            run.said(&format!("exercise {exercise} done")),
            format!("exercise {exercise} did not come to its end"),
        )?;
    }
    require_figures(&run)
}

fn spin(lab: &Laboratory) -> Result<()> {
    // Long enough for the tasks' figures to say something.
    let mut experiment = crash::machine("preempt-cli-spin", CrashKind::CliSpin)
        .configure("watch.hard-lockup", "5s")
        .configure("watch.soft-lockup", "20s");
    experiment.limit = Duration::from_secs(900);
    let run = experiment.run(lab)?;
    let found = run.reports.iter().any(|report| {
        matches!(
            report,
            Report::Fault {
                cause: Cause::HardLockup,
                announced: Some(CrashKind::CliSpin),
                ..
            }
        )
    });
    run.require(found, "the endless loop was not taken for one")?;
    run.require(run.userspace_ups() == 2, "Linux did not come back")?;
    let beside = run
        .latencies()
        .iter()
        .any(|one| one.task == CONTROL && one.phase == Phase::Loaded && one.samples > 1_000);
    run.require(beside, "the control task did not run beside the loop")?;
    require_figures(&run)
}
