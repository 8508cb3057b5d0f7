//! The nanokernel's own console: QEMU's debug console (port 0xE9) always, and COM1 until the
//! GPOS, which owns that serial port, is entered.
//!
//! On a real machine port 0xE9 is nobody's and the writes vanish. Writing never waits for long:
//! the UART wait is bounded, so that a dead port cannot hang the boot.

use crate::port::{self, Width};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

const DEBUG_PORT: u16 = 0xe9;
const COM1: u16 = 0x3f8;
const UART_READY_TRIES: u32 = 10_000;

static ECHO_TO_COM1: AtomicBool = AtomicBool::new(true);

/// Stops (or resumes) the echo on COM1. Called with `false` once the GPOS owns the port.
pub fn echo_to_com1(on: bool) {
    ECHO_TO_COM1.store(on, Ordering::Relaxed);
}

/// Writes to the console. Interleaving with an interrupt's output is possible, loss is not.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let echo = ECHO_TO_COM1.load(Ordering::Relaxed);
        for byte in s.bytes() {
            // SAFETY: DEVICE-OWNER: port 0xE9 is the nanokernel's console.
            unsafe { port::write(DEBUG_PORT, Width::Byte, u32::from(byte)) };
            if echo {
                if byte == b'\n' {
                    com1_byte(b'\r');
                }
                com1_byte(byte);
            }
        }
        Ok(())
    }
}

fn com1_byte(byte: u8) {
    for _ in 0..UART_READY_TRIES {
        // SAFETY: DEVICE-OWNER: while the echo is on, the GPOS has not been entered yet.
        if unsafe { port::read(COM1 + 5, Width::Byte) } & 0x20 != 0 {
            break;
        }
    }
    // SAFETY: DEVICE-OWNER, as above.
    unsafe { port::write(COM1, Width::Byte, u32::from(byte)) };
}

/// Ends an emulated test machine through QEMU's isa-debug-exit device; its process exits with
/// `2 * code + 1`. Returns where there is no such device.
pub fn leave_emulator(code: u8) {
    // SAFETY: DEVICE-OWNER: port 0xF4 is the test machine's exit device or nobody's.
    unsafe { port::write(0xf4, Width::Byte, u32::from(code)) };
}

/// Prints to the nanokernel's console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => {{
        use core::fmt::Write as _;
        let _ = write!($crate::console::Console, $($arg)*);
    }};
}

/// Prints a line to the nanokernel's console.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => {{
        use core::fmt::Write as _;
        let _ = writeln!($crate::console::Console, $($arg)*);
    }};
}
