//! PCI configuration space by mechanism #1: ports 0xCF8 and 0xCFC (PCI 3.0, 3.2.2.3.2).
//!
//! The address port is shared state. Only the main loop uses it, never an interrupt handler, and
//! the GPOS's own accesses are intercepted, so two users cannot interleave.

use crate::port::{self, Width};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

/// Reads from configuration space. `bdf` is bus << 8 | device << 3 | function.
pub fn read(bdf: u16, offset: u8, width: Width) -> u32 {
    // SAFETY: DEVICE-OWNER: the nanokernel owns configuration space.
    unsafe {
        port::write(ADDRESS, Width::Dword, address(bdf, offset));
        port::read(DATA + u16::from(offset & 3), width)
    }
}

/// Writes to configuration space.
///
/// # Safety
/// The write must not move a device's memory over RAM or over another owner's device, nor aim its
/// interrupts or DMA at what is not its owner's (invariant `DEVICE-DMA`).
pub unsafe fn write(bdf: u16, offset: u8, width: Width, value: u32) {
    // SAFETY: promised by the caller.
    unsafe {
        port::write(ADDRESS, Width::Dword, address(bdf, offset));
        port::write(DATA + u16::from(offset & 3), width, value);
    }
}

fn address(bdf: u16, offset: u8) -> u32 {
    0x8000_0000 | u32::from(bdf) << 8 | u32::from(offset & 0xfc)
}
