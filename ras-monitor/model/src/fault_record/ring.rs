//! A ring of equal slots in a region of bytes: record number `n` goes to slot `n mod slots`, so the
//! newest records survive. A slot is written in place, in an order that a power cut or a fault of our
//! own cannot turn into a lie:
//!
//! 1. [`Ring::open`] clears the header: from here the slot is void;
//! 2. the caller fills the body (kilobytes, never on a stack);
//! 3. [`Ring::seal`] computes the checksum and writes the header last.

use crate::crc32c::Crc32c;
use core::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 32);

/// A type of which rings are made: plain integers, of a size that is a multiple of eight.
pub trait Record: FromBytes + IntoBytes + KnownLayout + Immutable + Sized + 'static {
    /// Marks a sealed slot.
    const MAGIC: u64;
    /// Changes with every change of the layout.
    const VERSION: u32;
    /// Bytes of one slot.
    const SLOT_BYTES: usize = {
        assert!(size_of::<Self>().is_multiple_of(8));
        HEADER + size_of::<Self>()
    };
}

/// The records in a region that somebody else keeps.
#[derive(Debug)]
pub struct RingReader<'r, T> {
    region: &'r [u8],
    crc32c: Crc32c,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for RingReader<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RingReader<'_, T> {}

impl<'r, T: Record> RingReader<'r, T> {
    /// The region must be 8-byte aligned; another holds no records.
    pub const fn new(region: &'r [u8], crc32c: Crc32c) -> Self {
        Self {
            region,
            crc32c,
            of: PhantomData,
        }
    }

    /// Every whole record with its number, in the order of the slots.
    pub fn records(&self) -> impl Iterator<Item = (u64, &'r T)> + use<'r, T> {
        let crc32c = self.crc32c;
        self.region
            .chunks_exact(T::SLOT_BYTES)
            .filter_map(move |slot| record_in(slot, crc32c))
    }

    /// The record with this number, if it is still there and whole.
    pub fn get(&self, sequence: u64) -> Option<&'r T> {
        let slots = self.region.len() / T::SLOT_BYTES;
        let place = sequence.checked_rem(u64::try_from(slots).ok()?)?;
        let slot = usize::try_from(place).ok()?;
        let slot = self.region.chunks_exact(T::SLOT_BYTES).nth(slot)?;
        let (found, record) = record_in(slot, self.crc32c)?;
        (found == sequence).then_some(record)
    }

    /// Whether there is a whole record with a greater number that `is_meant`. Only those that are meant
    /// are summed.
    pub fn has_newer(&self, sequence: u64, is_meant: impl Fn(&T) -> bool) -> bool {
        self.region.chunks_exact(T::SLOT_BYTES).any(|slot| {
            let body = slot
                .get(HEADER..)
                .and_then(|body| T::ref_from_bytes(body).ok());
            body.is_some_and(&is_meant)
                && record_in::<T>(slot, self.crc32c).is_some_and(|(found, _)| found > sequence)
        })
    }

    /// Slots that hold something, and no whole record.
    pub fn damaged(&self) -> usize {
        let slots = self.region.chunks_exact(T::SLOT_BYTES);
        let used = |slot: &&[u8]| slot.iter().take(HEADER).any(|byte| *byte != 0);
        slots
            .filter(used)
            .filter(|slot| record_in::<T>(slot, self.crc32c).is_none())
            .count()
    }
}

fn record_in<T: Record>(slot: &[u8], crc32c: Crc32c) -> Option<(u64, &T)> {
    let (header, body) = slot.split_at_checked(HEADER)?;
    let header = Header::read_from_bytes(header).ok()?;
    let whole = header.magic == T::MAGIC
        && header.version == T::VERSION
        && usize::try_from(header.body_bytes).ok() == Some(size_of::<T>())
        && header.checksum == checksum(&header, body, crc32c);
    let record = T::ref_from_bytes(body).ok()?;
    whole.then_some((header.sequence, record))
}

/// Over everything but the checksum itself and what is reserved.
fn checksum(header: &Header, body: &[u8], crc32c: Crc32c) -> u32 {
    let covered = header.as_bytes().get(..24).unwrap_or(&[]);
    crc32c(crc32c(0, covered), body)
}

/// A ring that is written here.
#[derive(Debug)]
pub struct Ring<'r, T> {
    region: &'r mut [u8],
    crc32c: Crc32c,
    next_sequence: u64,
    of: PhantomData<fn() -> T>,
}

impl<'r, T: Record> Ring<'r, T> {
    /// Takes a region, 8-byte aligned, and goes on behind the newest whole record in it. `None` if
    /// not even one slot fits. A region of zeros (or of anything) is an empty ring.
    pub fn new(region: &'r mut [u8], crc32c: Crc32c) -> Option<Self> {
        if region.len() < T::SLOT_BYTES || !region.as_ptr().addr().is_multiple_of(8) {
            return None;
        }
        let reader = RingReader::<T>::new(region, crc32c);
        let newest = reader.records().map(|(sequence, _)| sequence).max();
        Some(Self {
            next_sequence: newest.unwrap_or(0).saturating_add(1),
            region,
            crc32c,
            of: PhantomData,
        })
    }

    /// For reading.
    pub fn reader(&self) -> RingReader<'_, T> {
        RingReader::new(self.region, self.crc32c)
    }

    /// How many records fit.
    pub const fn slots(&self) -> usize {
        self.region.len() / T::SLOT_BYTES
    }

    /// The number that the next record will have, from 1.
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Gives the next record this number, which must not be less than what it would have.
    pub fn skip_to(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    /// Voids the next slot and hands out its body, zeroed, to be filled in place.
    pub fn open(&mut self) -> Option<&mut T> {
        let (header, body) = self.slot(self.next_sequence)?;
        header.fill(0);
        let body = T::mut_from_bytes(body).ok()?;
        body.zero();
        Some(body)
    }

    /// The slot that was opened last, as filled so far.
    pub fn opened(&mut self) -> Option<&mut T> {
        let (_, body) = self.slot(self.next_sequence)?;
        T::mut_from_bytes(body).ok()
    }

    /// Makes the slot that was opened last a record. Returns its number.
    pub fn seal(&mut self) -> Option<u64> {
        let (sequence, crc32c) = (self.next_sequence, self.crc32c);
        let (room, body) = self.slot(sequence)?;
        let mut header = Header {
            magic: T::MAGIC,
            version: T::VERSION,
            body_bytes: u32::try_from(body.len()).ok()?,
            sequence,
            checksum: 0,
            reserved: 0,
        };
        header.checksum = checksum(&header, body, crc32c);
        room.copy_from_slice(header.as_bytes());
        self.next_sequence = sequence.saturating_add(1);
        Some(sequence)
    }

    fn slot(&mut self, sequence: u64) -> Option<(&mut [u8], &mut [u8])> {
        let slots = u64::try_from(self.slots()).ok()?;
        let place = usize::try_from(sequence.checked_rem(slots)?).ok()?;
        let start = place.checked_mul(T::SLOT_BYTES)?;
        let slot = self.region.get_mut(start..)?.get_mut(..T::SLOT_BYTES)?;
        slot.split_at_mut_checked(HEADER)
    }
}
