//! The fault record: what is kept of one failure, in a region that outlives the GPOS.
//!
//! The region holds a ring of equal slots; record number `n` goes to slot `n mod slots`, so the
//! newest records survive. A slot is written in place, in an order that a power cut or a fault of
//! our own cannot turn into a lie:
//!
//! 1. [`FaultStore::open`] clears the header: from here the slot is void;
//! 2. the caller fills the body (9 KiB, never on a stack);
//! 3. [`FaultStore::seal`] computes the checksum and writes the header last.
//!
//! A reader takes a record only if magic, version, size and CRC-32C all fit. All numbers are in the
//! byte order of the processor, little-endian; the layout is fixed by `const` assertions and
//! versioned. Text fields are padded with zeros.

mod registers;

pub use registers::{Registers, Segment, Table};

use crate::crc32c::Crc32c;
use core::mem::offset_of;
use darma_abi::units::Nanos;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Marks a sealed slot.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DARMAFLT");
/// Changes with every change of the layout.
pub const VERSION: u32 = 1;
/// Most bytes kept of the kernel's log.
pub const LOG_BYTES: usize = 8192;
/// Bytes of one slot.
pub const SLOT_BYTES: usize = size_of::<Slot>();

/// What makes a slot valid.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    body_bytes: u32,
    sequence: u64,
    checksum: u32,
    reserved: u32,
}

/// One failure. Neither `Copy` nor `Clone`: 9 KiB are never moved by accident.
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
    /// The processor at that point.
    pub registers: Registers,
    /// The kernel's release, from VMCOREINFO; empty if that was not found.
    pub release: [u8; 64],
    /// Where the dump begins in the dump store, in bytes.
    pub dump_offset: u64,
    /// Its length in bytes; 0: no dump.
    pub dump_bytes: u64,
    /// The dump's pages that are saved.
    pub dump_saved_pages: u64,
    /// The dump's pages that are lost; more than 0: partial.
    pub dump_lost_pages: u64,
    /// Bytes used of `log`.
    pub log_bytes: u32,
    /// Records in `log`.
    pub log_records: u32,
    /// Records that could not be read; more than 0: the log has gaps.
    pub log_lost: u32,
    /// Zero.
    pub reserved: u32,
    /// The kernel log's tail, ASCII, oldest line first.
    pub log: [u8; LOG_BYTES],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Slot {
    header: Header,
    body: FaultRecord,
}

const _: () = {
    assert!(size_of::<Header>() == 32);
    assert!(offset_of!(Slot, body) == 32);
    assert!(offset_of!(FaultRecord, detected_at_ns) == 16);
    assert!(offset_of!(FaultRecord, registers) == 64);
    assert!(offset_of!(FaultRecord, release) == 560);
    assert!(offset_of!(FaultRecord, log) == 560 + 64 + 48);
    assert!(SLOT_BYTES == 32 + 672 + LOG_BYTES);
};

impl FaultRecord {
    /// The log's text.
    pub fn log_text(&self) -> &[u8] {
        let used = usize::try_from(self.log_bytes)
            .unwrap_or(LOG_BYTES)
            .min(LOG_BYTES);
        self.log.get(..used).unwrap_or(&[])
    }

    /// The kernel's release, if it is known.
    pub fn release_text(&self) -> Option<&str> {
        let end = self
            .release
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.release.len());
        let text = self.release.get(..end).filter(|text| !text.is_empty())?;
        core::str::from_utf8(text).ok()
    }

    /// Sets the kernel's release, cut to what fits.
    pub fn set_release(&mut self, release: &str) {
        self.release = [0; 64];
        for (to, from) in self.release.iter_mut().zip(release.bytes()) {
            *to = from;
        }
    }

    /// When the evidence was seen.
    pub const fn detected_at(&self) -> Nanos {
        Nanos(self.detected_at_ns)
    }
}

/// The ring of records in a region of bytes.
#[derive(Debug)]
pub struct FaultStore<'r> {
    region: &'r mut [u8],
    crc32c: Crc32c,
    next_sequence: u64,
}

impl<'r> FaultStore<'r> {
    /// Takes a region, 8-byte aligned, and goes on behind the newest valid record in it. `None` if
    /// not even one slot fits. A region of zeros (or of anything) is an empty store.
    pub fn new(region: &'r mut [u8], crc32c: Crc32c) -> Option<Self> {
        let mut store = Self {
            region,
            crc32c,
            next_sequence: 1,
        };
        if store.slots() == 0 || !store.region.as_ptr().addr().is_multiple_of(8) {
            return None;
        }
        let newest = store
            .records()
            .map(|(sequence, _)| sequence)
            .max()
            .unwrap_or(0);
        store.next_sequence = newest.saturating_add(1);
        Some(store)
    }

    /// How many records fit.
    pub const fn slots(&self) -> usize {
        self.region.len() / SLOT_BYTES
    }

    /// The number that the next record will have, from 1.
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Voids the next slot and hands out its body, zeroed, to be filled in place.
    pub fn open(&mut self) -> Option<&mut FaultRecord> {
        let slot = self.slot_mut(self.next_sequence)?;
        slot.header.zero();
        slot.body.zero();
        Some(&mut slot.body)
    }

    /// The slot that was opened last, as filled so far.
    pub fn opened(&mut self) -> Option<&mut FaultRecord> {
        self.slot_mut(self.next_sequence).map(|slot| &mut slot.body)
    }

    /// Makes the slot that was opened last a record. Returns its number.
    pub fn seal(&mut self) -> Option<u64> {
        let sequence = self.next_sequence;
        let crc32c = self.crc32c;
        let slot = self.slot_mut(sequence)?;
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            body_bytes: u32::try_from(size_of::<FaultRecord>()).unwrap_or(0),
            sequence,
            checksum: 0,
            reserved: 0,
        };
        header.checksum = checksum(&header, &slot.body, crc32c);
        slot.header = header;
        self.next_sequence = sequence.saturating_add(1);
        Some(sequence)
    }

    /// The record with this number, if it is still there and whole.
    pub fn get(&self, sequence: u64) -> Option<&FaultRecord> {
        self.records()
            .find(|(found, _)| *found == sequence)
            .map(|(_, record)| record)
    }

    /// Every whole record with its number, in the order of the slots.
    pub fn records(&self) -> impl Iterator<Item = (u64, &FaultRecord)> {
        read(self.region, self.crc32c)
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let slots = u64::try_from(self.slots()).ok()?;
        let index = usize::try_from(sequence.checked_rem(slots)?).ok()?;
        let bytes = self.region.chunks_exact_mut(SLOT_BYTES).nth(index)?;
        Slot::mut_from_bytes(bytes).ok()
    }
}

/// Every whole record in a region with its number, in the order of the slots; for readers that own
/// no store. The region must be 8-byte aligned (others read as empty).
pub fn read(region: &[u8], crc32c: Crc32c) -> impl Iterator<Item = (u64, &FaultRecord)> {
    region.chunks_exact(SLOT_BYTES).filter_map(move |bytes| {
        let slot = Slot::ref_from_bytes(bytes).ok()?;
        let header = &slot.header;
        let body_bytes = usize::try_from(header.body_bytes).ok()?;
        let whole = header.magic == MAGIC
            && header.version == VERSION
            && body_bytes == size_of::<FaultRecord>()
            && header.checksum == checksum(header, &slot.body, crc32c);
        whole.then_some((header.sequence, &slot.body))
    })
}

/// Over the header up to the checksum, then the body.
fn checksum(header: &Header, body: &FaultRecord, crc32c: Crc32c) -> u32 {
    let start = header
        .as_bytes()
        .get(..offset_of!(Header, checksum))
        .unwrap_or(&[]);
    crc32c(crc32c(0, start), body.as_bytes())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::crc32c::software;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Eight-byte aligned bytes for this many slots.
    fn region(slots: usize) -> Vec<u64> {
        vec![0; slots * SLOT_BYTES / 8]
    }

    fn write(store: &mut FaultStore<'_>, cause: u32) -> u64 {
        let record = store.open().expect("room");
        record.cause = cause;
        record.set_release("6.1.0-test");
        record.log[..5].copy_from_slice(b"hello");
        record.log_bytes = 5;
        store.seal().expect("opened")
    }

    #[test]
    fn a_sealed_record_is_read_back() {
        let mut region = region(8);
        let mut store = FaultStore::new(region.as_mut_bytes(), software).expect("fits");
        assert_eq!(write(&mut store, 2), 1);
        let record = store.get(1).expect("there");
        assert_eq!(record.cause, 2);
        assert_eq!(record.log_text(), b"hello");
        assert_eq!(record.release_text(), Some("6.1.0-test"));
        assert_eq!(store.get(2).map(|record| record.cause), None);
    }

    #[test]
    fn the_newest_eight_survive_and_a_new_store_goes_on_behind_them() {
        let mut region = region(8);
        let mut store = FaultStore::new(region.as_mut_bytes(), software).expect("fits");
        for cause in 1..=11 {
            write(&mut store, cause);
        }
        let mut store = FaultStore::new(region.as_mut_bytes(), software).expect("fits");
        let mut kept: Vec<u64> = store.records().map(|(sequence, _)| sequence).collect();
        kept.sort_unstable();
        assert_eq!(kept, [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(write(&mut store, 12), 12);
    }

    #[test]
    fn an_opened_slot_is_void_until_it_is_sealed() {
        let mut region = region(1);
        let mut store = FaultStore::new(region.as_mut_bytes(), software).expect("fits");
        write(&mut store, 3);
        assert_eq!(store.records().count(), 1);
        assert!(store.open().is_some());
        assert_eq!(store.records().count(), 0);
    }

    #[test]
    fn a_region_too_small_is_no_store() {
        assert!(FaultStore::new(&mut [0; 64], software).is_none());
    }

    proptest! {
        #[test]
        fn one_flipped_bit_voids_the_record(at in 0usize..SLOT_BYTES, bit in 0u8..8) {
            // The header's last four bytes are reserved and not covered.
            prop_assume!(!(28..32).contains(&at));
            let mut region = region(1);
            let mut store = FaultStore::new(region.as_mut_bytes(), software).expect("fits");
            write(&mut store, 4);
            region.as_mut_bytes()[at] ^= 1 << bit;
            prop_assert_eq!(read(region.as_bytes(), software).count(), 0);
        }

        #[test]
        fn any_bytes_are_an_empty_store(words in prop::collection::vec(any::<u64>(), SLOT_BYTES / 8)) {
            let mut region = words;
            prop_assert!(FaultStore::new(region.as_mut_bytes(), software).is_some());
            prop_assert_eq!(read(region.as_bytes(), software).count(), 0);
        }
    }
}
