//! The laboratory's promises on its tasks: on time to the fraction of a microsecond, whatever Linux does.
//! The table beside other systems is `cargo xtask latency`'s; what may never get worse unseen is held here.

use anyhow::Result;
use darma_abi::shared::Phase;
use xtask::image::Application;
use xtask::latency;

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// The measured tasks: one that a timer releases, one that a device does.
const TASKS: [&str; 2] = ["timer-1khz", "device-1khz"];
/// Due to first instruction under load, median, ns.
const MEDIAN: u64 = 300;
/// The same, greatest, in every phase.
const LATEST: u64 = 800;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "latency".into(),
        claim: "a timer's and a device's task start within 0.8 us, idle, loaded and in recovery"
            .into(),
        kernels: CLOUD,
        seconds: 60,
        run: Box::new(run),
    }]
}

fn run(lab: &Laboratory) -> Result<()> {
    let mut experiment = Experiment::new("latency", "latency")
        .append("darma.samples=0 darma.cycles=1 darma.short=3 darma.disk=none")
        .configure("gpos.memory", "192M");
    experiment.application = Application::package(latency::APPLICATION);
    let run = experiment.run(lab)?;
    run.require_no_miss()?;
    for task in TASKS {
        let idle = maximum(&run, task, Phase::Idle)?;
        let loaded = maximum(&run, task, Phase::Loaded)?;
        maximum(&run, task, Phase::Recovery)?;
        run.require(
            loaded * 10 <= idle * 12,
            format!("{task}: the maximum is {loaded} ns under load and {idle} ns without: more than 1.2 times"),
        )?;
    }
    Ok(())
}

/// The greatest latency of `task` in `phase`, which is within the promise.
fn maximum(run: &Transcript, task: &str, phase: Phase) -> Result<u64> {
    let latencies = run.latencies();
    let found = latencies
        .iter()
        .find(|one| one.task == task && one.phase == phase && one.samples > 0);
    let Some(found) = found else {
        return Err(run.failure(format!("{task} was not measured ({phase})")));
    };
    run.require(
        found.max_ns <= LATEST && (phase != Phase::Loaded || found.p50_ns <= MEDIAN),
        format!(
            "{task} ({phase}) began after {} ns in the median and {} ns at most; {MEDIAN} and {LATEST} are promised",
            found.p50_ns, found.max_ns
        ),
    )?;
    Ok(found.max_ns)
}
