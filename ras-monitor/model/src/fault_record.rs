//! What is kept of every failure, in memory that outlives the GPOS.
//!
//! | part | holds | dropped |
//! |---|---|---|
//! | [`FaultRecord`] | cause, evidence, place, backtrace, counts, where the dump is; 2.7 KiB | last |
//! | [`MiniDump`] | all registers, the log's tail, bytes of the stack; 13 KiB | first: oldest, when room is short |
//! | [`EventRecord`] | one line of the timeline: starts, failures, what was done | oldest |
//!
//! Each part is a [`Ring`] of slots in its own named region ([`regions`]); a slot counts only if magic,
//! version, size and CRC-32C fit, so a record that was damaged in place is skipped and counted. Failures
//! with the same fingerprint are one group: each record says the how manieth of its group it is, which
//! stays right after the first ones are gone.
//!
//! All numbers are little-endian; layouts are asserted and versioned. Text is padded with zeros.

mod minidump;
pub mod regions;
mod registers;
mod ring;
mod store;

pub use minidump::{LOG_BYTES, MiniDump, STACK_BYTES};
pub use registers::{Registers, Segment, Table};
pub use ring::{Record, Ring, RingReader};
pub use store::{FaultReader, FaultStore, Group};

use core::mem::offset_of;
use darma_abi::units::Nanos;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes kept of a backtrace's text.
pub const BACKTRACE_BYTES: usize = 2048;
/// Most bytes kept of a line.
pub const LINE_BYTES: usize = 160;

/// One failure. Neither `Copy` nor `Clone`: kilobytes are never moved by accident.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FaultRecord {
    /// [`darma_abi::shared::Cause::code`].
    pub cause: u32,
    /// [`darma_abi::shared::CrashKind::code`] if a crash had been announced, else 0. A label.
    pub announced: u32,
    /// Which boot of the GPOS failed, from 1.
    pub boot: u64,
    /// When the evidence was seen, in nanoseconds since the machine started.
    pub detected_at_ns: u64,
    /// From the failing act to its detection, in nanoseconds, where the act's time is known.
    pub detect_ns: u64,
    /// What was seen, by cause: pvpanic bits, exit code, violated address.
    pub evidence: u64,
    /// The hardware's code of the last exit.
    pub exit_code: u64,
    /// Its first information word.
    pub exit_info_1: u64,
    /// Its second information word.
    pub exit_info_2: u64,
    /// The instruction pointer at that point.
    pub rip: u64,
    /// The stack pointer.
    pub rsp: u64,
    /// The page-table root.
    pub cr3: u64,
    /// What failures of the same origin have in common: a hash of the cause and of the functions on
    /// the stack. 0: not known.
    pub fingerprint: u64,
    /// The how manieth with this fingerprint, from 1; 0 if that is not known.
    pub occurrence: u32,
    /// 1: the GPOS went on, the failure was noted only.
    pub survived: u32,
    /// The number of its dump in the dump store, from 1; 0: no dump.
    pub dump: u64,
    /// The dump's data, in bytes, when it was made.
    pub dump_bytes: u64,
    /// The dump's pages that are saved.
    pub dump_saved_pages: u64,
    /// The dump's pages that are lost; more than 0: partial.
    pub dump_lost_pages: u64,
    /// How long the capture took, in nanoseconds.
    pub capture_ns: u64,
    /// Records in the log's tail.
    pub log_records: u32,
    /// Records that could not be read; more than 0: the log has gaps.
    pub log_lost: u32,
    /// Bytes used of `backtrace`.
    pub backtrace_bytes: u32,
    /// Zero.
    pub reserved: u32,
    /// The kernel's release, from VMCOREINFO; empty if that was not found.
    pub release: [u8; 64],
    /// The reason in the kernel's words, or what was detected where.
    pub line: [u8; LINE_BYTES],
    /// What led to the cause, in words.
    pub evidence_text: [u8; LINE_BYTES],
    /// The backtrace, a line per frame, innermost first.
    pub backtrace: [u8; BACKTRACE_BYTES],
}

/// One point of the timeline.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct EventRecord {
    /// When, in nanoseconds since the machine started.
    pub at_ns: u64,
    /// [`EventKind::code`].
    pub kind: u32,
    /// Which boot of the GPOS it belongs to.
    pub boot: u32,
    /// A failure's number, or 0.
    pub fault: u64,
}

/// What an [`EventRecord`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The machine started: times begin anew.
    MachineStart = 1,
    /// The GPOS was entered.
    Boot = 2,
    /// It reached user space.
    UserSpace = 3,
    /// It failed.
    Fault = 4,
    /// It is held down.
    Held = 5,
    /// It ended by itself.
    Off = 6,
}

impl EventKind {
    /// The number that stands for it.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The kind with this number, if there is one.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::MachineStart,
            2 => Self::Boot,
            3 => Self::UserSpace,
            4 => Self::Fault,
            5 => Self::Held,
            6 => Self::Off,
            _ => return None,
        })
    }
}

const _: () = {
    assert!(offset_of!(FaultRecord, detected_at_ns) == 16);
    assert!(offset_of!(FaultRecord, rip) == 64);
    assert!(offset_of!(FaultRecord, fingerprint) == 88);
    assert!(offset_of!(FaultRecord, occurrence) == 96);
    assert!(offset_of!(FaultRecord, dump) == 104);
    assert!(offset_of!(FaultRecord, log_records) == 144);
    assert!(offset_of!(FaultRecord, release) == 160);
    assert!(offset_of!(FaultRecord, line) == 224);
    assert!(offset_of!(FaultRecord, backtrace) == 544);
    assert!(size_of::<FaultRecord>() == 544 + BACKTRACE_BYTES);
    assert!(size_of::<EventRecord>() == 24);
};

impl Record for FaultRecord {
    const MAGIC: u64 = u64::from_le_bytes(*b"DARMAFLT");
    const VERSION: u32 = 2;
}

impl Record for EventRecord {
    const MAGIC: u64 = u64::from_le_bytes(*b"DARMAEVT");
    const VERSION: u32 = 1;
}

impl FaultRecord {
    /// The backtrace's text.
    pub fn backtrace_text(&self) -> &[u8] {
        let used = usize::try_from(self.backtrace_bytes).unwrap_or(BACKTRACE_BYTES);
        self.backtrace.get(..used).unwrap_or(&self.backtrace)
    }

    /// The reason, if there is one.
    pub fn line_text(&self) -> Option<&str> {
        text(&self.line)
    }

    /// What led to the cause, if that was noted.
    pub fn evidence_words(&self) -> Option<&str> {
        text(&self.evidence_text)
    }

    /// The kernel's release, if it is known.
    pub fn release_text(&self) -> Option<&str> {
        text(&self.release)
    }

    /// Sets the kernel's release, cut to what fits.
    pub fn set_release(&mut self, release: &str) {
        fill(&mut self.release, release);
    }

    /// Sets the reason, cut to what fits.
    pub fn set_line(&mut self, line: &str) {
        fill(&mut self.line, line);
    }

    /// Sets what led to the cause, cut to what fits.
    pub fn set_evidence(&mut self, words: &str) {
        fill(&mut self.evidence_text, words);
    }

    /// When the evidence was seen.
    pub const fn detected_at(&self) -> Nanos {
        Nanos(self.detected_at_ns)
    }
}

/// Text up to the first zero; `None` if there is none or it is not UTF-8.
fn text(field: &[u8]) -> Option<&str> {
    let used = field.split(|byte| *byte == 0).next()?;
    core::str::from_utf8(used)
        .ok()
        .filter(|text| !text.is_empty())
}

/// Puts as many whole characters into a field as fit.
fn fill(field: &mut [u8], text: &str) {
    field.fill(0);
    let mut end = text.len().min(field.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (to, from) in field.iter_mut().zip(text.bytes().take(end)) {
        *to = from;
    }
}

#[cfg(test)]
mod tests;
