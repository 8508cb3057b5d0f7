//! Memory that outlives the GPOS, and where the firmware leaves memory alone a reset of the machine,
//! divided into named regions.
//!
//! ```text
//! table (one page)   which regions there are and where, a generation, a checksum
//! "faults"           fault records      11/16 of the rest
//! "events"           the timeline       1/64
//! "minidumps"        the large parts    what is left
//! ```
//! The table is what a reader begins with. Its generation counts the machine's starts that found it whole
//! and took the contents over: 1 is fresh. The regions' contents have checksums of their own, record by
//! record, so a table that fits is enough to keep them.

use crate::crc32c::Crc32c;
use core::mem::offset_of;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Marks the memory.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DARMANVM");
/// Changes with every change of the table's layout.
pub const VERSION: u32 = 1;
/// Bytes that the table takes.
pub const TABLE_BYTES: usize = 4096;
/// The most regions.
pub const REGIONS_MAX: usize = 8;
/// The least memory that is worth dividing: 64 KiB.
pub const LEAST_BYTES: usize = 64 << 10;
const NAME_BYTES: usize = 16;

/// Where the fault records are.
pub const FAULTS: &str = "faults";
/// Where the timeline is.
pub const EVENTS: &str = "events";
/// Where the minidumps are.
pub const MINIDUMPS: &str = "minidumps";

#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Entry {
    name: [u8; NAME_BYTES],
    offset: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Table {
    magic: u64,
    version: u32,
    /// Over what is behind this field.
    checksum: u32,
    generation: u64,
    regions: u64,
    entries: [Entry; REGIONS_MAX],
}

const _: () = {
    assert!(offset_of!(Table, generation) == 16);
    assert!(offset_of!(Table, entries) == 32);
    assert!(size_of::<Table>() == 32 + 32 * REGIONS_MAX);
};

impl Table {
    fn read(bytes: &[u8], crc32c: Crc32c) -> Option<Self> {
        let (table, _) = Self::read_from_prefix(bytes).ok()?;
        let whole = table.magic == MAGIC
            && table.version == VERSION
            && table.checksum == table.own_checksum(crc32c);
        whole.then_some(table)
    }

    fn own_checksum(&self, crc32c: Crc32c) -> u32 {
        let covered = offset_of!(Table, generation);
        crc32c(0, self.as_bytes().get(covered..).unwrap_or(&[]))
    }
}

/// The regions of memory that somebody else keeps.
#[derive(Clone, Copy, Debug)]
pub struct Regions<'r> {
    bytes: &'r [u8],
    table: Table,
}

impl<'r> Regions<'r> {
    /// `None` if the memory does not begin with a whole table.
    pub fn read(bytes: &'r [u8], crc32c: Crc32c) -> Option<Self> {
        let table = Table::read(bytes, crc32c)?;
        Some(Self { bytes, table })
    }

    /// How many starts of the machine the contents have seen.
    pub const fn generation(&self) -> u64 {
        self.table.generation
    }

    /// The region with this name; empty if there is none.
    pub fn find(&self, name: &str) -> &'r [u8] {
        let entry = self.table.entries.iter().find(|entry| {
            let used = entry.name.split(|byte| *byte == 0).next();
            used == Some(name.as_bytes())
        });
        let region = entry.and_then(|entry| {
            let start = usize::try_from(entry.offset).ok()?;
            let length = usize::try_from(entry.bytes).ok()?;
            self.bytes.get(start..start.checked_add(length)?)
        });
        region.unwrap_or(&[])
    }
}

/// The regions, to be written.
#[derive(Debug)]
pub struct Parts<'r> {
    /// How many starts of the machine the contents have seen, this one included.
    pub generation: u64,
    /// [`FAULTS`].
    pub faults: &'r mut [u8],
    /// [`EVENTS`].
    pub events: &'r mut [u8],
    /// [`MINIDUMPS`].
    pub minidumps: &'r mut [u8],
}

/// Divides memory, 8-byte aligned, and takes over what is in it if it was divided in this very way.
/// `None` if it is less than [`LEAST_BYTES`].
pub fn divide(bytes: &mut [u8], crc32c: Crc32c) -> Option<Parts<'_>> {
    if bytes.len() < LEAST_BYTES {
        return None;
    }
    let whole = bytes.len() - TABLE_BYTES;
    let faults = whole / 16 * 11 / 64 * 64;
    let events = whole / 64 / 64 * 64;
    let minidumps = (whole - faults - events) / 64 * 64;
    let mut table = Table::new_zeroed();
    (table.magic, table.version, table.regions) = (MAGIC, VERSION, 3);
    let parts = [(FAULTS, faults), (EVENTS, events), (MINIDUMPS, minidumps)];
    let mut offset = TABLE_BYTES;
    for (entry, (name, length)) in table.entries.iter_mut().zip(parts) {
        for (to, from) in entry.name.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        entry.offset = u64::try_from(offset).ok()?;
        entry.bytes = u64::try_from(length).ok()?;
        offset += length;
    }
    let before = Table::read(bytes, crc32c)
        .filter(|before| before.entries.as_bytes() == table.entries.as_bytes());
    table.generation = before
        .map_or(0, |before| before.generation)
        .saturating_add(1);
    table.checksum = table.own_checksum(crc32c);
    let (first, rest) = bytes.split_at_mut_checked(TABLE_BYTES)?;
    if before.is_none() {
        rest.fill(0);
    }
    first.fill(0);
    first
        .get_mut(..size_of::<Table>())?
        .copy_from_slice(table.as_bytes());
    let (faults, rest) = rest.split_at_mut_checked(faults)?;
    let (events, rest) = rest.split_at_mut_checked(events)?;
    Some(Parts {
        generation: table.generation,
        faults,
        events,
        minidumps: rest.get_mut(..minidumps)?,
    })
}
