//! Where everything in a dump store is: computed once from its size, the number of slots and the
//! memory to be dumped, and written to its first page for readers.

use super::{CHUNK_BYTES_MAX, ENTRY_BYTES, Geometry, NOTES_BYTES, SLOTS_MAX, STORE_MAGIC, VERSION};
use crate::crc32c::Crc32c;
use crate::memory::PAGE_BYTES_U64;
use core::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Room for the chunk that is being packed.
const STAGE_BYTES: u64 = (CHUNK_BYTES_MAX as u64).next_multiple_of(PAGE_BYTES_U64);
/// The zero pages, the pages of one word, the pages that go first.
const BIT_MAPS: u64 = 3;

/// The label in page 0, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StoreLayout {
    magic: u64,
    version: u32,
    /// Over all fields behind this one.
    checksum: u32,
    /// How many dumps there can be.
    pub slots: u32,
    /// Zero.
    reserved: u32,
    /// From one slot's header to the next one's, in bytes.
    slot_bytes: u64,
    /// Room for the index in a slot.
    index_bytes: u64,
    /// Where the work area begins.
    pub(super) work: u64,
    /// Length of one bit map.
    pub(super) map_bytes: u64,
    /// Where the arena begins.
    pub(super) arena: u64,
    /// Its length.
    pub arena_bytes: u64,
}

const _: () = {
    assert!(offset_of!(StoreLayout, checksum) == 12);
    assert!(offset_of!(StoreLayout, slots) == 16);
    assert!(size_of::<StoreLayout>() == 72);
};

impl StoreLayout {
    /// Divides `store_bytes` for dumps of this memory. `None` if no data would fit.
    pub fn new(store_bytes: u64, slots: u32, geometry: &Geometry, crc32c: Crc32c) -> Option<Self> {
        let slots = slots.clamp(1, u32::try_from(SLOTS_MAX).unwrap_or(u32::MAX));
        let index_bytes = geometry
            .chunks()
            .checked_mul(u64::try_from(ENTRY_BYTES).ok()?)?
            .checked_next_multiple_of(PAGE_BYTES_U64)?;
        let slot_bytes = index_bytes
            .checked_add(2 * PAGE_BYTES_U64)?
            .checked_add(u64::try_from(NOTES_BYTES).ok()?)?;
        let work = slot_bytes
            .checked_mul(u64::from(slots))?
            .checked_add(PAGE_BYTES_U64)?;
        let map_bytes = geometry.chunks().checked_mul(8)?;
        let maps = (map_bytes * BIT_MAPS).checked_next_multiple_of(PAGE_BYTES_U64)?;
        let arena = work.checked_add(maps)?.checked_add(STAGE_BYTES)?;
        let arena_bytes = store_bytes.checked_sub(arena)? / 8 * 8;
        let mut layout = Self {
            magic: STORE_MAGIC,
            version: VERSION,
            checksum: 0,
            slots,
            reserved: 0,
            slot_bytes,
            index_bytes,
            work,
            map_bytes,
            arena,
            arena_bytes,
        };
        layout.checksum = layout.own_checksum(crc32c);
        (arena_bytes >= PAGE_BYTES_U64).then_some(layout)
    }

    /// Whether a label that was read is one, and its claims fit each other and the version.
    pub(super) fn is_sound(&self, crc32c: Crc32c) -> bool {
        let expected_work = self
            .slot_bytes
            .checked_mul(u64::from(self.slots))
            .and_then(|slots| slots.checked_add(PAGE_BYTES_U64));
        let slot = self
            .index_bytes
            .checked_add(2 * PAGE_BYTES_U64 + NOTES_BYTES as u64);
        self.magic == STORE_MAGIC
            && self.version == VERSION
            && self.checksum == self.own_checksum(crc32c)
            && (1..=SLOTS_MAX as u64).contains(&u64::from(self.slots))
            && slot == Some(self.slot_bytes)
            && expected_work == Some(self.work)
            && self.arena.checked_add(self.arena_bytes).is_some()
    }

    pub(super) const fn magic(&self) -> u64 {
        self.magic
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    fn own_checksum(&self, crc32c: Crc32c) -> u32 {
        let covered = offset_of!(StoreLayout, slots);
        crc32c(0, self.as_bytes().get(covered..).unwrap_or(&[]))
    }

    /// Where a copy of a slot's header begins.
    pub(super) const fn header(&self, slot: u32, copy: u64) -> u64 {
        PAGE_BYTES_U64 * (1 + copy) + self.slot_bytes * slot as u64
    }

    /// Where a slot's notes begin.
    pub(super) const fn notes(&self, slot: u32) -> u64 {
        self.header(slot, 2)
    }

    /// Where a slot's index begins.
    pub(super) const fn index(&self, slot: u32) -> u64 {
        self.notes(slot) + NOTES_BYTES as u64
    }

    /// How many entries a slot's index has room for.
    pub(super) const fn index_entries(&self) -> u64 {
        self.index_bytes / ENTRY_BYTES as u64
    }

    /// Where one of the bit maps begins.
    pub(super) const fn map(&self, number: u64) -> u64 {
        self.work + self.map_bytes * number
    }

    /// Where the room for a chunk that is being packed begins.
    pub(super) const fn stage(&self) -> u64 {
        self.arena - STAGE_BYTES
    }

    /// The label's length in the store's first page.
    pub(super) const BYTES: usize = size_of::<Self>();
}
