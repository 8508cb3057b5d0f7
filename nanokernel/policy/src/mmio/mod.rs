//! What a guest instruction that left the guest was about to do.
//!
//! A nested page fault names a guest-physical address but neither the instruction's length nor the
//! register or value concerned (APM2 15.25.6), and processors without decode assists and NRIPS
//! leave both to software. This module answers three questions, without touching hardware:
//!
//! - [`decode`]: which device access does the instruction at RIP make, and [`complete_read`] /
//!   [`complete_write`]: what do the guest's registers hold once it is done;
//! - [`instruction_length`]: by how much does RIP move past a trapped instruction;
//! - [`walk`]: where in guest-physical memory does a linear address lie.
//!
//! The opcode map itself is a maintained crate's (decision 0002). Invariants: every byte, register
//! and page-table entry here is the guest's allegation; nothing indexes, allocates (after
//! [`warm_up`]) or panics on them; an instruction that is not understood is an [`Unknown`] that
//! the caller answers as absent hardware, counts and logs. Concurrency: pure functions; they run
//! with interrupts on.

mod arithmetic;
mod code_pages;
mod complete;
mod decode;
mod length;
mod opcodes;
mod registers;
#[cfg(test)]
mod tests;
pub mod walk;

pub use arithmetic::Operation;
pub use code_pages::{CodeAddress, CodePages};
pub use complete::{complete_read, complete_write};
pub use decode::{Access, Extend, Kind, Target, Unknown, decode};
pub use length::{PLAIN_LENGTH, Trapped, instruction_length, warm_up};
pub use registers::{CpuMode, GuestRegs, RegisterPart, Width};
pub use walk::{GuestPhysRead, Paging, WalkError, read_linear, translate};
