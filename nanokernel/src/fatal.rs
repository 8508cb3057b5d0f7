//! Exceptions and panics. A task's own are contained by the RTOS and the rest goes on. What remains are
//! the three ways in which the nanokernel itself stops: a machine it cannot use, an exception of its
//! own, a panic of its own. Each prints what happened and what to do; a test machine then ends.

use core::fmt::{Display, Write};
use darma_machine::exceptions::{ExceptionFrame, fault_address};
use darma_machine::{console, println};
use darma_rtos::faults::{self, Exception};

/// Exit code of a test machine after a boot error (process exit status 2 * 16 + 1).
const BOOT_ERROR: u8 = 16;
/// Exit code of a test machine after a bug of the nanokernel's own (process exit status 35).
const OWN_BUG: u8 = 17;

/// Stops the boot with one line that names the thing and the remedy.
pub(crate) fn boot_error(what: &dyn Display) -> ! {
    println!("darma: cannot start: {what}");
    console::leave_emulator(BOOT_ERROR);
    halt()
}

/// Ends a test machine in good order.
pub(crate) fn leave() -> ! {
    console::leave_emulator(0);
    halt()
}

/// Stops this processor for good; tasks stop as well.
fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => stop(&format_args!(
            "{} at {}:{}",
            info.message(),
            at.file(),
            at.line()
        )),
        None => stop(&info.message()),
    }
}

/// Ends the running task's activation; where none runs, the panic is the nanokernel's own.
fn stop(panic: &dyn Display) -> ! {
    if faults::running_task().is_some() {
        let mut words = faults::Words::new();
        // A message longer than the record's room is cut.
        let _ = write!(words, "{panic}");
        faults::contain_panic(words);
    }
    console::echo_to_com1(true);
    println!("darma: BUG in the nanokernel: panic: {panic}");
    println!("darma: please report this line together with the log above");
    console::leave_emulator(OWN_BUG);
    halt()
}

/// A panic inside a law, which was compiled apart from the image (`darma_law`) and panics there: the
/// end of the running task's activation.
///
/// # Safety
/// FLOAT-STATE: called by a law's panic handler, with `length` readable bytes at `text`.
#[unsafe(no_mangle)]
unsafe extern "C" fn darma_task_panic(text: *const u8, length: usize) -> ! {
    // SAFETY: FLOAT-STATE: the caller's promise.
    let text = unsafe { core::slice::from_raw_parts(text, length) };
    // A message may be cut inside a character.
    let whole = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    stop(&whole)
}

/// Called by the exception stubs. NMIs are counted by nobody yet and simply end.
#[unsafe(no_mangle)]
extern "C" fn darma_host_exception(frame: &ExceptionFrame) {
    const NMI: u64 = 2;
    if frame.vector == NMI {
        return;
    }
    const INTERRUPTS_ON: u64 = 1 << 9;
    faults::contain_exception(&Exception {
        vector: u8::try_from(frame.vector).unwrap_or(u8::MAX),
        rip: frame.rip,
        interrupts_on: frame.rflags & INTERRUPTS_ON != 0,
        address: fault_address(),
    });
    console::echo_to_com1(true);
    println!(
        "darma: BUG in the nanokernel: exception {} error {:#x} at rip {:#x} rsp {:#x} cr2 {:#x} rflags {:#x}",
        frame.vector,
        frame.error,
        frame.rip,
        frame.rsp,
        fault_address(),
        frame.rflags
    );
    for (value, name) in frame.registers.iter().rev().zip([
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15",
    ]) {
        println!("darma:   {name:>3} {value:#018x}");
    }
    console::leave_emulator(OWN_BUG);
    halt()
}
