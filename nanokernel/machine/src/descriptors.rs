//! The host's descriptor tables.
//!
//! The boot GDT stays: flat 64-bit code and data are all that a ring-0 image needs. No TSS is
//! loaded, because #VMEXIT leaves the guest's task register in place (APM2 15.5.1); so no gate
//! uses an interrupt stack table entry and nothing in the host changes its privilege level.
//! Every gate is an interrupt gate: handlers start with interrupts off.

use core::cell::UnsafeCell;

/// One gate: APM2 figure 4-24.
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u64,
    high: u64,
}

#[repr(C, align(16))]
struct Idt(UnsafeCell<[Gate; 256]>);

// SAFETY: written only by `set_gate` before interrupts are first enabled (invariant BOOT-ONCE).
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([Gate { low: 0, high: 0 }; 256]));

const CODE_SELECTOR: u64 = 0x08;
const INTERRUPT_GATE: u64 = 0x8e00;

/// Points `vector` at the assembly stub at `handler`.
///
/// # Safety
/// `handler` saves every register it changes and ends with IRETQ, and interrupts have not been
/// enabled yet (BOOT-ONCE).
pub unsafe fn set_gate(vector: u8, handler: u64) {
    let gate = Gate {
        low: handler & 0xffff
            | CODE_SELECTOR << 16
            | INTERRUPT_GATE << 32
            | (handler >> 16 & 0xffff) << 48,
        high: handler >> 32,
    };
    // SAFETY: BOOT-ONCE: nobody else reads or writes the table yet.
    unsafe { (*IDT.0.get())[usize::from(vector)] = gate };
}

/// Loads the interrupt descriptor table.
///
/// # Safety
/// Every vector that can occur has its gate.
pub unsafe fn load_idt() {
    let pointer = x86_64::structures::DescriptorTablePointer {
        limit: 256 * 16 - 1,
        base: x86_64::VirtAddr::new_truncate(IDT.0.get() as u64),
    };
    // SAFETY: the table is static and complete, as the caller promises.
    unsafe { x86_64::instructions::tables::lidt(&pointer) };
}
