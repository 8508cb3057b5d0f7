//! The store as a whole: which dumps are in it, which one goes next, and the ring of their data.
//!
//! ```text
//!  arena  │   oldest    │     newest     │        free         │
//!         └─────────────┴────────────────┴─────────────────────┘
//!                                        └► the next one: over the free part, round the end,
//!                                           then over the oldest, as far as the newest's start
//! ```
//! What is known of the slots is read back from their headers when the store is opened, so a store
//! in memory that survived a reset of the machine is taken over as it is, dump by dump, if its label
//! fits this machine and each dump's own sums hold.

use super::layout::StoreLayout;
use super::reader::{DumpReader, Label, StoreRead};
use super::{DumpWriter, ENTRY_BYTES, Entry, Geometry, Header, Origin, SLOTS_MAX};
use crate::crc32c::Crc32c;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// A dump that is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) slot: u32,
    pub(super) sequence: u64,
    /// Its part of the ring.
    pub(super) start: u64,
    pub(super) span: u64,
}

/// Room for dumps of one machine's memory.
#[derive(Debug)]
pub struct DumpStore<'s> {
    pub(super) bytes: &'s mut [u8],
    pub(super) layout: StoreLayout,
    pub(super) geometry: Geometry,
    pub(super) crc32c: Crc32c,
    kept: [Option<Kept>; SLOTS_MAX],
}

impl<'s> DumpStore<'s> {
    /// Takes the room over, with the dumps in it if there are some of this very layout; anything
    /// else in it is no dump and is overwritten. `None` if the room is too small for any data.
    pub fn open(
        bytes: &'s mut [u8],
        slots: u32,
        geometry: Geometry,
        crc32c: Crc32c,
    ) -> Option<Self> {
        let length = u64::try_from(bytes.len()).ok()?;
        let layout = StoreLayout::new(length, slots, &geometry, crc32c)?;
        let mut store = Self {
            bytes,
            layout,
            geometry,
            crc32c,
            kept: [None; SLOTS_MAX],
        };
        if Label::read(&&*store.bytes, crc32c).ok() == Some(layout) {
            store.adopt();
        } else {
            for slot in 0..layout.slots {
                store.void(slot);
            }
            store.write(0, layout.as_bytes());
        }
        Some(store)
    }

    fn adopt(&mut self) {
        for slot in 0..self.layout.slots {
            let found = self.reader(slot).and_then(|reader| {
                let fits = *reader.geometry() == self.geometry;
                fits.then(|| (reader.kept(), *reader.header()))
            });
            match found {
                Some((kept, header)) => {
                    self.remember(kept);
                    self.write_header(slot, header);
                }
                None => self.void(slot),
            }
        }
    }

    /// How the store is divided.
    pub const fn layout(&self) -> &StoreLayout {
        &self.layout
    }

    /// The slots that hold a dump with the dumps' sequence numbers, in no order.
    pub fn dumps(&self) -> impl Iterator<Item = (u32, u64)> {
        self.kept
            .iter()
            .flatten()
            .map(|kept| (kept.slot, kept.sequence))
    }

    /// The slot of the newest dump.
    pub fn newest_slot(&self) -> Option<u32> {
        self.newest().map(|kept| kept.slot)
    }

    /// The dump in this slot.
    pub fn reader(&self, slot: u32) -> Option<DumpReader<&[u8]>> {
        DumpReader::open(&*self.bytes, slot, self.crc32c).ok()
    }

    /// Begins a dump: in an empty slot, else in the oldest dump's. It is in the store once it is
    /// finished; until then the newest dump before it stays, unless there is but one slot.
    pub fn begin(&mut self, origin: Origin) -> DumpWriter<'_, 's> {
        let sequence = self.newest().map_or(1, |kept| kept.sequence + 1);
        let slots = 0..self.layout.slots;
        let empty = slots.into_iter().find(|slot| self.find(*slot).is_none());
        let slot = empty.or(self.oldest().map(|kept| kept.slot)).unwrap_or(0);
        self.evict(slot);
        let start = self
            .newest()
            .map_or(0, |kept| self.wrapped(kept.start + kept.span));
        DumpWriter::new(self, origin, sequence, slot, start)
    }

    fn find(&self, slot: u32) -> Option<&Kept> {
        self.kept.iter().flatten().find(|kept| kept.slot == slot)
    }

    pub(super) fn newest(&self) -> Option<&Kept> {
        self.kept.iter().flatten().max_by_key(|kept| kept.sequence)
    }

    fn oldest(&self) -> Option<&Kept> {
        self.kept.iter().flatten().min_by_key(|kept| kept.sequence)
    }

    /// Notes that a slot holds a finished dump.
    pub(super) fn remember(&mut self, kept: Kept) {
        let place = usize::try_from(kept.slot).ok();
        if let Some(place) = place.and_then(|slot| self.kept.get_mut(slot)) {
            *place = Some(kept);
        }
    }

    /// Gives a dump up.
    fn evict(&mut self, slot: u32) {
        self.void(slot);
        let place = usize::try_from(slot).ok();
        if let Some(place) = place.and_then(|slot| self.kept.get_mut(slot)) {
            *place = None;
        }
    }

    fn void(&mut self, slot: u32) {
        let nothing = Header::new_zeroed();
        for copy in 0..2 {
            self.write(self.layout.header(slot, copy), nothing.as_bytes());
        }
    }

    /// A place in the ring, from a sum of two places.
    pub(super) const fn wrapped(&self, at: u64) -> u64 {
        if at >= self.layout.arena_bytes {
            at - self.layout.arena_bytes
        } else {
            at
        }
    }

    /// The most of the ring that a dump which begins behind the newest may take. With several slots a
    /// quarter of the ring is always left for the next one.
    pub(super) fn limit(&self) -> u64 {
        let ring = self.layout.arena_bytes;
        let kept = self.newest().map_or(0, |kept| kept.span);
        let most = if self.layout.slots > 1 {
            ring - ring / 4
        } else {
            ring
        };
        ring.saturating_sub(kept).min(most)
    }

    /// Gives up every dump that lies in the first `span` bytes of the ring from `start` on. As long as
    /// `span` keeps to [`Self::limit`], the newest is not among them.
    pub(super) fn clear_way(&mut self, start: u64, span: u64) {
        let ring = self.layout.arena_bytes;
        let distance = |from: u64, to: u64| {
            if to >= from {
                to - from
            } else {
                ring - from + to
            }
        };
        for slot in 0..self.layout.slots {
            let in_the_way = self.find(slot).is_some_and(|kept| {
                kept.span > 0
                    && span > 0
                    && (distance(start, kept.start) < span
                        || distance(kept.start, start) < kept.span)
            });
            if in_the_way {
                self.evict(slot);
            }
        }
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> bool {
        match self.room(at, bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    pub(super) fn read(&self, at: u64, out: &mut [u8]) -> bool {
        StoreRead::read(&&*self.bytes, at, out)
    }

    pub(super) fn room(&mut self, at: u64, len: usize) -> Option<&mut [u8]> {
        let at = usize::try_from(at).ok()?;
        self.bytes.get_mut(at..at.checked_add(len)?)
    }

    pub(super) fn view(&self, at: u64, len: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// The sum over an index as it stands.
    pub(super) fn index_checksum(&self, slot: u32) -> u32 {
        let bytes = usize::try_from(self.geometry.chunks() * 32).unwrap_or(0);
        let index = self.view(self.layout.index(slot), bytes);
        (self.crc32c)(0, index.unwrap_or(&[]))
    }

    /// Sums a header and writes it, twice.
    pub(super) fn write_header(&mut self, slot: u32, mut header: Header) {
        header.checksum = header.own_checksum(self.crc32c);
        for copy in 0..2 {
            self.write(self.layout.header(slot, copy), header.as_bytes());
        }
    }

    /// An entry of a slot's index; `None` past the last.
    pub(super) fn entry(&self, slot: u32, chunk: u64) -> Option<Entry> {
        let at = self.layout.index(slot) + chunk * 32;
        let bytes = self.view(at, ENTRY_BYTES)?;
        let found = Entry::read_from_bytes(bytes).ok();
        found.filter(|_| chunk < self.geometry.chunks())
    }

    /// Whether the data that an entry names lies in the arena and fits its checksum.
    pub(super) fn is_whole(&self, entry: &Entry) -> bool {
        let place = u64::from(entry.place) * 8;
        let inside = place + u64::from(entry.bytes) <= self.layout.arena_bytes;
        let length = usize::try_from(entry.bytes).ok().filter(|_| inside);
        length
            .and_then(|length| self.view(self.layout.arena + place, length))
            .is_some_and(|data| (self.crc32c)(0, data) == entry.checksum)
    }

    /// Copies inside the store; false if it is not all there.
    pub(super) fn copy(&mut self, from: u64, to: u64, len: usize) -> bool {
        let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) else {
            return false;
        };
        let fits = |at: usize| {
            at.checked_add(len)
                .is_some_and(|end| end <= self.bytes.len())
        };
        if !fits(from) || !fits(to) {
            return false;
        }
        self.bytes.copy_within(from..from + len, to);
        true
    }

    /// A slot's header as it stands.
    pub(super) fn header(&self, slot: u32) -> Option<Header> {
        let bytes = self.view(self.layout.header(slot, 0), size_of::<Header>())?;
        Header::read_from_bytes(bytes).ok()
    }

    /// Writes a slot's headers anew after a change of its dump.
    pub(super) fn renew(&mut self, slot: u32, change: impl FnOnce(&mut Header)) {
        if let Some(mut header) = self.header(slot) {
            header.revision = header.revision.wrapping_add(1);
            header.index_checksum = self.index_checksum(slot);
            change(&mut header);
            self.write_header(slot, header);
        }
    }
}
