//! A snapshot for people (a page of text) and for programs (JSON with stable names).
//!
//! Both are made from the same `View`, so that neither shows what the other hides. A code that this
//! program does not know is shown as `unknown`, never as an error: the rest is still worth seeing.

use std::fmt::Write;

use darma_abi::shared::{FaultEntry, StatusSnapshot, TaskEntry};
use serde::Serialize;

/// What is shown. The JSON's names are these fields' names.
#[derive(Debug, Serialize)]
pub struct View {
    schema: u32,
    uptime_ns: u64,
    tsc_hz: u64,
    gpos: Gpos,
    last_fault: Option<Fault>,
    tasks: Vec<Task>,
    machinery: Figures,
}

#[derive(Debug, Serialize)]
struct Gpos {
    state: &'static str,
    boots: u32,
}

#[derive(Debug, Serialize)]
struct Fault {
    n: u32,
    cause: &'static str,
    announced: Option<&'static str>,
    at_ns: u64,
    detect_ns: Option<u64>,
    line: String,
}

#[derive(Debug, Serialize)]
struct Task {
    name: String,
    class: u32,
    period_ns: u64,
    runs: u64,
    overruns: u64,
    missed: u64,
    min_ns: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    irq_off_max_ns: u64,
    irq_off_section: String,
    dump_bytes: u64,
    exits: u64,
}

impl View {
    /// The view of `snapshot`.
    pub fn of(snapshot: &StatusSnapshot) -> Self {
        let body = snapshot.body();
        Self {
            schema: 1,
            uptime_ns: body.uptime_ns,
            tsc_hz: body.tsc_hz,
            gpos: Gpos {
                state: snapshot
                    .gpos_state()
                    .map_or("unknown", |state| state.name()),
                boots: body.gpos_boots,
            },
            last_fault: snapshot.last_fault().map(Fault::of),
            tasks: snapshot.tasks().iter().map(Task::of).collect(),
            machinery: Figures {
                irq_off_max_ns: body.machinery.irq_off_max_ns,
                irq_off_section: body.machinery.irq_off_section.as_str().into(),
                dump_bytes: body.machinery.dump_bytes,
                exits: body.machinery.exits,
            },
        }
    }

    /// As one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As a page of text; the table of tasks is 103 columns wide.
    pub fn text(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut page);
        page
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "Darma      up {}, time-stamp counter {} MHz",
            duration(self.uptime_ns),
            self.tsc_hz / 1_000_000
        )?;
        writeln!(
            out,
            "Linux      {}, start number {}",
            self.gpos.state, self.gpos.boots
        )?;
        match &self.last_fault {
            None => writeln!(out, "last fault none")?,
            Some(fault) => fault.write_text(out)?,
        }
        let machinery = &self.machinery;
        writeln!(
            out,
            "machinery  {} exits, interrupts off at most {} ({}), dump {} KiB",
            machinery.exits,
            duration(machinery.irq_off_max_ns),
            if machinery.irq_off_section.is_empty() {
                "-"
            } else {
                &machinery.irq_off_section
            },
            machinery.dump_bytes / 1024
        )?;
        if self.tasks.is_empty() {
            return writeln!(out, "tasks      none");
        }
        writeln!(out, "\nlatency from deadline to first instruction")?;
        writeln!(
            out,
            "{:<12} {:>5} {:>9} {:>9} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "task",
            "class",
            "period",
            "runs",
            "over",
            "missed",
            "min",
            "p50",
            "p99",
            "p99.9",
            "max"
        )?;
        for task in &self.tasks {
            writeln!(
                out,
                "{:<12} {:>5} {:>9} {:>9} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9}",
                task.name,
                task.class,
                if task.period_ns == 0 {
                    "-".into()
                } else {
                    duration(task.period_ns)
                },
                task.runs,
                task.overruns,
                task.missed,
                duration(task.min_ns),
                duration(task.p50_ns),
                duration(task.p99_ns),
                duration(task.p999_ns),
                duration(task.max_ns)
            )?;
        }
        Ok(())
    }
}

impl Fault {
    fn of(entry: &FaultEntry) -> Self {
        let announced = entry.announced_kind();
        Self {
            n: entry.sequence,
            cause: entry.known_cause().map_or("unknown", |cause| cause.name()),
            announced: announced.map(|kind| kind.name()),
            at_ns: entry.at_ns,
            detect_ns: announced.map(|_| entry.detect_ns),
            line: entry.line.as_str().into(),
        }
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "last fault number {}: {} at {}",
            self.n,
            self.cause,
            duration(self.at_ns)
        )?;
        if let (Some(kind), Some(detect)) = (self.announced, self.detect_ns) {
            write!(out, ", {} after the announced {kind}", duration(detect))?;
        }
        writeln!(out)?;
        if !self.line.is_empty() {
            writeln!(out, "           {}", self.line)?;
        }
        Ok(())
    }
}

impl Task {
    fn of(entry: &TaskEntry) -> Self {
        Self {
            name: entry.name.as_str().into(),
            class: entry.class,
            period_ns: entry.period_ns,
            runs: entry.runs,
            overruns: entry.overruns,
            missed: entry.missed,
            min_ns: entry.min_ns,
            p50_ns: entry.p50_ns,
            p99_ns: entry.p99_ns,
            p999_ns: entry.p999_ns,
            max_ns: entry.max_ns,
        }
    }
}

/// Nanoseconds in the unit in which they have one to three digits before the point.
pub(crate) fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => scaled(ns, 1_000, "us"),
        1_000_000..1_000_000_000 => scaled(ns, 1_000_000, "ms"),
        _ => scaled(ns, 1_000_000_000, "s"),
    }
}

fn scaled(ns: u64, unit: u64, name: &str) -> String {
    format!("{}.{:02} {name}", ns / unit, ns % unit * 100 / unit)
}

#[cfg(test)]
mod tests {
    use darma_abi::shared::{
        Cause, CrashKind, GposState, REGION_BYTES, StatusBody, StatusWriter, Text,
    };

    use super::*;

    fn snapshot(change: impl FnOnce(&mut StatusBody)) -> StatusSnapshot {
        let mut region = vec![0; usize::try_from(REGION_BYTES).unwrap()];
        let mut body = StatusBody::zeroed();
        body.uptime_ns = 12_345_678_901;
        body.gpos_state = GposState::Up.code();
        body.gpos_boots = 2;
        change(&mut body);
        let mut writer = StatusWriter::new();
        writer.initialise(region.as_mut_slice());
        writer.publish(&body, region.as_mut_slice());
        StatusSnapshot::read(region.as_slice()).unwrap()
    }

    #[test]
    fn durations_keep_their_digits_in_reach() {
        assert_eq!(duration(28), "28 ns");
        assert_eq!(duration(1_500), "1.50 us");
        assert_eq!(duration(60_000_000), "60.00 ms");
        assert_eq!(duration(12_345_678_901), "12.34 s");
    }

    #[test]
    fn a_status_without_fault_or_task_says_none() {
        let text = View::of(&snapshot(|_| ())).text();
        assert!(text.contains("last fault none"), "{text}");
        assert!(text.contains("tasks      none"), "{text}");
        assert!(text.contains("up, start number 2"), "{text}");
    }

    #[test]
    fn fault_and_task_are_shown_in_both_forms() {
        let view = View::of(&snapshot(|body| {
            body.fault.sequence = 1;
            body.fault.cause = Cause::Panic.code();
            body.fault.announced = CrashKind::SysrqC.code();
            body.fault.detect_ns = 4_200;
            body.fault.line = Text::new("sysrq triggered crash");
            body.task_count = 1;
            body.tasks[0].name = Text::new("control");
            body.tasks[0].max_ns = 912;
        }));
        let text = view.text();
        assert!(text.contains("panic") && text.contains("4.20 us after the announced sysrq-c"));
        assert!(
            text.contains("control") && text.contains("912 ns"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&view.json()).unwrap();
        assert_eq!(json["last_fault"]["cause"], "panic");
        assert_eq!(json["tasks"][0]["max_ns"], 912);
    }

    #[test]
    fn unknown_codes_are_shown_as_unknown() {
        let view = View::of(&snapshot(|body| {
            body.gpos_state = 77;
            body.fault.sequence = 1;
            body.fault.cause = 99;
            body.task_count = u32::MAX;
        }));
        let json: serde_json::Value = serde_json::from_str(&view.json()).unwrap();
        assert_eq!(json["gpos"]["state"], "unknown");
        assert_eq!(json["last_fault"]["cause"], "unknown");
        assert_eq!(json["tasks"].as_array().unwrap().len(), 16);
    }
}
