//! Why the virtual processor stopped, in neutral words.

use darma_abi::units::{GuestPhys, GuestVirt};

/// A port access that was intercepted (APM2 15.10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAccess {
    /// The port.
    pub port: u16,
    /// 1, 2 or 4 bytes.
    pub size: u8,
    /// True for IN and INS.
    pub input: bool,
    /// True for INS and OUTS, whose data is in memory.
    pub string: bool,
    /// The address of the next instruction.
    pub next_rip: GuestVirt,
}

/// A nested page fault (APM2 15.25.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NestedFault {
    /// The guest-physical address.
    pub address: GuestPhys,
    /// The access was a write.
    pub write: bool,
    /// The access was an instruction fetch.
    pub fetch: bool,
    /// It came while the processor walked the guest's own page tables.
    pub table_walk: bool,
}

/// The reasons for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Not entered at all: an event was signalled before entry.
    NotEntered,
    /// A physical interrupt; it is taken by the host as soon as interrupts are on.
    Interrupt,
    /// A physical NMI.
    Nmi,
    /// The guest can take an interrupt now (asked for by `request_interrupt_window`).
    InterruptWindow,
    /// CPUID.
    Cpuid,
    /// HLT.
    Halt,
    /// INVD or WBINVD.
    CacheFlush,
    /// A port access.
    Port(PortAccess),
    /// RDMSR.
    ReadMsr,
    /// WRMSR.
    WriteMsr,
    /// An access that nested paging does not allow.
    NestedFault(NestedFault),
    /// Triple fault.
    Shutdown,
    /// VMMCALL.
    Hypercall,
    /// An SVM instruction, which the GPOS is told does not exist.
    NoSuchInstruction,
    /// An intercepted exception vector.
    Exception(u8),
    /// The first IRET after an NMI was injected: its handler returns.
    NmiReturn,
    /// The processor refused the state it was given.
    InvalidState,
    /// Any other code: an intercept that is never set.
    Unexpected(u64),
}
