//! `demo.json`: the figures of a run under names that stay, and whether the run kept its promises.
//!
//! The fields are documented in `docs/demo-json.md`. Names are only added, never changed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use darma_abi::codes::{Cause, CrashKind, Phase};
use darma_abi::report::Event;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::qemu::Clock;

/// Version of the names below.
pub const SCHEMA: u32 = 1;

/// The whole of `demo.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where the figures were taken.
    pub tier: String,
    /// As `uname -r` prints it.
    pub kernel: String,
    /// Each real-time task.
    pub tasks: Vec<Task>,
    /// Each failure, in order.
    pub recoveries: Vec<Recovery>,
    /// The same machine without Darma, from power-on to user space; 0 if it was not measured.
    pub machine_reboot_ns: u64,
    /// The longest section with interrupts off.
    pub irq_off_max: IrqOff,
    /// Machine code of the image.
    pub text_bytes: u64,
}

/// A real-time task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its period; 0 if it has none.
    pub period_ns: u64,
    /// Its latencies by condition.
    pub phases: Phases,
}

/// Latencies by condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Linux without load.
    pub idle: Latency,
    /// Linux under load.
    pub loaded: Latency,
    /// From the detection of a failure until user space is back.
    pub recovery: Latency,
}

impl Phases {
    /// Each with its name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Latency); 3] {
        [
            (Phase::Idle.name(), self.idle),
            (Phase::Loaded.name(), self.loaded),
            (Phase::Recovery.name(), self.recovery),
        ]
    }
}

/// From the deadline to the task's first instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Measured activations.
    pub samples: u64,
    /// Activations that ended after their deadline, or never.
    pub missed: u64,
    /// Least.
    pub min_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Greatest.
    pub max_ns: u64,
}

/// A failure and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// What was provoked; `unannounced` if nothing was.
    pub kind: String,
    /// What the nanokernel found.
    pub cause: String,
    /// From the exit that carried the evidence to the verdict.
    pub detect_ns: u64,
    /// Saving registers, log and memory; 0 if it did not happen.
    pub capture_ns: u64,
    /// Checking and placing the image, entering the kernel; 0 if it did not happen.
    pub reload_ns: u64,
    /// From the detection to user space again; 0 if it did not come.
    pub userspace_ns: u64,
    /// User space came back.
    pub recovered: bool,
}

/// A section with interrupts off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrqOff {
    /// Its longest run.
    pub ns: u64,
    /// Its name.
    pub section: String,
}

impl Figures {
    /// Draws the figures from what a run reported.
    #[must_use]
    pub fn of(account: &Account, clock: Clock, kernel: &str, machine_reboot_ns: u64) -> Self {
        let (section, ns) = account
            .irq_off()
            .into_iter()
            .max_by_key(|(_, ns)| *ns)
            .unwrap_or_default();
        Self {
            schema: SCHEMA,
            tier: clock.tier(),
            kernel: kernel.to_owned(),
            tasks: account
                .tasks()
                .into_iter()
                .map(|(name, period_ns)| Task {
                    phases: Phases {
                        idle: latency(account, &name, Phase::Idle),
                        loaded: latency(account, &name, Phase::Loaded),
                        recovery: latency(account, &name, Phase::Recovery),
                    },
                    name,
                    period_ns,
                })
                .collect(),
            recoveries: account
                .failures()
                .into_iter()
                .map(|failure| Recovery {
                    kind: failure
                        .announced
                        .map_or("unannounced", CrashKind::name)
                        .into(),
                    cause: failure.cause.name().into(),
                    detect_ns: failure.detect_ns,
                    capture_ns: failure.recovery.map_or(0, |it| it.capture_ns),
                    reload_ns: failure.recovery.map_or(0, |it| it.reload_ns),
                    userspace_ns: failure.userspace_ns.unwrap_or(0),
                    recovered: failure.recovery.is_some() && failure.userspace_ns.is_some(),
                })
                .collect(),
            machine_reboot_ns,
            irq_off_max: IrqOff { ns, section },
            text_bytes: account.machinery().unwrap_or_default().text_bytes,
        }
    }

    /// Deadlines missed by all tasks in all phases.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.latencies().map(|it| it.missed).sum()
    }

    /// Activations measured, of all tasks in all phases.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.latencies().map(|it| it.samples).sum()
    }

    fn latencies(&self) -> impl Iterator<Item = Latency> {
        self.tasks
            .iter()
            .flat_map(|task| task.phases.named().map(|(_, it)| it))
    }
}

fn latency(account: &Account, task: &str, phase: Phase) -> Latency {
    match account.latency(task, phase) {
        Some(&Event::Task {
            samples,
            missed,
            min_ns,
            p50_ns,
            p99_ns,
            p999_ns,
            max_ns,
            ..
        }) => Latency {
            samples,
            missed,
            min_ns,
            p50_ns,
            p99_ns,
            p999_ns,
            max_ns,
        },
        _ => Latency::default(),
    }
}

/// Writes figures as indented JSON with a line end.
///
/// # Errors
/// The file cannot be written.
pub fn write(figures: &impl Serialize, file: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(figures)?;
    text.push('\n');
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// What the run was to do.
#[derive(Clone, Debug)]
pub struct Promise {
    /// The crashes, in their order.
    pub kinds: Vec<CrashKind>,
    /// What drove time: on the wall clock a missed deadline may be the host's doing.
    pub clock: Clock,
    /// Whether a phase without load was part of it.
    pub idle: bool,
    /// Whether the machine was to end.
    pub end: bool,
}

/// What of the promise was not kept, a sentence each. Empty: the run succeeded.
#[must_use]
pub fn broken(promise: &Promise, account: &Account, figures: &Figures) -> Vec<String> {
    let mut list = Vec::new();
    let failures = account.failures();
    for (at, kind) in promise.kinds.iter().enumerate() {
        let number = at + 1;
        let Some(failure) = failures.get(at) else {
            list.push(format!("crash {number}, {kind}, was not detected"));
            continue;
        };
        if failure.announced != Some(*kind) || !is_found_as(*kind, failure.cause) {
            list.push(format!(
                "crash {number} was to be {kind}, and was found as {} ({})",
                failure.cause, failure.line
            ));
        }
        match failure.recovery {
            None => list.push(format!("Linux was not reloaded after crash {number}, {kind}")),
            Some(reload) if reload.partial => list.push(format!(
                "the dump of crash {number}, {kind}, is incomplete: the dump store was too small"
            )),
            Some(_) if failure.userspace_ns.is_none() => list.push(format!(
                "Linux was reloaded after crash {number}, {kind}, and did not come back to user space"
            )),
            Some(_) => {}
        }
    }
    for failure in failures.iter().skip(promise.kinds.len()) {
        list.push(format!(
            "Linux failed once more, unasked: {} in start {} ({})",
            failure.cause, failure.boot, failure.line
        ));
    }
    if figures.tasks.is_empty() {
        list.push("no task reported its latencies".into());
    }
    for task in &figures.tasks {
        for (phase, latency) in task.phases.named() {
            if latency.samples == 0 && (promise.idle || phase != Phase::Idle.name()) {
                list.push(format!(
                    "task {} has no samples in phase {phase}",
                    task.name
                ));
            }
            if latency.missed > 0 && promise.clock != Clock::Wall {
                list.push(format!(
                    "task {} missed {} deadlines in phase {phase}",
                    task.name, latency.missed
                ));
            }
        }
    }
    match account.end().as_deref() {
        Some("power-off") => {}
        None if !promise.end => {}
        Some(other) => list.push(format!(
            "the run ended with `{other}` and not with Linux's power-off"
        )),
        None => list.push("the run ended before its last report".into()),
    }
    for line in account.damaged() {
        list.push(format!("a report was unreadable: {line}"));
    }
    list
}

/// Whether a crash of this kind, rightly detected, has this cause.
fn is_found_as(kind: CrashKind, cause: Cause) -> bool {
    match kind {
        CrashKind::SysrqC | CrashKind::NullDeref => cause == Cause::Panic,
        CrashKind::TripleFault => cause == Cause::TripleFault,
        CrashKind::CliHlt => cause == Cause::HaltedInterruptsOff,
        // Which register the kernel writes first is the kernel's choice.
        CrashKind::Reset => matches!(
            cause,
            Cause::SelfResetKeyboard
                | Cause::SelfResetCf9
                | Cause::SelfResetAcpi
                | Cause::SelfResetPort92
        ),
        CrashKind::CliSpin => cause == Cause::HardLockup,
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Promise, broken};
    use crate::account::{Account, tests::short_run};
    use crate::qemu::Clock;
    use darma_abi::codes::CrashKind;
    use serde_json::json;

    fn promise(kinds: &[CrashKind]) -> Promise {
        Promise {
            kinds: kinds.to_vec(),
            clock: Clock::REFERENCE,
            idle: true,
            end: true,
        }
    }

    fn judged(promise: &Promise, account: &Account) -> Vec<String> {
        let figures = Figures::of(account, promise.clock, "6.1", 10_000);
        broken(promise, account, &figures)
    }

    #[test]
    fn the_json_has_exactly_the_documented_names() {
        let figures = Figures::of(&short_run(), Clock::REFERENCE, "6.1", 10_000);
        let latency = json!({"samples":9,"missed":0,"min_ns":1,"p50_ns":2,"p99_ns":3,
            "p999_ns":4,"max_ns":5});
        assert_eq!(
            serde_json::to_value(&figures).expect("plain data"),
            json!({"schema":1,"tier":"icount-shift1","kernel":"6.1",
                "tasks":[{"name":"control","period_ns":1000,
                    "phases":{"idle":latency,"loaded":latency,"recovery":latency}}],
                "recoveries":[{"kind":"sysrq-c","cause":"panic","detect_ns":40,"capture_ns":600,
                    "reload_ns":30,"userspace_ns":3000,"recovered":true}],
                "machine_reboot_ns":10_000,
                "irq_off_max":{"ns":9,"section":"long"},"text_bytes":77})
        );
    }

    #[test]
    fn a_run_that_did_all_breaks_nothing() {
        assert_eq!(
            judged(&promise(&[CrashKind::SysrqC]), &short_run()),
            [""; 0]
        );
    }

    #[test]
    fn a_crash_that_did_not_happen_or_was_mistaken_is_named() {
        let missing = judged(
            &promise(&[CrashKind::SysrqC, CrashKind::Reset]),
            &short_run(),
        );
        assert_eq!(missing, ["crash 2, reset, was not detected"]);
        let mistaken = judged(&promise(&[CrashKind::CliHlt]), &short_run());
        assert!(mistaken[0].contains("found as panic"), "{mistaken:?}");
        let unasked = judged(&promise(&[]), &short_run());
        assert!(unasked[0].contains("unasked"), "{unasked:?}");
    }

    #[test]
    fn a_missed_deadline_counts_only_where_time_is_counted() {
        let mut account = short_run();
        account.add(
            &json!({"task":{"name":"control","period_ns":1000,"phase":"loaded","samples":9,
            "missed":2,"overruns":0,"min_ns":1,"p50_ns":2,"p99_ns":3,"p999_ns":4,"max_ns":5}}),
        );
        let mut promise = promise(&[CrashKind::SysrqC]);
        assert!(judged(&promise, &account)[0].contains("missed 2 deadlines in phase loaded"));
        promise.clock = Clock::Wall;
        assert!(judged(&promise, &account).is_empty());
    }

    #[test]
    fn a_kept_machine_need_not_end() {
        let mut promise = promise(&[]);
        let says_end = |list: &[String]| list.iter().any(|line| line.contains("last report"));
        assert!(says_end(&judged(&promise, &Account::default())));
        promise.end = false;
        assert!(!says_end(&judged(&promise, &Account::default())));
    }

    #[test]
    fn an_empty_run_says_what_is_missing() {
        let list = judged(&promise(&[CrashKind::SysrqC]), &Account::default());
        assert!(list.iter().any(|line| line.contains("not detected")));
        assert!(list.iter().any(|line| line.contains("no task reported")));
        assert!(list.iter().any(|line| line.contains("last report")));
    }
}
