//! The kernel's command line: the image's own words, then what the nanokernel tells the kernel.
//!
//! The command line is the one channel that every Linux reads from its first instruction on and shows
//! to its user space (`/proc/cmdline`), with no driver of ours:
//!
//! * `darma.boot=N`: the count of starts since the machine started, from 1;
//! * `darma.reason=WORD`: why the start before ended: a [`Cause`](darma_abi::codes::Cause)'s name,
//!   or `first`; after somebody's command `try-again` or `try-rescue`;
//! * `ramoops.mem_address= .mem_size= .record_size=`, and no room for its other logs: where the stock
//!   `ramoops` driver finds the dead kernel's log, unless the image's own words speak of `ramoops.`
//!   themselves.
//!
//! What does not fit the kernel's limit is left out, the last first: the image's words and the count
//! are worth more than the rest.

use core::fmt::Write;

use heapless::{String, Vec};

use super::ramoops;
use super::span::Span;

/// Longest command line: what Linux takes on x86 (2047 bytes and a NUL).
pub const LONGEST: usize = 2048;
/// The most bytes that [`compose`] appends.
pub const APPENDED: usize = 256;

/// What the kernel is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Which start this is, from 1.
    pub boot: u32,
    /// Why the one before ended.
    pub reason: &'a str,
    /// Where the records for `ramoops` lie, if there is such a place.
    pub ramoops: Option<Span>,
}

/// The command line for one start: `own`, then what `told` says, at most `limit` bytes.
pub fn compose(own: &[u8], told: &Told<'_>, limit: usize) -> Vec<u8, LONGEST> {
    let mut line = Vec::new();
    let limit = limit.min(LONGEST - 1);
    add(&mut line, own, limit);
    let mut words: String<APPENDED> = String::new();
    // Each of the three fits: tested with the longest.
    let _ = write!(words, " darma.boot={}", told.boot);
    add(&mut line, words.as_bytes(), limit);
    words.clear();
    let _ = write!(words, " darma.reason={}", told.reason);
    add(&mut line, words.as_bytes(), limit);
    let speaks_of_it = own.windows(8).any(|window| window == b"ramoops.");
    if let Some(place) = told.ramoops.filter(|_| !speaks_of_it) {
        words.clear();
        let _ = write!(
            words,
            " ramoops.mem_address={:#x} ramoops.mem_size={:#x} ramoops.record_size={:#x} \
             ramoops.console_size=0 ramoops.ftrace_size=0 ramoops.pmsg_size=0",
            place.base(),
            place.size(),
            ramoops::RECORD_BYTES
        );
        add(&mut line, words.as_bytes(), limit);
    }
    line
}

/// Appends `words` whole or not at all.
fn add(line: &mut Vec<u8, LONGEST>, words: &[u8], limit: usize) {
    if line.len().saturating_add(words.len()) <= limit {
        // Checked against less than the room.
        let _ = line.extend_from_slice(words);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use darma_abi::codes::Cause;
    use std::string::String as Heap;

    fn line(own: &str, told: &Told<'_>, limit: usize) -> Heap {
        Heap::from_utf8(compose(own.as_bytes(), told, limit).to_vec()).unwrap()
    }

    const TOLD: Told<'_> = Told {
        boot: 3,
        reason: "panic",
        ramoops: None,
    };

    #[test]
    fn the_kernel_is_told_its_number_and_why_the_last_one_ended() {
        assert_eq!(
            line("console=ttyS0", &TOLD, 2047),
            "console=ttyS0 darma.boot=3 darma.reason=panic"
        );
    }

    #[test]
    fn ramoops_is_told_unless_the_image_has_its_own_mind() {
        let told = Told {
            ramoops: Span::new(0x1fe0_0000, ramoops::BYTES),
            ..TOLD
        };
        let said = line("quiet", &told, 2047);
        assert!(said.contains(
            " ramoops.mem_address=0x1fe00000 ramoops.mem_size=0x10000 ramoops.record_size=0x8000 "
        ));
        let own = "quiet ramoops.mem_size=0x1000";
        assert!(!line(own, &told, 2047).contains("mem_address"));
    }

    #[test]
    fn what_is_appended_fits_its_room_and_what_does_not_fit_the_kernel_is_left_out() {
        for cause in Cause::ALL {
            let told = Told {
                boot: u32::MAX,
                reason: cause.name(),
                ramoops: Span::new(0x000f_ffff_fff0_0000, ramoops::BYTES),
            };
            let whole = line("", &told, 2047);
            assert!(whole.len() <= APPENDED, "{}", whole.len());
            assert!(whole.ends_with("pmsg_size=0"));
        }
        assert_eq!(line("abc", &TOLD, 17), "abc darma.boot=3");
        assert_eq!(line("abc", &TOLD, 2), "");
    }
}
