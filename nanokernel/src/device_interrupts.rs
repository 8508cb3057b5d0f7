//! Interrupts that belong to the GPOS: noted, acknowledged, and left to the main loop.
//!
//! One stub per vector of the GPOS's range. The handler sets the vector's bit, ends the interrupt
//! at the physical APIC at once, so that nothing of the GPOS's ever blocks a class, and sets the
//! attention flag. A level-triggered pin is masked first, because its line stays up until the
//! GPOS's driver has served the device; the main loop unmasks it at the GPOS's own end of interrupt.

use core::sync::atomic::{AtomicU64, Ordering};
use darma_abi::units::Vector;
use darma_machine::irq_off::{self, Section};
use darma_machine::local_apic::LocalApic;
use darma_machine::{ATTENTION, descriptors, time};
use darma_rtos::trace::{self, Kind};

core::arch::global_asm!(
    darma_machine::begin_stubs!(),
    r#"
    .altmacro
    .macro device_stub number
device_stub_\number:
    push    \number
    jmp     device_stub_common
    .endm
    .macro device_stub_of number
    device_stub \number
    .endm
    .macro device_stub_address number
    .quad   device_stub_\number
    .endm

    .set    i, 0
    .rept   144
    device_stub_of %i
    .set    i, i + 1
    .endr

device_stub_common:
    save_scratch
    cld
    mov     edi, [rsp + 72]
    sub     rsp, 8
    call    darma_device_interrupt
    add     rsp, 8
    restore_scratch
    add     rsp, 8
    iretq

    .section .rodata.device_stubs, "a", @progbits
    .align  8
    .globl  device_stubs
device_stubs:
    .set    i, 0
    .rept   144
    device_stub_address %i
    .set    i, i + 1
    .endr
    .noaltmacro
    .text
    "#,
    darma_machine::end_of_stubs!()
);

/// First and last vector of the GPOS's devices.
pub(crate) const FIRST: u8 = 0x30;
const COUNT: usize = 144;

unsafe extern "C" {
    static device_stubs: [u64; COUNT];
}

static PENDING: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// The I/O APIC pin to mask when the vector fires, plus one; zero for none.
static LEVEL_PIN: [core::sync::atomic::AtomicU8; COUNT] =
    [const { core::sync::atomic::AtomicU8::new(0) }; COUNT];
static IO_APIC_BASE: AtomicU64 = AtomicU64::new(0);

/// Installs the stubs.
///
/// # Safety
/// Before interrupts are first enabled (BOOT-ONCE). `io_apic` is where the I/O APIC's registers are.
pub(crate) unsafe fn install(io_apic: u64) {
    IO_APIC_BASE.store(io_apic, Ordering::Relaxed);
    // SAFETY: BOOT-ONCE, promised by the caller; the stubs restore what they change.
    unsafe {
        for (vector, stub) in (FIRST..).zip(device_stubs) {
            descriptors::set_gate(vector, stub, None);
        }
    }
}

/// Says that `vector` is raised by a level-triggered pin, or by none.
pub(crate) fn set_level_pin(vector: Vector, pin: Option<u8>) {
    if let Some(slot) = LEVEL_PIN.get(usize::from(vector.0.wrapping_sub(FIRST))) {
        slot.store(pin.map_or(0, |pin| pin + 1), Ordering::Relaxed);
    }
}

/// Takes every vector that fired since the last call.
pub(crate) fn take_pending(mut each: impl FnMut(Vector)) {
    for (word, base) in PENDING.iter().zip((FIRST..).step_by(64)) {
        if word.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let mut bits = word.swap(0, Ordering::AcqRel);
        while bits != 0 {
            #[allow(clippy::cast_possible_truncation, reason = "at most 63")]
            let bit = bits.trailing_zeros() as u8;
            bits &= bits - 1;
            each(Vector(base + bit));
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn darma_device_interrupt(index: u32) {
    let begin = time::now();
    irq_off::count_interrupt();
    let number = index as usize;
    if let Some(slot) = LEVEL_PIN.get(number) {
        let pin = slot.load(Ordering::Relaxed);
        if pin != 0 {
            let base = darma_abi::units::HostPhys(IO_APIC_BASE.load(Ordering::Relaxed));
            // SAFETY: APIC-OWNER: the address was given to `install` from the MADT.
            unsafe { darma_machine::io_apic::IoApic::new(base) }.set_masked(pin - 1, true);
        }
    }
    if let Some(word) = PENDING.get(number / 64) {
        word.fetch_or(1 << (number % 64), Ordering::AcqRel);
    }
    ATTENTION.store(1, Ordering::Relaxed);
    LocalApic::in_handler().end_of_interrupt();
    let end = time::now();
    irq_off::note(Section::Device, end.saturating_since(begin));
    let vector = u32::from(FIRST) + index;
    trace::record(begin, Kind::DeviceInterrupt, vector);
    trace::record(end, Kind::DeviceEnd, vector);
}
