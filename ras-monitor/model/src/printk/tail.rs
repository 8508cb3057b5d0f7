//! The last records of the log as lines of text, the way `dmesg` shows them.
//!
//! The buffer is filled from its end with the newest record first, then moved to the front: one
//! pass, and the oldest line that does not fit whole is left out.

use super::{Log, Record};
use crate::memory::GuestPhysRead;

/// `[seconds.micros] `, with room for all of 64 bits of nanoseconds.
const STAMP_MAX: usize = 32;
/// The longest text of a record that is shown (the kernel's own limit is 1024 minus a prefix).
const LINE_MAX: usize = 1024;

/// What the reading of the tail brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Bytes of ASCII text at the start of the buffer, oldest line first.
    pub bytes: usize,
    /// Records among them.
    pub records: u32,
    /// Descriptors passed that held no consistent record: the text has gaps.
    pub lost: u32,
}

impl Tail {
    /// Whether something that should be there is missing.
    pub const fn is_partial(&self) -> bool {
        self.lost > 0
    }
}

impl<M: GuestPhysRead> Log<'_, M> {
    /// Writes as many of the newest records as fit into `out`.
    pub fn tail(&self, out: &mut [u8]) -> Tail {
        let mut tail = Tail::default();
        let mut start = out.len();
        let mut text = [0; LINE_MAX];
        for age in 0..self.span() {
            let Some(record) = self.record(age, &mut text) else {
                tail.lost = tail.lost.saturating_add(1);
                continue;
            };
            let Some(text) = text.get(..record.bytes) else {
                break;
            };
            let Some(before) = prepend(out, start, b"\n") else {
                break;
            };
            let Some(before) = prepend(out, before, text) else {
                break;
            };
            let (stamp, stamp_bytes) = stamp(&record);
            let stamp = stamp.get(..stamp_bytes).unwrap_or(&[]);
            let Some(before) = prepend(out, before, stamp) else {
                break;
            };
            start = before;
            tail.records = tail.records.saturating_add(1);
        }
        tail.bytes = out.len().saturating_sub(start);
        if start <= out.len() {
            out.copy_within(start.., 0);
        }
        tail
    }
}

/// Copies `piece` so that it ends at `end`; the new start, or `None` if there is no room.
fn prepend(out: &mut [u8], end: usize, piece: &[u8]) -> Option<usize> {
    let start = end.checked_sub(piece.len())?;
    out.get_mut(start..end)?.copy_from_slice(piece);
    Some(start)
}

/// `[   12.345678] ` and its length.
fn stamp(record: &Record) -> ([u8; STAMP_MAX], usize) {
    use core::fmt::Write;
    struct Line {
        bytes: [u8; STAMP_MAX],
        used: usize,
    }
    impl Write for Line {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            let end = self.used.saturating_add(text.len());
            let room = self.bytes.get_mut(self.used..end).ok_or(core::fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.used = end;
            Ok(())
        }
    }
    let micros = record.at.0 / 1000;
    let mut line = Line {
        bytes: [0; STAMP_MAX],
        used: 0,
    };
    // The longest stamp has 26 bytes, so this cannot fail; if it did, the line would be shorter.
    let _ = write!(
        line,
        "[{:5}.{:06}] ",
        micros / 1_000_000,
        micros % 1_000_000
    );
    (line.bytes, line.used)
}

/// What the kernel gave as its reason, if these lines hold a panic: the text after "Kernel panic -
/// not syncing: " on the newest such line.
pub fn panic_message(lines: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"Kernel panic - not syncing: ";
    // The end marker repeats the reason between dashes; the line that states it does not.
    lines.rsplit(|byte| *byte == b'\n').find_map(|line| {
        let at = line.windows(MARK.len()).position(|window| window == MARK)?;
        let before = line.get(..at)?;
        let reason = line.get(at.checked_add(MARK.len())?..)?;
        (!before.ends_with(b"---[ end ")).then_some(reason)
    })
}
