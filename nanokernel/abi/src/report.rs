//! What the nanokernel tells whoever watches its debug console: one event per line, `@` and then a
//! JSON object, between ordinary lines of text.
//!
//! ```text
//! @{"mark":{"mark":"userspace-up","boot":2,"at_ns":1834223112}}
//! ```
//!
//! The object has one key, the event's name, so that a reader knows the shape before it reads the
//! fields, and so that both ends need no allocation (an internal tag would make serde buffer). Text
//! is bounded [`Text`]: the nanokernel builds an event on its stack. Names are stable; fields are
//! only added, so a reader ignores those that it does not know.
//!
//! The nanokernel's side writes with `serde-json-core`; the host's reads with `serde_json`.

use serde::{Deserialize, Serialize};

use crate::codes::{Cause, CrashKind, ImageRole, LadderStep, Mark, Phase};
use crate::list::List;
use crate::text::Text;

/// What an event's line begins with.
pub const LINE_PREFIX: char = '@';
/// Room that any event's line needs, prefix and line end included, bytes.
pub const MAX_LINE_BYTES: usize = 1280;

/// A task's, section's or kind's name.
pub type Name = Text<24>;
/// What stood in a task's way, with its name.
pub type Phrase = Text<48>;
/// Buckets of a histogram: upper edge in nanoseconds, count.
pub type Buckets = List<(u32, u32), 16>;
/// Events of a trace: nanoseconds since the line's first, code of the kind, argument.
pub type TraceItems = List<(u32, u8, u32), 12>;
/// The `index` of the trace that belongs to no sample: the last events before the end.
pub const LAST_EVENTS: u32 = u32::MAX;
/// A line of text.
pub type Line = Text<120>;

/// One event. Times are nanoseconds since the nanokernel started, durations nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // reason: boxing needs an allocator; one lives at a time
pub enum Event {
    /// The GPOS was entered.
    Boot {
        /// Count of starts, from 1.
        n: u32,
        /// When its first instruction ran.
        at_ns: u64,
        /// From the decision to start it to its first instruction: check, copy, boot parameters.
        entry_ns: u64,
        /// What it was loaded from.
        #[serde(default)]
        image: ImageRole,
    },
    /// The GPOS's PCI functions were reset before it was loaded again. Counts of functions.
    Resets {
        /// The start that came before.
        boot: u32,
        /// Reset by themselves (function level reset).
        by_function: u32,
        /// Reset with the bus that they are on.
        by_bus: u32,
        /// Stopped, and left to their drivers to reset.
        left: u32,
        /// Given up: they did not stop, or did not come back. The log names them.
        quarantined: u32,
        /// What was waited for them after the capture.
        waited_ns: u64,
    },
    /// The recovery ladder took a step.
    Ladder {
        /// Which.
        step: LadderStep,
        /// Starts of the image that failed on their way up, within the window.
        failed_starts: u32,
        /// How long the step waits before the GPOS is loaded.
        wait_ns: u64,
        /// When it was decided.
        at_ns: u64,
    },
    /// The GPOS's user space made a point known.
    Mark {
        /// Which.
        mark: Mark,
        /// In which start of the GPOS.
        boot: u32,
        /// When.
        at_ns: u64,
    },
    /// The GPOS failed or ended.
    Fault {
        /// Count of failures, from 1.
        n: u32,
        /// In which start of the GPOS.
        boot: u32,
        /// Why.
        cause: Cause,
        /// What was announced before it, if anything was.
        announced: Option<CrashKind>,
        /// When it was detected.
        at_ns: u64,
        /// From the exit that carried the evidence to the verdict; of what does not happen, how long it
        /// had not.
        detect_ns: u64,
        /// From the announcement's mark to the detection: what the kernel itself did before it gave
        /// up, such as printing its panic, is in it. None without an announcement.
        since_announced_ns: Option<u64>,
        /// The instruction pointer of the GPOS.
        rip: u64,
        /// Lines of the kernel's log that were read out of guest memory.
        log_lines: u32,
        /// One line about it: the panic message, or what was detected where.
        line: Line,
        /// What was seen that led to the verdict, in words.
        #[serde(default)]
        evidence: Line,
        /// Where: the function that failed and its callers, by the dead kernel's own tables. Empty if
        /// these could not be read, or no kernel code ran.
        #[serde(default)]
        place: Line,
        /// The same for all failures of one origin; 0 if it is not known.
        #[serde(default)]
        fingerprint: u64,
    },
    /// Something was recorded that the GPOS lives on with, or that is no failure.
    Incident {
        /// In which start of the GPOS.
        boot: u32,
        /// What.
        cause: Cause,
        /// When it was seen.
        at_ns: u64,
        /// Which of its kind in this start, from 1.
        count: u32,
        /// What was seen, in words.
        evidence: Line,
    },
    /// The GPOS was captured and started again.
    Recovery {
        /// The failure that it follows.
        n: u32,
        /// Time to save registers, log and memory.
        capture_ns: u64,
        /// Time to check the image, put it in place and enter it.
        reload_ns: u64,
        /// When the GPOS's first instruction ran again.
        entered_at_ns: u64,
        /// Bytes that the dump takes in the store.
        dump_bytes: u64,
        /// Pages of memory in the dump, zero pages not counted.
        dump_pages: u64,
        /// The store was full before the memory was through.
        partial: bool,
        /// Of the capture: time to find and read the kernel's log.
        #[serde(default)]
        log_ns: u64,
        /// Of the capture: time to look through the memory.
        #[serde(default)]
        scan_ns: u64,
        /// Of the capture: time to copy and sum it, or to pack what would not have fitted.
        #[serde(default)]
        save_ns: u64,
    },
    /// A task's latencies under one condition, from the deadline to its first instruction.
    Task {
        /// The task.
        name: Name,
        /// Its period; 0 if it has none.
        period_ns: u64,
        /// Under which condition.
        phase: Phase,
        /// Measured activations.
        samples: u64,
        /// Activations that ended after their deadline, or never.
        missed: u64,
        /// Activations that came before the last had ended.
        overruns: u64,
        /// Least.
        min_ns: u64,
        /// Median.
        p50_ns: u64,
        /// 99th percentile.
        p99_ns: u64,
        /// 99.9th percentile.
        p999_ns: u64,
        /// Greatest.
        max_ns: u64,
    },
    /// A part of a task's histogram; all parts of one together are the whole.
    Histogram {
        /// The task.
        task: Name,
        /// Under which condition.
        phase: Phase,
        /// What was measured: `latency` or `response`.
        of: Name,
        /// Buckets that hold something, in rising order. The last one of the scale also counts
        /// what is longer: the maximum stands in the task's own line.
        buckets: Buckets,
    },
    /// One of the longest waits, and what stood in its way. Its trace follows.
    WorstSample {
        /// Numbers the worst samples of one report.
        index: u32,
        /// The task.
        task: Name,
        /// Its number in the trace.
        task_number: u32,
        /// Under which condition.
        phase: Phase,
        /// When it was due.
        released_at_ns: u64,
        /// From then to its first instruction.
        latency_ns: u64,
        /// What stood longest in its way.
        culprit: Phrase,
        /// How long that was.
        culprit_ns: u64,
        /// How little it was in another wait, if it is a part of every wait; 0 if it need not be at all.
        #[serde(default)]
        culprit_least_ns: u64,
    },
    /// A part of a worst sample's trace; the parts follow each other in time.
    TraceEvents {
        /// The sample, or [`LAST_EVENTS`].
        index: u32,
        /// When the first of these events was.
        from_ns: u64,
        /// The events. Codes are those of the trace's kinds; a reader leaves out what it does not know.
        events: TraceItems,
    },
    /// The name of a number in the traces.
    TraceName {
        /// Code of the kind whose argument it is.
        kind: u8,
        /// The number.
        number: u32,
        /// Its name.
        name: Name,
    },
    /// What a task did, besides its latencies.
    Response {
        /// The task.
        name: Name,
        /// Releases.
        activations: u64,
        /// Activations that came to their end.
        runs: u64,
        /// Activations that were stopped because their budget was over.
        budget_overruns: u64,
        /// Faults, budget overruns included.
        faults: u32,
        /// Greatest less least latency, under all phases.
        jitter_ns: u64,
        /// Release to end: median.
        p50_ns: u64,
        /// The same: 99.9th percentile.
        p999_ns: u64,
        /// The same: greatest.
        max_ns: u64,
    },
    /// A task faulted and was contained.
    TaskFault {
        /// The task.
        name: Name,
        /// What happened.
        kind: Name,
        /// What was done.
        action: Name,
        /// When.
        at_ns: u64,
        /// The instruction, 0 if it is not known.
        rip: u64,
        /// The address that a page fault touched, else 0.
        address: u64,
        /// It held a lock.
        in_lock: bool,
        /// Faults of this task so far.
        count: u32,
        /// What a panic said.
        line: Line,
    },
    /// Exits of the GPOS of one kind since the machine started.
    Exits {
        /// Which kind.
        kind: Name,
        /// How many.
        count: u64,
        /// When they were counted.
        at_ns: u64,
    },
    /// The longest undisturbed run so far of a path that has a budget.
    Path {
        /// Its name.
        name: Name,
        /// Its longest run.
        max_ns: u64,
    },
    /// The longest run so far of a section with interrupts off.
    IrqOff {
        /// Its name.
        section: Name,
        /// Its longest run.
        ns: u64,
    },
    /// Figures of the machinery, once.
    Figures {
        /// Code of nanokernel, RTOS and application that stays after the start, bytes.
        text_bytes: u64,
        /// Code of the RAS monitor, bytes.
        ras_text_bytes: u64,
        /// Code that only the start needs and that is unmapped after it, bytes.
        start_text_bytes: u64,
        /// Memory that the machinery keeps, besides RAM-disk image and dump store.
        reserved_bytes: u64,
        /// Frequency of the time-stamp counter, Hz.
        tsc_hz: u64,
        /// Exits from the GPOS so far.
        exits: u64,
        /// Accesses outside its partition since the machine started; each was answered as absent
        /// hardware.
        violations: u64,
        /// The guest-physical address of the last of them, 0 if there was none.
        last_violation: u64,
    },
    /// A line of the failed kernel's log, as read out of its memory.
    Log {
        /// The failure that it belongs to.
        n: u32,
        /// The kernel's own time stamp.
        kernel_ns: u64,
        /// Its level, 0 (emergency) to 7 (debug).
        level: u8,
        /// Its text, cut to the room that there is.
        line: Line,
    },
    /// Nothing follows: the machine stops.
    End {
        /// When.
        at_ns: u64,
        /// Why, in a word or two.
        reason: Name,
    },
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String;
    use std::vec::Vec;
    use std::{format, vec};

    use super::*;

    fn full<T: Copy + Default, const N: usize>(item: T) -> List<T, N> {
        let mut list = List::new();
        while list.push(item).is_ok() {}
        list
    }

    fn longest() -> Vec<Event> {
        let (name, line) = (Text::new(&"\"".repeat(200)), Text::new(&"\\".repeat(200)));
        let (n, boot, at_ns, ns) = (u32::MAX, u32::MAX, u64::MAX, u64::MAX);
        let cause = Cause::DescriptorTablesDestroyed;
        vec![
            Event::Resets {
                boot,
                by_function: n,
                by_bus: n,
                left: n,
                quarantined: n,
                waited_ns: ns,
            },
            Event::Ladder {
                step: LadderStep::TryRescue,
                failed_starts: n,
                wait_ns: ns,
                at_ns,
            },
            Event::Boot {
                image: ImageRole::Rescue,
                n,
                at_ns,
                entry_ns: ns,
            },
            Event::Mark {
                mark: Mark::CrashImminent,
                boot,
                at_ns,
            },
            Event::Fault {
                n,
                boot,
                cause,
                announced: Some(CrashKind::TripleFault),
                at_ns,
                detect_ns: ns,
                since_announced_ns: Some(ns),
                rip: ns,
                log_lines: n,
                line,
                evidence: line,
                place: line,
                fingerprint: ns,
            },
            Event::Incident {
                boot,
                cause,
                at_ns,
                count: n,
                evidence: line,
            },
            Event::Recovery {
                n,
                capture_ns: ns,
                reload_ns: ns,
                entered_at_ns: ns,
                dump_bytes: ns,
                dump_pages: ns,
                partial: false,
                log_ns: ns,
                scan_ns: ns,
                save_ns: ns,
            },
            Event::Task {
                name,
                period_ns: ns,
                phase: Phase::Recovery,
                samples: ns,
                missed: ns,
                overruns: ns,
                min_ns: ns,
                p50_ns: ns,
                p99_ns: ns,
                p999_ns: ns,
                max_ns: ns,
            },
            Event::Histogram {
                task: name,
                phase: Phase::Recovery,
                of: name,
                buckets: full((n, n)),
            },
            Event::WorstSample {
                index: n,
                task: name,
                task_number: n,
                phase: Phase::Recovery,
                released_at_ns: ns,
                latency_ns: ns,
                culprit: Text::new(&"\"".repeat(200)),
                culprit_ns: ns,
                culprit_least_ns: ns,
            },
            Event::TraceEvents {
                index: n,
                from_ns: ns,
                events: full((n, u8::MAX, n)),
            },
            Event::TraceName {
                kind: u8::MAX,
                number: n,
                name,
            },
            Event::Response {
                name,
                activations: ns,
                runs: ns,
                budget_overruns: ns,
                faults: n,
                jitter_ns: ns,
                p50_ns: ns,
                p999_ns: ns,
                max_ns: ns,
            },
            Event::TaskFault {
                name,
                kind: name,
                action: name,
                at_ns,
                rip: ns,
                address: ns,
                in_lock: false,
                count: n,
                line,
            },
            Event::Exits {
                kind: name,
                count: ns,
                at_ns,
            },
            Event::Path { name, max_ns: ns },
            Event::IrqOff { section: name, ns },
            Event::Figures {
                text_bytes: ns,
                ras_text_bytes: ns,
                start_text_bytes: ns,
                reserved_bytes: ns,
                tsc_hz: ns,
                exits: ns,
                violations: ns,
                last_violation: ns,
            },
            Event::Log {
                n,
                kernel_ns: ns,
                level: 255,
                line,
            },
            Event::End {
                at_ns,
                reason: name,
            },
        ]
    }

    #[test]
    fn what_the_nanokernel_writes_the_host_reads() {
        for event in longest() {
            let mut room = [0; MAX_LINE_BYTES - 2];
            let used = serde_json_core::to_slice(&event, &mut room).expect("fits");
            let json = core::str::from_utf8(&room[..used]).unwrap();
            assert_eq!(
                serde_json::from_str::<Event>(json).unwrap(),
                event,
                "{json}"
            );
        }
    }

    #[test]
    fn an_events_name_is_its_only_key() {
        let event = Event::Mark {
            mark: Mark::UserspaceUp,
            boot: 2,
            at_ns: 7,
        };
        let json: String = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"mark":{"mark":"userspace-up","boot":2,"at_ns":7}}"#
        );
    }

    #[test]
    fn an_unannounced_failure_says_null() {
        let json = r#"{"fault":{"n":1,"boot":1,"cause":"panic","announced":null,"at_ns":1,
            "detect_ns":9,"since_announced_ns":null,"rip":2,"log_lines":0,"line":"x","added_later":3}}"#;
        let event = serde_json::from_str::<Event>(json).unwrap();
        assert!(
            matches!(
                event,
                Event::Fault {
                    announced: None,
                    ..
                }
            ),
            "{}",
            format!("{event:?}")
        );
    }
}
