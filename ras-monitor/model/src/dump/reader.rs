//! Reading dumps back: from memory, a file, or through a window of registers, by host tools and by
//! Linux's user space. Every claim of label, header and index is checked before use.

use super::layout::StoreLayout;
use super::store::Kept;
use super::{
    CHUNK_PAGES, Counts, ENTRY_BYTES, Entry, Geometry, Header, KINDS, KindCount, MAGIC,
    NOTES_BYTES, NotesReader, Origin, STORE_MAGIC, VERSION,
};
use crate::crc32c::Crc32c;
use crate::memory::PAGE_BYTES;
use darma_abi::units::GuestPhys;
use darma_ras_model_codec::unpack;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// What is read at a time where there is no need to have more at once.
const PIECE: usize = 512;

/// Bytes of a dump store, wherever they are.
pub trait StoreRead {
    /// Fills `out` from `at` on; false if that is not all there.
    fn read(&self, at: u64, out: &mut [u8]) -> bool;
}

impl StoreRead for &[u8] {
    fn read(&self, at: u64, out: &mut [u8]) -> bool {
        let found = usize::try_from(at)
            .ok()
            .and_then(|at| self.get(at..at.checked_add(out.len())?));
        match found {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}

/// Why there is no dump to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// The store does not begin with a label.
    NoStore,
    /// The store has no such slot.
    NoSlot(u32),
    /// Neither header is one: empty, or cut off before it was finished.
    NoHeader,
    /// A format of another version.
    UnknownVersion(u32),
    /// The claims of label and header contradict each other or the store's size.
    Inconsistent,
    /// The index does not fit its checksum: damaged, or just being changed.
    IndexDamaged,
    /// The notes do not fit their checksum.
    NotesDamaged,
    /// The data of this chunk does not fit its checksum: damaged, or just being packed.
    ChunkDamaged(u64),
}

impl core::fmt::Display for DumpError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoStore => f.write_str("this is no dump store: its first page has no label"),
            Self::NoSlot(slot) => write!(f, "the dump store has no slot {slot}"),
            Self::NoHeader => f.write_str("the slot holds no finished dump"),
            Self::UnknownVersion(version) => {
                write!(
                    f,
                    "format {version}, but this reader knows {VERSION}: use the tool of the same build"
                )
            }
            Self::Inconsistent => f.write_str("the dump's bookkeeping contradicts itself"),
            Self::IndexDamaged => f.write_str("the dump's index is damaged"),
            Self::NotesDamaged => f.write_str("the dump's notes are damaged"),
            Self::ChunkDamaged(chunk) => write!(f, "chunk {chunk} of the dump is damaged"),
        }
    }
}

impl core::error::Error for DumpError {}

/// The contents of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Its bytes are in the caller's buffer.
    Saved,
    /// All zeros, in the caller's buffer too.
    Zero,
    /// Not known. The buffer holds zeros.
    Lost,
}

/// Reading a store's label.
#[derive(Clone, Copy, Debug)]
pub struct Label;

impl Label {
    /// The store's division.
    ///
    /// # Errors
    /// There is no label, or it is of another version or damaged.
    pub fn read(store: &impl StoreRead, crc32c: Crc32c) -> Result<StoreLayout, DumpError> {
        let mut bytes = [0; StoreLayout::BYTES];
        if !store.read(0, &mut bytes) {
            return Err(DumpError::NoStore);
        }
        let label = StoreLayout::read_from_bytes(&bytes).map_err(|_| DumpError::NoStore)?;
        if label.magic() != STORE_MAGIC {
            return Err(DumpError::NoStore);
        }
        if label.version() != VERSION {
            return Err(DumpError::UnknownVersion(label.version()));
        }
        if label.is_sound(crc32c) {
            Ok(label)
        } else {
            Err(DumpError::Inconsistent)
        }
    }
}

/// A finished dump.
#[derive(Clone, Debug)]
pub struct DumpReader<S> {
    store: S,
    layout: StoreLayout,
    slot: u32,
    geometry: Geometry,
    header: Header,
    crc32c: Crc32c,
}

impl<S: StoreRead> DumpReader<S> {
    /// Checks label, header and index. The data's own checksums are for [`Self::check_chunk`].
    ///
    /// # Errors
    /// There is no whole dump in this slot.
    pub fn open(store: S, slot: u32, crc32c: Crc32c) -> Result<Self, DumpError> {
        let layout = Label::read(&store, crc32c)?;
        if slot >= layout.slots {
            return Err(DumpError::NoSlot(slot));
        }
        let header = match read_header(&store, layout.header(slot, 0), crc32c) {
            Err(DumpError::NoHeader) => read_header(&store, layout.header(slot, 1), crc32c)?,
            other => other?,
        };
        let runs = usize::try_from(header.runs)
            .ok()
            .and_then(|used| header.run.get(..used));
        let runs = runs.ok_or(DumpError::Inconsistent)?;
        let geometry =
            Geometry::from_runs(runs.iter().copied()).map_err(|_| DumpError::Inconsistent)?;
        let consistent = header.counts.total == geometry.total_pages()
            && geometry.chunks() <= layout.index_entries()
            && u64::from(header.notes_bytes) <= NOTES_BYTES as u64
            && header.start < layout.arena_bytes
            && header.start.is_multiple_of(8)
            && header.span <= layout.arena_bytes;
        if !consistent {
            return Err(DumpError::Inconsistent);
        }
        let reader = Self {
            store,
            layout,
            slot,
            geometry,
            header,
            crc32c,
        };
        let index = reader.sum(layout.index(slot), geometry.chunks() * ENTRY_BYTES as u64);
        if index != Some(header.index_checksum) {
            return Err(DumpError::IndexDamaged);
        }
        Ok(reader)
    }

    /// The counts, as the writer left them.
    pub const fn counts(&self) -> Counts {
        self.header.counts
    }

    /// For how many pages of each of [`super::PageKind::ALL`] room had been set aside.
    pub const fn kinds(&self) -> [KindCount; KINDS] {
        self.header.kinds
    }

    /// Which failure it belongs to.
    pub const fn origin(&self) -> Origin {
        self.header.origin
    }

    /// Its number in the store, and how often it was changed since it was finished: what is packed,
    /// moves. A reader that finds another pair at the end than at the beginning reads again.
    pub const fn version(&self) -> (u64, u32) {
        (self.header.sequence, self.header.revision)
    }

    /// Whether all of it is packed, so that it changes no more.
    pub const fn is_packed(&self) -> bool {
        self.header.packed != 0
    }

    /// Bytes of data in the store.
    pub const fn data_bytes(&self) -> u64 {
        self.header.data_bytes
    }

    /// Which pages it covers.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// How many chunks there are to check.
    pub const fn chunks(&self) -> u64 {
        self.geometry.chunks()
    }

    pub(super) const fn kept(&self) -> Kept {
        Kept {
            slot: self.slot,
            sequence: self.header.sequence,
            start: self.header.start,
            span: self.header.span,
        }
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    /// The notes, read into `room` of at least [`NOTES_BYTES`].
    ///
    /// # Errors
    /// They do not fit their checksum, or the room is too small.
    pub fn notes<'n>(&self, room: &'n mut [u8]) -> Result<NotesReader<'n>, DumpError> {
        let length = usize::try_from(self.header.notes_bytes).unwrap_or(usize::MAX);
        let room = room.get_mut(..length).ok_or(DumpError::NotesDamaged)?;
        let whole = self.store.read(self.layout.notes(self.slot), room)
            && (self.crc32c)(0, room) == self.header.notes_checksum;
        whole
            .then_some(NotesReader::new(room))
            .ok_or(DumpError::NotesDamaged)
    }

    /// Compares a chunk's data with its checksum: at most 258 KiB are read.
    ///
    /// # Errors
    /// It does not fit, or there is no such chunk.
    pub fn check_chunk(&self, chunk: u64) -> Result<(), DumpError> {
        let damaged = DumpError::ChunkDamaged(chunk);
        let entry = self.entry(chunk).ok_or(damaged)?;
        if entry.saved == 0 {
            return Ok(());
        }
        let (at, bytes) = self.place(&entry).ok_or(damaged)?;
        (self.sum(at, bytes) == Some(entry.checksum))
            .then_some(())
            .ok_or(damaged)
    }

    /// Page number `page` with its address, its bytes in `out`; `None` past the last page. A page whose
    /// data is damaged is lost; whether a chunk is whole is for [`Self::check_chunk`] to say.
    pub fn page(&self, page: u64, out: &mut [u8; PAGE_BYTES]) -> Option<(GuestPhys, Contents)> {
        let address = self.geometry.address(page)?;
        let entry = self.entry(page / CHUNK_PAGES)?;
        let bit = 1u64 << (page % CHUNK_PAGES);
        let contents = if entry.saved & bit != 0 {
            let before = (entry.saved & (bit - 1)).count_ones();
            if self.unpack(&entry, before, out).is_some() {
                Contents::Saved
            } else {
                Contents::Lost
            }
        } else if entry.lost & bit != 0 {
            Contents::Lost
        } else {
            Contents::Zero
        };
        if contents != Contents::Saved {
            out.fill(0);
        }
        Some((address, contents))
    }

    /// Gives every page in order to `take`, until it says no.
    pub fn pages(&self, mut take: impl FnMut(GuestPhys, Contents, &[u8; PAGE_BYTES]) -> bool) {
        let mut out = [0; PAGE_BYTES];
        for page in 0..self.geometry.total_pages() {
            match self.page(page, &mut out) {
                Some((address, contents)) if take(address, contents, &out) => {}
                _ => return,
            }
        }
    }

    /// Unpacks the chunk's page with `before` others before it.
    fn unpack(&self, entry: &Entry, before: u32, out: &mut [u8; PAGE_BYTES]) -> Option<()> {
        let (at, bytes) = self.place(entry)?;
        let (before, pages) = (
            usize::try_from(before).ok()?,
            usize::try_from(entry.saved.count_ones()).ok()?,
        );
        let mut lengths = [0u16; 64];
        let lengths = lengths.get_mut(..pages)?;
        let table = u64::try_from(2 * pages).ok()?;
        let data = bytes.checked_sub(table)?;
        self.store
            .read(at + data, lengths.as_mut_bytes())
            .then_some(())?;
        let skipped: u64 = lengths.get(..before)?.iter().copied().map(u64::from).sum();
        let length = u64::from(*lengths.get(before)?);
        if skipped + length > data {
            return None;
        }
        let mut kept = [0; PAGE_BYTES];
        let kept = kept.get_mut(..usize::try_from(length).ok()?)?;
        let whole = self.store.read(at + skipped, kept) && unpack(kept, out);
        whole.then_some(())
    }

    /// Where a chunk's data is in the store, if the entry keeps to the arena.
    pub(super) fn place(&self, entry: &Entry) -> Option<(u64, u64)> {
        let place = u64::from(entry.place) * 8;
        let bytes = u64::from(entry.bytes);
        let inside = place + bytes <= self.layout.arena_bytes;
        inside.then_some((self.layout.arena + place, bytes))
    }

    pub(super) fn entry(&self, chunk: u64) -> Option<Entry> {
        if chunk >= self.chunks() {
            return None;
        }
        let mut entry = Entry::new_zeroed();
        let at = self.layout.index(self.slot) + chunk * ENTRY_BYTES as u64;
        self.store.read(at, entry.as_mut_bytes()).then_some(entry)
    }

    fn sum(&self, at: u64, bytes: u64) -> Option<u32> {
        let mut piece = [0; PIECE];
        let mut checksum = 0;
        let mut done = 0;
        while done < bytes {
            let take = usize::try_from(bytes - done).unwrap_or(PIECE).min(PIECE);
            let piece = piece.get_mut(..take)?;
            self.store.read(at + done, piece).then_some(())?;
            checksum = (self.crc32c)(checksum, piece);
            done += PIECE as u64;
        }
        Some(checksum)
    }
}

fn read_header(store: &impl StoreRead, at: u64, crc32c: Crc32c) -> Result<Header, DumpError> {
    let mut header = Header::new_zeroed();
    if !store.read(at, header.as_mut_bytes()) || header.magic != MAGIC {
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
