//! The virtual machine control block (APM2 appendix B), laid out field by field.

use core::mem::{offset_of, size_of};

/// A segment register in the state-save area (APM2 table B-2).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Segment {
    pub(crate) selector: u16,
    pub(crate) attributes: u16,
    pub(crate) limit: u32,
    pub(crate) base: u64,
}

/// The control area (APM2 table B-1).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Control {
    pub(crate) cr_read: u16,
    pub(crate) cr_write: u16,
    pub(crate) dr_read: u16,
    pub(crate) dr_write: u16,
    pub(crate) exceptions: u32,
    pub(crate) intercepts_1: u32,
    pub(crate) intercepts_2: u32,
    pub(crate) intercepts_3: u32,
    reserved_18: [u8; 0x3c - 0x18],
    pub(crate) pause_threshold: u16,
    pub(crate) pause_count: u16,
    pub(crate) io_map: u64,
    pub(crate) msr_map: u64,
    pub(crate) tsc_offset: u64,
    pub(crate) asid: u32,
    pub(crate) tlb_control: u32,
    pub(crate) virtual_interrupt: u64,
    pub(crate) interrupt_shadow: u64,
    pub(crate) exit_code: u64,
    pub(crate) exit_info_1: u64,
    pub(crate) exit_info_2: u64,
    pub(crate) exit_interrupt_info: u64,
    pub(crate) nested_paging: u64,
    reserved_98: [u8; 0xa8 - 0x98],
    pub(crate) event_injection: u64,
    pub(crate) nested_cr3: u64,
    pub(crate) lbr_control: u64,
    pub(crate) clean: u64,
    pub(crate) next_rip: u64,
    pub(crate) fetched: u8,
    pub(crate) instruction: [u8; 15],
    reserved_e0: [u8; 0x400 - 0xe0],
}

/// The state-save area (APM2 table B-2).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct State {
    pub(crate) es: Segment,
    pub(crate) cs: Segment,
    pub(crate) ss: Segment,
    pub(crate) ds: Segment,
    pub(crate) fs: Segment,
    pub(crate) gs: Segment,
    pub(crate) gdtr: Segment,
    pub(crate) ldtr: Segment,
    pub(crate) idtr: Segment,
    pub(crate) tr: Segment,
    reserved_a0: [u8; 0xcb - 0xa0],
    pub(crate) cpl: u8,
    reserved_cc: [u8; 4],
    pub(crate) efer: u64,
    reserved_d8: [u8; 0x148 - 0xd8],
    pub(crate) cr4: u64,
    pub(crate) cr3: u64,
    pub(crate) cr0: u64,
    pub(crate) dr7: u64,
    pub(crate) dr6: u64,
    pub(crate) rflags: u64,
    pub(crate) rip: u64,
    reserved_180: [u8; 0x1d8 - 0x180],
    pub(crate) rsp: u64,
    reserved_1e0: [u8; 0x1f8 - 0x1e0],
    pub(crate) rax: u64,
    pub(crate) star: u64,
    pub(crate) lstar: u64,
    pub(crate) cstar: u64,
    pub(crate) sfmask: u64,
    pub(crate) kernel_gs_base: u64,
    pub(crate) sysenter_cs: u64,
    pub(crate) sysenter_esp: u64,
    pub(crate) sysenter_eip: u64,
    pub(crate) cr2: u64,
    reserved_248: [u8; 0x268 - 0x248],
    pub(crate) guest_pat: u64,
    reserved_270: [u8; 0xc00 - 0x270],
}

/// One control block: 4 KiB, page aligned.
#[repr(C, align(4096))]
pub(crate) struct Vmcb {
    pub(crate) control: Control,
    pub(crate) state: State,
}

macro_rules! at {
    ($ty:ty, $($field:ident = $offset:expr),* $(,)?) => {
        $(const _: () = assert!(offset_of!($ty, $field) == $offset);)*
    };
}

at!(
    Control,
    cr_read = 0x00,
    cr_write = 0x02,
    dr_read = 0x04,
    dr_write = 0x06,
    exceptions = 0x08,
    intercepts_1 = 0x0c,
    intercepts_2 = 0x10,
    intercepts_3 = 0x14,
    pause_threshold = 0x3c,
    pause_count = 0x3e,
    io_map = 0x40,
    msr_map = 0x48,
    tsc_offset = 0x50,
    asid = 0x58,
    tlb_control = 0x5c,
    virtual_interrupt = 0x60,
    interrupt_shadow = 0x68,
    exit_code = 0x70,
    exit_info_1 = 0x78,
    exit_info_2 = 0x80,
    exit_interrupt_info = 0x88,
    nested_paging = 0x90,
    event_injection = 0xa8,
    nested_cr3 = 0xb0,
    lbr_control = 0xb8,
    clean = 0xc0,
    next_rip = 0xc8,
    fetched = 0xd0,
    instruction = 0xd1,
);
at!(
    State,
    es = 0x00,
    cs = 0x10,
    ss = 0x20,
    ds = 0x30,
    fs = 0x40,
    gs = 0x50,
    gdtr = 0x60,
    ldtr = 0x70,
    idtr = 0x80,
    tr = 0x90,
    cpl = 0xcb,
    efer = 0xd0,
    cr4 = 0x148,
    cr3 = 0x150,
    cr0 = 0x158,
    dr7 = 0x160,
    dr6 = 0x168,
    rflags = 0x170,
    rip = 0x178,
    rsp = 0x1d8,
    rax = 0x1f8,
    star = 0x200,
    lstar = 0x208,
    cstar = 0x210,
    sfmask = 0x218,
    kernel_gs_base = 0x220,
    sysenter_cs = 0x228,
    sysenter_esp = 0x230,
    sysenter_eip = 0x238,
    cr2 = 0x240,
    guest_pat = 0x268,
);
const _: () = assert!(size_of::<Control>() == 0x400);
const _: () = assert!(size_of::<Vmcb>() == 4096);
