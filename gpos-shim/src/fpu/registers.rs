//! Holds a pattern in the processor's registers for a while: unsafe, because only assembly can say
//! that nothing touches them meanwhile.
#![allow(unsafe_code)] // reason: no safe form of "these registers, for that long"

use std::arch::asm;

use super::pattern::Pattern;

/// Whether the processor and the kernel offer AVX to this process.
pub(super) fn has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

/// Puts `put` into the registers, turns a loop `spin` times, and gives what they hold then; the upper
/// halves of the YMM registers only if `avx`.
pub(super) fn hold(put: &Pattern, spin: u64, avx: bool) -> Pattern {
    let mut got = Pattern::empty();
    // What a function of this ABI finds: x87 empty, both control words as at the start of a process.
    let mxcsr: u32 = 0x1f80;
    if avx {
        // SAFETY: both patterns are aligned to 32 and of the sizes that the instructions touch; every exception
        // is masked in them; every register that changes is declared or put back; AVX was detected.
        unsafe {
            asm!(
                "fxrstor64 [{put}]",
                "vinsertf128 ymm0, ymm0, [{put} + 512], 1",
                "vinsertf128 ymm1, ymm1, [{put} + 528], 1",
                "vinsertf128 ymm2, ymm2, [{put} + 544], 1",
                "vinsertf128 ymm3, ymm3, [{put} + 560], 1",
                "vinsertf128 ymm4, ymm4, [{put} + 576], 1",
                "vinsertf128 ymm5, ymm5, [{put} + 592], 1",
                "vinsertf128 ymm6, ymm6, [{put} + 608], 1",
                "vinsertf128 ymm7, ymm7, [{put} + 624], 1",
                "vinsertf128 ymm8, ymm8, [{put} + 640], 1",
                "vinsertf128 ymm9, ymm9, [{put} + 656], 1",
                "vinsertf128 ymm10, ymm10, [{put} + 672], 1",
                "vinsertf128 ymm11, ymm11, [{put} + 688], 1",
                "vinsertf128 ymm12, ymm12, [{put} + 704], 1",
                "vinsertf128 ymm13, ymm13, [{put} + 720], 1",
                "vinsertf128 ymm14, ymm14, [{put} + 736], 1",
                "vinsertf128 ymm15, ymm15, [{put} + 752], 1",
                "2:",
                "dec rcx",
                "jnz 2b",
                "fxsave64 [{got}]",
                "vextractf128 [{got} + 512], ymm0, 1",
                "vextractf128 [{got} + 528], ymm1, 1",
                "vextractf128 [{got} + 544], ymm2, 1",
                "vextractf128 [{got} + 560], ymm3, 1",
                "vextractf128 [{got} + 576], ymm4, 1",
                "vextractf128 [{got} + 592], ymm5, 1",
                "vextractf128 [{got} + 608], ymm6, 1",
                "vextractf128 [{got} + 624], ymm7, 1",
                "vextractf128 [{got} + 640], ymm8, 1",
                "vextractf128 [{got} + 656], ymm9, 1",
                "vextractf128 [{got} + 672], ymm10, 1",
                "vextractf128 [{got} + 688], ymm11, 1",
                "vextractf128 [{got} + 704], ymm12, 1",
                "vextractf128 [{got} + 720], ymm13, 1",
                "vextractf128 [{got} + 736], ymm14, 1",
                "vextractf128 [{got} + 752], ymm15, 1",
                "vzeroupper",
                "fninit",
                "ldmxcsr [{mxcsr}]",
                put = in(reg) put,
                got = in(reg) &raw mut got,
                mxcsr = in(reg) &raw const mxcsr,
                inout("rcx") spin.max(1) => _,
                clobber_abi("C"),
                options(nostack)
            );
        }
    } else {
        // SAFETY: as above, without AVX.
        unsafe {
            asm!(
                "fxrstor64 [{put}]",
                "2:",
                "dec rcx",
                "jnz 2b",
                "fxsave64 [{got}]",
                "fninit",
                "ldmxcsr [{mxcsr}]",
                put = in(reg) put,
                got = in(reg) &raw mut got,
                mxcsr = in(reg) &raw const mxcsr,
                inout("rcx") spin.max(1) => _,
                clobber_abi("C"),
                options(nostack)
            );
        }
    }
    got
}
