//! Linux dies and comes back, while the tasks keep every deadline.

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::shared::{Cause, CrashKind, Mark};

use super::{CLOUD, Scenario};
use crate::backtrace;
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;

struct Crash {
    kind: CrashKind,
    causes: &'static [Cause],
    /// Detection takes no longer, ns; none where no promise is made.
    detected_within_ns: Option<u64>,
    /// Where it happens; none where that is not ours to choose.
    function: Option<&'static str>,
}

/// A reset may take any of the ways that the kernel knows.
const RESETS: &[Cause] = &[
    Cause::SelfResetKeyboard,
    Cause::SelfResetCf9,
    Cause::SelfResetAcpi,
    Cause::SelfResetPort92,
];

const CRASHES: &[Crash] = &[
    Crash {
        kind: CrashKind::SysrqC,
        causes: &[Cause::Panic],
        detected_within_ns: Some(10_000),
        function: Some("sysrq_handle_crash"),
    },
    Crash {
        kind: CrashKind::NullDeref,
        causes: &[Cause::Panic],
        detected_within_ns: Some(10_000),
        function: Some("null_deref"),
    },
    Crash {
        kind: CrashKind::TripleFault,
        causes: &[Cause::TripleFault],
        detected_within_ns: Some(10_000),
        function: Some("triple_fault"),
    },
    Crash {
        kind: CrashKind::CliHlt,
        causes: &[Cause::HaltedInterruptsOff],
        detected_within_ns: None,
        function: Some("cli_hlt"),
    },
    Crash {
        kind: CrashKind::CliSpin,
        causes: &[Cause::HardLockup],
        // Twice the default limit.
        detected_within_ns: Some(200_000_000),
        function: Some("cli_spin"),
    },
    Crash {
        kind: CrashKind::Reset,
        causes: RESETS,
        detected_within_ns: None,
        function: None,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let small = Scenario {
        name: "crash-small-store".into(),
        claim: "a dump store that is too small gives a partial dump and costs nothing else".into(),
        kernels: CLOUD,
        seconds: 60,
        run: Box::new(survive_without_room),
    };
    let crashes = CRASHES.iter().map(|crash| Scenario {
        name: format!("crash-{}", crash.kind),
        claim: format!(
            "after {} Linux is captured whole, with the names of its stack, and comes back; no \
             deadline is missed",
            crash.kind
        ),
        kernels: CLOUD,
        seconds: 60,
        run: Box::new(|lab| survive(lab, crash)),
    });
    crashes.chain([small]).collect()
}

/// Less room than the kernel's image alone takes.
fn survive_without_room(lab: &Laboratory) -> Result<()> {
    let kind = CrashKind::SysrqC;
    let machine = machine("crash-small-store", kind).configure("dump.size", "24M");
    let run = machine.run(lab)?;
    let partial = run.reports.iter().any(|report| {
        matches!(report, Report::Recovery { partial: true, dump_bytes, dump_pages, .. }
            if *dump_pages > 0 && (16 << 20..24 << 20).contains(dump_bytes))
    });
    run.require(partial, "there is no partial dump that fills its store")?;
    run.require(run.userspace_ups() == 2, "Linux did not come back once")?;
    run.require_no_miss()
}

/// A machine whose dump store holds all of Linux's memory.
pub(super) fn machine(name: &str, kind: CrashKind) -> Experiment {
    Experiment::new(name, "crash-once")
        .append(&format!("darma.kind={kind}"))
        .configure("gpos.memory", "192M")
        .configure("dump.size", "208M")
}

fn survive(lab: &Laboratory, crash: &Crash) -> Result<()> {
    let kind = crash.kind;
    let run = machine(&format!("crash-{kind}"), kind).run(lab)?;
    let faults: Vec<_> = run
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::Fault {
                cause,
                announced,
                detect_ns,
                log_lines,
                line,
                ..
            } => Some((cause, announced, detect_ns, log_lines, line.as_str())),
            _ => None,
        })
        .collect();
    let [(cause, announced, detect_ns, log_lines, line)] = faults[..] else {
        return Err(run.failure(format!("{} failures instead of one", faults.len())));
    };
    run.require(
        crash.causes.contains(cause) && *announced == Some(kind),
        format!("{kind} was taken for {cause} (announced: {announced:?})"),
    )?;
    if let Some(limit) = crash.detected_within_ns {
        run.require(
            *detect_ns <= limit,
            format!("detection took {detect_ns} ns, {limit} are promised"),
        )?;
    }
    if let Some(function) = crash.function {
        backtrace::require(&run, function)?;
    }
    run.require(*log_lines > 0, "nothing of the dead kernel's log was read")?;
    run.require(!line.is_empty(), "the fault has no line that tells of it")?;
    let whole = run.reports.iter().any(|report| {
        matches!(report, Report::Recovery { partial: false, dump_bytes, dump_pages, .. }
            if *dump_bytes > 0 && *dump_pages > 0)
    });
    run.require(whole, "the dump is not whole")?;
    run.require(
        run.userspace_ups() == 2,
        format!(
            "user space came up {} times instead of twice",
            run.userspace_ups()
        ),
    )?;
    let done = run.reports.iter().any(|report| {
        matches!(
            report,
            Report::Mark {
                mark: Mark::BenchEnd,
                boot: 2,
                ..
            }
        )
    });
    run.require(done, "the second start did not come to its end")?;
    run.require_no_miss()
}
