//! The host's descriptor tables.
//!
//! Flat 64-bit code and data are all that a ring-0 image needs of segments. The task-state segment is
//! there for its interrupt stack table ([`crate::stacks`]). #VMEXIT leaves the guest's task register
//! in place (APM2 15.5.1), so the world switch reloads it with VMLOAD before interrupts are let in.
//! Every gate is an interrupt gate: handlers start with interrupts off.

use crate::stacks::{self, STACKS, Stack};
use core::cell::UnsafeCell;

/// One gate: APM2 figure 4-24.
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u64,
    high: u64,
}

/// The 64-bit task-state segment: APM2 figure 12-8. Only its stack table is used.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct TaskState {
    reserved_1: u32,
    privilege_stacks: [u64; 3],
    reserved_2: u64,
    interrupt_stacks: [u64; 7],
    reserved_3: u64,
    io_map: u32,
}

const _: () = assert!(size_of::<TaskState>() == 104 && STACKS == 7);

/// What `BOOT-ONCE` protects: written before interrupts are first enabled, read by the processor.
#[repr(C, align(16))]
struct Table<T>(UnsafeCell<T>);

// SAFETY: written only before interrupts are first enabled (invariant BOOT-ONCE).
unsafe impl<T> Sync for Table<T> {}

static IDT: Table<[Gate; 256]> = Table(UnsafeCell::new([Gate { low: 0, high: 0 }; 256]));
/// Null, code, data, and the two halves of the task-state segment's descriptor.
static GDT: Table<[u64; 5]> = Table(UnsafeCell::new([
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0,
    0,
]));
static TSS: Table<TaskState> = Table(UnsafeCell::new(TaskState {
    reserved_1: 0,
    privilege_stacks: [0; 3],
    reserved_2: 0,
    interrupt_stacks: [0; 7],
    reserved_3: 0,
    io_map: 104 << 16,
}));

const CODE_SELECTOR: u64 = 0x08;
const TASK_SELECTOR: u16 = 0x18;
const INTERRUPT_GATE: u64 = 0x8e00;
/// Present, available 64-bit task-state segment (APM2 table 4-6).
const AVAILABLE_TSS: u64 = 0x89;

/// Points `vector` at the assembly stub at `handler`, which runs on `stack`, or on the interrupted
/// one where none is named.
///
/// # Safety
/// `handler` saves every register it changes and ends with IRETQ, never nests on `stack`, and
/// interrupts have not been enabled yet (BOOT-ONCE).
pub unsafe fn set_gate(vector: u8, handler: u64, stack: Option<Stack>) {
    let number = stack.map_or(0, |stack| stack as u64 + 1);
    let gate = Gate {
        low: handler & 0xffff
            | CODE_SELECTOR << 16
            | number << 32
            | INTERRUPT_GATE << 32
            | (handler >> 16 & 0xffff) << 48,
        high: handler >> 32,
    };
    // SAFETY: BOOT-ONCE: nobody else reads or writes the table yet.
    unsafe { (*IDT.0.get())[usize::from(vector)] = gate };
}

/// Loads the descriptor tables and the task register.
///
/// # Safety
/// Every vector that can occur has its gate; interrupts are off (BOOT-ONCE).
pub unsafe fn load() {
    let tss = TSS.0.get() as u64;
    let all = [
        Stack::Low,
        Stack::Middle,
        Stack::High,
        Stack::Timer,
        Stack::Exception,
        Stack::Nmi,
        Stack::Abort,
    ];
    let limit = size_of::<TaskState>() as u64 - 1;
    // SAFETY: BOOT-ONCE: nobody else reads or writes the tables yet.
    unsafe {
        (*TSS.0.get()).interrupt_stacks = all.map(stacks::top);
        (*GDT.0.get())[3] =
            limit | (tss & 0xff_ffff) << 16 | AVAILABLE_TSS << 40 | (tss >> 24 & 0xff) << 56;
        (*GDT.0.get())[4] = tss >> 32;
    }
    let pointer = |limit, base: u64| x86_64::structures::DescriptorTablePointer {
        limit,
        base: x86_64::VirtAddr::new_truncate(base),
    };
    // SAFETY: the tables are static and complete; code and data descriptors are those already in
    // use, at the same selectors, so no segment register needs to be loaded anew.
    unsafe {
        x86_64::instructions::tables::lgdt(&pointer(5 * 8 - 1, GDT.0.get() as u64));
        x86_64::instructions::tables::lidt(&pointer(256 * 16 - 1, IDT.0.get() as u64));
        core::arch::asm!("ltr {0:x}", in(reg) TASK_SELECTOR, options(nostack, preserves_flags));
    }
}
