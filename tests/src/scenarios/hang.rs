//! What the GPOS does not do, or must not do, is noticed and named: below the tasks runs a guest of a few
//! hundred bytes that goes wrong in one way each.

use std::time::Duration;

use anyhow::{Result, ensure};
use darma_abi::report::Event as Report;
use darma_abi::shared::{Cause, Doorbell, Heartbeat, Mark};
use darma_abi::units::Nanos;
use xtask::idle_guest::{Act, Step};
use xtask::image::{APPLICATION, Application};
use xtask::qemu::Clock;
use xtask::session::{Event, Session};

use super::Scenario;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

struct Hang {
    name: &'static str,
    claim: &'static str,
    steps: fn() -> Vec<Step>,
    cause: Cause,
    /// A part of the evidence.
    says: &'static str,
    /// Detected between these times, ns: from what began it, or from the exit that showed it.
    detected: core::ops::RangeInclusive<u64>,
    configuration: &'static [(&'static str, &'static str)],
}

const AT_ONCE: core::ops::RangeInclusive<u64> = 0..=10_000;

const HANGS: &[Hang] = &[
    Hang {
        name: "hang-hard",
        claim: "interrupts off while one waits are found within twice the limit of 100 ms",
        steps: || vec![timer(5 * MS), Step::SpinDeafForever],
        cause: Cause::HardLockup,
        says: "interrupts off for ",
        detected: 100 * MS..=200 * MS,
        configuration: &[],
    },
    Hang {
        name: "hang-hard-short",
        claim: "the limit for interrupts off can be set",
        steps: || vec![timer(MS), Step::SpinDeafForever],
        cause: Cause::HardLockup,
        says: "vector 64 waits",
        detected: 20 * MS..=40 * MS,
        configuration: &[("watch.hard-lockup", "20ms")],
    },
    Hang {
        name: "hang-nmi",
        claim: "the same in the handler of a non-maskable interrupt has its own name",
        steps: || vec![timer(5 * MS), Step::Do(Act::NmiSpin)],
        cause: Cause::NmiHang,
        says: "interrupts off for ",
        detected: 100 * MS..=200 * MS,
        configuration: &[],
    },
    Hang {
        name: "hang-after-nmi",
        claim: "a handler of a non-maskable interrupt that returned is not blamed",
        steps: || vec![Step::Do(Act::Nmi), timer(5 * MS), Step::SpinDeafForever],
        cause: Cause::HardLockup,
        says: "interrupts off for ",
        detected: 100 * MS..=200 * MS,
        configuration: &[],
    },
    Hang {
        name: "hang-halt",
        claim: "HLT with interrupts off is found at once",
        steps: || vec![Step::Do(Act::HaltDeaf)],
        cause: Cause::HaltedInterruptsOff,
        says: "HLT with interrupts off",
        detected: AT_ONCE,
        configuration: &[],
    },
    Hang {
        name: "hang-boot",
        claim: "a start that brings no user space ends at its limit",
        steps: || vec![Step::SleepForever],
        cause: Cause::BootTimeout,
        says: " ms after the start",
        detected: SECOND..=SECOND + 100 * MS,
        configuration: &[("watch.boot", "1s")],
    },
    Hang {
        name: "hang-user-space",
        claim: "a user space that stops its heartbeat is found after the limit",
        steps: || {
            let beat = Step::Ring(Doorbell::Heartbeat(Heartbeat::Beat));
            let life = vec![beat, Step::Sleep(Nanos(300 * MS))];
            vec![Step::Repeat(4, life), Step::SleepForever]
        },
        cause: Cause::UserSpaceHang,
        says: "no heartbeat for ",
        detected: SECOND..=SECOND + 100 * MS,
        configuration: &[("watch.heartbeat", "1s")],
    },
    Hang {
        name: "die-pages",
        claim: "a triple fault for ruined page tables is named after them, in 10 us",
        steps: || vec![Step::Do(Act::LosePages)],
        cause: Cause::PageTablesDestroyed,
        says: "page tables at 0x0 do not map",
        detected: AT_ONCE,
        configuration: &[],
    },
    Hang {
        name: "die-descriptors",
        claim: "a triple fault for ruined descriptors is named after them, in 10 us",
        steps: || vec![Step::Do(Act::LoseDescriptors)],
        cause: Cause::DescriptorTablesDestroyed,
        says: "gate 14 leads nowhere",
        detected: AT_ONCE,
        configuration: &[],
    },
    Hang {
        name: "die-violation",
        claim: "an access outside the partition ends the GPOS where that is configured",
        steps: || vec![Step::Do(Act::Touch(APIC_NEIGHBOUR)), Step::SleepForever],
        cause: Cause::PartitionViolation,
        says: "tried 0xfee01000",
        detected: AT_ONCE,
        configuration: &[("watch.violations", "fatal")],
    },
    Hang {
        name: "die-msr",
        claim: "a write to SVM's own registers ends the GPOS where that is configured",
        steps: || vec![Step::Do(Act::WriteMsr(0xc001_0117)), Step::SleepForever],
        cause: Cause::ForeignMsr,
        says: "tried 0xc0010117",
        detected: AT_ONCE,
        configuration: &[("watch.violations", "fatal")],
    },
];

/// Where only interrupt messages are taken.
const APIC_NEIGHBOUR: u32 = 0xfee0_1000;

const fn timer(time: u64) -> Step {
    Step::Do(Act::SetTimer(Nanos(time)))
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let hangs = HANGS.iter().map(|hang| Scenario {
        name: hang.name.into(),
        claim: hang.claim.into(),
        kernels: &[],
        seconds: 4,
        run: Box::new(|lab| find(lab, hang)),
    });
    let quiet = [
        Scenario {
            name: "watch-quiet".into(),
            claim: "long work with interrupts on, short work with them off, and sleep are no hang"
                .into(),
            kernels: &[],
            seconds: 10,
            run: Box::new(live),
        },
        Scenario {
            name: "watch-held".into(),
            claim: "a machine that is held still for five seconds is not taken for hung".into(),
            kernels: &[],
            seconds: 20,
            run: Box::new(held),
        },
        Scenario {
            name: "watch-foreign".into(),
            claim: "attempts on what is not the GPOS's are recorded a few times and do no harm"
                .into(),
            kernels: &[],
            seconds: 4,
            run: Box::new(reach),
        },
    ];
    hangs.chain(quiet).collect()
}

fn find(lab: &Laboratory, hang: &Hang) -> Result<()> {
    let mut run = IdleRun::new(hang.name, Application::package(APPLICATION), (hang.steps)());
    run.configuration.push(("recovery.limit", "2".into()));
    for (key, value) in hang.configuration {
        run.configuration.push((key, (*value).into()));
    }
    let run = run.run(lab)?;
    // It fails in the same way when it has been loaded again: twice in a row.
    let mut faults = 0;
    for report in &run.reports {
        let Report::Fault {
            cause,
            detect_ns,
            evidence,
            ..
        } = report
        else {
            continue;
        };
        faults += 1;
        let evidence = evidence.as_str();
        run.require(
            *cause == hang.cause && evidence.contains(hang.says),
            format!("taken for {cause}: {evidence}"),
        )?;
        run.require(
            hang.detected.contains(detect_ns),
            format!(
                "detection took {detect_ns} ns, {} to {} were expected",
                hang.detected.start(),
                hang.detected.end()
            ),
        )?;
    }
    run.require(faults == 2, format!("{faults} failures instead of two"))?;
    run.require_no_miss()
}

/// Lives as a loaded system does, for twelve seconds.
fn live(lab: &Laboratory) -> Result<()> {
    let steps = vec![
        Step::SpinDeaf(Nanos(2 * SECOND)),
        Step::Ring(Doorbell::Mark(Mark::UserspaceUp)),
        Step::Repeat(
            20,
            vec![
                timer(MS),
                Step::SpinDeaf(Nanos(80 * MS)),
                Step::Spin(Nanos(20 * MS)),
            ],
        ),
        Step::Spin(Nanos(5 * SECOND)),
        Step::Ring(Doorbell::Heartbeat(Heartbeat::Beat)),
        Step::Ring(Doorbell::Heartbeat(Heartbeat::End)),
        Step::Sleep(Nanos(3 * SECOND)),
        Step::Say("guest: done\n".into()),
        Step::PowerOff,
    ];
    let mut run = IdleRun::new("watch-quiet", Application::package(APPLICATION), steps);
    run.configuration.push(("watch.heartbeat", "1s".into()));
    let run = run.run(lab)?;
    run.require(run.said("guest: done"), "the guest did not come to its end")?;
    let alarm = run
        .reports
        .iter()
        .find(|report| matches!(report, Report::Fault { .. } | Report::Incident { .. }));
    run.require(alarm.is_none(), format!("a false alarm: {alarm:?}"))?;
    run.require_no_miss()
}

/// Works with interrupts off and on while its machine is stopped twice, on the wall clock.
fn held(lab: &Laboratory) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(120);
    let work = vec![
        timer(MS),
        Step::SpinDeaf(Nanos(20 * MS)),
        Step::Spin(Nanos(5 * MS)),
    ];
    let steps = vec![
        Step::Ring(Doorbell::Mark(Mark::UserspaceUp)),
        Step::Say("guest: up\n".into()),
        Step::Repeat(40, work.clone()),
        Step::Say("guest: half\n".into()),
        Step::Repeat(400, work),
        Step::Say("guest: done\n".into()),
        Step::PowerOff,
    ];
    let run = IdleRun::new("watch-held", Application::package(APPLICATION), steps);
    let (mut machine, folder) = run.machine(lab)?;
    machine.clock = Clock::Wall;
    let mut session = Session::start(&machine, &folder)?;
    let mut alarm = None;
    for place in ["guest: up", "guest: half", "guest: done"] {
        session.wait_for(place, LIMIT, |event| match event {
            Event::Console(line) => (line == place).then_some(()),
            Event::Report(report)
                if report.get("fault").is_some() || report.get("incident").is_some() =>
            {
                alarm = Some(report.clone());
                None
            }
            _ => None,
        })?;
        session.hold(Duration::from_secs(5))?;
    }
    session.wait_for("the end", LIMIT, |event| {
        matches!(event, Event::Ended(_)).then_some(())
    })?;
    ensure!(alarm.is_none(), "a false alarm: {alarm:?}");
    Ok(())
}

/// Reaches for memory and ports of others, more often than is recorded.
fn reach(lab: &Laboratory) -> Result<()> {
    const TRIES: u32 = 20;
    const RECORDED: usize = 8;
    const FIRMWARE_CONFIGURATION: u16 = 0x510;
    let steps = vec![
        Step::Ring(Doorbell::Mark(Mark::UserspaceUp)),
        Step::Repeat(
            TRIES,
            vec![
                Step::Do(Act::Touch(APIC_NEIGHBOUR)),
                Step::Do(Act::Out(FIRMWARE_CONFIGURATION, 1)),
            ],
        ),
        Step::Say("guest: done\n".into()),
        Step::PowerOff,
    ];
    let run = IdleRun::new("watch-foreign", Application::package(APPLICATION), steps).run(lab)?;
    run.require(run.said("guest: done"), "the guest did not come to its end")?;
    for (wanted, place) in [
        (Cause::PartitionViolation, "0xfee01000"),
        (Cause::ForeignPort, "0x510"),
    ] {
        let found = run.reports.iter().filter(|report| {
            matches!(report, Report::Incident { cause, evidence, .. }
                if *cause == wanted && evidence.as_str().contains(place))
        });
        let found = found.count();
        run.require(
            found == RECORDED,
            format!("{wanted} recorded {found} times instead of {RECORDED}"),
        )?;
    }
    run.require_no_miss()
}
