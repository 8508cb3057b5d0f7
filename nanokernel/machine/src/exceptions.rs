//! Exceptions in the host: a task's fault or a bug of the image's own, except the NMI.
//!
//! The register state is handed to the nanokernel's `darma_host_exception`, which contains the task
//! or reports and stops. Each runs on a stack of its own, so that an overflow of a stack can be told.

use crate::descriptors;
use crate::stacks::Stack;

core::arch::global_asm!(include_str!("exceptions.S"));

/// The state at an exception, in the order in which the stub pushes it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ExceptionFrame {
    /// R15 down to RAX, as pushed.
    pub registers: [u64; 15],
    /// The vector.
    pub vector: u64,
    /// The error code, 0 where the exception has none.
    pub error: u64,
    /// Instruction pointer at the exception.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

const NMI: u8 = 2;
const DOUBLE_FAULT: u8 = 8;
const MACHINE_CHECK: u8 = 18;

unsafe extern "C" {
    static host_exception_stubs: [u64; 32];
}

/// Points the first 32 gates at the exception stubs.
///
/// # Safety
/// Interrupts have not been enabled yet (BOOT-ONCE).
pub unsafe fn install() {
    // SAFETY: the table is read-only data of 32 entries, and each stub restores what it changes.
    unsafe {
        for (vector, stub) in (0u8..32).zip(host_exception_stubs) {
            let stack = match vector {
                NMI => Stack::Nmi,
                DOUBLE_FAULT | MACHINE_CHECK => Stack::Abort,
                _ => Stack::Exception,
            };
            descriptors::set_gate(vector, stub, Some(stack));
        }
    }
}

/// The linear address of the last page fault.
pub fn fault_address() -> u64 {
    let address: u64;
    // SAFETY: reading CR2 has no effect.
    unsafe { core::arch::asm!("mov {}, cr2", out(reg) address, options(nomem, nostack)) };
    address
}
