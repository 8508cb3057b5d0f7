//! The first serial port, while the GPOS that owns it is down: a console for whoever looks after the
//! machine.
//!
//! The dead kernel left the port in any state; taking it sets the line's format and switches its
//! interrupts off, and leaves the speed as Linux had it, which is what the terminal at the other end
//! expects. Every wait is bounded, so that a dead port cannot hold anything up. Registers: the 16550's
//! data sheet.

use crate::port::{self, Width};
use core::fmt;

const COM1: u16 = 0x3f8;
const INTERRUPTS: u16 = COM1 + 1;
const FIFO: u16 = COM1 + 2;
const LINE: u16 = COM1 + 3;
const MODEM: u16 = COM1 + 4;
const STATUS: u16 = COM1 + 5;
const RECEIVED: u32 = 1;
const ROOM: u32 = 0x20;
const TRIES: u32 = 10_000;

/// The port, taken.
#[derive(Debug)]
pub struct SerialPort(());

impl SerialPort {
    /// Takes the port: eight bits, no parity, queues on and empty, no interrupts.
    ///
    /// # Safety
    /// DEVICE-OWNER: the GPOS does not run, and nobody else uses the port until it runs again.
    pub unsafe fn take() -> Self {
        for (register, value) in [(LINE, 3), (INTERRUPTS, 0), (FIFO, 7), (MODEM, 3)] {
            // SAFETY: DEVICE-OWNER, promised by the caller.
            unsafe { port::write(register, Width::Byte, value) };
        }
        Self(())
    }

    /// A byte that has arrived, if one has.
    pub fn read(&mut self) -> Option<u8> {
        // SAFETY: DEVICE-OWNER, promised to `take`.
        let status = unsafe { port::read(STATUS, Width::Byte) };
        // A port that is not there answers all ones.
        if status & RECEIVED == 0 || status == 0xff {
            return None;
        }
        // SAFETY: DEVICE-OWNER, as above.
        let [byte, ..] = unsafe { port::read(COM1, Width::Byte) }.to_le_bytes();
        Some(byte)
    }

    /// Sends text of unknown origin: what no terminal should be sent is shown as `?`.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.send(b'\r');
                    self.send(b'\n');
                }
                b' '..=b'~' | b'\t' => self.send(*byte),
                _ => self.send(b'?'),
            }
        }
    }

    fn send(&mut self, byte: u8) {
        for _ in 0..TRIES {
            // SAFETY: DEVICE-OWNER, promised to `take`.
            if unsafe { port::read(STATUS, Width::Byte) } & ROOM != 0 {
                break;
            }
        }
        // SAFETY: DEVICE-OWNER, as above.
        unsafe { port::write(COM1, Width::Byte, u32::from(byte)) };
    }
}

impl fmt::Write for SerialPort {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes());
        Ok(())
    }
}
