//! Staging: a new RAM-disk image on its way from the running Linux to the nanokernel.
//!
//! ```text
//! Linux                                     nanokernel
//!   BEGIN size                                room for it? an empty area
//!   window <- piece, CHUNK length             appends the window's first bytes to the area
//!   ... until all is there
//!   COMMAND verify                            parses, compares every sum: ready, or refused and why
//! ```
//! Each write to a register exits, and has its answer in the [`StageBlock`] when the next instruction
//! runs. The nanokernel keeps the place of the next piece itself, so that the other side has no offset
//! to forge; what it reads from the window are bytes to be stored, and nothing else.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::layout::{REGION_BYTES, STATUS_OFFSET, StatusBlock};
use super::snapshot::RegionRead;
use super::writer::RegionStore;
use crate::codes::{StageProblem, StageState, StagedFile};

/// Offset in BAR0: the size of an image in bytes; begins to receive it.
pub const DOORBELL_STAGE_BEGIN: u64 = 32;
/// Offset in BAR0: how many bytes of the window are the image's next.
pub const DOORBELL_STAGE_CHUNK: u64 = 36;
/// Offset in BAR0: a [`StageCommand`]'s code.
pub const DOORBELL_STAGE_COMMAND: u64 = 40;
/// Where the answers stand, bytes from the start of the region.
pub const STAGE_BLOCK_OFFSET: usize = 0x8000;
/// Where the pieces are put, bytes from the start of the region.
pub const STAGE_WINDOW_OFFSET: usize = 0x1_0000;
/// The longest piece, bytes.
pub const STAGE_WINDOW_BYTES: usize = 0x4_0000;

/// What is to be done with the image that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StageCommand {
    /// Check it; if it is sound it is started from at the next restart.
    Verify = 1,
    /// Forget it.
    Drop = 2,
    /// Only bring the [`StageBlock`] up to date.
    Report = 3,
}

impl StageCommand {
    /// The command with this code.
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Verify),
            2 => Some(Self::Drop),
            3 => Some(Self::Report),
            _ => None,
        }
    }
}

/// One write to a register of staging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// An image of so many bytes follows.
    Begin(u32),
    /// So many bytes in the window are its next.
    Chunk(u32),
    /// See [`StageCommand`].
    Command(StageCommand),
}

/// The answer: how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StageBlock {
    /// A [`StageState`]'s code.
    pub state: u32,
    /// A [`StageProblem`]'s code; 0 without one.
    pub problem: u32,
    /// A [`StagedFile`]'s code, if the problem is a file's; else 0.
    pub file: u32,
    /// Zero.
    pub reserved: u32,
    /// The largest image that there is room for now, bytes.
    pub room: u64,
    /// The size of the image that is received or was, bytes.
    pub size: u64,
    /// How much of it has arrived, bytes.
    pub received: u64,
    /// What was found, where the problem has a number: a checksum, an offset, a size.
    pub found: u64,
    /// What was expected in its place.
    pub expected: u64,
}

impl StageBlock {
    /// All zero.
    pub fn zeroed() -> Self {
        FromZeros::new_zeroed()
    }

    /// Writes the block to its place.
    pub fn store(&self, region: &mut (impl RegionStore + ?Sized)) {
        region.store(STAGE_BLOCK_OFFSET, self.as_bytes());
    }

    /// Reads the block out of the region; `None` if the region is too small.
    pub fn read<R: RegionRead + ?Sized>(region: &R) -> Option<Self> {
        let mut bytes = [0; size_of::<Self>()];
        if !region.load(STAGE_BLOCK_OFFSET, &mut bytes) {
            return None;
        }
        Self::read_from_bytes(&bytes).ok()
    }

    /// The state; `None` for one that this reader does not know.
    pub const fn known_state(&self) -> Option<StageState> {
        StageState::from_code(self.state)
    }

    /// The problem, if there is one that this reader knows.
    pub const fn known_problem(&self) -> Option<StageProblem> {
        StageProblem::from_code(self.problem)
    }

    /// The name of the file that the problem is about.
    pub const fn file_name(&self) -> Option<&'static str> {
        match StagedFile::from_code(self.file) {
            Some(file) => Some(file.name()),
            None => None,
        }
    }
}

const _: () = {
    assert!(size_of::<StageBlock>() == 56);
    assert!(offset_of!(StageBlock, problem) == 4);
    assert!(offset_of!(StageBlock, file) == 8);
    assert!(offset_of!(StageBlock, room) == 16);
    assert!(offset_of!(StageBlock, size) == 24);
    assert!(offset_of!(StageBlock, received) == 32);
    assert!(offset_of!(StageBlock, found) == 40);
    assert!(offset_of!(StageBlock, expected) == 48);
    assert!(STATUS_OFFSET + size_of::<StatusBlock>() <= STAGE_BLOCK_OFFSET);
    assert!(STAGE_BLOCK_OFFSET + size_of::<StageBlock>() <= STAGE_WINDOW_OFFSET);
    assert!((STAGE_WINDOW_OFFSET + STAGE_WINDOW_BYTES) as u64 <= REGION_BYTES);
};

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;

    #[test]
    fn a_block_is_read_from_its_place_and_nonsense_is_unknown() {
        let mut region = vec![0xff; STAGE_WINDOW_OFFSET];
        let block = StageBlock::read(region.as_slice()).unwrap();
        assert_eq!((block.known_state(), block.known_problem()), (None, None));
        assert_eq!(block.file_name(), None);
        let ready = StageBlock {
            state: StageState::Ready.code(),
            ..StageBlock::zeroed()
        };
        ready.store(region.as_mut_slice());
        let block = StageBlock::read(region.as_slice()).unwrap();
        assert_eq!(block.known_state(), Some(StageState::Ready));
        assert_eq!(StageBlock::read(&region[..64]), None);
    }
}
