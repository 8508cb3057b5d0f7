//! Writing a dump, one page per call.
//!
//! ```text
//! start ──► page ──► page ──► ... ──► page ──► finish
//!  (headers voided)                           (index checksum, headers)
//! ```
//! The writer holds the chunk that is being filled; its entry goes to the index when the chunk is
//! complete. It may be preempted between any two calls, and dropped at any point: without `finish`
//! the store holds no dump.

use super::{
    CHUNK_PAGES, CODEC_RAW, Counts, ENTRY_BYTES, Entry, Geometry, Header, INDEX_OFFSET, MAGIC,
    Origin, VERSION,
};
use crate::crc32c::Crc32c;
use crate::memory::PAGE_BYTES;
use darma_abi::units::GuestPhys;
use zerocopy::IntoBytes;

/// Whether more pages are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Give the page at [`DumpWriter::next_address`].
    More,
    /// All pages are in: call [`DumpWriter::finish`].
    Complete,
}

/// A dump in the making.
#[derive(Debug)]
pub struct DumpWriter<'s> {
    store: &'s mut [u8],
    crc32c: Crc32c,
    geometry: Geometry,
    origin: Origin,
    data_offset: usize,
    next_page: u64,
    data_pages: u32,
    chunk: Entry,
    index_checksum: u32,
    counts: Counts,
}

impl<'s> DumpWriter<'s> {
    /// Voids what the store held and begins a dump. `None` if the store cannot even hold the
    /// bookkeeping ([`Geometry::overhead_bytes`]).
    pub fn start(
        store: &'s mut [u8],
        geometry: Geometry,
        origin: Origin,
        crc32c: Crc32c,
    ) -> Option<Self> {
        let data_offset = usize::try_from(geometry.overhead_bytes()).ok()?;
        if store.len() < data_offset {
            return None;
        }
        store.get_mut(..INDEX_OFFSET)?.fill(0);
        let counts = Counts {
            total: geometry.total_pages(),
            ..Counts::default()
        };
        Some(Self {
            store,
            crc32c,
            geometry,
            origin,
            data_offset,
            next_page: 0,
            data_pages: 0,
            chunk: Entry::default(),
            index_checksum: 0,
            counts,
        })
    }

    /// The address of the page that [`DumpWriter::page`] expects; `None` when all are in.
    pub fn next_address(&self) -> Option<GuestPhys> {
        self.geometry.address(self.next_page)
    }

    /// Counts so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next page's bytes, or `None` if it cannot be read. At most one page is looked
    /// through, copied and summed.
    pub fn page(&mut self, bytes: Option<&[u8; PAGE_BYTES]>) -> Progress {
        if self.next_page >= self.counts.total {
            return Progress::Complete;
        }
        let bit = 1u64 << (self.next_page % CHUNK_PAGES);
        match bytes {
            Some(bytes) if is_zero(bytes) => self.counts.zero += 1,
            Some(bytes) if self.save(bytes) => {
                self.chunk.saved |= bit;
                self.counts.saved += 1;
            }
            _ => {
                self.chunk.lost |= bit;
                self.counts.lost += 1;
            }
        }
        self.next_page += 1;
        let complete = self.next_page >= self.counts.total;
        if complete || self.next_page.is_multiple_of(CHUNK_PAGES) {
            self.close_chunk();
        }
        if complete {
            Progress::Complete
        } else {
            Progress::More
        }
    }

    /// Writes both headers; from here the store holds a dump. Pages not given are lost. Returns the
    /// counts and the dump's length in bytes.
    pub fn finish(mut self) -> (Counts, u64) {
        while self.page(None) == Progress::More {}
        let data_bytes = u64::from(self.data_pages) * 4096;
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            checksum: 0,
            page_bytes: 4096,
            chunk_pages: 64,
            index_entries: self.geometry.chunks(),
            index_checksum: self.index_checksum,
            runs: u32::try_from(self.geometry.used).unwrap_or(0),
            data_offset: self.geometry.overhead_bytes(),
            bytes: self.geometry.overhead_bytes() + data_bytes,
            origin: self.origin,
            counts: self.counts,
            run: self.geometry.runs,
        };
        header.checksum = header.own_checksum(self.crc32c);
        for copy in [0, PAGE_BYTES] {
            write(self.store, copy, header.as_bytes());
        }
        (self.counts, header.bytes)
    }

    /// Copies a page behind the last one. False when the store is full.
    fn save(&mut self, bytes: &[u8; PAGE_BYTES]) -> bool {
        let page = usize::try_from(self.data_pages).unwrap_or(usize::MAX);
        let at = page
            .saturating_mul(PAGE_BYTES)
            .saturating_add(self.data_offset);
        if !write(self.store, at, bytes) {
            return false;
        }
        if self.chunk.saved == 0 {
            self.chunk.first_data_page = self.data_pages;
        }
        self.chunk.checksum = (self.crc32c)(self.chunk.checksum, bytes);
        self.chunk.stored_bytes = self.chunk.stored_bytes.saturating_add(4096);
        self.data_pages = self.data_pages.saturating_add(1);
        true
    }

    fn close_chunk(&mut self) {
        self.chunk.codec = CODEC_RAW;
        let index = usize::try_from((self.next_page - 1) / CHUNK_PAGES).unwrap_or(usize::MAX);
        let at = index
            .saturating_mul(ENTRY_BYTES)
            .saturating_add(INDEX_OFFSET);
        // `start` made sure that the whole index fits.
        write(self.store, at, self.chunk.as_bytes());
        self.index_checksum = (self.crc32c)(self.index_checksum, self.chunk.as_bytes());
        self.chunk = Entry::default();
    }
}

fn write(store: &mut [u8], at: usize, bytes: &[u8]) -> bool {
    let room = at
        .checked_add(bytes.len())
        .and_then(|end| store.get_mut(at..end));
    match room {
        Some(room) => {
            room.copy_from_slice(bytes);
            true
        }
        None => false,
    }
}

/// Looks at 64 bytes at a time: a page in use mostly shows it in the first few.
fn is_zero(page: &[u8; PAGE_BYTES]) -> bool {
    let (lines, _) = page.as_chunks::<64>();
    lines.iter().all(|line| {
        let (words, _) = line.as_chunks::<8>();
        words
            .iter()
            .fold(0, |any, word| any | u64::from_ne_bytes(*word))
            == 0
    })
}
