//! What the nanokernel keeps of failures, for people and for programs.
//!
//! Most of the words are a dead kernel's: whatever a terminal would obey is shown as a question mark.

use std::fmt::Write;

use darma_abi::shared::Cause;
use darma_ras_model::fault_record::{FaultReader, FaultRecord, MiniDump};
use serde::Serialize;

use crate::status_view::duration;

/// One failure.
#[derive(Debug, Serialize)]
pub struct Fault {
    n: u64,
    cause: &'static str,
    boot: u64,
    at_ns: u64,
    /// 0: not known.
    detect_ns: u64,
    /// The GPOS went on.
    survived: bool,
    /// What failures of one origin have in common, hexadecimal.
    fingerprint: Option<String>,
    /// The how manieth of its kind.
    occurrence: u32,
    kernel: Option<String>,
    line: Option<String>,
    evidence: Option<String>,
    rip: u64,
    /// Pages that the dump lacks; none without a dump.
    lost_pages: Option<u64>,
    dump_bytes: u64,
    capture_ns: u64,
    backtrace: Vec<String>,
}

/// All failures that are kept, oldest first.
#[derive(Debug, Serialize)]
pub struct Faults {
    schema: u32,
    faults: Vec<Fault>,
}

impl Faults {
    /// What a fault store holds.
    pub fn of(reader: &FaultReader<'_>) -> Self {
        let mut faults: Vec<_> = reader
            .faults
            .records()
            .map(|(n, record)| Fault::of(n, record))
            .collect();
        faults.sort_by_key(|fault| fault.n);
        Self { schema: 1, faults }
    }

    /// As one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As a table, a line for each failure.
    pub fn text(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut page);
        page
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        if self.faults.is_empty() {
            return writeln!(out, "no failures are recorded");
        }
        writeln!(
            out,
            "{:>6} {:>5} {:>10} {:<22} {:>5} {:<8} reason",
            "number", "start", "at", "cause", "times", "dump"
        )?;
        for fault in &self.faults {
            writeln!(
                out,
                "{:>6} {:>5} {:>10} {:<22} {:>5} {:<8} {}",
                fault.n,
                fault.boot,
                duration(fault.at_ns),
                fault.cause,
                if fault.occurrence == 0 {
                    "-".into()
                } else {
                    fault.occurrence.to_string()
                },
                match fault.lost_pages {
                    None => "none",
                    Some(0) => "whole",
                    Some(_) => "partial",
                },
                fault.line.as_deref().unwrap_or("-")
            )?;
        }
        Ok(())
    }
}

impl Fault {
    /// What is recorded of failure `n`.
    pub fn of(n: u64, record: &FaultRecord) -> Self {
        let words = |text: Option<&str>| text.map(plain);
        Self {
            n,
            cause: Cause::from_code(record.cause).map_or("unknown", Cause::name),
            boot: record.boot,
            at_ns: record.detected_at_ns,
            detect_ns: record.detect_ns,
            survived: record.survived != 0,
            fingerprint: (record.fingerprint != 0).then(|| format!("{:016x}", record.fingerprint)),
            occurrence: record.occurrence,
            kernel: words(record.release_text()),
            line: words(record.line_text()),
            evidence: words(record.evidence_words()),
            rip: record.rip,
            lost_pages: (record.dump != 0).then_some(record.dump_lost_pages),
            dump_bytes: record.dump_bytes,
            capture_ns: record.capture_ns,
            backtrace: String::from_utf8_lossy(record.backtrace_text())
                .lines()
                .map(plain)
                .collect(),
        }
    }

    /// As one line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// All that is known of it; the log's tail and the registers while its minidump is kept.
    pub fn text(&self, minidump: Option<&MiniDump>) -> String {
        let mut page = String::new();
        let _ = self.write_text(minidump, &mut page);
        page
    }

    fn write_text(&self, minidump: Option<&MiniDump>, out: &mut String) -> std::fmt::Result {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        writeln!(out, "failure    {}: {}", self.n, self.cause)?;
        writeln!(out, "reason     {}", or_dash(&self.line))?;
        writeln!(out, "evidence   {}", or_dash(&self.evidence))?;
        writeln!(
            out,
            "when       {} after the machine's start, in start {} of Linux{}",
            duration(self.at_ns),
            self.boot,
            if self.survived { ", which went on" } else { "" }
        )?;
        writeln!(out, "kernel     {}", or_dash(&self.kernel))?;
        match &self.fingerprint {
            None => writeln!(out, "origin     not known")?,
            Some(origin) => writeln!(out, "origin     {origin}, seen {} times", self.occurrence)?,
        }
        match self.lost_pages {
            None => writeln!(out, "dump       none")?,
            Some(lost) => writeln!(
                out,
                "dump       {} KiB, {lost} pages lost, taken in {}",
                self.dump_bytes / 1024,
                duration(self.capture_ns)
            )?,
        }
        writeln!(out, "\nbacktrace, innermost first, from {:#x}", self.rip)?;
        if self.backtrace.is_empty() {
            writeln!(out, "  not known")?;
        }
        for frame in &self.backtrace {
            writeln!(out, "  {frame}")?;
        }
        let Some(minidump) = minidump else {
            return writeln!(
                out,
                "\nregisters and log are kept of the newest failures only, and not of this one any more"
            );
        };
        let r = &minidump.registers;
        writeln!(out, "\nregisters")?;
        for row in [
            [
                ("rax", r.rax),
                ("rbx", r.rbx),
                ("rcx", r.rcx),
                ("rdx", r.rdx),
            ],
            [
                ("rsi", r.rsi),
                ("rdi", r.rdi),
                ("rbp", r.rbp),
                ("rsp", r.rsp),
            ],
            [("r8", r.r8), ("r9", r.r9), ("r10", r.r10), ("r11", r.r11)],
            [
                ("r12", r.r12),
                ("r13", r.r13),
                ("r14", r.r14),
                ("r15", r.r15),
            ],
            [
                ("rip", r.rip),
                ("rfl", r.rflags),
                ("cr2", r.cr2),
                ("cr3", r.cr3),
            ],
        ] {
            for (name, value) in row {
                write!(out, "  {name:<3} {value:016x}")?;
            }
            writeln!(out)?;
        }
        writeln!(out, "\nlog")?;
        for line in String::from_utf8_lossy(minidump.log_text()).lines() {
            writeln!(out, "  {}", plain(line))?;
        }
        Ok(())
    }
}

/// The text without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use darma_ras_model::crc32c::software;
    use darma_ras_model::fault_record::FaultStore;
    use zerocopy::IntoBytes;

    fn store(write: impl FnOnce(&mut FaultStore<'_>)) -> Vec<u64> {
        let mut words = vec![0u64; (256 << 10) / 8];
        let mut store = FaultStore::new(words.as_mut_bytes(), software).expect("room");
        write(&mut store);
        words
    }

    fn two() -> Vec<u64> {
        store(|store| {
            for boot in 1..3 {
                let (record, minidump) = store.open().expect("room");
                record.cause = Cause::Panic.code();
                record.boot = boot;
                record.fingerprint = 0xabc;
                record.dump = boot;
                record.set_line("Oops\x1b[2J");
                record.backtrace[..6].copy_from_slice(b"panic\n");
                record.backtrace_bytes = 6;
                minidump.registers.rax = 0x77;
                minidump.log[..5].copy_from_slice(b"a\nb\x07\n");
                minidump.log_bytes = 5;
                store.seal();
            }
        })
    }

    #[test]
    fn failures_stand_in_their_order_and_are_counted_by_origin() {
        let words = two();
        let reader = FaultReader::new(words.as_bytes(), software).expect("a table");
        let faults = Faults::of(&reader);
        let json: serde_json::Value = serde_json::from_str(&faults.json()).expect("JSON");
        assert_eq!(json["faults"][1]["n"], 2);
        assert_eq!(json["faults"][1]["occurrence"], 2);
        assert_eq!(json["faults"][0]["fingerprint"], "0000000000000abc");
        assert!(faults.text().lines().count() == 3, "{}", faults.text());
    }

    #[test]
    fn a_dead_kernels_words_command_no_terminal() {
        let words = two();
        let reader = FaultReader::new(words.as_bytes(), software).expect("a table");
        let record = reader.faults.get(1).expect("there");
        let text = Fault::of(1, record).text(reader.minidumps.get(1));
        assert!(
            text.contains("Oops?[2J") && text.contains("  b?\n"),
            "{text}"
        );
        assert!(text.contains("rax 0000000000000077") && text.contains("  panic\n"));
        let kept_no_more = Fault::of(1, record).text(None);
        assert!(kept_no_more.contains("not of this one any more"));
    }

    #[test]
    fn nothing_recorded_says_so() {
        let words = store(|_| ());
        let reader = FaultReader::new(words.as_bytes(), software).expect("a table");
        assert_eq!(Faults::of(&reader).text(), "no failures are recorded\n");
    }
}
