//! The processor's state at the failure, as the virtual processor holds it (APM2 appendix B).

use core::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A segment register with its hidden part, in SVM's packed format.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Segment {
    /// The visible selector.
    pub selector: u16,
    /// Descriptor bits 55:52 and 47:40, concatenated (APM2 15.5.1).
    pub attributes: u16,
    /// The limit in bytes.
    pub limit: u32,
    /// The base address.
    pub base: u64,
}

/// A descriptor table register.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Table {
    /// The limit in bytes.
    pub limit: u64,
    /// The base address.
    pub base: u64,
}

/// All that is saved of the processor.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the registers' own names")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    /// The guest's own task priority (its CR8).
    pub cr8: u64,
    pub efer: u64,
    pub dr6: u64,
    pub dr7: u64,
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ldtr: Segment,
    pub tr: Segment,
    pub gdtr: Table,
    pub idtr: Table,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub pat: u64,
    pub apic_base: u64,
    /// Current privilege level.
    pub cpl: u64,
    /// The interrupt that was being delivered (APM2 15.7.2).
    pub exit_interrupt: u64,
    /// Bit 0: in an interrupt shadow.
    pub interrupt_shadow: u64,
    pub reserved: [u64; 3],
}

const _: () = {
    assert!(size_of::<Segment>() == 16);
    assert!(size_of::<Table>() == 16);
    assert!(offset_of!(Registers, rip) == 128);
    assert!(offset_of!(Registers, cr0) == 144);
    assert!(offset_of!(Registers, es) == 208);
    assert!(offset_of!(Registers, gdtr) == 336);
    assert!(offset_of!(Registers, star) == 368);
    assert!(offset_of!(Registers, cpl) == 448);
};
