//! The way in: boot assembly, and the span of memory that the image occupies.
//!
//! The image is linked at a fixed physical address by the application's linker script
//! (`nanokernel/image.ld`), which defines the two symbols read here. One processor enters, with
//! interrupts off; everything else starts from `darma_boot`, which the nanokernel defines.

use darma_abi::units::HostPhys;

core::arch::global_asm!(include_str!("boot.S"), options(att_syntax));

unsafe extern "C" {
    static mut boot_pdpt: [u64; 512];
    static image_start: u8;
    static image_end: u8;
    static text_start: u8;
    static text_end: u8;
}

/// The physical span of the whole image, zero-initialised data included: `[start, end)`.
pub fn image_span() -> (HostPhys, HostPhys) {
    (
        HostPhys((&raw const image_start) as u64),
        HostPhys((&raw const image_end) as u64),
    )
}

/// Bytes of machine code in the image.
pub fn text_bytes() -> u64 {
    (&raw const text_end) as u64 - (&raw const text_start) as u64
}

/// Extends the identity map from 4 GiB to 512 GiB where the processor has 1 GiB pages, and returns
/// the address up to which memory can be reached.
///
/// # Safety
/// Called once, early, before anybody relies on the reach (BOOT-ONCE).
pub unsafe fn extend_identity_map() -> u64 {
    const GIB: u64 = 1 << 30;
    const LARGE_WRITABLE: u64 = 0x83;
    // CPUID 8000_0001 EDX bit 26: 1 GiB pages.
    if core::arch::x86_64::__cpuid(0x8000_0001).edx & (1 << 26) == 0 {
        return 4 * GIB;
    }
    let directory = (&raw mut boot_pdpt).cast::<u64>();
    for index in 4..512usize {
        // SAFETY: the table has 512 entries; entries 4 and up are not present, so nothing has cached
        // them, and BOOT-ONCE makes this the only writer.
        unsafe {
            directory
                .add(index)
                .write_volatile(index as u64 * GIB | LARGE_WRITABLE)
        };
    }
    512 * GIB
}
