//! The x86_64 machine: boot entry, registers, ports, interrupt controllers, time.
//!
//! Every module is an edge: it does what it is told and decides nothing. Callers hold the reasons.
//! The invariants that the `SAFETY:` arguments name stand in `docs/soundness.md`.
#![no_std]

pub mod boot;
pub mod console;
pub mod crc32c;
pub mod descriptors;
pub mod exceptions;
pub mod float;
pub mod io_apic;
pub mod irq_off;
pub mod local_apic;
pub mod memory;
pub mod paging;
pub mod pci;
pub mod port;
pub mod pvh;
pub mod serial;
pub mod stacks;
mod stubs;
pub mod time;

use core::sync::atomic::AtomicU8;

/// Set by an interrupt handler that leaves work for the main loop; read as the last thing before
/// the guest is entered, and cleared by the main loop before it looks for that work.
/// Exported by name: the assembly that enters the guest reads it.
#[unsafe(export_name = "darma_attention")]
pub static ATTENTION: AtomicU8 = AtomicU8::new(0);
