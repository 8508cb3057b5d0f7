//! VMCOREINFO: the kernel's own description of itself, made for crash tools.
//!
//! The kernel keeps an ELF note named "VMCOREINFO" whose text has one `KEY=value` per line: symbol
//! addresses, structure sizes and offsets, the KASLR displacement. It is allocated with whole pages
//! (`alloc_pages_exact` in kernel/crash_core.c), so its header lies at a page's start and a look at
//! 24 bytes per page finds it. [`Scanner`] does that in slices of the caller's size.
//!
//! A kernel that was restarted in the same memory may have left its note behind. Several are told
//! apart by [`crate::kernel_map::KernelMap::is_mapped_by`]; better still, whoever reloads the GPOS
//! overwrites the note that it had found.
//!
//! Numbers: `SYMBOL` and `KERNELOFFSET` are hexadecimal, all others decimal; `NUMBER` is signed
//! (`phys_base` may well be negative).

use crate::memory::{GuestPhysRead, PAGE_BYTES, PAGE_BYTES_U64};
use core::ops::Range;
use darma_abi::units::{GuestPhys, GuestVirt};

/// The most text there can be: the kernel gives it one page.
pub const TEXT_MAX: usize = PAGE_BYTES;

/// Bytes before the text: name size 11, any text size, type 0, then "VMCOREINFO\0" padded to a
/// multiple of four.
pub const HEADER_BYTES: usize = 24;
const NAME_SIZE: [u8; 4] = [11, 0, 0, 0];
const NAME: &[u8] = b"VMCOREINFO\0\0";

/// Where the text of a note was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The first byte of the text.
    pub text: GuestPhys,
    /// Its length in bytes, at most [`TEXT_MAX`].
    pub bytes: u32,
}

/// What a slice of the scan brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A note; scanning may go on behind it.
    Found(Note),
    /// Nothing in this slice.
    More,
    /// Nothing more in the range.
    Done,
}

/// Looks through a range of guest memory for the note, from both ends inward: the kernel takes its
/// early pages from one end or the other. Measured with Debian's 6.1 kernels: cloud 25 MiB above
/// the bottom of 256 MiB and 19 MiB above that of 1 GiB, generic and RT 11 MiB below the top of 320.
#[derive(Clone, Debug)]
pub struct Scanner {
    next_page: u64,
    end_page: u64,
    end: End,
}

/// Where the next look is.
#[derive(Clone, Copy, Debug)]
enum End {
    Low,
    High,
}

impl Scanner {
    /// A scan of the whole pages in this range.
    pub const fn new(range: Range<GuestPhys>) -> Self {
        let next_page = range.start.0.div_ceil(PAGE_BYTES_U64);
        Self {
            next_page,
            end_page: range.end.0 / PAGE_BYTES_U64,
            end: End::Low,
        }
    }

    /// Looks at up to `pages` further pages.
    pub fn step(&mut self, memory: &impl GuestPhysRead, pages: u32) -> Scan {
        for _ in 0..pages {
            if self.next_page >= self.end_page {
                return Scan::Done;
            }
            let page = match self.end {
                End::Low => {
                    self.end = End::High;
                    self.next_page += 1;
                    self.next_page - 1
                }
                End::High => {
                    self.end = End::Low;
                    self.end_page -= 1;
                    self.end_page
                }
            };
            let at = GuestPhys(page * PAGE_BYTES_U64);
            if let Some(note) = note_at(memory, at) {
                return Scan::Found(note);
            }
        }
        if self.next_page >= self.end_page {
            Scan::Done
        } else {
            Scan::More
        }
    }
}

/// The note whose header is at this address, if one is.
fn note_at(memory: &impl GuestPhysRead, at: GuestPhys) -> Option<Note> {
    let mut header = [0; HEADER_BYTES];
    if !memory.read(at, &mut header) || header.first_chunk() != Some(&NAME_SIZE) {
        return None;
    }
    let (fields, name) = header.split_at_checked(12)?;
    let bytes = u32::from_le_bytes(*fields.get(4..)?.first_chunk()?);
    let kind = u32::from_le_bytes(*fields.get(8..)?.first_chunk()?);
    let plausible = kind == 0 && name == NAME && (1..=4096).contains(&bytes);
    let text = at.checked_add(24)?;
    plausible.then_some(Note { text, bytes })
}

impl Note {
    /// The note whose header is at this address, if one is.
    pub fn at(memory: &impl GuestPhysRead, header: GuestPhys) -> Option<Self> {
        note_at(memory, header)
    }

    /// Where the note's header begins. Whoever has done with a dead kernel overwrites these
    /// [`HEADER_BYTES`] bytes, so that its successor in the same memory is not mistaken for it.
    pub const fn header(&self) -> GuestPhys {
        GuestPhys(self.text.0.saturating_sub(24))
    }

    /// Copies the text into `buffer`. `None` if memory or buffer end before it does, or if it does
    /// not begin as the kernel's text does (a note's header alone proves little).
    pub fn read<'a>(
        &self,
        memory: &impl GuestPhysRead,
        buffer: &'a mut [u8; TEXT_MAX],
    ) -> Option<VmcoreInfo<'a>> {
        let text = buffer.get_mut(..usize::try_from(self.bytes).ok()?)?;
        let read = memory.read(self.text, text);
        (read && text.starts_with(b"OSRELEASE=")).then_some(VmcoreInfo { text })
    }
}

/// The text, with typed look-ups. A look-up walks the lines: at most 4096 bytes.
#[derive(Clone, Copy, Debug)]
pub struct VmcoreInfo<'a> {
    text: &'a [u8],
}

impl<'a> VmcoreInfo<'a> {
    /// Takes text that came by another way (a test, a dump file).
    pub const fn new(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The whole text, for the dump's own note.
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The value of a plain key such as `OSRELEASE`, `PAGESIZE`, `BUILD-ID`, `CRASHTIME`.
    pub fn value(&self, key: &str) -> Option<&'a [u8]> {
        self.lines()
            .find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b"="))
    }

    /// The kernel's release, as `uname -r` prints it.
    pub fn release(&self) -> Option<&'a str> {
        core::str::from_utf8(self.value("OSRELEASE")?).ok()
    }

    /// How far KASLR moved the kernel's virtual addresses.
    pub fn kernel_offset(&self) -> Option<u64> {
        hexadecimal(self.value("KERNELOFFSET")?)
    }

    /// The address of a symbol.
    pub fn symbol(&self, name: &str) -> Option<GuestVirt> {
        hexadecimal(self.member("SYMBOL", name)?).map(GuestVirt)
    }

    /// The offset of `structure.field`, in bytes.
    pub fn offset(&self, name: &str) -> Option<u64> {
        decimal(self.member("OFFSET", name)?)
    }

    /// The size of a type, in bytes.
    pub fn size(&self, name: &str) -> Option<u64> {
        decimal(self.member("SIZE", name)?)
    }

    /// The length of an array, in elements.
    pub fn length(&self, name: &str) -> Option<u64> {
        decimal(self.member("LENGTH", name)?)
    }

    /// A number, signed.
    pub fn number(&self, name: &str) -> Option<i64> {
        let digits = self.member("NUMBER", name)?;
        match digits.strip_prefix(b"-") {
            Some(magnitude) => 0i64.checked_sub_unsigned(decimal(magnitude)?),
            None => i64::try_from(decimal(digits)?).ok(),
        }
    }

    fn member(&self, kind: &str, name: &str) -> Option<&'a [u8]> {
        self.lines().find_map(|line| {
            line.strip_prefix(kind.as_bytes())?
                .strip_prefix(b"(")?
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b")=")
        })
    }

    fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.text.split(|byte| *byte == b'\n')
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    parse(digits, 10)
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    parse(digits, 16)
}

fn parse(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        value
            .checked_mul(u64::from(radix))?
            .checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::testing::Flat;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const TEXT: &[u8] = b"OSRELEASE=6.1.0-test\nPAGESIZE=4096\nSYMBOL(prb)=ffffffff82a00010\n\
        OFFSET(a.b)=24\nSIZE(a)=88\nLENGTH(m)=7\nNUMBER(phys_base)=-1048576\nKERNELOFFSET=39200000\n";

    fn note(text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short");
        let mut bytes = Vec::from(NAME_SIZE);
        bytes.extend(length.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(NAME);
        bytes.extend(text);
        bytes
    }

    fn scan_all(memory: &Flat, slice: u32) -> Vec<Note> {
        let end = u64::try_from(memory.0.len()).expect("small");
        let mut scanner = Scanner::new(GuestPhys(0)..GuestPhys(end));
        let mut found = Vec::new();
        loop {
            match scanner.step(memory, slice) {
                Scan::Found(note) => found.push(note),
                Scan::More => {}
                Scan::Done => return found,
            }
        }
    }

    #[test]
    fn the_note_is_found_in_slices_wherever_a_page_begins() {
        let mut memory = Flat(vec![0; 40 * PAGE_BYTES]);
        memory.put(13 * PAGE_BYTES, &note(TEXT));
        for slice in [1, 3, 100] {
            let found = scan_all(&memory, slice);
            assert_eq!(found.len(), 1);
            let mut buffer = [0; TEXT_MAX];
            let info = found[0].read(&memory, &mut buffer).expect("readable");
            assert_eq!(info.text(), TEXT);
        }
    }

    #[test]
    fn no_page_escapes_the_scan_and_none_outside_is_looked_at() {
        for pages in 1..6 {
            for at in 0..pages {
                let mut memory = Flat(vec![0; pages * PAGE_BYTES]);
                memory.put(at * PAGE_BYTES, &note(b"OSRELEASE=x"));
                assert_eq!(scan_all(&memory, 1).len(), 1, "page {at} of {pages}");
                let behind = GuestPhys(PAGE_BYTES_U64 * u64::try_from(at + 1).expect("small"));
                let mut scanner = Scanner::new(behind..GuestPhys(u64::MAX));
                scanner.end_page = u64::try_from(pages).expect("small");
                assert_eq!(scanner.step(&memory, 99), Scan::Done);
            }
        }
    }

    #[test]
    fn a_note_left_by_an_earlier_kernel_is_reported_as_well() {
        let mut memory = Flat(vec![0; 8 * PAGE_BYTES]);
        memory.put(PAGE_BYTES, &note(TEXT));
        memory.put(5 * PAGE_BYTES, &note(TEXT));
        let found = scan_all(&memory, 2);
        assert_eq!(found.len(), 2);
        for note in found {
            let header = usize::try_from(note.header().0).expect("small");
            memory.put(header, &[0; HEADER_BYTES]);
        }
        assert_eq!(scan_all(&memory, 2), []);
    }

    #[test]
    fn a_note_that_claims_too_much_is_none() {
        let mut memory = Flat(vec![0; 2 * PAGE_BYTES]);
        let mut claim = note(TEXT);
        claim[4..8].copy_from_slice(&4097u32.to_le_bytes());
        memory.put(0, &claim);
        assert_eq!(scan_all(&memory, 9), []);
    }

    #[test]
    fn a_note_that_memory_cuts_short_cannot_be_read() {
        let mut memory = Flat(vec![0; PAGE_BYTES]);
        let mut long = note(TEXT);
        long[4..8].copy_from_slice(&4096u32.to_le_bytes());
        memory.put(0, &long);
        let found = scan_all(&memory, 9);
        assert!(found[0].read(&memory, &mut [0; TEXT_MAX]).is_none());
    }

    #[test]
    fn values_are_read_in_the_radix_that_the_kernel_writes() {
        let info = VmcoreInfo::new(TEXT);
        assert_eq!(info.release(), Some("6.1.0-test"));
        assert_eq!(info.symbol("prb"), Some(GuestVirt(0xffff_ffff_82a0_0010)));
        assert_eq!(info.offset("a.b"), Some(24));
        assert_eq!(info.size("a"), Some(88));
        assert_eq!(info.length("m"), Some(7));
        assert_eq!(info.number("phys_base"), Some(-1_048_576));
        assert_eq!(info.kernel_offset(), Some(0x3920_0000));
        assert_eq!(info.symbol("pr"), None);
        assert_eq!(info.value("OSREL"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_look_up_fail_badly(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let info = VmcoreInfo::new(&text);
            let _ = (info.symbol("a"), info.number("a"), info.release(), info.kernel_offset());
        }

        #[test]
        fn no_number_is_misread(value in any::<i64>()) {
            let text = std::format!("NUMBER(x)={value}\nOFFSET(x)={}\n", value.unsigned_abs());
            let info = VmcoreInfo::new(text.as_bytes());
            prop_assert_eq!(info.number("x"), Some(value));
            prop_assert_eq!(info.offset("x"), Some(value.unsigned_abs()));
        }
    }
}
