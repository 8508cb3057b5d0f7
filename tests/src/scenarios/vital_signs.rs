//! What only the kernel's own variables tell, read from outside: panics without a driver that tells of
//! them, soft lockups, oopses that Linux survives, a restart on purpose.

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::shared::Cause;

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

const SECOND: u64 = 1_000_000_000;

/// What becomes of the first start.
enum Found {
    /// It ends in one failure, seen within so many ns.
    Failure(u64),
    /// It is recorded and lived with, or no failure: so many starts reach user space.
    Incident { starts: usize },
}

struct Act {
    name: &'static str,
    claim: &'static str,
    /// A word of the test module, or `reboot`.
    act: &'static str,
    words: &'static str,
    cause: Cause,
    /// A part of the evidence.
    says: &'static str,
    found: Found,
}

const ACTS: &[Act] = &[
    Act {
        name: "vital-panic",
        claim: "a panic that no driver tells of is found in the kernel's own flag",
        act: "panic",
        words: "module_blacklist=pvpanic,pvpanic_pci,pvpanic_mmio",
        cause: Cause::Panic,
        says: "panic() was entered",
        found: Found::Failure(SECOND),
    },
    Act {
        name: "vital-soft-lockup",
        claim: "a kernel that takes its tick and does nothing else is found within 4 s",
        act: "preempt-spin",
        words: "",
        cause: Cause::SoftLockup,
        says: "one process in the kernel for ",
        found: Found::Failure(4 * SECOND),
    },
    Act {
        name: "vital-exit-storm",
        claim: "a standstill in a storm of exits is named after the storm",
        act: "exit-storm",
        words: "",
        cause: Cause::ExitStorm,
        says: " exits by ",
        found: Found::Failure(4 * SECOND),
    },
    Act {
        name: "vital-oops",
        claim: "an oops that Linux survives is recorded, and Linux goes on",
        act: "null-deref",
        words: "",
        cause: Cause::Oops,
        says: "die_counter is 1",
        found: Found::Incident { starts: 1 },
    },
    Act {
        name: "vital-reboot",
        claim: "an orderly restart is no failure: no dump, no wait, the next start",
        act: "reboot",
        words: "",
        cause: Cause::Reboot,
        says: "announced in system_state",
        found: Found::Incident { starts: 2 },
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let acts = ACTS.iter().map(|act| Scenario {
        name: act.name.into(),
        claim: act.claim.into(),
        kernels: CLOUD,
        seconds: 60,
        run: Box::new(|lab| perform(lab, act)),
    });
    let early = Scenario {
        name: "vital-early".into(),
        claim: "a panic before any driver and any user space is found, twice in a row".into(),
        kernels: CLOUD,
        seconds: 60,
        run: Box::new(die_early),
    };
    acts.chain([early]).collect()
}

/// The failures: cause, time, evidence.
fn failures(run: &Transcript) -> Vec<(Cause, u64, &str)> {
    let failures = run.reports.iter().filter_map(|report| match report {
        Report::Fault {
            cause,
            detect_ns,
            evidence,
            ..
        } => Some((*cause, *detect_ns, evidence.as_str())),
        _ => None,
    });
    failures.collect()
}

fn perform(lab: &Laboratory, act: &Act) -> Result<()> {
    let run = Experiment::new(act.name, "act-once")
        .append(&format!("darma.act={} {}", act.act, act.words))
        .configure("dump.size", "0")
        .run(lab)?;
    let failures = failures(&run);
    let starts = match act.found {
        Found::Failure(within) => {
            let [(cause, detect_ns, evidence)] = failures[..] else {
                return Err(run.failure(format!("not one failure: {failures:?}")));
            };
            run.require(
                cause == act.cause && evidence.contains(act.says) && detect_ns <= within,
                format!("taken for {cause} after {detect_ns} ns: {evidence}"),
            )?;
            2
        }
        Found::Incident { starts } => {
            run.require(failures.is_empty(), format!("a failure: {failures:?}"))?;
            let recorded = run.reports.iter().any(|report| {
                matches!(report, Report::Incident { cause, evidence, count: 1, .. }
                    if *cause == act.cause && evidence.as_str().contains(act.says))
            });
            run.require(recorded, format!("no {} was recorded", act.cause))?;
            starts
        }
    };
    let ups = run.userspace_ups();
    run.require(
        ups == starts,
        format!("user space came up {ups} times instead of {starts}"),
    )?;
    run.require_no_miss()
}

fn die_early(lab: &Laboratory) -> Result<()> {
    // No such first process, and no root file system to look for another.
    let run = Experiment::new("vital-early", "none")
        .append("rdinit=/nowhere")
        .configure("dump.size", "0")
        .configure("recovery.limit", "2")
        .run(lab)?;
    let failures = failures(&run);
    let told = failures
        .iter()
        .all(|(cause, _, evidence)| *cause == Cause::Panic && evidence.contains("panic()"));
    run.require(
        failures.len() == 2 && told,
        format!("not two panics: {failures:?}"),
    )?;
    run.require(run.userspace_ups() == 0, "there was a user space")?;
    run.require_no_miss()
}
