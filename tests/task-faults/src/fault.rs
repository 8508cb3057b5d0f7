//! The ways to fault. Codes are known to `tests/src/scenarios/task_faults.rs`.

use core::arch::asm;
use core::hint::black_box;

/// Added to a code: fault at every run, not after a few sound ones.
pub(crate) const ALWAYS: u8 = 0x80;

/// Leaves the FPU as no sound code would: x87 stack in use, vector registers and rounding changed.
pub(crate) fn disturb_fpu() {
    let control: u32 = 0x7f80;
    // SAFETY: SWAPPED-STATE: only a task that declares `Float::Hard` comes here, whose FPU state the
    // kernel puts aside; the image's own code uses none of these registers.
    unsafe {
        asm!(
            "fld1",
            "fldpi",
            "ldmxcsr [{control}]",
            "pcmpeqd xmm0, xmm0",
            "pcmpeqd xmm15, xmm15",
            control = in(reg) &raw const control,
            options(nostack),
        );
    }
}

/// Faults. A code that nobody knows does nothing.
pub(crate) fn provoke(kind: u8) {
    match kind {
        1 => divide(),
        // SAFETY: TASK-STACK: the exception ends this activation.
        2 => unsafe { asm!("ud2") },
        3 => touch(1 << 63),
        4 => {
            black_box(recurse(black_box(u64::MAX)));
        }
        // Canonical, and above all that the identity map reaches.
        5 => touch(1 << 46),
        6 => panic!("a victim's panic"),
        7 => super::add(|| panic!("a victim's panic in a lock")),
        8 => spin(),
        9 => super::add(|| spin()),
        10 => x87(),
        11 => super::add(|| {
            black_box(recurse(black_box(u64::MAX)));
        }),
        _ => {}
    }
}

/// By the instruction: Rust checks a divisor before it divides.
fn divide() {
    // SAFETY: TASK-STACK: the exception ends this activation.
    unsafe {
        asm!("div {zero:e}", zero = in(reg) 0_u32, inout("eax") 1_u32 => _, inout("edx") 0_u32 => _);
    }
}

/// Reads where nothing is.
fn touch(address: u64) {
    // SAFETY: TASK-STACK: the exception ends this activation; nothing is written anywhere.
    unsafe { asm!("mov {value}, [{address}]", address = in(reg) address, value = out(reg) _) };
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 32]);
    if depth == 0 {
        return 0;
    }
    recurse(depth - 1) + room[black_box(7)]
}

fn spin() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Divides zero by zero with the exception for it unmasked; the x87 raises it at its next instruction.
/// The vector unit would do the same, but this emulator's does not (docs/hardware-notes.md).
fn x87() {
    let control: u16 = 0x0300;
    // SAFETY: SWAPPED-STATE, as in `disturb_fpu`; TASK-STACK: the exception ends this activation.
    unsafe {
        asm!(
            "fninit",
            "fldcw [{control}]",
            "fldz",
            "fldz",
            "fdivp",
            "fwait",
            control = in(reg) &raw const control,
            options(nostack),
        );
    }
}
