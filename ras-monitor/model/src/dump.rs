//! The dump store: the GPOS's memory and its frozen state at the last failures, compressed.
//!
//! ```text
//! page 0      label: that this is a dump store, and where everything in it is
//! slot 0      header, second copy a page further, notes, index       \  one for each dump
//! slot 1 ...                                                         /
//! work area   three bit maps and room for one chunk, used while a dump is made or packed
//! arena       all dumps' data, a ring: each new dump begins behind the newest
//! ```
//! Pages are numbered over the memory's ranges from the lowest up, gaps left out, and kept in chunks
//! of 64. A chunk's index entry has a bit per page: *saved* or *lost* (no room, or unreadable); neither
//! means that the page was zero. The chunk's data is the saved pages back to back and their lengths
//! behind them, two bytes each: 8 is one word repeated, 4096 the page as it was, anything else an LZ4
//! block. The entry has the data's place and CRC-32C; the header has sums over index and notes and
//! one over itself. The header is written last and twice, so a dump that was cut off has none, and one
//! torn copy does no harm.
//!
//! Life of a dump, and who may disturb whom:
//! ```text
//! begin ──► classify ──► mark ──► save ──► finish ──► pack ──► (whole, small) ──► evicted by a later one
//!  slot voided  zero? one word?  what goes  raw if it    header   LZ4, page by page,
//!               mixed?           first      fits, else   written  while the GPOS runs again
//!                                           compressed
//! ```
//! * Raw first: LZ4 costs ten instructions a byte and a copy an eighth; Linux waits only for the copy.
//!   While what is left would not fit raw, pages are compressed at once.
//! * When it does not fit at all the dump is *partial*, says so, counts what is lost, and says for which
//!   kinds of pages room had been set aside ([`KindCount`]).
//! * A capture evicts the oldest dumps as its data reaches theirs, and the newest only where the store
//!   has a single slot. So no capture, failed or not, costs the dump before it. Nobody can hold a slot
//!   against a capture; a reader that was overtaken finds another sequence or revision in the header.
//!
//! All numbers are little-endian, the layout is versioned and asserted. Every step is bounded: a page.

mod geometry;
mod layout;
mod notes;
mod packer;
mod page;
mod reader;
mod store;
pub mod vital;
mod writer;

pub use geometry::{Geometry, GeometryError, MemoryRun};
pub use layout::StoreLayout;
pub use notes::{
    FunctionNote, MsrNote, Note, NoteKind, NotesReader, NotesWriter, PendingNote, TraceNote,
};
pub use packer::{Packer, Packing};
pub use page::{Compressor, PageSource};
pub use reader::{Contents, DumpError, DumpReader, Label, StoreRead};
pub use store::DumpStore;
pub use writer::DumpWriter;

use crate::crc32c::Crc32c;
use crate::memory::PAGE_BYTES;
use core::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Marks a finished dump.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DARMADMP");
/// Marks a store of dumps.
pub const STORE_MAGIC: u64 = u64::from_le_bytes(*b"DARMASTO");
/// Changes with every change of the layout.
pub const VERSION: u32 = 2;
/// Pages per chunk: as many as a bit map of 64 bits has bits.
pub const CHUNK_PAGES: u64 = 64;
/// The most ranges of memory one dump covers.
pub const RANGES_MAX: usize = 16;
/// The most dumps that one store keeps.
pub const SLOTS_MAX: usize = 8;
/// Room for the notes of one dump, in bytes.
pub const NOTES_BYTES: usize = 4 * PAGE_BYTES;
/// Kinds of pages for which room is set aside before all others.
pub const KINDS: usize = 5;

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

/// What goes first when not everything fits, in this order: without page tables nothing can be
/// found, the stack and the log explain most failures and are small, the kernel's own text and data
/// are large and half of them are in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Page tables of the running process and of the kernel.
    Tables = 0,
    /// The stack on which the kernel ran.
    Stack = 1,
    /// The kernel's log.
    Log = 2,
    /// The processor's own data.
    PerProcessor = 3,
    /// The kernel's text, data and bss.
    Kernel = 4,
}

impl PageKind {
    /// All kinds in their order.
    pub const ALL: [Self; KINDS] = [
        Self::Tables,
        Self::Stack,
        Self::Log,
        Self::PerProcessor,
        Self::Kernel,
    ];

    /// The kind's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tables => "page tables",
            Self::Stack => "stack",
            Self::Log => "log",
            Self::PerProcessor => "per-processor data",
            Self::Kernel => "kernel",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// Pages of one kind. All zero if everything fitted and nothing had to be set aside.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct KindCount {
    /// How many were found that are neither zero nor counted under an earlier kind.
    pub found: u32,
    /// For how many of them room was set aside. Less than `found`: some may be lost.
    pub assured: u32,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    More,
    /// This stage is through.
    Complete,
}

/// What a finished dump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its pages.
    pub counts: Counts,
    /// What was set aside for each of [`PageKind::ALL`].
    pub kinds: [KindCount; KINDS],
    /// Bytes that its data takes.
    pub data_bytes: u64,
    /// Where it is.
    pub slot: u32,
    /// Its number in the store.
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    /// Over the rest of the header, behind this field.
    checksum: u32,
    /// Counts captures of the store; the greatest is the newest dump.
    sequence: u64,
    /// Counts changes of this dump since it was finished.
    revision: u32,
    /// 1: every chunk is packed.
    packed: u32,
    index_checksum: u32,
    notes_checksum: u32,
    notes_bytes: u32,
    runs: u32,
    /// Where its data begins in the arena, in bytes.
    start: u64,
    /// How much of the ring it takes from there.
    span: u64,
    /// Bytes of data in it.
    data_bytes: u64,
    origin: Origin,
    counts: Counts,
    kinds: [KindCount; KINDS],
    run: [MemoryRun; RANGES_MAX],
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
struct Entry {
    saved: u64,
    lost: u64,
    /// Where the chunk's data begins in the arena, in units of eight bytes.
    place: u32,
    /// Its length in bytes.
    bytes: u32,
    /// Over these bytes.
    checksum: u32,
    reserved: u32,
}

const ENTRY_BYTES: usize = size_of::<Entry>();
/// The most data of one chunk: every page as it was, and the lengths.
const CHUNK_BYTES_MAX: usize = 64 * (PAGE_BYTES + 2);

const _: () = {
    assert!(ENTRY_BYTES == 32);
    assert!(offset_of!(Header, checksum) == 12);
    assert!(offset_of!(Header, sequence) == 16);
    assert!(offset_of!(Header, index_checksum) == 32);
    assert!(offset_of!(Header, start) == 48);
    assert!(offset_of!(Header, origin) == 72);
    assert!(offset_of!(Header, counts) == 112);
    assert!(offset_of!(Header, kinds) == 144);
    assert!(offset_of!(Header, run) == 184);
    assert!(size_of::<Header>() == 184 + 16 * RANGES_MAX);
    assert!(size_of::<Header>() <= PAGE_BYTES);
};

impl Header {
    fn own_checksum(&self, crc32c: Crc32c) -> u32 {
        let covered = offset_of!(Header, sequence);
        crc32c(0, self.as_bytes().get(covered..).unwrap_or(&[]))
    }
}

#[cfg(test)]
mod tests;
