//! Packing a finished dump where it is, while the GPOS runs again.
//!
//! ```text
//!  before   │ chunk 0 raw │ chunk 1 raw │ chunk 2 raw │
//!  between  │ 0 packed │ 1 packed │ unused │ 2 raw ...     each chunk is made in the work area, checked,
//!  after    │ 0 │ 1 │ 2 │ free for the next dump           then copied down, entry and headers renewed
//! ```
//! A step packs one page, or puts one finished chunk in its place. Between any two steps the dump is
//! whole, so a capture may come at any time, and nobody needs to lock anybody out; what is packed only
//! ever moves towards the dump's start, over data that was moved before. A chunk whose sum does not hold
//! is left as it is.

use super::Entry;
use super::page::Compressor;
use super::store::{DumpStore, Kept};
use zerocopy::IntoBytes;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A page was packed (about 50,000 instructions), or a chunk put in its place (120,000).
    Worked,
    /// Nothing is left to be packed.
    Done,
}

/// The state between two steps.
#[derive(Clone, Copy, Debug)]
pub struct Packer {
    /// The dump that is being packed; 0: none yet.
    sequence: u64,
    /// The chunk that is next; `None`: all are packed.
    chunk: Option<u64>,
    /// Where its data goes, in bytes of the ring behind the dump's start.
    target: u64,
    /// All data that was put in its place so far.
    data_bytes: u64,
    /// The chunk in the work area: its pages' lengths, how many there are, bytes written and read.
    lengths: [u16; 64],
    pages: usize,
    staged: u64,
    consumed: u64,
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Packer {
    /// Nothing begun.
    pub const fn new() -> Self {
        Self {
            sequence: 0,
            chunk: None,
            target: 0,
            data_bytes: 0,
            lengths: [0; 64],
            pages: 0,
            staged: 0,
            consumed: 0,
        }
    }

    /// Goes on with the newest dump of the store.
    pub fn step(&mut self, store: &mut DumpStore<'_>, compressor: &mut Compressor) -> Packing {
        self.try_step(store, compressor).unwrap_or(Packing::Done)
    }

    fn try_step(
        &mut self,
        store: &mut DumpStore<'_>,
        compressor: &mut Compressor,
    ) -> Option<Packing> {
        let newest = *store.newest()?;
        if self.sequence != newest.sequence {
            *self = Self::new();
            self.sequence = newest.sequence;
            let packed = store.header(newest.slot)?.packed != 0;
            self.chunk = (!packed).then_some(0);
        }
        let chunk = self.chunk?;
        let Some(entry) = store.entry(newest.slot, chunk) else {
            self.complete(store, newest);
            return None;
        };
        let pages = usize::try_from(entry.saved.count_ones()).unwrap_or(0);
        if pages == 0 {
            self.go_on(chunk);
        } else if self.pages == 0 && !store.is_whole(&entry) {
            // Damaged, or of damaged bookkeeping: what is behind it cannot come before it.
            self.skip(store, newest, &entry);
            self.go_on(chunk);
        } else if self.pages < pages {
            if self.pack_page(store, compressor, &entry, pages).is_none() {
                self.skip(store, newest, &entry);
                self.go_on(chunk);
            }
        } else {
            self.place_chunk(store, newest, chunk, entry);
            self.go_on(chunk);
        }
        Some(Packing::Worked)
    }

    fn go_on(&mut self, chunk: u64) {
        self.chunk = Some(chunk + 1);
        (self.pages, self.staged, self.consumed) = (0, 0, 0);
    }

    /// Packs the chunk's next page into the work area.
    fn pack_page(
        &mut self,
        store: &mut DumpStore<'_>,
        compressor: &mut Compressor,
        entry: &Entry,
        pages: usize,
    ) -> Option<()> {
        let from = store.layout.arena + u64::from(entry.place) * 8;
        let table = u64::from(entry.bytes).checked_sub(u64::try_from(2 * pages).ok()?)?;
        let mut length = [0; 2];
        let at = from + table + 2 * u64::try_from(self.pages).ok()?;
        store.read(at, &mut length).then_some(())?;
        let length = u16::from_le_bytes(length);
        let end = self.consumed + u64::from(length);
        (end <= table).then_some(())?;
        let kept = store.view(from + self.consumed, usize::from(length))?;
        let packed = compressor.repacked(kept)?;
        let stage = store.layout.stage() + self.staged;
        store.write(stage, packed).then_some(())?;
        let bytes = u16::try_from(packed.len()).ok()?;
        *self.lengths.get_mut(self.pages)? = bytes;
        self.pages += 1;
        self.staged += u64::from(bytes);
        self.consumed = end;
        Some(())
    }

    /// Copies the chunk from the work area to its place, and renews entry and headers.
    fn place_chunk(&mut self, store: &mut DumpStore<'_>, newest: Kept, chunk: u64, old: Entry) {
        let stage = store.layout.stage();
        let lengths = self.lengths;
        let lengths = lengths.get(..self.pages).unwrap_or(&[]).as_bytes();
        store.write(stage + self.staged, lengths);
        let bytes = self.staged + u64::try_from(lengths.len()).unwrap_or(0);
        let ring = store.layout.arena_bytes;
        // In one piece: the end of the arena stays unused if it is too short.
        let begin = newest.start + self.target;
        if begin < ring && begin + bytes > ring {
            self.target = ring - newest.start;
        }
        let place = store.wrapped(newest.start + self.target);
        let arena = store.layout.arena;
        let length = usize::try_from(bytes).unwrap_or(0);
        let checksum = store
            .view(stage, length)
            .map(|data| (store.crc32c)(0, data));
        // Only ever downwards: what lies above has not been read yet.
        let downwards =
            bytes <= u64::from(old.bytes) && self.target <= distance(store, newest, &old);
        if !downwards || !store.copy(stage, arena + place, length) {
            self.skip(store, newest, &old);
            return;
        }
        let entry = Entry {
            place: u32::try_from(place / 8).unwrap_or(u32::MAX),
            bytes: u32::try_from(bytes).unwrap_or(0),
            checksum: checksum.unwrap_or(0),
            ..old
        };
        let at = store.layout.index(newest.slot) + chunk * 32;
        store.write(at, entry.as_bytes());
        self.target += bytes.next_multiple_of(8);
        self.data_bytes += bytes;
        store.renew(newest.slot, |_| {});
    }

    /// Leaves a chunk where it is: what follows goes behind it.
    fn skip(&mut self, store: &DumpStore<'_>, newest: Kept, entry: &Entry) {
        let end = distance(store, newest, entry) + u64::from(entry.bytes).next_multiple_of(8);
        self.target = self.target.max(end.min(newest.span));
        self.data_bytes += u64::from(entry.bytes);
    }

    /// All chunks are where they belong: what is behind them is free.
    fn complete(&mut self, store: &mut DumpStore<'_>, newest: Kept) {
        self.chunk = None;
        let (span, data_bytes) = (self.target.min(newest.span), self.data_bytes);
        store.renew(newest.slot, |header| {
            (header.span, header.data_bytes, header.packed) = (span, data_bytes, 1);
        });
        store.remember(Kept { span, ..newest });
    }
}

/// How far behind the dump's start a chunk is.
fn distance(store: &DumpStore<'_>, dump: Kept, entry: &Entry) -> u64 {
    let ring = store.layout.arena_bytes;
    let place = (u64::from(entry.place) * 8).min(ring - 1);
    store.wrapped(place + ring - dump.start)
}
