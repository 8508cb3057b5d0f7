//! The large part of what is kept of a failure: enough to explain most without the dump.

use super::ring::Record;
use super::{Registers, text};
use core::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes kept of the kernel's log.
pub const LOG_BYTES: usize = 8192;
/// Most bytes kept of the stack, from the stack pointer up.
pub const STACK_BYTES: usize = 4096;

/// Registers, the log's tail, and bytes of the stack. It has the number of its fault record.
#[derive(Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MiniDump {
    /// The processor at the failure.
    pub registers: Registers,
    /// Bytes used of `log`.
    pub log_bytes: u32,
    /// Bytes used of `stack`.
    pub stack_bytes: u32,
    /// The kernel log's tail, ASCII, oldest line first.
    pub log: [u8; LOG_BYTES],
    /// The stack, from RSP up.
    pub stack: [u8; STACK_BYTES],
}

const _: () = {
    assert!(offset_of!(MiniDump, log_bytes) == size_of::<Registers>());
    assert!(offset_of!(MiniDump, log) == size_of::<Registers>() + 8);
    assert!(size_of::<MiniDump>() == size_of::<Registers>() + 8 + LOG_BYTES + STACK_BYTES);
};

impl Record for MiniDump {
    const MAGIC: u64 = u64::from_le_bytes(*b"DARMAMIN");
    const VERSION: u32 = 1;
}

impl MiniDump {
    /// The log's text.
    pub fn log_text(&self) -> &[u8] {
        let used = usize::try_from(self.log_bytes).unwrap_or(LOG_BYTES);
        self.log.get(..used).unwrap_or(&self.log)
    }

    /// The log's text, if it is UTF-8 as it was written.
    pub fn log_str(&self) -> Option<&str> {
        text(self.log_text())
    }

    /// The bytes from the stack pointer up.
    pub fn stack_bytes(&self) -> &[u8] {
        let used = usize::try_from(self.stack_bytes).unwrap_or(STACK_BYTES);
        self.stack.get(..used).unwrap_or(&self.stack)
    }
}
