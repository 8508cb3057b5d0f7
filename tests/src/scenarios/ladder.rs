//! The recovery ladder: what is started when the image in use no longer comes up, and who may say
//! "try again" when nothing does.
//!
//! Above the guest of a few hundred bytes where the ladder itself is the question; above Linux where
//! Linux is a party to it.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use darma_abi::codes::{ImageRole, LadderStep};
use darma_abi::report::Event as Report;
use darma_abi::shared::{Doorbell, Mark};
use xtask::idle_guest::Step;
use xtask::image::{APPLICATION, Application};
use xtask::log_compare::section;
use xtask::qemu::{SOCKET, Serial};

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "ladder-rescue".into(),
            claim: "an image that fails at three starts gives way to the rescue system; no deadline is missed".into(),
            kernels: &[],
            seconds: 3,
            run: Box::new(rescue),
        },
        Scenario {
            name: "ladder-held".into(),
            claim: "when the rescue system fails as well, waits double and then the GPOS is held down".into(),
            kernels: &[],
            seconds: 3,
            run: Box::new(held),
        },
        Scenario {
            name: "ladder-200-cycles".into(),
            claim: "two hundred failures in a row: each is recovered from, within 5 % of the same time".into(),
            kernels: &[],
            seconds: 10,
            run: Box::new(cycles),
        },
        Scenario {
            name: "ladder-try-again".into(),
            claim: "a GPOS held down answers on the serial port: failures, and another try of the first image".into(),
            kernels: &[],
            seconds: 5,
            run: Box::new(try_again),
        },
        Scenario {
            name: "ladder-pstore".into(),
            claim: "the next kernel is told why, and its own pstore shows the log of a kernel that could not save it".into(),
            kernels: CLOUD,
            seconds: 60,
            run: Box::new(pstore),
        },
        Scenario {
            name: "ladder-reset-devices".into(),
            claim: "devices are reset by themselves, with their bus, or by their drivers, while memory is saved".into(),
            kernels: CLOUD,
            seconds: 60,
            run: Box::new(reset_devices),
        },
    ]
}

/// A guest that says something and fails.
pub(super) fn failing(says: &str) -> Vec<Step> {
    vec![Step::Say(format!("{says}\n")), Step::TripleFault]
}

fn ladder(name: &str, steps: Vec<Step>, rescue: Vec<Step>) -> IdleRun {
    let mut run = IdleRun::new(name, Application::package(APPLICATION), steps);
    run.rescue = Some(rescue);
    for (key, value) in [
        ("recovery.limit", "3"),
        ("recovery.first-wait", "20ms"),
        ("recovery.longest-wait", "30ms"),
    ] {
        run.configuration.push((key, value.into()));
    }
    run
}

/// The ladder's steps with their waits, ms.
fn steps(run: &Transcript) -> Vec<(LadderStep, u64)> {
    let step = |report: &Report| match report {
        Report::Ladder { step, wait_ns, .. } => Some((*step, wait_ns / 1_000_000)),
        _ => None,
    };
    run.reports.iter().filter_map(step).collect()
}

/// What the starts were loaded from.
pub(super) fn images(run: &Transcript) -> Vec<ImageRole> {
    let image = |report: &Report| match report {
        Report::Boot { image, .. } => Some(*image),
        _ => None,
    };
    run.reports.iter().filter_map(image).collect()
}

pub(super) fn require_steps(run: &Transcript, expected: &[(LadderStep, u64)]) -> Result<()> {
    let found = steps(run);
    run.require(
        found == expected,
        format!("the ladder's steps were {found:?} instead of {expected:?}"),
    )
}

fn rescue(lab: &Laboratory) -> Result<()> {
    let rescue = vec![
        Step::Say("rescue: up\n".into()),
        Step::Ring(Doorbell::Mark(Mark::UserspaceUp)),
        Step::PowerOff,
    ];
    let run = ladder("ladder-rescue", failing("first: dies"), rescue).run(lab)?;
    require_steps(
        &run,
        &[
            (LadderStep::Reload, 0),
            (LadderStep::Reload, 20),
            (LadderStep::Rescue, 0),
            (LadderStep::Down, 0),
        ],
    )?;
    let (first, rescue) = (ImageRole::First, ImageRole::Rescue);
    run.require(
        images(&run) == [first, first, first, rescue] && run.said("rescue: up"),
        format!("the starts were of {:?}", images(&run)),
    )?;
    run.require_no_miss()
}

fn held(lab: &Laboratory) -> Result<()> {
    let run = ladder(
        "ladder-held",
        failing("first: dies"),
        failing("rescue: dies"),
    )
    .run(lab)?;
    require_steps(
        &run,
        &[
            (LadderStep::Reload, 0),
            (LadderStep::Reload, 20),
            (LadderStep::Rescue, 0),
            (LadderStep::Reload, 0),
            (LadderStep::Reload, 20),
            (LadderStep::Down, 0),
        ],
    )?;
    let held = run.reports.iter().any(
        |report| matches!(report, Report::End { reason, .. } if reason.as_str().contains("limit")),
    );
    run.require(held, "the end does not say that the limit was reached")?;
    run.require_no_miss()
}

const CYCLES: usize = 200;

/// The nanokernel's own part of a recovery, from the verdict to the first instruction, over and over:
/// what leaked or grew would show here, where no Linux hides it.
fn cycles(lab: &Laboratory) -> Result<()> {
    let steps = vec![
        Step::Ring(Doorbell::Mark(Mark::UserspaceUp)),
        Step::TripleFault,
    ];
    let run = IdleRun::new(
        "ladder-200-cycles",
        Application::package(APPLICATION),
        steps,
    );
    let (machine, folder) = run.machine(lab)?;
    let mut recovered = 0;
    let run = Transcript::record(&machine, folder, PATIENCE, |heard| {
        let newest = heard.reports.last();
        recovered += usize::from(matches!(newest, Some(Report::Recovery { .. })));
        recovered >= CYCLES
    })?;
    run.require_sound()?;
    let (mut failed_at, mut times) = (0, Vec::new());
    for report in &run.reports {
        match report {
            Report::Fault { at_ns, .. } => failed_at = *at_ns,
            Report::Recovery { entered_at_ns, .. } => times.push(entered_at_ns - failed_at),
            _ => {}
        }
    }
    let mut sorted = times.clone();
    sorted.sort_unstable();
    let Some(middle) = sorted.get(sorted.len() / 2).copied() else {
        return Err(run.failure("nothing was recovered from"));
    };
    let alike = |time: &u64| time.abs_diff(middle) * 100 <= middle * 5;
    run.require(
        times.len() >= CYCLES && times.iter().all(alike),
        format!(
            "{} recoveries took {:?} to {:?} ns, the first {:?}, the last {:?}",
            times.len(),
            sorted.first(),
            sorted.last(),
            times.first(),
            times.last()
        ),
    )
}

/// The time that somebody at the serial port has, on the host's clock.
const PATIENCE: Duration = Duration::from_secs(120);
const DOWN: &str = "darma: Linux is down: recovery limit reached";
const HELP: &str = "press t try again, r rescue system";

/// What somebody at the serial port waits for (a text, and how often it has to have been said), and
/// what is pressed then.
const AT_THE_PORT: &[(&str, usize, &str)] = &[
    (HELP, 1, "x"),
    (HELP, 2, "f"),
    ("#6 start 6 at ", 1, "r"),
    // The rescue system has failed three times more.
    (HELP, 3, "t"),
];

fn try_again(lab: &Laboratory) -> Result<()> {
    let (first, rescue) = (failing("first: dies"), failing("rescue: dies"));
    let mut run = ladder("ladder-try-again", first, rescue);
    run.configuration
        .retain(|(key, _)| *key != "exit.on-poweroff");
    let (mut machine, folder) = run.machine(lab)?;
    machine.serial = Serial::Socket {
        log: folder.join("console.log"),
    };
    let socket = folder.join(SOCKET);
    let (mut pressed, mut port) = (0, None);
    let heard = Transcript::record(&machine, folder, PATIENCE, |heard| {
        let said = |text: &str| {
            heard
                .console
                .iter()
                .filter(|line| line.contains(text))
                .count()
        };
        match AT_THE_PORT.get(pressed) {
            Some((text, times, key)) if said(text) >= *times => {
                // A port that cannot be written to shows as a scenario that is not over in time.
                pressed += usize::from(press(&mut port, &socket, key).is_ok());
                false
            }
            Some(_) => false,
            // The first and then the rescue system have failed again.
            None => said(DOWN) >= 3,
        }
    })?;
    heard.require_sound()?;
    for words in [
        "darma: 6 failures recorded",
        "darma: loading the rescue system",
        "darma: trying again",
        "triple-fault",
    ] {
        let said = heard.said(words);
        heard.require(said, format!("the serial port did not say {words:?}"))?;
    }
    let asked: Vec<_> = steps(&heard)
        .into_iter()
        .map(|(step, _)| step)
        .filter(|step| matches!(step, LadderStep::TryAgain | LadderStep::TryRescue))
        .collect();
    heard.require(
        asked == [LadderStep::TryRescue, LadderStep::TryAgain],
        format!("the commands were taken for {asked:?}"),
    )?;
    let (first, rescue) = ([ImageRole::First; 3], [ImageRole::Rescue; 3]);
    let starts = images(&heard);
    heard.require(
        starts == [first, rescue, rescue, first, rescue].concat(),
        format!("the starts were of {starts:?}"),
    )
}

fn press(port: &mut Option<UnixStream>, socket: &Path, key: &str) -> Result<()> {
    let port = match port {
        Some(port) => port,
        None => {
            let stream = UnixStream::connect(socket).context("the serial port")?;
            // Some hundred bytes that nobody fetches, and the emulated port waits for its reader.
            let mut answers = stream.try_clone()?;
            std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
            port.insert(stream)
        }
    };
    Ok(port.write_all(key.as_bytes())?)
}

/// A kernel that dies of a triple fault has no chance to save its log, with or without a driver.
fn pstore(lab: &Laboratory) -> Result<()> {
    let run = Experiment::new("ladder-pstore", "pstore")
        .append("darma.kinds=triple-fault,sysrq-c")
        .configure("gpos.memory", "192M")
        .configure("dump.size", "208M")
        .run(lab)?;
    for words in [
        "DARMA-PSTORE 1 reason=first records=0",
        "DARMA-PSTORE 2 reason=triple-fault records=1",
        // Its own driver was not loaded in the start that panicked: the nanokernel's record.
        "DARMA-PSTORE 3 reason=panic records=1",
        "DARMA-PSTORE-LAST 2 ",
        "triple-fault#1 Part1",
        "panic#2 Part1",
        "Kernel panic - not syncing: sysrq triggered crash",
    ] {
        run.require(run.said(words), format!("Linux did not say {words:?}"))?;
    }
    run.require_no_miss()
}

/// An NVMe controller on the root bus and a random-number generator behind a port of its own, which
/// reset themselves; another generator without that, alone behind its port; a network card that has no
/// reset at all.
const DEVICES: &[&str] = &[
    "nvme,serial=darma,addr=08.0",
    "pcie-root-port,id=first,chassis=1,slot=1,addr=09.0",
    "virtio-rng-pci,bus=first",
    "pcie-root-port,id=second,chassis=2,slot=2,addr=0a.0",
    "virtio-rng-pci,bus=second,x-pcie-flr-init=off",
    "e1000,addr=0b.0",
];

fn reset_devices(lab: &Laboratory) -> Result<()> {
    let mut experiment = Experiment::new("ladder-reset-devices", "resets")
        .configure("gpos.memory", "192M")
        .configure("dump.size", "208M");
    for device in DEVICES {
        experiment
            .extra
            .extend(["-device".into(), OsString::from(device)]);
    }
    let run = experiment.run(lab)?;
    let resets: Vec<_> = run
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::Resets {
                by_function,
                by_bus,
                left,
                quarantined,
                waited_ns,
                ..
            } => Some((*by_function, *by_bus, *left, *quarantined, *waited_ns)),
            _ => None,
        })
        .collect();
    let [(by_function, by_bus, left, quarantined, waited_ns)] = resets[..] else {
        return Err(run.failure(format!("{} reports of resets instead of one", resets.len())));
    };
    run.require(
        (by_function, by_bus, quarantined) == (2, 1, 0) && left >= 1,
        format!(
            "{by_function} functions were reset by themselves, {by_bus} with their bus, {left} left, \
             {quarantined} given up"
        ),
    )?;
    // The hundred milliseconds that a device may take passed during the capture.
    run.require(
        waited_ns < 20_000_000,
        format!("{waited_ns} ns were waited for the devices after the capture"),
    )?;
    let seen = |boot: u32| section(&run.console, &format!("functions {boot}"));
    run.require(
        seen(1).len() > DEVICES.len() && seen(1) == seen(2),
        "the second start sees other functions, registers or drivers than the first",
    )?;
    for words in ["DARMA-NVME 1 live", "DARMA-NVME 2 live"] {
        run.require(run.said(words), format!("Linux did not say {words:?}"))?;
    }
    run.require_no_miss()
}
