//! Makes the host's x87 and SSE instructions usable, for tasks with hard floating point.
//!
//! The nanokernel itself is compiled without them. What is set here is the host's own state: VMRUN
//! keeps CR0, CR4 and EFER in the host save area and #VMEXIT loads them back (APM2 15.5.1), so the
//! guest's CR0.TS, CR0.EM or a CR4 without OSFXSR never hold while a task runs. XCR0 stays the
//! guest's and does not matter: only instructions with VEX or EVEX prefixes and XSAVE look at it
//! (APM2 11.5), and tasks have none.

use core::arch::asm;
use x86_64::registers::model_specific::{Efer, EferFlags};

/// CR0: emulation, task switched.
const CR0_TRAPS: u64 = 1 << 2 | 1 << 3;
/// CR0: monitor coprocessor, numeric errors as exceptions.
const CR0_WANTED: u64 = 1 << 1 | 1 << 5;
/// CR4: OSFXSR, OSXMMEXCPT.
const CR4_WANTED: u64 = 1 << 9 | 1 << 10;

/// Enables them. FXSAVE takes the XMM registers with it from here on: EFER.FFXSR, which would leave
/// them out in ring 0 (APM2 3.1.7), is cleared.
///
/// # Safety
/// Called on the way from the boot assembly (BOOT-ONCE), before a guest runs.
pub unsafe fn enable() {
    // SAFETY: BOOT-ONCE. Every processor with long mode has FXSAVE and SSE2; the bits change nothing
    // but which instructions raise #UD or #NM, and no FPU state is live.
    unsafe {
        asm!(
            "mov {value}, cr0", "and {value}, {traps}", "or {value}, {cr0}", "mov cr0, {value}",
            "mov {value}, cr4", "or {value}, {cr4}", "mov cr4, {value}",
            value = out(reg) _,
            traps = const !CR0_TRAPS.cast_signed(),
            cr0 = const CR0_WANTED,
            cr4 = const CR4_WANTED,
            options(nostack)
        );
        Efer::update(|efer| efer.remove(EferFlags::FAST_FXSAVE_FXRSTOR));
    }
}

/// The x87, MMX and SSE registers as FXSAVE leaves them (APM2 11.4.4).
#[repr(C, align(16))]
pub struct Image(pub [u8; 512]);

/// Saves the registers as they are: in the main loop, the GPOS's.
pub fn save() -> Image {
    let mut image = Image([0; 512]);
    // SAFETY: FLOAT-STATE: FXSAVE changes no register; the area is 512 bytes, aligned, and ours.
    unsafe {
        asm!("fxsave64 [{0}]", in(reg) image.0.as_mut_ptr(), options(nostack, preserves_flags));
    }
    image
}
