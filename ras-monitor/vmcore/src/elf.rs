//! The ELF structures of a core file (System V ABI, generic and AMD64; little-endian).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `PT_LOAD`: memory.
pub const LOAD: u32 = 1;
/// `PT_NOTE`: notes.
pub const NOTE: u32 = 4;
/// Readable, writable, executable.
const ALL_ACCESS: u32 = 7;

/// The file's header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the standard's own")]
pub struct FileHeader {
    pub ident: [u8; 16],
    pub kind: u16,
    pub machine: u16,
    pub version: u32,
    pub entry: u64,
    pub program_headers: u64,
    pub section_headers: u64,
    pub flags: u32,
    pub header_bytes: u16,
    pub program_header_bytes: u16,
    pub program_header_count: u16,
    pub section_header_bytes: u16,
    pub section_header_count: u16,
    pub section_names: u16,
}

/// One segment's header.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the standard's own")]
pub struct ProgramHeader {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub virtual_address: u64,
    pub physical_address: u64,
    pub file_bytes: u64,
    pub memory_bytes: u64,
    pub align: u64,
}

/// Length of a file header.
pub const FILE_HEADER_BYTES: u64 = 64;
/// Length of a program header.
pub const PROGRAM_HEADER_BYTES: u64 = 56;

const _: () = {
    assert!(size_of::<FileHeader>() == 64);
    assert!(size_of::<ProgramHeader>() == 56);
};

impl FileHeader {
    /// 64 bits, little-endian, ELF version 1.
    const IDENT: [u8; 16] = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const CORE: u16 = 4;
    const AMD64: u16 = 62;

    /// The header of a core with this many segments.
    #[must_use]
    pub const fn core(segments: u16) -> Self {
        Self {
            ident: Self::IDENT,
            kind: Self::CORE,
            machine: Self::AMD64,
            version: 1,
            entry: 0,
            program_headers: FILE_HEADER_BYTES,
            section_headers: 0,
            flags: 0,
            header_bytes: 64,
            program_header_bytes: 56,
            program_header_count: segments,
            section_header_bytes: 0,
            section_header_count: 0,
            section_names: 0,
        }
    }

    /// Whether it is the header of a core for this processor.
    #[must_use]
    pub fn is_core(&self) -> bool {
        self.ident.get(..7) == Self::IDENT.get(..7)
            && self.kind == Self::CORE
            && self.machine == Self::AMD64
            && self.program_header_bytes == 56
    }
}

impl ProgramHeader {
    /// The notes.
    #[must_use]
    pub const fn notes(offset: u64, bytes: u64) -> Self {
        Self {
            kind: NOTE,
            flags: 0,
            offset,
            virtual_address: 0,
            physical_address: 0,
            file_bytes: bytes,
            memory_bytes: bytes,
            align: 4,
        }
    }

    /// Memory. `p_align` stays 0: with another value `crash` 8 takes a file whose data is page-aligned
    /// for a "netdump", in which it ignores KASLR.
    #[must_use]
    pub const fn memory(offset: u64, at: (u64, u64), file_bytes: u64, memory_bytes: u64) -> Self {
        let (virtual_address, physical_address) = at;
        Self {
            kind: LOAD,
            flags: ALL_ACCESS,
            offset,
            virtual_address,
            physical_address,
            file_bytes,
            memory_bytes,
            align: 0,
        }
    }
}
