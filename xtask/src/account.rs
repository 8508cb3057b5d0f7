//! What a run has reported so far: the nanokernel's events in their order, and questions about them.

use darma_abi::codes::{Cause, CrashKind, Mark, Phase};
use darma_abi::report::Event;
use serde_json::Value;

/// The events of one run.
#[derive(Clone, Debug, Default)]
pub struct Account {
    events: Vec<Event>,
    damaged: Vec<String>,
}

/// A failure of the GPOS, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Count of failures, from 1.
    pub n: u32,
    /// In which start of the GPOS.
    pub boot: u32,
    /// What was announced.
    pub announced: Option<CrashKind>,
    /// What was found.
    pub cause: Cause,
    /// When, on the machine's clock.
    pub at_ns: u64,
    /// From the exit that carried the evidence to the verdict.
    pub detect_ns: u64,
    /// Its line.
    pub line: String,
    /// Capture and reload, if they happened.
    pub recovery: Option<Reload>,
    /// From detection to user space of the next start, if that came.
    pub userspace_ns: Option<u64>,
}

/// Capture and reload of a failed GPOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Time to save registers, log and memory.
    pub capture_ns: u64,
    /// Time to check the image, put it in place and enter it.
    pub reload_ns: u64,
    /// Bytes of the dump.
    pub dump_bytes: u64,
    /// The dump store was too small.
    pub partial: bool,
}

/// Figures of the machinery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machinery {
    /// Code of nanokernel, RTOS and application that stays after the start, bytes.
    pub text_bytes: u64,
    /// Code of the RAS monitor, bytes.
    pub ras_text_bytes: u64,
    /// Code that is discarded after the start, bytes.
    pub start_text_bytes: u64,
    /// Memory kept, besides RAM-disk image and dump store, bytes.
    pub reserved_bytes: u64,
    /// Exits from the GPOS.
    pub exits: u64,
    /// Accesses of the GPOS outside its partition.
    pub violations: u64,
    /// Where the last of them went.
    pub last_violation: u64,
}

impl Account {
    /// Adds a report line's object; returns the event if it is one.
    pub fn add(&mut self, report: &Value) -> Option<&Event> {
        if let Ok(event) = serde_json::from_value(report.clone()) {
            self.events.push(event);
            self.events.last()
        } else {
            self.damaged.push(report.to_string());
            None
        }
    }

    /// Adds a line that began as a report and is none.
    pub fn add_damaged(&mut self, line: &str) {
        self.damaged.push(line.to_owned());
    }

    /// All events in the order in which they were reported.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Lines that were no events.
    #[must_use]
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// When the GPOS made this point known in this start.
    #[must_use]
    pub fn mark(&self, wanted: Mark, in_boot: u32) -> Option<u64> {
        self.events.iter().find_map(|event| match event {
            Event::Mark { mark, boot, at_ns } if *mark == wanted && *boot == in_boot => {
                Some(*at_ns)
            }
            _ => None,
        })
    }

    /// The failures, each with its recovery.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Fault {
                    n,
                    boot,
                    cause,
                    announced,
                    at_ns,
                    detect_ns,
                    line,
                    ..
                } => Some(Failure {
                    n: *n,
                    boot: *boot,
                    announced: *announced,
                    cause: *cause,
                    at_ns: *at_ns,
                    detect_ns: *detect_ns,
                    line: line.as_str().to_owned(),
                    recovery: self.recovery(*n),
                    userspace_ns: self
                        .mark(Mark::UserspaceUp, boot.saturating_add(1))
                        .and_then(|up| up.checked_sub(*at_ns)),
                }),
                _ => None,
            })
            .collect()
    }

    fn recovery(&self, of: u32) -> Option<Reload> {
        self.events.iter().find_map(|event| match event {
            Event::Recovery {
                n,
                capture_ns,
                reload_ns,
                dump_bytes,
                partial,
                ..
            } if *n == of => Some(Reload {
                capture_ns: *capture_ns,
                reload_ns: *reload_ns,
                dump_bytes: *dump_bytes,
                partial: *partial,
            }),
            _ => None,
        })
    }

    /// Name and period of every task, in the order of the reports.
    #[must_use]
    pub fn tasks(&self) -> Vec<(String, u64)> {
        let mut tasks: Vec<(String, u64)> = Vec::new();
        for event in &self.events {
            if let Event::Task {
                name, period_ns, ..
            } = event
                && !tasks.iter().any(|(known, _)| known == name.as_str())
            {
                tasks.push((name.as_str().to_owned(), *period_ns));
            }
        }
        tasks
    }

    /// The latest report of a task's latencies in a phase.
    #[must_use]
    pub fn latency(&self, task: &str, under: Phase) -> Option<&Event> {
        self.events.iter().rev().find(|event| {
            matches!(event, Event::Task { name, phase, .. }
                if *phase == under && name.as_str() == task)
        })
    }

    /// The latest figures of each section with interrupts off: name, longest run in ns.
    #[must_use]
    pub fn irq_off(&self) -> Vec<(String, u64)> {
        let mut sections: Vec<(String, u64)> = Vec::new();
        for event in &self.events {
            if let Event::IrqOff { section, ns } = event {
                match sections
                    .iter_mut()
                    .find(|(name, _)| name == section.as_str())
                {
                    Some((_, longest)) => *longest = *ns,
                    None => sections.push((section.as_str().to_owned(), *ns)),
                }
            }
        }
        sections
    }

    /// The machinery's figures, once reported.
    #[must_use]
    pub fn machinery(&self) -> Option<Machinery> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Figures {
                text_bytes,
                ras_text_bytes,
                start_text_bytes,
                reserved_bytes,
                exits,
                violations,
                last_violation,
                ..
            } => Some(Machinery {
                text_bytes: *text_bytes,
                ras_text_bytes: *ras_text_bytes,
                start_text_bytes: *start_text_bytes,
                reserved_bytes: *reserved_bytes,
                exits: *exits,
                violations: *violations,
                last_violation: *last_violation,
            }),
            _ => None,
        })
    }

    /// Time to verify, copy and enter the image at each start.
    #[must_use]
    pub fn entries(&self) -> Vec<u64> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Boot { entry_ns, .. } => Some(*entry_ns),
                _ => None,
            })
            .collect()
    }

    /// Why the run ended, if it has.
    #[must_use]
    pub fn end(&self) -> Option<String> {
        self.events.iter().rev().find_map(|event| match event {
            Event::End { reason, .. } => Some(reason.as_str().to_owned()),
            _ => None,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Account;
    use darma_abi::codes::{Cause, CrashKind, Phase};
    use serde_json::json;

    /// A run that starts, crashes once by `sysrq-c`, comes back and ends; with all figures.
    pub(crate) fn short_run() -> Account {
        let mut account = Account::default();
        let mut reports = vec![
            json!({"boot":{"n":1,"at_ns":100,"entry_ns":30}}),
            json!({"mark":{"mark":"userspace-up","boot":1,"at_ns":1_000}}),
            json!({"fault":{"n":1,"boot":1,"cause":"panic","announced":"sysrq-c","at_ns":5_000,
                "detect_ns":40,"since_announced_ns":9,"rip":7,"log_lines":3,"line":"sysrq"}}),
            json!({"recovery":{"n":1,"capture_ns":600,"reload_ns":30,"entered_at_ns":5_700,
                "dump_bytes":4096,"dump_pages":1,"partial":false}}),
            json!({"boot":{"n":2,"at_ns":5_700,"entry_ns":30}}),
            json!({"mark":{"mark":"userspace-up","boot":2,"at_ns":8_000}}),
        ];
        for phase in ["idle", "loaded", "recovery"] {
            reports.push(
                json!({"task":{"name":"control","period_ns":1000,"phase":phase,
                "samples":9,"missed":0,"overruns":0,"min_ns":1,"p50_ns":2,"p99_ns":3,
                "p999_ns":4,"max_ns":5}}),
            );
        }
        reports.extend([
            json!({"irq_off":{"section":"short","ns":3}}),
            json!({"irq_off":{"section":"long","ns":9}}),
            json!({"figures":{"text_bytes":77,"ras_text_bytes":33,"start_text_bytes":11,"reserved_bytes":88,"tsc_hz":1,"exits":2,
                "violations":0,"last_violation":0}}),
            json!({"end":{"at_ns":9_000,"reason":"power-off"}}),
        ]);
        for report in &reports {
            assert!(account.add(report).is_some(), "{report}");
        }
        account
    }

    #[test]
    fn a_failure_is_paired_with_its_recovery_and_the_next_user_space() {
        let account = short_run();
        let failures = account.failures();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].announced, Some(CrashKind::SysrqC));
        assert_eq!(failures[0].cause, Cause::Panic);
        assert_eq!(failures[0].recovery.map(|r| r.capture_ns), Some(600));
        assert_eq!(failures[0].userspace_ns, Some(3_000));
    }

    #[test]
    fn what_never_came_back_says_so() {
        let mut account = Account::default();
        account.add(
            &json!({"fault":{"n":1,"boot":1,"cause":"panic","announced":null,"at_ns":5,
            "detect_ns":1,"since_announced_ns":null,"rip":0,"log_lines":0,"line":""}}),
        );
        assert_eq!(account.failures()[0].recovery, None);
        assert_eq!(account.failures()[0].userspace_ns, None);
    }

    #[test]
    fn a_report_that_is_no_event_is_kept_as_a_finding() {
        let mut account = Account::default();
        assert!(account.add(&json!({"boot":{"n":"one"}})).is_none());
        assert_eq!(account.damaged().len(), 1);
    }

    #[test]
    fn each_phase_has_its_own_latencies() {
        let account = short_run();
        assert_eq!(account.tasks(), [("control".to_owned(), 1000)]);
        assert!(account.latency("control", Phase::Recovery).is_some());
        assert!(account.latency("other", Phase::Recovery).is_none());
    }
}
