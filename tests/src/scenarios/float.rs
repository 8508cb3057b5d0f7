//! Hard floating point: a task's results are the host's, bit for bit, and neither another task's nor
//! Linux's FPU state suffers.

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::units::Nanos;
use float_law::ControlLoop;
use xtask::idle_guest::Step;
use xtask::image::Application;

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

const EXAMPLE: &str = "darma-float-law";
/// The task that panics inside a law.
const MISTAKEN: &str = "mistaken-10hz";
/// The set point of the example, rad.
const SET_POINT: f64 = 1.5;
/// Seconds of the run above the small guest.
const LIFE: u64 = 3;
/// Seconds for which Linux holds its registers.
const STRESS: usize = 5;
/// A step by library calls is dearer than one in vector registers by at least this factor.
const WORTH: u64 = 10;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "float-linux".into(),
            claim: "laws in f64 and Linux's x87, SSE and AVX registers do not disturb each other"
                .into(),
            kernels: CLOUD,
            seconds: 60,
            run: Box::new(beside_linux),
        },
        Scenario {
            name: "float-exact".into(),
            claim:
                "laws in f64 at two priorities give the host's bits, far cheaper than by library"
                    .into(),
            kernels: &[],
            seconds: 10,
            run: Box::new(exact),
        },
    ]
}

fn beside_linux(lab: &Laboratory) -> Result<()> {
    let run = Experiment::new("float-linux", "float")
        .application(Application::package(EXAMPLE))
        .append(&format!("darma.seconds={STRESS}"))
        .run(lab)?;
    require_no_miss(&run)?;
    run.require(run.said("DARMA-FLOAT-AVX"), "Linux was shown no AVX")?;
    let held = "all intact: x87, MXCSR, xmm0 to xmm15, ymm0 to ymm15";
    run.require(
        run.said("DARMA-FLOAT-INTACT") && run.console.iter().any(|line| line.ends_with(held)),
        "a register of Linux's was not what it had been",
    )?;
    require_contained(&run)?;
    require_digests(&run, "control-1khz", STRESS)?;
    require_digests(&run, "simulate-100hz", STRESS)
}

fn exact(lab: &Laboratory) -> Result<()> {
    let mut steps = vec![Step::Sleep(Nanos(999_000_000)); usize::try_from(LIFE)?];
    steps.push(Step::PowerOff);
    let run = IdleRun::new("float-exact", Application::package(EXAMPLE), steps).run(lab)?;
    require_no_miss(&run)?;
    require_contained(&run)?;
    require_digests(&run, "control-1khz", 2)?;
    require_digests(&run, "simulate-100hz", 2)?;
    let (Some(vector), Some(library)) =
        (cost(&run, "vector registers"), cost(&run, "library calls"))
    else {
        return Err(run.failure("a cost was not said"));
    };
    run.require(
        vector * WORTH < library,
        format!("a step takes {vector} cycles in vector registers, {library} by library calls"),
    )
}

/// No task missed a deadline but the mistaken one, whose abandoned activations count as missed.
fn require_no_miss(run: &Transcript) -> Result<()> {
    for latency in run.latencies() {
        run.require(
            latency.missed == 0 || latency.task == MISTAKEN,
            format!("{} missed {} deadlines", latency.task, latency.missed),
        )?;
    }
    Ok(())
}

/// The panics inside a law were the mistaken task's, and told as such.
fn require_contained(run: &Transcript) -> Result<()> {
    let mut panics = 0;
    for report in &run.reports {
        if let Report::TaskFault {
            name, kind, line, ..
        } = report
        {
            run.require(
                name.as_str() == MISTAKEN
                    && kind.as_str() == "panic"
                    && line
                        .as_str()
                        .starts_with("index out of bounds: the len is 3 but the index is 3"),
                format!(
                    "{} faulted: {} {}",
                    name.as_str(),
                    kind.as_str(),
                    line.as_str()
                ),
            )?;
            panics += 1;
        }
    }
    run.require(
        panics > 1,
        format!("{panics} panics of {MISTAKEN} were told"),
    )
}

/// What `task` computed is what the host computes, at least `least` times.
fn require_digests(run: &Transcript, task: &str, least: usize) -> Result<()> {
    let mut host = ControlLoop::new();
    let mut seen = 0;
    let line = format!("darma: {task}: digest ");
    for words in run.log.iter().filter_map(|said| said.strip_prefix(&line)) {
        let said = words.split_once(" after ").and_then(|(digest, rest)| {
            let steps = rest.strip_suffix(" steps")?.parse::<u64>().ok()?;
            Some((u64::from_str_radix(digest, 16).ok()?, steps))
        });
        let Some((digest, steps)) = said else {
            return Err(run.failure(format!("{task} said {words:?}")));
        };
        while host.steps < steps {
            host.advance(SET_POINT);
        }
        run.require(
            host.steps == steps && host.digest == digest,
            format!(
                "{task} has {digest:#x} after {steps} steps, the host {:#x} after {}",
                host.digest, host.steps
            ),
        )?;
        seen += 1;
    }
    run.require(
        seen >= least,
        format!("{task} said {seen} digests, at least {least} were due"),
    )
}

/// The least that the steps cost, of all times it was said: once without preemption.
fn cost(run: &Transcript, how: &str) -> Option<u64> {
    let by = format!(" steps by {how}: ");
    let said = run.log.iter().filter_map(|line| {
        let (_, rest) = line.split_once(&by)?;
        let (cycles, _) = rest.split_once(" cycles")?;
        cycles.parse::<u64>().ok()
    });
    said.min()
}
