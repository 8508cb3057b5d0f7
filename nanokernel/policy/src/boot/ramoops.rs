//! The dead kernel's log in the form in which the next one's stock `ramoops` driver looks for it, so
//! that it appears as `/sys/fs/pstore/dmesg-ramoops-0` without anything of ours in Linux.
//!
//! A kernel with that driver loaded writes such a record itself when it panics. Where it could not (a
//! hang, a triple fault, a panic before the driver was loaded) the nanokernel writes it, from the log
//! that it read out of the dead kernel's memory. What Linux wrote itself is never overwritten in the
//! same failure: it knows more.
//!
//! Layout (Linux 6.1, `fs/pstore/ram.c`, `fs/pstore/ram_core.c`; the same from 3.14 on): the area is cut
//! into records of equal size. A record is a ring buffer: 32-bit signature, start, size, then data;
//! the data are `====SECONDS.MICROSECONDS-D` (D: not compressed), a title line, the log.
//!
//! The area is Linux's to write: whatever stands in it is only ever compared and bounded here.

use core::fmt::Write;

use darma_abi::units::Nanos;
use heapless::{String, Vec};

/// The area, bytes.
pub const BYTES: u64 = 0x1_0000;
/// One record, bytes: a power of two, or the driver rounds it.
pub const RECORD_BYTES: u64 = 0x8000;
/// How many records there are.
pub const RECORDS: usize = 2;
/// What of a record tells whether Linux wrote it anew, bytes from its start: the ring's header, the
/// time with its microseconds, the title.
pub const GLANCE: usize = 64;

/// [`RECORD_BYTES`], for sizes in memory.
const RECORD_SIZE: usize = 0x8000;
const _: () = assert!(RECORD_SIZE as u64 == RECORD_BYTES && RECORDS as u64 * RECORD_BYTES == BYTES);
const RING_HEADER: usize = 12;
const SIGNATURE: u32 = u32::from_le_bytes(*b"DBGC");
const MARK: &[u8] = b"====";
/// Room for the texts before the log.
const HEAD: usize = 128;

/// The first bytes of a record.
pub type Glance = [u8; GLANCE];

/// What goes before the log into a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The bytes, from the record's start on.
    pub bytes: Vec<u8, HEAD>,
    /// How many of the log's last bytes fit behind them.
    pub log_bytes: usize,
}

/// Composes a record's head for the last `log` bytes of a log of the kernel that failed in start
/// `boot` for the reason `cause`, noticed `at`.
pub fn head(boot: u32, cause: &str, at: Nanos, log: usize) -> Head {
    let mut text: String<{ HEAD - RING_HEADER }> = String::new();
    let (seconds, micros) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000 / 1000);
    // The longest cause and numbers leave half of it.
    let _ = write!(text, "===={seconds}.{micros:06}-D\n{cause}#{boot} Part1\n");
    let room = (RECORD_SIZE - RING_HEADER).saturating_sub(text.len());
    let log_bytes = log.min(room);
    let size = u32::try_from(text.len() + log_bytes).unwrap_or(0);
    let mut bytes = Vec::new();
    for part in [&SIGNATURE.to_le_bytes(), &[0; 4], &size.to_le_bytes()] {
        let _ = bytes.extend_from_slice(part);
    }
    let _ = bytes.extend_from_slice(text.as_bytes());
    Head { bytes, log_bytes }
}

/// Which record the nanokernel writes after a failure, if any. `before` are the records' first bytes
/// when the kernel was started, `now` when it was found dead.
pub fn place(
    before: &[Glance; RECORDS],
    now: &[Glance; RECORDS],
    panicked: Panicked,
) -> Option<usize> {
    let written = |index: usize| {
        let (Some(old), Some(new)) = (before.get(index), now.get(index)) else {
            return true;
        };
        old != new && is_record(new)
    };
    let by_linux = (0..RECORDS).any(written);
    if by_linux && panicked == Panicked::Yes {
        return None;
    }
    (0..RECORDS).find(|index| !written(*index))
}

/// Whether the kernel came to its own panic, in which it writes its log if it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panicked {
    /// It did.
    Yes,
    /// It died otherwise.
    No,
}

/// Whether a record begins as one that the driver would show.
fn is_record(glance: &Glance) -> bool {
    let word = |at: usize| {
        let bytes = glance.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    word(0) == Some(SIGNATURE)
        && word(8).is_some_and(|size| size > 0 && u64::from(size) < RECORD_BYTES)
        && glance
            .get(RING_HEADER..)
            .is_some_and(|data| data.starts_with(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(head: &Head) -> Glance {
        let mut glance = [0; GLANCE];
        for (to, from) in glance.iter_mut().zip(&head.bytes) {
            *to = *from;
        }
        glance
    }

    #[test]
    fn a_record_is_what_the_driver_reads() {
        let head = head(7, "panic", Nanos(12_000_034_567), 100);
        assert_eq!(head.log_bytes, 100);
        let text = core::str::from_utf8(&head.bytes[RING_HEADER..]).unwrap();
        assert_eq!(text, "====12.000034-D\npanic#7 Part1\n");
        assert_eq!(head.bytes[..4], *b"DBGC");
        assert_eq!(head.bytes[4..8], [0; 4]);
        let size = u32::try_from(text.len() + 100).unwrap();
        assert_eq!(head.bytes[8..12], size.to_le_bytes());
        assert!(is_record(&glance(&head)));
    }

    #[test]
    fn a_long_log_is_cut_to_its_end_and_the_longest_head_fits() {
        let longest = "descriptor-tables-destroyed";
        let head = head(u32::MAX, longest, Nanos(u64::MAX), usize::MAX);
        let size = u32::from_le_bytes(head.bytes[8..12].try_into().unwrap());
        let filled = head.bytes.len() + head.log_bytes;
        assert_eq!(filled, RECORD_SIZE);
        assert_eq!(usize::try_from(size).unwrap() + RING_HEADER, RECORD_SIZE);
        assert!(head.bytes.ends_with(b"#4294967295 Part1\n"), "cut");
    }

    #[test]
    fn what_linux_wrote_in_its_panic_stays() {
        let empty = [[0; GLANCE]; RECORDS];
        let linux = glance(&head(1, "Panic", Nanos(5), 10));
        let ours = glance(&head(1, "panic", Nanos(6), 10));
        // Nothing written: ours goes first.
        assert_eq!(place(&empty, &empty, Panicked::Yes), Some(0));
        // Its own panic is there.
        assert_eq!(place(&empty, &[linux, empty[1]], Panicked::Yes), None);
        // It survived an oops, wrote that, and hung later: both are kept.
        assert_eq!(place(&empty, &[linux, empty[1]], Panicked::No), Some(1));
        assert_eq!(place(&empty, &[linux, linux], Panicked::No), None);
        // An older record of ours that nobody fetched gives way to the newer.
        assert_eq!(
            place(&[ours, empty[1]], &[ours, empty[1]], Panicked::No),
            Some(0)
        );
        // One that user space deleted is no record of Linux's.
        let mut zapped = ours;
        zapped[8..12].fill(0);
        assert_eq!(
            place(&[ours, empty[1]], &[zapped, empty[1]], Panicked::Yes),
            Some(0)
        );
    }

    #[test]
    fn scribble_is_no_record() {
        let empty = [[0; GLANCE]; RECORDS];
        let noise = [[0xa5; GLANCE]; RECORDS];
        assert_eq!(place(&empty, &noise, Panicked::Yes), Some(0));
        assert!(!is_record(&[0xff; GLANCE]));
    }
}
