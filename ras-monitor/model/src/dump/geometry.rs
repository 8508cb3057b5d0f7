//! Which pages a dump covers, and in which order they are numbered: over the memory's runs from the
//! lowest up, gaps left out.

use super::{CHUNK_PAGES, RANGES_MAX};
use crate::memory::PAGE_BYTES_U64;
use core::ops::Range;
use darma_abi::units::GuestPhys;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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

/// The pages to save: which, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub(super) runs: [MemoryRun; RANGES_MAX],
    pub(super) used: usize,
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
    ///
    /// # Errors
    /// Too many ranges, or ranges that are no rising sequence of disjoint ones.
    pub fn new(ranges: &[Range<GuestPhys>]) -> Result<Self, GeometryError> {
        let runs = ranges.iter().map(|range| {
            let first_frame = range.start.0.div_ceil(PAGE_BYTES_U64);
            let pages = (range.end.0 / PAGE_BYTES_U64).saturating_sub(first_frame);
            MemoryRun { first_frame, pages }
        });
        Self::from_runs(runs.filter(|run| run.pages > 0))
    }

    pub(super) fn from_runs(given: impl Iterator<Item = MemoryRun>) -> Result<Self, GeometryError> {
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

    /// The number of the page around `at`; `None` if it is not covered.
    pub fn page_at(&self, at: GuestPhys) -> Option<u64> {
        let frame = at.0 / PAGE_BYTES_U64;
        let mut before = 0;
        for run in self.runs.iter().take(self.used) {
            if let Some(inside) = frame.checked_sub(run.first_frame)
                && inside < run.pages
            {
                return Some(before + inside);
            }
            before += run.pages;
        }
        None
    }

    /// Chunks of [`CHUNK_PAGES`] pages; the last may be shorter.
    pub const fn chunks(&self) -> u64 {
        self.total.div_ceil(CHUNK_PAGES)
    }
}
