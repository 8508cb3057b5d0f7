//! CRC-32C with the processor's instruction, eight bytes at a time.
//!
//! The instruction works on general registers (APM3 `CRC32`), so it needs no FPU state. Its result
//! equals the table version in `darma_policy`: the host computes the sums of an image with other code, and
//! the start verifies them with this.

use core::arch::asm;

/// Bytes per turn of the loop: sixteen instructions that do work for three that count.
const BLOCK: usize = 128;

/// Whether the processor has the instruction (CPUID 1 ECX bit 20, SSE4.2).
pub fn available() -> bool {
    core::arch::x86_64::__cpuid(1).ecx & (1 << 20) != 0
}

/// Continues a CRC-32C over `bytes`. `state` is the running register: start with `!0`, and invert
/// the last result. Call only where [`available`].
pub fn update(state: u32, bytes: &[u8]) -> u32 {
    let mut crc = u64::from(state);
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        // SAFETY: reads exactly the block's 128 bytes; arithmetic on registers otherwise.
        // Availability is the caller's documented duty and its breach is a #UD of our own.
        unsafe {
            asm!(
                "crc32 {crc}, qword ptr [{at}]",
                "crc32 {crc}, qword ptr [{at} + 8]",
                "crc32 {crc}, qword ptr [{at} + 16]",
                "crc32 {crc}, qword ptr [{at} + 24]",
                "crc32 {crc}, qword ptr [{at} + 32]",
                "crc32 {crc}, qword ptr [{at} + 40]",
                "crc32 {crc}, qword ptr [{at} + 48]",
                "crc32 {crc}, qword ptr [{at} + 56]",
                "crc32 {crc}, qword ptr [{at} + 64]",
                "crc32 {crc}, qword ptr [{at} + 72]",
                "crc32 {crc}, qword ptr [{at} + 80]",
                "crc32 {crc}, qword ptr [{at} + 88]",
                "crc32 {crc}, qword ptr [{at} + 96]",
                "crc32 {crc}, qword ptr [{at} + 104]",
                "crc32 {crc}, qword ptr [{at} + 112]",
                "crc32 {crc}, qword ptr [{at} + 120]",
                crc = inout(reg) crc, at = in(reg) block.as_ptr(),
                options(pure, readonly, nostack, preserves_flags)
            );
        }
    }
    for &byte in rest {
        // SAFETY: pure arithmetic on registers; availability is the caller's documented duty and
        // its breach is a #UD of our own, not unsoundness.
        unsafe {
            asm!("crc32 {0:r}, {1}", inout(reg) crc, in(reg_byte) byte,
                 options(pure, nomem, nostack, preserves_flags));
        }
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the upper half is zero by definition"
    )]
    let low = crc as u32;
    low
}
