//! Tasks that own devices: their interrupts come on time whatever Linux does, and Linux sees nothing
//! of the devices. What is due when is the device's own knowledge, so the figures count from the
//! moment at which the device had to interrupt.

use std::time::Duration;

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::shared::Phase;
use darma_abi::units::Nanos;
use xtask::idle_guest::Step;
use xtask::image::Application;
use xtask::log_compare::section;

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

const APPLICATION: &str = "darma-device-tasks";
/// Where the function stands that the application asks for.
const EDU: &str = "00:06.0";
/// From the moment at which a device had to interrupt to the task's first instruction, ns.
const LATEST: u64 = 800;
/// Where q35 maps configuration space, the function's registers of it, and of those some: identity,
/// base address, interrupt message.
const CONFIGURATION: [u64; 4] = [0xb003_0000, 0xb003_0004, 0xb003_0010, 0xb003_0044];
/// Where the emulated firmware places the function's registers; the log has to say the same.
const REGISTERS: u64 = 0xfea0_0000;
/// The HPET's registers: capabilities, configuration, counter, the first timer's message route.
const HPET: [u64; 4] = [0xfed0_0000, 0xfed0_0010, 0xfed0_00f0, 0xfed0_0110];
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
            name: "task-device-linux".into(),
            claim: "Linux sees nothing of tasks' devices and delays none, loaded, storming, dying"
                .into(),
            kernels: CLOUD,
            seconds: 110,
            run: Box::new(linux),
        },
        Scenario {
            name: "task-device-hostile".into(),
            claim:
                "garbage for configuration spaces, memory, ports and MSRs reaches no task's device"
                    .into(),
            kernels: CLOUD,
            seconds: 100,
            run: Box::new(hostile),
        },
        Scenario {
            name: "task-device-msix".into(),
            claim: "a function without MSI releases its task by MSI-X, message after message"
                .into(),
            kernels: &[],
            seconds: 5,
            run: Box::new(msix),
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

fn msix(lab: &Laboratory) -> Result<()> {
    // The controller answers in the emulator's main loop, on the host's time: a guest that sleeps
    // would be at its end before.
    let steps = vec![Step::Spin(Nanos(300_000_000)), Step::PowerOff];
    let application = Application::package("darma-task-message");
    let run = IdleRun::new("task-device-msix", application, steps);
    let (mut machine, folder) = run.machine(lab)?;
    let device = ["-device".into(), "nvme,addr=06.0,serial=none".into()];
    machine.extra.extend(device);
    let run = Transcript::record(&machine, folder, LIMIT, |_| false)?;
    run.require_good_end()?;
    run.require(
        run.log
            .iter()
            .any(|line| line.contains("nvme: 40 commands answered")),
        "the controller's messages did not reach the task",
    )
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

fn with_devices(mut experiment: Experiment) -> Experiment {
    experiment.application = Application::package(APPLICATION);
    experiment.extra.extend(with_edu());
    experiment
}

/// The devices go on through the whole of it: 1000 and 10 interrupts a second.
fn hostile(lab: &Laboratory) -> Result<()> {
    let experiment = with_devices(Experiment::new("task-device-hostile", "hostile"));
    let run = super::hostile::endure(experiment, lab)?;
    let end = run.reports.iter().find_map(|report| match report {
        Report::End { at_ns, .. } => Some(*at_ns),
        _ => None,
    });
    // Less the firmware, the trial transfer and what is under way at the end.
    let milliseconds = (end.unwrap_or(0) / 1_000_000).saturating_sub(500);
    require_on_time(&run, "hpet", milliseconds)?;
    require_on_time(&run, "edu", (milliseconds / 100).saturating_sub(1))
}

fn linux(lab: &Laboratory) -> Result<()> {
    let probed: Vec<u64> = CONFIGURATION
        .into_iter()
        .chain([REGISTERS, REGISTERS + 0x98])
        .chain(HPET)
        .collect();
    let words: Vec<String> = probed.iter().map(|at| format!("{at:#x}")).collect();
    let experiment = with_devices(Experiment::new("task-device-linux", "devices"))
        .append(&format!("darma.probe={}", words.join(",")));
    let run = experiment.run(lab)?;

    let place = format!("1234:11e8 at {EDU} is task 1's, registers at {REGISTERS:#x}");
    run.require(
        run.log.iter().any(|line| line.contains(&place)),
        format!("the log does not say {place:?}"),
    )?;
    let functions = section(&run.console, "pci");
    run.require(
        functions.len() > 3 && !functions.iter().any(|line| line.contains(EDU)),
        format!("Linux sees the task's function among {functions:?}"),
    )?;
    let clocks = section(&run.console, "clocksource").join(" ");
    run.require(
        clocks.contains("tsc") && !clocks.contains("hpet"),
        format!("Linux has the clocks {clocks:?}"),
    )?;
    let probes: Vec<&String> = run
        .console
        .iter()
        .filter(|line| line.contains("darma_fault: probe"))
        .collect();
    run.require(
        probes.len() == probed.len(),
        format!("{} probes of {}", probes.len(), probed.len()),
    )?;
    for line in probes {
        // Address, before, written, after.
        let numbers: Vec<u64> = line
            .split([' ', ','])
            .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
            .collect();
        let absent = u64::from(u32::MAX);
        run.require(
            numbers.len() == 4 && (numbers[1], numbers[3]) == (absent, absent),
            format!("a task's device answered Linux: {line}"),
        )?;
    }
    let died = run
        .reports
        .iter()
        .any(|one| matches!(one, Report::Fault { .. }));
    run.require(
        died && run.userspace_ups() == 2,
        "Linux did not die and come back beside the devices",
    )?;
    for (task, least) in [("hpet", [1_000, 4_000, 1_000]), ("edu", [8, 40, 10])] {
        require_on_time(&run, task, least.iter().sum())?;
        for (phase, least) in [Phase::Idle, Phase::Loaded, Phase::Recovery]
            .into_iter()
            .zip(least)
        {
            let samples = run
                .latencies()
                .iter()
                .find(|one| one.task == task && one.phase == phase)
                .map_or(0, |one| one.samples);
            run.require(
                samples >= least,
                format!("{task} was released {samples} times in phase {phase}, not {least}"),
            )?;
        }
    }
    Ok(())
}
