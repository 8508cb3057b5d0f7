//! A task that faults is stopped alone, recorded, and treated as declared; the others and the GPOS go
//! on as if nothing had happened.
//!
//! The application is `tests/task-faults`: a victim in the middle, `steady` above it and `witness` below,
//! all sharing one counter. What the victim does is written into the image before the run.

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::shared::{Doorbell, Mark, Phase};
use xtask::idle_guest::{self, Step};
use xtask::image::Application;

use super::Scenario;
use crate::idle_run::{IdleRun, ticks};
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// Milliseconds, and ticks, of the guest's life.
const LIFE: u32 = 60;
/// `steady` starts no later after its release than this, ns, whatever happens below it.
const LATEST: u64 = 1_000;
/// Sound runs of a victim before each fault.
const SOUND_RUNS: u64 = 4;
const ALWAYS: u32 = 0x80;

/// A way to fault, as the application and the report call it.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    code: u32,
    reported: &'static str,
    in_lock: bool,
    /// It may hit between any two stores, and in a lock that means everybody who shares the data.
    anywhere: bool,
    /// Only a task that computes with the FPU can.
    hard_only: bool,
}

const fn kind(name: &'static str, code: u32, reported: &'static str) -> Kind {
    Kind {
        name,
        code,
        reported,
        in_lock: false,
        anywhere: false,
        hard_only: false,
    }
}

const fn anywhere(kind: Kind) -> Kind {
    Kind {
        anywhere: true,
        ..kind
    }
}

const fn in_lock(kind: Kind) -> Kind {
    Kind {
        in_lock: true,
        ..kind
    }
}

const fn hard_only(kind: Kind) -> Kind {
    Kind {
        hard_only: true,
        ..kind
    }
}

const KINDS: [Kind; 11] = [
    kind("divide-error", 1, "divide-error"),
    kind("invalid-instruction", 2, "invalid-instruction"),
    kind("general-protection", 3, "general-protection"),
    anywhere(kind("stack-overflow", 4, "stack-overflow")),
    kind("wild-pointer", 5, "page-fault"),
    kind("panic", 6, "panic"),
    in_lock(kind("panic-in-lock", 7, "panic")),
    anywhere(kind("endless-loop", 8, "budget-overrun")),
    in_lock(anywhere(kind("endless-loop-in-lock", 9, "budget-overrun"))),
    hard_only(kind("x87-exception", 10, "x87-exception")),
    in_lock(anywhere(kind(
        "stack-overflow-in-lock",
        11,
        "stack-overflow",
    ))),
];

/// What is declared to happen after a fault, and what the report then says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Restart,
    Degrade,
    StopAll,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Restart, Self::Degrade, Self::StopAll];

    const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Degrade => "degrade",
            Self::StopAll => "stop-all",
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Restart => "restarted",
            Self::Degrade => "stopped",
            Self::StopAll => "all-stopped",
        }
    }
}

/// A task of the application that can be told to fault.
struct Victim {
    name: &'static str,
    place: u32,
    policy: Policy,
    hard: bool,
}

const VICTIMS: [Victim; 6] = [
    victim("soft-restart", 2, Policy::Restart, false),
    victim("soft-degrade", 3, Policy::Degrade, false),
    victim("soft-stop-all", 4, Policy::StopAll, false),
    victim("hard-restart", 5, Policy::Restart, true),
    victim("hard-degrade", 6, Policy::Degrade, true),
    victim("hard-stop-all", 7, Policy::StopAll, true),
];

const fn victim(name: &'static str, place: u32, policy: Policy, hard: bool) -> Victim {
    Victim {
        name,
        place,
        policy,
        hard,
    }
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = Policy::ALL
        .into_iter()
        .map(|policy| Scenario {
            name: format!("task-faults-{}", policy.name()),
            claim: format!(
                "each kind of fault stops its task alone, which is then {}; the GPOS goes on",
                policy.action()
            ),
            kernels: &[],
            seconds: 25,
            run: Box::new(move |lab| every_kind(lab, policy)),
        })
        .collect();
    all.push(Scenario {
        name: "task-faults-given-up".into(),
        claim: "a task that faults at every run is not restarted for ever".into(),
        kernels: &[],
        seconds: 3,
        run: Box::new(give_up),
    });
    all.push(Scenario {
        name: "task-faults-none".into(),
        claim: "the tasks of the fault scenarios are sound until one is told to fault".into(),
        kernels: &[],
        seconds: 3,
        run: Box::new(|lab| {
            let run = run(lab, "none", None)?;
            run.require(faults(&run).is_empty(), "a task faulted unasked")?;
            others_go_on(&run)
        }),
    });
    all
}

/// One kind after another, in a soft and in a hard task where both can: what one leaves behind
/// would otherwise hide behind the next.
fn every_kind(lab: &Laboratory, policy: Policy) -> Result<()> {
    for victim in VICTIMS.iter().filter(|victim| victim.policy == policy) {
        for kind in KINDS.iter().filter(|kind| victim.hard || !kind.hard_only) {
            contained(lab, victim, *kind)?;
        }
    }
    Ok(())
}

fn contained(lab: &Laboratory, victim: &Victim, kind: Kind) -> Result<()> {
    // Shared data that may be half-written stops all who could read it, whatever is declared.
    let policy = if kind.in_lock && kind.anywhere {
        Policy::StopAll
    } else {
        victim.policy
    };
    let name = format!("{}-{}", victim.name, kind.name);
    let run = run(lab, &name, Some(victim.place | kind.code << 8))?;
    let faults = faults(&run);
    let strange = faults.iter().find(|fault| {
        fault.task != victim.name
            || fault.kind != kind.reported
            || fault.action != policy.action()
            || fault.in_lock != kind.in_lock
    });
    if let Some(fault) = strange {
        return Err(run.failure(format!(
            "{} in {}: reported as {fault:?}",
            kind.name, victim.name
        )));
    }
    let count = faults.len() as u64;
    let enough = match policy {
        // A restarted victim faults again after so many sound runs, if its state was put back.
        Policy::Restart => count >= 4,
        Policy::Degrade | Policy::StopAll => count == 1,
    };
    run.require(
        enough,
        format!("{} in {}: {count} faults", kind.name, victim.name),
    )?;
    let (activations, runs) = activity(&run, victim.name);
    let sound = count * SOUND_RUNS;
    let as_declared = match policy {
        Policy::Restart => (sound..=sound + SOUND_RUNS).contains(&runs),
        Policy::Degrade | Policy::StopAll => runs == SOUND_RUNS,
    };
    run.require(
        as_declared,
        format!(
            "{} ran to its end {runs} times of {activations} beside {count} faults",
            victim.name
        ),
    )?;
    if policy == Policy::StopAll {
        let (activations, _) = activity(&run, "steady");
        // The victim has the period of two runs of `steady`.
        return run.require(
            activations <= 2 * (SOUND_RUNS + 1) + 1,
            format!("steady was released {activations} times though all tasks were stopped"),
        );
    }
    others_go_on(&run)
}

fn give_up(lab: &Laboratory) -> Result<()> {
    let run = run(lab, "given-up", Some(2 | (1 | ALWAYS) << 8))?;
    let faults = faults(&run);
    let actions: Vec<&str> = faults.iter().map(|fault| fault.action.as_str()).collect();
    run.require(
        actions.len() == 8
            && actions.last() == Some(&"given-up")
            && actions.iter().rev().skip(1).all(|one| *one == "restarted"),
        format!("after faults in a row: {actions:?}"),
    )?;
    others_go_on(&run)
}

/// Runs the application with this selection. The GPOS has to live through it.
fn run(lab: &Laboratory, name: &str, selection: Option<u32>) -> Result<Transcript> {
    // The mark ends the phase of loading: from here on latencies are those of an idle GPOS.
    let mut steps = vec![Step::Ring(Doorbell::Mark(Mark::UserspaceUp))];
    steps.extend(idle_guest::ticking(LIFE));
    let mut run = IdleRun::new(
        format!("task-faults-{name}"),
        Application::package("darma-task-faults"),
        steps,
    );
    run.words
        .extend(selection.map(|selection| ("DARMA_SELECTION", selection)));
    let run = run.run(lab)?;
    let (seen, done) = ticks(&run);
    run.require(
        done && seen == LIFE as usize,
        format!("{name}: the guest said {seen} ticks of {LIFE}, end reached: {done}"),
    )?;
    Ok(run)
}

/// The tasks beside the victim missed nothing and were not late.
fn others_go_on(run: &Transcript) -> Result<()> {
    for (name, period_ms) in [("steady", 1), ("witness", 5)] {
        let (activations, runs) = activity(run, name);
        run.require(
            activations >= u64::from(LIFE / period_ms) && runs + 1 >= activations,
            format!("{name} ran {runs} times of {activations}"),
        )?;
        for one in run.latencies().iter().filter(|one| one.task == name) {
            let judged = name == "steady" && one.phase == Phase::Idle;
            run.require(
                one.missed == 0 && (!judged || one.samples > 0 && one.max_ns <= LATEST),
                format!(
                    "{name} missed {} of {}, latest {} ns",
                    one.missed, one.samples, one.max_ns
                ),
            )?;
        }
    }
    Ok(())
}

/// How often a task was released and how often it came to its end.
fn activity(run: &Transcript, task: &str) -> (u64, u64) {
    let found = run.reports.iter().rev().find_map(|report| match report {
        Report::Response {
            name,
            activations,
            runs,
            ..
        } if name.as_str() == task => Some((*activations, *runs)),
        _ => None,
    });
    found.unwrap_or_default()
}

/// A contained fault, as reported.
#[derive(Debug)]
struct Reported {
    task: String,
    kind: String,
    action: String,
    in_lock: bool,
}

fn faults(run: &Transcript) -> Vec<Reported> {
    run.reports
        .iter()
        .filter_map(|report| match report {
            Report::TaskFault {
                name,
                kind,
                action,
                in_lock,
                ..
            } => Some(Reported {
                task: name.as_str().to_owned(),
                kind: kind.as_str().to_owned(),
                action: action.as_str().to_owned(),
                in_lock: *in_lock,
            }),
            _ => None,
        })
        .collect()
}
