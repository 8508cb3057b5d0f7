//! Interrupts as the GPOS sees them, and what the hardware is told instead.
//!
//! The physical local APIC belongs to the nanokernel. The GPOS gets a local APIC made of data
//! ([`local_apic`]), an I/O APIC whose entries are translated before they reach the hardware
//! ([`io_apic`]), and a table that ties each physical vector to the guest's wish ([`routes`]).
//! Here is the rule that keeps the real-time side safe: **a vector that the guest wrote is a wish
//! about its virtual APIC and never names a physical vector.**
//!
//! All of it is plain state with time as a parameter. One processor runs it, at the lowest
//! priority; nothing here may be called from a real-time task.

pub mod io_apic;
pub mod local_apic;
pub mod routes;

/// How an interrupt source signals, which decides whether the end of interrupt matters to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trigger {
    /// A moment: the request is over once it has been accepted.
    #[default]
    Edge,
    /// A condition: the source asks again until the handler has ended the interrupt.
    Level,
}

/// The lowest vector that an interrupt may have; those below are exceptions (APM2 16.6.1).
pub const FIRST_LEGAL_VECTOR: u8 = 0x10;
