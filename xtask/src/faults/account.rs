//! Turns what a machine reports into outcomes: which start met which fault, what was found, what
//! became of it. A function of the report lines, without a machine.
//!
//! Fields are read by name and not by the report's type: a campaign is worth most while the
//! nanokernel changes, and what it adds must not stop the count.

use std::collections::BTreeMap;

use serde_json::Value;

use super::classes::Outlook;
use super::outcome::Outcome;
use super::plan::Plan;

/// The cause of an orderly restart, after which there is nothing to capture.
pub const RESTART: &str = "reboot";
/// Causes whose evidence is an event: the time from the exit that carried it is the detection's.
/// All others are found by looking: their time begins with the act where the act is sure to hang
/// Linux, and is the nanokernel's own figure where it may do so at any time later.
const EVENTS: &[&str] = &[
    "panic",
    "triple-fault",
    "halted-interrupts-off",
    "self-reset-keyboard",
    "self-reset-cf9",
    "self-reset-acpi",
    "self-reset-port92",
    "reboot",
    "partition-violation",
    "invalid-state",
    "descriptor-tables-destroyed",
    "page-tables-destroyed",
];

/// What has to be done about a report besides noting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Look at the dump of this failure, which belongs to this fault of the plan.
    CheckDump {
        /// The failure's number.
        failure: u64,
        /// The fault.
        fault: usize,
    },
    /// The machine has said its last.
    End,
}

/// The account of one machine.
pub struct Account {
    plan: Plan,
    /// What came of the faults, in the plan's order.
    pub outcomes: Vec<Outcome>,
    boot: u32,
    act_at: Option<u64>,
    /// Failures by number: the start in which each happened.
    failures: BTreeMap<u64, u32>,
    missed: BTreeMap<(String, String), u64>,
    blamed: u64,
    ended: bool,
}

impl Account {
    /// Nothing reported yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let numbers: Vec<u64> = plan.faults.iter().map(|seed| seed.number()).collect();
        let outcomes = plan
            .faults
            .iter()
            .enumerate()
            .map(|(at, seed)| Outcome::new(*seed, numbers[..at].to_vec()))
            .collect();
        Self {
            plan,
            outcomes,
            boot: 0,
            act_at: None,
            failures: BTreeMap::new(),
            missed: BTreeMap::new(),
            blamed: 0,
            ended: false,
        }
    }

    /// Faults whose recovery is seen.
    #[must_use]
    pub fn done(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.recovered)
            .count()
    }

    /// The fault that the machine is at; the number of faults when it is through.
    #[must_use]
    pub fn at(&self) -> usize {
        self.plan
            .start(self.boot.max(1))
            .map_or(self.outcomes.len(), |start| start.fault)
    }

    /// Whether the machine ended as it should: by the power-off behind the last fault.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ended && self.at() == self.outcomes.len()
    }

    /// The outcome of the fault that the machine is at, or was at last.
    pub fn current(&mut self) -> Option<&mut Outcome> {
        let at = self.at().min(self.outcomes.len().saturating_sub(1));
        self.outcomes.get_mut(at)
    }

    /// Notes a report.
    pub fn take(&mut self, report: &Value) -> Next {
        let Some((name, fields)) = report.as_object().and_then(|object| object.iter().next())
        else {
            return Next::Nothing;
        };
        let number = |key: &str| fields[key].as_u64().unwrap_or(0);
        match name.as_str() {
            "boot" => {
                self.boot = u32::try_from(number("n")).unwrap_or(u32::MAX);
                self.act_at = None;
            }
            "mark" => self.mark(fields["mark"].as_str().unwrap_or(""), number("at_ns")),
            "task" => self.task(fields),
            "task_fault" => self.failed("a task faulted"),
            "fault" => self.failure(fields),
            "incident" => self.incident(fields),
            "recovery" => return self.recovery(fields),
            "end" => {
                self.ended = true;
                self.blame();
                let through = self.at() == self.outcomes.len();
                if let (false, Some(outcome)) = (through, self.current()) {
                    let reason = fields["reason"].as_str().unwrap_or("an unknown reason");
                    outcome.cause.get_or_insert_with(|| reason.to_owned());
                }
                return Next::End;
            }
            _ => {}
        }
        Next::Nothing
    }

    /// Notes that the nanokernel itself went wrong.
    pub fn failed(&mut self, how: &str) {
        if let Some(outcome) = self.current() {
            outcome.failure.get_or_insert_with(|| how.to_owned());
        }
    }

    fn mark(&mut self, mark: &str, at_ns: u64) {
        match mark {
            "userspace-up" => {
                let at = self.at();
                for outcome in &mut self.outcomes[..at] {
                    outcome.recovered = true;
                }
            }
            "crash-imminent" => self.act_at = Some(at_ns),
            "phase-end" => {
                if self
                    .plan
                    .start(self.boot)
                    .is_some_and(|start| start.is_the_fault)
                    && let Some(outcome) = self.current()
                {
                    outcome.harmless = true;
                }
            }
            // Behind all figures of the start that has just come up.
            "bench-end" => self.blame(),
            _ => {}
        }
    }

    fn task(&mut self, fields: &Value) {
        let text = |key: &str| fields[key].as_str().unwrap_or("").to_owned();
        let missed = fields["missed"].as_u64().unwrap_or(0);
        self.missed.insert((text("name"), text("phase")), missed);
    }

    /// Gives the misses that are new to the fault that was dealt with last.
    fn blame(&mut self) {
        let all: u64 = self.missed.values().sum();
        let new = all.saturating_sub(self.blamed);
        self.blamed = all;
        let at = self.at().saturating_sub(1);
        if let Some(outcome) = self.outcomes.get_mut(at) {
            outcome.misses += new;
        }
    }

    fn failure(&mut self, fields: &Value) {
        let boot = u32::try_from(fields["boot"].as_u64().unwrap_or(0)).unwrap_or(0);
        self.failures
            .insert(fields["n"].as_u64().unwrap_or(0), boot);
        let Some(start) = self.plan.start(boot).filter(|start| start.is_the_fault) else {
            return;
        };
        let at_ns = fields["at_ns"].as_u64().unwrap_or(0);
        let since_act = self.act_at.map(|act| at_ns.saturating_sub(act));
        let outcome = &mut self.outcomes[start.fault];
        let cause = fields["cause"].as_str().unwrap_or("?").to_owned();
        if !outcome.harmless {
            outcome.since_act_ns = since_act;
            let sure = outcome.seed.class().outlook == Outlook::Fatal;
            outcome.detect_ns = if sure && !EVENTS.contains(&cause.as_str()) {
                since_act
            } else {
                fields["detect_ns"].as_u64()
            };
        }
        outcome.line = fields["line"].as_str().unwrap_or("").to_owned();
        outcome.cause = Some(cause);
    }

    /// What Linux lives on with, and an orderly restart, which is no failure: none is captured.
    fn incident(&mut self, fields: &Value) {
        let boot = u32::try_from(fields["boot"].as_u64().unwrap_or(0)).unwrap_or(0);
        let Some(start) = self.plan.start(boot).filter(|start| start.is_the_fault) else {
            return;
        };
        let cause = fields["cause"].as_str().unwrap_or("?");
        let outcome = &mut self.outcomes[start.fault];
        outcome.recorded.push(cause.to_owned());
        if cause == RESTART {
            let at_ns = fields["at_ns"].as_u64().unwrap_or(0);
            outcome.since_act_ns = self.act_at.map(|act| at_ns.saturating_sub(act));
            outcome.cause = Some(cause.to_owned());
        }
    }

    fn recovery(&mut self, fields: &Value) -> Next {
        let failure = fields["n"].as_u64().unwrap_or(0);
        let start = self
            .failures
            .get(&failure)
            .and_then(|boot| self.plan.start(*boot))
            .filter(|start| start.is_the_fault);
        match start {
            Some(start) if fields["dump_bytes"].as_u64().unwrap_or(0) > 0 => Next::CheckDump {
                failure,
                fault: start.fault,
            },
            _ => Next::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, Next};
    use crate::faults::classes::position;
    use crate::faults::plan::Plan;
    use crate::faults::seed::Seed;
    use serde_json::json;

    fn account(classes: &[&str]) -> Account {
        let seeds = classes
            .iter()
            .map(|name| Seed::new(position(name).expect("a class"), 5));
        Account::new(Plan::new(seeds.collect()))
    }

    fn die(account: &mut Account, boot: u32, cause: &str) -> Next {
        account.take(&json!({"boot": {"n": boot}}));
        account.take(&json!({"mark": {"mark": "crash-imminent", "boot": boot, "at_ns": 100}}));
        account.take(
            &json!({"fault": {"n": boot, "boot": boot, "cause": cause, "at_ns": 400,
            "detect_ns": 20, "line": "x"}}),
        );
        account.take(&json!({"recovery": {"n": boot, "dump_bytes": 4096}}))
    }

    fn up(account: &mut Account, boot: u32) {
        account.take(&json!({"boot": {"n": boot}}));
        account.take(&json!({"mark": {"mark": "userspace-up", "boot": boot, "at_ns": 900}}));
    }

    #[test]
    fn a_fault_is_followed_from_its_act_to_the_next_user_space() {
        let mut account = account(&["panic", "cli-spin"]);
        let next = die(&mut account, 1, "panic");
        assert_eq!(
            next,
            Next::CheckDump {
                failure: 1,
                fault: 0
            }
        );
        up(&mut account, 2);
        die(&mut account, 2, "hard-lockup");
        let [first, second] = &account.outcomes[..] else {
            panic!("two faults")
        };
        assert!(first.recovered && !second.recovered);
        assert_eq!((first.detect_ns, first.since_act_ns), (Some(20), Some(300)));
        assert_eq!(second.detect_ns, Some(300), "found by looking");
        up(&mut account, 3);
        account.take(&json!({"end": {"reason": "power-off"}}));
        assert!(account.is_complete() && account.done() == 2);
    }

    #[test]
    fn the_panic_before_a_crash_in_recovery_is_not_that_crash() {
        let mut account = account(&["recovery-crash"]);
        assert_eq!(die(&mut account, 1, "panic"), Next::Nothing);
        assert_eq!(account.outcomes[0].cause, None);
        die(&mut account, 2, "triple-fault");
        assert_eq!(account.outcomes[0].cause.as_deref(), Some("triple-fault"));
    }

    #[test]
    fn what_linux_survives_is_harmless_and_the_forced_panic_has_no_detection_time() {
        let mut account = account(&["flip-text"]);
        up(&mut account, 1);
        account.take(&json!({"mark": {"mark": "crash-imminent", "boot": 1, "at_ns": 1}}));
        account.take(&json!({"mark": {"mark": "phase-end", "boot": 1, "at_ns": 2}}));
        account.take(&json!({"fault": {"n": 1, "boot": 1, "cause": "panic", "detect_ns": 3}}));
        assert!(account.outcomes[0].harmless && account.outcomes[0].detect_ns.is_none());
    }

    #[test]
    fn an_orderly_restart_needs_no_dump_and_a_recorded_oops_is_no_end() {
        let mut account = account(&["reboot", "oops"]);
        up(&mut account, 1);
        account.take(&json!({"incident": {"boot": 1, "cause": "reboot", "at_ns": 5}}));
        up(&mut account, 2);
        account.take(&json!({"incident": {"boot": 2, "cause": "oops", "at_ns": 9}}));
        assert_eq!(account.outcomes[0].wrong(), None);
        assert_eq!(account.outcomes[1].recorded, ["oops"]);
        assert_eq!(account.outcomes[1].cause, None);
    }

    #[test]
    fn misses_are_the_fault_before_whose_recovery_they_were_counted() {
        let mut account = account(&["panic", "panic", "panic"]);
        let figures = |account: &mut Account, boot: u32, missed: u64| {
            up(account, boot);
            account.take(&json!({"task": {"name": "t", "phase": "recovery", "missed": missed}}));
            account.take(&json!({"mark": {"mark": "bench-end", "boot": boot}}));
        };
        figures(&mut account, 1, 0);
        die(&mut account, 1, "panic");
        figures(&mut account, 2, 2);
        die(&mut account, 2, "panic");
        figures(&mut account, 3, 3);
        let misses: Vec<u64> = account.outcomes.iter().map(|one| one.misses).collect();
        assert_eq!(misses, [2, 1, 0]);
    }

    #[test]
    fn a_machine_that_powers_off_in_the_middle_is_not_complete() {
        let mut account = account(&["port-fuzz", "panic"]);
        up(&mut account, 1);
        assert_eq!(
            account.take(&json!({"end": {"reason": "power-off"}})),
            Next::End
        );
        assert!(!account.is_complete());
        assert_eq!(account.outcomes[0].cause.as_deref(), Some("power-off"));
    }
}
