//! The dump store's format: the GPOS's memory at the failure, page by page.
//!
//! ```text
//! page 0   header, second copy in page 1
//! page 2   index: one entry of 32 bytes per chunk of 64 pages, padded to a page
//! then     data: the saved pages in order, back to back
//! ```
//! Pages are numbered over the memory's ranges from the lowest up, gaps left out. An entry has a
//! bit per page: *saved* (in the data area) or *lost* (no room, or unreadable); neither means that
//! the page was zero. It also has the place of its first saved page, the codec (0: raw; room for
//! compression) and a CRC-32C over its stored bytes; the header has one over the index and one over
//! itself. The header is written last and twice, so a dump that was cut off has none, and one torn
//! copy does no harm.
//!
//! When the store is too small the dump is *partial*, says so, and counts what is lost. All numbers
//! are little-endian, the layout is versioned and asserted. Writing and reading are bounded per
//! call: a page each.

mod reader;
mod writer;

pub use reader::{DumpError, DumpReader, Page};
pub use writer::{DumpWriter, Progress};

use crate::crc32c::Crc32c;
use crate::memory::{PAGE_BYTES, PAGE_BYTES_U64};
use core::mem::offset_of;
use core::ops::Range;
use darma_abi::units::GuestPhys;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Marks a finished dump.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DARMADMP");
/// Changes with every change of the layout.
pub const VERSION: u32 = 1;
/// Pages per chunk: as many as a bit map of 64 bits has bits.
pub const CHUNK_PAGES: u64 = 64;
/// The most ranges of memory one dump covers.
pub const RANGES_MAX: usize = 16;
/// Where the index begins.
const INDEX_OFFSET: usize = 2 * PAGE_BYTES;
const ENTRY_BYTES: usize = size_of::<Entry>();
/// Codec 0: the page's bytes as they were.
const CODEC_RAW: u32 = 0;

/// A run of the GPOS's memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct MemoryRun {
    /// Number of its first page frame.
    pub first_frame: u64,
    /// Its length in pages.
    pub pages: u64,
}

/// What the reader of a dump needs to know about the failure, besides the memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Origin {
    /// The number of the fault record.
    pub fault: u64,
    /// When the capture began, in nanoseconds since the machine started.
    pub taken_at_ns: u64,
    /// The page-table root at the failure.
    pub cr3: u64,
    /// Where VMCOREINFO's text is in the memory; 0: not found.
    pub vmcoreinfo: u64,
    /// Its length in bytes.
    pub vmcoreinfo_bytes: u64,
}

/// Honest counts: `saved + zero + lost` is `total` in a finished dump.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Counts {
    /// Pages that the memory has.
    pub total: u64,
    /// Pages in the data area.
    pub saved: u64,
    /// Pages that held nothing but zeros.
    pub zero: u64,
    /// Pages that had no room or could not be read.
    pub lost: u64,
}

impl Counts {
    /// Whether something is missing.
    pub const fn is_partial(&self) -> bool {
        self.lost > 0
    }
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    /// Over the rest of the header, behind this field.
    checksum: u32,
    page_bytes: u32,
    chunk_pages: u32,
    index_entries: u64,
    index_checksum: u32,
    runs: u32,
    data_offset: u64,
    /// All bytes of the dump from the store's start.
    bytes: u64,
    origin: Origin,
    counts: Counts,
    run: [MemoryRun; RANGES_MAX],
}

#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Entry {
    saved: u64,
    lost: u64,
    /// The chunk's first saved page, counted in pages from the data area's start.
    first_data_page: u32,
    codec: u32,
    stored_bytes: u32,
    checksum: u32,
}

const _: () = {
    assert!(size_of::<Entry>() == 32);
    assert!(offset_of!(Header, checksum) == 12);
    assert!(offset_of!(Header, index_entries) == 24);
    assert!(offset_of!(Header, origin) == 56);
    assert!(offset_of!(Header, counts) == 96);
    assert!(offset_of!(Header, run) == 128);
    assert!(size_of::<Header>() <= PAGE_BYTES);
};

impl Header {
    fn own_checksum(&self, crc32c: Crc32c) -> u32 {
        let covered = offset_of!(Header, page_bytes);
        crc32c(0, self.as_bytes().get(covered..).unwrap_or(&[]))
    }
}

/// The pages to save: which, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    runs: [MemoryRun; RANGES_MAX],
    used: usize,
    total: u64,
}

/// Why memory cannot be dumped as described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// More than [`RANGES_MAX`] ranges.
    TooManyRanges,
    /// The ranges overlap, are not in rising order, or run past 2^52.
    NotInOrder,
}

impl Geometry {
    /// From the GPOS's memory ranges, rising; each is widened inward to whole pages.
    pub fn new(ranges: &[Range<GuestPhys>]) -> Result<Self, GeometryError> {
        let runs = ranges.iter().map(|range| {
            let first_frame = range.start.0.div_ceil(PAGE_BYTES_U64);
            let pages = (range.end.0 / PAGE_BYTES_U64).saturating_sub(first_frame);
            MemoryRun { first_frame, pages }
        });
        Self::from_runs(runs.filter(|run| run.pages > 0))
    }

    fn from_runs(given: impl Iterator<Item = MemoryRun>) -> Result<Self, GeometryError> {
        let mut geometry = Self {
            runs: [MemoryRun::default(); RANGES_MAX],
            used: 0,
            total: 0,
        };
        let mut end = 0u64;
        for run in given {
            let slot = geometry.runs.get_mut(geometry.used);
            *slot.ok_or(GeometryError::TooManyRanges)? = run;
            let run_end = run
                .first_frame
                .checked_add(run.pages)
                .filter(|end| *end <= 1 << 40);
            if run.first_frame < end || run.pages == 0 {
                return Err(GeometryError::NotInOrder);
            }
            end = run_end.ok_or(GeometryError::NotInOrder)?;
            geometry.used += 1;
            geometry.total += run.pages;
        }
        Ok(geometry)
    }

    /// All pages.
    pub const fn total_pages(&self) -> u64 {
        self.total
    }

    /// The address of page number `page`; `None` past the last.
    pub fn address(&self, page: u64) -> Option<GuestPhys> {
        let mut rest = page;
        for run in self.runs.iter().take(self.used) {
            match rest.checked_sub(run.pages) {
                None => return Some(GuestPhys((run.first_frame + rest) * PAGE_BYTES_U64)),
                Some(behind) => rest = behind,
            }
        }
        None
    }

    const fn chunks(&self) -> u64 {
        self.total.div_ceil(CHUNK_PAGES)
    }

    /// The least store in bytes that holds the bookkeeping; each saved page adds 4096.
    pub fn overhead_bytes(&self) -> u64 {
        let index = self
            .chunks()
            .saturating_mul(32)
            .next_multiple_of(PAGE_BYTES_U64);
        index.saturating_add(2 * PAGE_BYTES_U64)
    }
}

#[cfg(test)]
mod tests;
