//! Making a dump, a page per call.
//!
//! ```text
//! begin ──► classify ... ──► mark ... ──► save ... ──► finish
//!                            if it is tight
//! ```
//! *Classify* looks at every page: zero, one word, or mixed. So it is known how much is to be kept
//! before the first byte is copied, and no page is looked through twice. *Mark* sets room aside for
//! pages that must not be missing. *Save* goes over the memory by rising address; a mixed page goes into
//! the store as it is, while all that is left would fit so, and packed otherwise; an unmarked page only
//! if the room that is set aside stays. So the marked pages are as safe as if they had gone first, and
//! the order of the data stays that of the addresses.
//!
//! The writer may be preempted between any two calls, and dropped at any point: without `finish` the slot
//! holds no dump.

use super::page::{Compressor, PageSource};
use super::store::{DumpStore, Kept};
use super::{
    CHUNK_BYTES_MAX, CHUNK_PAGES, Counts, Entry, Finished, Header, KINDS, KindCount, MAGIC,
    NOTES_BYTES, Origin, PageKind, Progress, VERSION,
};
use crate::memory::{PAGE_BYTES, PAGE_BYTES_U64};
use darma_abi::units::GuestPhys;
use darma_ras_model_codec::WORD_BYTES;
use zerocopy::IntoBytes;

/// The bit maps of the work area.
const ZERO: u64 = 0;
const WORD: u64 = 1;
const FIRST: u64 = 2;
/// What the lengths of a chunk's pages take at most, and its rounding.
const CHUNK_OVERHEAD: u64 = 2 * CHUNK_PAGES + 8;

/// Less than what most mixed pages take when they are packed.
const LEAST_PACKED: u64 = 256;

/// What became of a page.
enum Outcome {
    Zero,
    Saved,
    Lost,
}

/// A dump in the making.
#[derive(Debug)]
pub struct DumpWriter<'a, 's> {
    store: &'a mut DumpStore<'s>,
    origin: Origin,
    sequence: u64,
    slot: u32,
    /// The next page to be classified, then to be saved.
    classified: u64,
    next_page: u64,
    /// Mixed pages not yet saved; of these the marked ones.
    mixed: u64,
    marked: u64,
    kinds: [KindCount; KINDS],
    /// The ring: where the dump begins, how much it may take, how much it has taken.
    start: u64,
    limit: u64,
    used: u64,
    /// The chunk in the making: its place in the arena, its data so far, and the saved pages' lengths.
    chunk: Entry,
    at: u64,
    filled: u64,
    lengths: [u16; 64],
    pages: usize,
    counts: Counts,
    data_bytes: u64,
    notes_bytes: usize,
}

impl<'a, 's> DumpWriter<'a, 's> {
    pub(super) fn new(
        store: &'a mut DumpStore<'s>,
        origin: Origin,
        sequence: u64,
        slot: u32,
        start: u64,
    ) -> Self {
        let limit = store.limit();
        let counts = Counts {
            total: store.geometry.total_pages(),
            ..Counts::default()
        };
        for map in [ZERO, WORD, FIRST] {
            let (at, bytes) = (store.layout.map(map), store.layout.map_bytes);
            if let Some(map) = usize::try_from(bytes)
                .ok()
                .and_then(|len| store.room(at, len))
            {
                map.fill(0);
            }
        }
        Self {
            store,
            origin,
            sequence,
            slot,
            classified: 0,
            next_page: 0,
            mixed: 0,
            marked: 0,
            kinds: [KindCount::default(); KINDS],
            start,
            limit,
            used: 0,
            chunk: Entry::default(),
            at: 0,
            filled: 0,
            lengths: [0; 64],
            pages: 0,
            counts,
            data_bytes: 0,
            notes_bytes: 0,
        }
    }

    /// Looks at the next page. When this is complete, [`Self::is_tight`] has its answer.
    pub fn classify(&mut self, source: &impl PageSource) -> Progress {
        let Some(at) = self.store.geometry.address(self.classified) else {
            return Progress::Complete;
        };
        match source.uniform(at) {
            Some(0) => self.set_bit(ZERO, self.classified),
            Some(_) => self.set_bit(WORD, self.classified),
            None => self.mixed += 1,
        }
        self.classified += 1;
        Progress::More
    }

    /// Whether the mixed pages do not all fit as they are: then it is worth marking some.
    pub fn is_tight(&self) -> bool {
        self.needed_raw() > self.room()
    }

    /// Sets room aside for the page around `at`, once, as long as there is some. Pages that nothing is
    /// gained for are ignored. False if there was no room.
    pub fn mark(&mut self, kind: PageKind, at: GuestPhys) -> bool {
        let Some(page) = self.store.geometry.page_at(at) else {
            return true;
        };
        if self.has_bit(ZERO, page) || self.has_bit(WORD, page) || self.has_bit(FIRST, page) {
            return true;
        }
        let fits = (self.marked + 1) * PAGE_BYTES_U64 <= self.room();
        if let Some(count) = self.kinds.get_mut(kind.index()) {
            count.found = count.found.saturating_add(1);
            count.assured = count.assured.saturating_add(u32::from(fits));
        }
        if fits {
            self.set_bit(FIRST, page);
            self.marked += 1;
        }
        fits
    }

    /// Keeps these notes with the dump, as [`super::NotesWriter`] put them together; false if they are
    /// more than [`NOTES_BYTES`].
    pub fn set_notes(&mut self, notes: &[u8]) -> bool {
        let fits = notes.len() <= NOTES_BYTES
            && self.store.write(self.store.layout.notes(self.slot), notes);
        self.notes_bytes = if fits { notes.len() } else { 0 };
        fits
    }

    /// The page that [`Self::save`] comes to next; `None` when all are in.
    pub fn next_address(&self) -> Option<GuestPhys> {
        self.store.geometry.address(self.next_page)
    }

    /// Saves the next page. At most a page is copied and summed, and packed where room is short.
    pub fn save(&mut self, source: &impl PageSource, packer: &mut Compressor) -> Progress {
        let Some(address) = self.next_address() else {
            return Progress::Complete;
        };
        let page = self.next_page;
        if page.is_multiple_of(CHUNK_PAGES) {
            self.open_chunk();
        }
        if self.has_bit(ZERO, page) {
            self.count_page(Outcome::Zero);
        } else if self.keep(page, address, source, packer) {
            self.count_page(Outcome::Saved);
        } else {
            self.count_page(Outcome::Lost);
        }
        if self.next_address().is_none() {
            Progress::Complete
        } else {
            Progress::More
        }
    }

    /// Writes both headers; from here the store holds the dump. Pages not saved are lost.
    pub fn finish(mut self) -> Finished {
        while self.next_address().is_some() {
            self.count_page(Outcome::Lost);
        }
        let slot = self.slot;
        let store = &mut *self.store;
        let notes = store.view(store.layout.notes(slot), self.notes_bytes);
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            checksum: 0,
            sequence: self.sequence,
            revision: 0,
            packed: 0,
            index_checksum: store.index_checksum(slot),
            notes_checksum: (store.crc32c)(0, notes.unwrap_or(&[])),
            notes_bytes: u32::try_from(self.notes_bytes).unwrap_or(0),
            runs: u32::try_from(store.geometry.used).unwrap_or(0),
            start: self.start,
            span: self.used,
            data_bytes: self.data_bytes,
            origin: self.origin,
            counts: self.counts,
            kinds: self.kinds,
            run: store.geometry.runs,
        };
        store.write_header(slot, header);
        store.remember(Kept {
            slot,
            sequence: self.sequence,
            start: self.start,
            span: self.used,
        });
        Finished {
            counts: self.counts,
            kinds: self.kinds,
            data_bytes: self.data_bytes,
            slot,
            sequence: self.sequence,
        }
    }

    /// Goes on to the next page.
    fn count_page(&mut self, outcome: Outcome) {
        let bit = 1u64 << (self.next_page % CHUNK_PAGES);
        match outcome {
            Outcome::Zero => self.counts.zero += 1,
            Outcome::Saved => {
                self.chunk.saved |= bit;
                self.counts.saved += 1;
            }
            Outcome::Lost => {
                self.chunk.lost |= bit;
                self.counts.lost += 1;
            }
        }
        self.next_page += 1;
        let complete = self.next_page >= self.counts.total;
        if complete || self.next_page.is_multiple_of(CHUNK_PAGES) {
            self.close_chunk();
        }
    }

    /// Puts a page behind the chunk's last one. False if it has no room or cannot be read.
    fn keep(
        &mut self,
        page: u64,
        address: GuestPhys,
        source: &impl PageSource,
        compressor: &mut Compressor,
    ) -> bool {
        if self.has_bit(WORD, page) {
            let mut word = [0; WORD_BYTES];
            return source.read(address, &mut word) && self.append(&word, 0);
        }
        let short = self.is_tight();
        let first = self.has_bit(FIRST, page);
        self.mixed = self.mixed.saturating_sub(1);
        self.marked = self.marked.saturating_sub(u64::from(first));
        let aside = if first {
            0
        } else {
            self.marked * PAGE_BYTES_U64
        };
        if short {
            // Not worth the work when hardly anything would fit.
            if !self.has_room(LEAST_PACKED, aside) {
                return false;
            }
            return source.read(address, compressor.page())
                && self.append(compressor.pack(), aside);
        }
        if !self.has_room(PAGE_BYTES_U64, aside) {
            return false;
        }
        let crc32c = self.store.crc32c;
        let Some(room) = self.store.room(self.at + self.filled, PAGE_BYTES) else {
            return false;
        };
        if !source.read(address, room) {
            return false;
        }
        self.chunk.checksum = crc32c(self.chunk.checksum, room);
        self.count(PAGE_BYTES)
    }

    /// Puts bytes behind the chunk's last page, if the room that is set aside stays.
    fn append(&mut self, bytes: &[u8], aside: u64) -> bool {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if !self.has_room(length, aside) || !self.store.write(self.at + self.filled, bytes) {
            return false;
        }
        self.chunk.checksum = (self.store.crc32c)(self.chunk.checksum, bytes);
        self.count(bytes.len())
    }

    fn count(&mut self, bytes: usize) -> bool {
        let (Some(length), Ok(bytes)) = (self.lengths.get_mut(self.pages), u16::try_from(bytes))
        else {
            return false;
        };
        *length = bytes;
        self.pages += 1;
        self.filled += u64::from(bytes);
        true
    }

    /// Whether a page of this length and the chunk's lengths fit, besides what is set aside. The
    /// first time the chunk reaches further, whatever dump lies there is given up.
    fn has_room(&self, bytes: u64, aside: u64) -> bool {
        bytes.saturating_add(aside) <= self.room()
    }

    /// What is left of the ring for pages: less what the end of the arena may waste.
    fn room(&self) -> u64 {
        let taken = self.used + self.filled + CHUNK_OVERHEAD;
        let left = self.limit.saturating_sub(taken);
        let ring = self.store.layout.arena_bytes;
        let wraps = self.start + self.used < ring && self.start + self.limit > ring;
        left.saturating_sub(if wraps { CHUNK_BYTES_MAX as u64 } else { 0 })
    }

    /// What the pages that are not saved yet would take as they are.
    fn needed_raw(&self) -> u64 {
        let chunks = (self.counts.total - self.next_page).div_ceil(CHUNK_PAGES);
        self.mixed * PAGE_BYTES_U64 + chunks * (CHUNK_OVERHEAD + CHUNK_PAGES * 8)
    }

    /// Finds the chunk's place: in one piece, so that the end of the arena may stay unused.
    fn open_chunk(&mut self) {
        let ring = self.store.layout.arena_bytes;
        let most = CHUNK_BYTES_MAX as u64;
        let before_end = self.start + self.used < ring;
        if before_end && self.start + self.used + most > ring && self.start + self.limit > ring {
            self.used = ring - self.start;
        }
        let place = self.store.wrapped(self.start + self.used);
        let reach = (self.used + most).min(self.limit);
        self.store.clear_way(self.start, reach);
        self.at = self.store.layout.arena + place;
        self.chunk.place = u32::try_from(place / 8).unwrap_or(u32::MAX);
    }

    /// Writes the lengths behind the pages, and the entry.
    fn close_chunk(&mut self) {
        if self.pages > 0 {
            let lengths = self.lengths;
            let lengths = lengths.get(..self.pages).unwrap_or(&[]).as_bytes();
            // Room for them was left by every page.
            self.store.write(self.at + self.filled, lengths);
            self.chunk.checksum = (self.store.crc32c)(self.chunk.checksum, lengths);
            let bytes = self.filled + u64::try_from(lengths.len()).unwrap_or(0);
            self.chunk.bytes = u32::try_from(bytes).unwrap_or(0);
            self.used += bytes.next_multiple_of(8);
            self.data_bytes += bytes;
        }
        let chunk = (self.next_page - 1) / CHUNK_PAGES;
        let at = self.store.layout.index(self.slot) + chunk * 32;
        self.store.write(at, self.chunk.as_bytes());
        (self.chunk, self.pages, self.filled) = (Entry::default(), 0, 0);
    }

    fn has_bit(&self, map: u64, page: u64) -> bool {
        let mut byte = [0];
        self.store
            .read(self.store.layout.map(map) + page / 8, &mut byte)
            && byte[0] & (1 << (page % 8)) != 0
    }

    fn set_bit(&mut self, map: u64, page: u64) {
        let at = self.store.layout.map(map) + page / 8;
        if let Some([byte]) = self.store.room(at, 1) {
            *byte |= 1 << (page % 8);
        }
    }
}
