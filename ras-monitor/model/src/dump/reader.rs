//! Reading a dump back: checksums first, then pages. Used by the web view's download and by the
//! host tools, on bytes that may be damaged; every claim of the header is checked before use.

use super::{
    CHUNK_PAGES, CODEC_RAW, Counts, ENTRY_BYTES, Entry, Geometry, Header, INDEX_OFFSET, MAGIC,
    Origin, VERSION,
};
use crate::crc32c::Crc32c;
use crate::memory::PAGE_BYTES;
use darma_abi::units::GuestPhys;
use zerocopy::FromBytes;

/// Why there is no dump to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// Neither header is one: empty, or cut off before it was finished.
    NoHeader,
    /// A format of another version.
    UnknownVersion(u32),
    /// The header's claims contradict each other or the store's size.
    Inconsistent,
    /// The index does not fit its checksum.
    IndexDamaged,
    /// The data of this chunk does not fit its checksum.
    ChunkDamaged(u64),
    /// The chunk is stored in a way that this reader does not know.
    UnknownCodec(u32),
}

/// The contents of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page<'s> {
    /// Its bytes.
    Saved(&'s [u8; PAGE_BYTES]),
    /// All zeros.
    Zero,
    /// Not known.
    Lost,
}

/// A finished dump.
#[derive(Clone, Debug)]
pub struct DumpReader<'s> {
    store: &'s [u8],
    index: &'s [u8],
    data: &'s [u8],
    geometry: Geometry,
    header: Header,
    crc32c: Crc32c,
}

impl<'s> DumpReader<'s> {
    /// Checks header and index. The pages' own checksums are for [`DumpReader::check_chunk`].
    pub fn open(store: &'s [u8], crc32c: Crc32c) -> Result<Self, DumpError> {
        let header = match read_header(store, 0, crc32c) {
            Err(DumpError::NoHeader) => read_header(store, PAGE_BYTES, crc32c)?,
            other => other?,
        };
        let runs = usize::try_from(header.runs)
            .ok()
            .and_then(|used| header.run.get(..used));
        let runs = runs.ok_or(DumpError::Inconsistent)?;
        let geometry =
            Geometry::from_runs(runs.iter().copied()).map_err(|_| DumpError::Inconsistent)?;
        let consistent = header.page_bytes == 4096
            && header.chunk_pages == 64
            && header.counts.total == geometry.total_pages()
            && header.index_entries == geometry.chunks()
            && header.data_offset == geometry.overhead_bytes();
        let data_offset = usize::try_from(header.data_offset).ok();
        let end = usize::try_from(header.bytes).ok();
        let index_bytes = usize::try_from(header.index_entries)
            .ok()
            .and_then(|entries| entries.checked_mul(ENTRY_BYTES));
        let (Some(data_offset), Some(end), Some(index_bytes), true) =
            (data_offset, end, index_bytes, consistent)
        else {
            return Err(DumpError::Inconsistent);
        };
        let data = store.get(data_offset..end).ok_or(DumpError::Inconsistent)?;
        let index = store
            .get(INDEX_OFFSET..)
            .and_then(|rest| rest.get(..index_bytes))
            .ok_or(DumpError::Inconsistent)?;
        if crc32c(0, index) != header.index_checksum {
            return Err(DumpError::IndexDamaged);
        }
        let store = store.get(..end).ok_or(DumpError::Inconsistent)?;
        Ok(Self {
            store,
            index,
            data,
            geometry,
            header,
            crc32c,
        })
    }

    /// The counts, as the writer left them.
    pub const fn counts(&self) -> Counts {
        self.header.counts
    }

    /// Which failure it belongs to.
    pub const fn origin(&self) -> Origin {
        self.header.origin
    }

    /// Which pages it covers.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The dump's own bytes, for a download of the store's format.
    pub const fn bytes(&self) -> &'s [u8] {
        self.store
    }

    /// How many chunks there are to check.
    pub const fn chunks(&self) -> u64 {
        self.header.index_entries
    }

    /// Compares a chunk's data with its checksum: at most 256 KiB are read.
    pub fn check_chunk(&self, chunk: u64) -> Result<(), DumpError> {
        let damaged = DumpError::ChunkDamaged(chunk);
        let entry = self.entry(chunk).ok_or(damaged)?;
        if entry.codec != CODEC_RAW {
            return Err(DumpError::UnknownCodec(entry.codec));
        }
        let start = usize::try_from(entry.first_data_page)
            .ok()
            .map(|page| page * PAGE_BYTES);
        let stored = usize::try_from(entry.stored_bytes).ok();
        let data = start
            .zip(stored)
            .and_then(|(start, stored)| self.data.get(start..start.checked_add(stored)?))
            .ok_or(damaged)?;
        let promised = u64::from(entry.saved.count_ones()) * 4096;
        let whole =
            u64::from(entry.stored_bytes) == promised && (self.crc32c)(0, data) == entry.checksum;
        if whole { Ok(()) } else { Err(damaged) }
    }

    /// Page number `page` with its address; `None` past the last page.
    pub fn page(&self, page: u64) -> Option<(GuestPhys, Page<'s>)> {
        let address = self.geometry.address(page)?;
        let entry = self.entry(page / CHUNK_PAGES)?;
        let bit = 1u64 << (page % CHUNK_PAGES);
        let contents = if entry.saved & bit != 0 {
            let before = (entry.saved & (bit - 1)).count_ones();
            self.data_page(u64::from(entry.first_data_page) + u64::from(before))
        } else if entry.lost & bit != 0 {
            Page::Lost
        } else {
            Page::Zero
        };
        Some((address, contents))
    }

    /// All pages in order.
    pub fn pages(&self) -> impl Iterator<Item = (GuestPhys, Page<'s>)> {
        (0..self.geometry.total_pages()).map_while(|page| self.page(page))
    }

    fn data_page(&self, page: u64) -> Page<'s> {
        let at = usize::try_from(page)
            .ok()
            .and_then(|page| page.checked_mul(PAGE_BYTES));
        let bytes = at
            .and_then(|at| self.data.get(at..))
            .and_then(<[u8]>::first_chunk);
        bytes.map_or(Page::Lost, Page::Saved)
    }

    fn entry(&self, chunk: u64) -> Option<Entry> {
        let at = usize::try_from(chunk).ok()?.checked_mul(ENTRY_BYTES)?;
        Entry::read_from_prefix(self.index.get(at..)?)
            .ok()
            .map(|(entry, _)| entry)
    }
}

fn read_header(store: &[u8], at: usize, crc32c: Crc32c) -> Result<Header, DumpError> {
    let bytes = store.get(at..).ok_or(DumpError::NoHeader)?;
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| DumpError::NoHeader)?;
    if header.magic != MAGIC {
        return Err(DumpError::NoHeader);
    }
    if header.version != VERSION {
        return Err(DumpError::UnknownVersion(header.version));
    }
    if header.checksum != header.own_checksum(crc32c) {
        return Err(DumpError::NoHeader);
    }
    Ok(header)
}
