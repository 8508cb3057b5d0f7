//! Port I/O of a width chosen at run time, for passing a guest's access on.
//!
//! Fixed-width drivers use these too, so that every port instruction of the image is in this file.

use x86_64::instructions::port::Port;

/// Width of a port or memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Dword,
}

/// Reads `port` with the given width; narrow results are zero-extended.
///
/// # Safety
/// The read may have side effects on a device. The caller owns the device behind the port, or the
/// guest on whose behalf it reads does (invariant `DEVICE-OWNER`).
pub unsafe fn read(port: u16, width: Width) -> u32 {
    // SAFETY: DEVICE-OWNER, promised by the caller.
    unsafe {
        match width {
            Width::Byte => u32::from(Port::<u8>::new(port).read()),
            Width::Word => u32::from(Port::<u16>::new(port).read()),
            Width::Dword => Port::<u32>::new(port).read(),
        }
    }
}

/// Writes the low bytes of `value` to `port` with the given width.
///
/// # Safety
/// As [`read`]; and the write must not make a device reach memory that is not its owner's
/// (invariant `DEVICE-DMA`).
#[allow(
    clippy::cast_possible_truncation,
    reason = "the width says how many bytes are meant"
)]
pub unsafe fn write(port: u16, width: Width, value: u32) {
    // SAFETY: DEVICE-OWNER and DEVICE-DMA, promised by the caller.
    unsafe {
        match width {
            Width::Byte => Port::<u8>::new(port).write(value as u8),
            Width::Word => Port::<u16>::new(port).write(value as u16),
            Width::Dword => Port::<u32>::new(port).write(value),
        }
    }
}
