//! Tasks that own devices: their interrupts come on time whatever Linux does, and Linux sees nothing
//! of the devices. What is due when is the device's own knowledge, so the figures count from the
//! moment at which the device had to interrupt.

use std::time::Duration;

use anyhow::Result;
use darma_abi::units::Nanos;
use xtask::idle_guest::Step;
use xtask::image::Application;

use super::Scenario;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

const APPLICATION: &str = "darma-device-tasks";
/// Where the function stands that the application asks for.
const EDU: &str = "00:06.0";
/// From the moment at which a device had to interrupt to the task's first instruction, ns.
const LATEST: u64 = 800;
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "task-device-idle".into(),
            claim: "a PCI function's message and a pin release their tasks, each time and on time"
                .into(),
            kernels: &[],
            seconds: 8,
            run: Box::new(idle),
        },
        Scenario {
            name: "task-device-absent".into(),
            claim: "an application whose device is missing is refused by name".into(),
            kernels: &[],
            seconds: 4,
            run: Box::new(absent),
        },
    ]
}

/// The words for a machine with the function.
fn with_edu() -> [std::ffi::OsString; 2] {
    [
        "-device".into(),
        format!("edu,addr={}", EDU.trim_start_matches("00:")).into(),
    ]
}

fn seconds(count: u64) -> Vec<Step> {
    vec![Step::Sleep(Nanos(count * 1_000_000_000)), Step::PowerOff]
}

/// Every due interrupt of `task` was answered within the limit.
fn require_on_time(run: &Transcript, task: &str, at_least: u64) -> Result<()> {
    let latencies = run.latencies();
    let of_task = || latencies.iter().filter(|one| one.task == task);
    let samples: u64 = of_task().map(|one| one.samples).sum();
    run.require(
        samples >= at_least,
        format!("{task} was released {samples} times, not {at_least}"),
    )?;
    for one in of_task() {
        run.require(
            one.max_ns <= LATEST && one.missed == 0,
            format!(
                "{task} began {} ns after its device interrupted ({}), {LATEST} are promised",
                one.max_ns, one.phase
            ),
        )?;
    }
    Ok(())
}

fn idle(lab: &Laboratory) -> Result<()> {
    let mut figures: Option<Vec<(u64, u64, u64)>> = None;
    for name in ["task-device-idle-1", "task-device-idle-2"] {
        let run = IdleRun::new(name, Application::package(APPLICATION), seconds(3));
        let (mut machine, folder) = run.machine(lab)?;
        machine.extra.extend(with_edu());
        let run = Transcript::record(&machine, folder, LIMIT, |_| false)?;
        run.require_good_end()?;
        run.require(
            run.log
                .iter()
                .any(|line| line.contains("end of transfers known: true")),
            "the device's clock is not the time-stamp counter",
        )?;
        require_on_time(&run, "hpet", 2_900)?;
        require_on_time(&run, "edu", 25)?;
        let found = run
            .latencies()
            .iter()
            .map(|one| (one.samples, one.p50_ns, one.max_ns))
            .collect();
        run.require(
            figures.is_none_or(|earlier| earlier == found),
            "two runs have different figures",
        )?;
        figures = Some(found);
    }
    Ok(())
}

fn absent(lab: &Laboratory) -> Result<()> {
    let run = IdleRun::new(
        "task-device-absent",
        Application::package(APPLICATION),
        seconds(1),
    )
    .run_to_any_end(lab)?;
    let reason = "darma: cannot start: task edu: this machine has no PCI function 1234:11e8";
    run.require(
        run.log.iter().any(|line| line.starts_with(reason)),
        "the missing device is not named",
    )
}
