//! CRC-32C with the processor's instruction, eight bytes at a time.
//!
//! The instruction works on general registers (APM3 `CRC32`), so it needs no FPU state. Its result
//! equals the table version in `darma_policy`, which a boot-time self-test checks.

use core::arch::asm;

/// Whether the processor has the instruction (CPUID 1 ECX bit 20, SSE4.2).
pub fn available() -> bool {
    core::arch::x86_64::__cpuid(1).ecx & (1 << 20) != 0
}

/// Continues a CRC-32C over `bytes`. `state` is the running register: start with `!0`, and invert
/// the last result. Call only where [`available`].
pub fn update(state: u32, bytes: &[u8]) -> u32 {
    let mut crc = u64::from(state);
    let (words, tail) = bytes.as_chunks::<8>();
    let (blocks, rest) = words.as_chunks::<8>();
    for block in blocks {
        for word in block {
            crc = step8(crc, u64::from_le_bytes(*word));
        }
    }
    for word in rest {
        crc = step8(crc, u64::from_le_bytes(*word));
    }
    for &byte in tail {
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

#[inline(always)]
fn step8(crc: u64, word: u64) -> u64 {
    let mut crc = crc;
    // SAFETY: as in `update`.
    unsafe {
        asm!("crc32 {0}, {1}", inout(reg) crc, in(reg) word,
             options(pure, nomem, nostack, preserves_flags));
    }
    crc
}
