//! One function of ours: its registers as the GPOS reads them.
//!
//! Where its memory lies and may be moved to is [`super::virtual_pci`]'s business.

use heapless::Vec;

use super::functions::Bdf;
use super::ranges::Span;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Panic,
    Doorbell,
    Shared,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct VirtualBar {
    /// Register index.
    pub(super) index: u8,
    pub(super) role: Role,
    pub(super) size: u64,
    /// Read-only low bits; bit 2 means that the next register is the upper half.
    pub(super) flags: u32,
    /// What the GPOS wrote last, flags excluded.
    pub(super) written: u64,
    /// Where it is.
    pub(super) place: Span,
}

impl VirtualBar {
    pub(super) const fn is_wide(&self) -> bool {
        self.flags & 4 != 0
    }

    pub(super) fn read(&self, index: u8) -> Option<u32> {
        let shown = self.written & !(self.size - 1);
        let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0);
        match index.checked_sub(self.index)? {
            0 => Some(half(shown) | self.flags),
            1 if self.is_wide() => Some(half(shown >> 32)),
            _ => None,
        }
    }
}

#[derive(Clone)]
pub(super) struct VirtualFunction {
    pub(super) bdf: Bdf,
    pub(super) id: u32,
    pub(super) class_and_revision: u32,
    pub(super) command: u32,
    pub(super) line: u32,
    pub(super) bars: Vec<VirtualBar, 2>,
}

impl VirtualFunction {
    pub(super) fn read(&self, offset: u8) -> u32 {
        match offset {
            0x00 => self.id,
            0x04 => self.command,
            0x08 => self.class_and_revision,
            0x10..=0x27 => {
                let index = (offset - 0x10) / 4;
                self.bars
                    .iter()
                    .find_map(|bar| bar.read(index))
                    .unwrap_or(0)
            }
            // Subsystem: Red Hat's numbers for QEMU's devices, which drivers expect beside these.
            0x2c => 0x1100_1af4,
            0x3c => self.line,
            _ => 0,
        }
    }
}
