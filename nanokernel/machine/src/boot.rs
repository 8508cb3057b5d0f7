//! The way in: boot assembly, and the span of memory that the image occupies.
//!
//! The image is linked at a fixed physical address by the application's linker script
//! (`nanokernel/image.ld`), which defines the two symbols read here. One processor enters, with
//! interrupts off; everything else starts from `darma_boot`, which the nanokernel defines.

use darma_abi::units::HostPhys;

core::arch::global_asm!(include_str!("boot.S"), options(att_syntax));

unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
    static text_start: u8;
    static text_end: u8;
    static ras_text_start: u8;
    static ras_text_end: u8;
    static start_text_start: u8;
    static start_text_end: u8;
}

/// The physical span of the whole image, zero-initialised data included: `[start, end)`.
pub fn image_span() -> (HostPhys, HostPhys) {
    (
        HostPhys((&raw const image_start) as u64),
        HostPhys((&raw const image_end) as u64),
    )
}

/// Bytes of machine code of nanokernel, RTOS and application that stay after the start.
pub fn text_bytes() -> u64 {
    (&raw const text_end) as u64 - (&raw const text_start) as u64
}

/// Bytes of machine code of the RAS monitor.
pub fn ras_text_bytes() -> u64 {
    (&raw const ras_text_end) as u64 - (&raw const ras_text_start) as u64
}

/// Bytes of machine code that only the start needs ([`crate::paging::discard_start`]).
pub fn start_text_bytes() -> u64 {
    (&raw const start_text_end) as u64 - (&raw const start_text_start) as u64
}
