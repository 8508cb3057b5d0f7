//! What the virtual processor holds: set for a start, read and changed by emulation, frozen at a
//! failure.

use crate::vcpu::{
    EFER_LMA, EFER_LME, EFER_SVME, GuestRegisters, INTERCEPT_IRET, INTERCEPT_VINTR, V_INTR_MASKING,
    VirtualCpu,
};
use crate::vmcb::{Segment, State};
use core::arch::asm;
use darma_abi::units::{GuestPhys, GuestVirt, Vector};

/// Where and how the guest starts: the 64-bit Linux boot protocol's processor state.
#[derive(Clone, Copy, Debug)]
pub struct BootState {
    /// Entry point.
    pub rip: GuestVirt,
    /// The boot_params page.
    pub boot_params: GuestPhys,
    /// Root of the identity page tables.
    pub page_tables: GuestPhys,
    /// Base of a GDT with code at 0x10 and data at 0x18, and its limit.
    pub gdt: (GuestVirt, u16),
}

/// A segment register as the fault record keeps it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SegmentState {
    /// Selector.
    pub selector: u16,
    /// Attributes in the packed form of APM2 table B-2.
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Base address.
    pub base: u64,
}

/// Everything the processor holds of a stopped guest, except FPU state.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    missing_docs,
    reason = "the fields are the registers they are named after"
)]
pub struct FrozenState {
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8..R15: instruction-encoding order.
    pub registers: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub dr6: u64,
    pub dr7: u64,
    /// ES CS SS DS FS GS: encoding order.
    pub segments: [SegmentState; 6],
    pub ldtr: SegmentState,
    pub tr: SegmentState,
    pub gdtr: SegmentState,
    pub idtr: SegmentState,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub pat: u64,
}

/// What was on its way into the guest when it stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct PendingState {
    /// EVENTINJ (APM2 15.20).
    pub injection: u64,
    /// EXITINTINFO (APM2 15.7.2).
    pub interrupted: u64,
    /// The virtual interrupt control (APM2 15.21).
    pub virtual_interrupt: u64,
    /// Whether it was in an interrupt shadow.
    pub shadow: bool,
    /// The interrupt that it was offered and had not taken.
    pub offered: Option<Vector>,
}

impl VirtualCpu {
    /// Puts the processor in the state in which a boot loader enters 64-bit Linux.
    pub fn reset_to(&mut self, boot: BootState) {
        let flat = |selector, attributes| Segment {
            selector,
            attributes,
            limit: u32::MAX,
            base: 0,
        };
        let table = |base, limit| Segment {
            selector: 0,
            attributes: 0,
            limit,
            base,
        };
        let data = flat(0x18, 0xc93);
        let state: &mut State = &mut self.vmcb.state;
        state.es = data;
        state.ss = data;
        state.ds = data;
        state.fs = data;
        state.gs = data;
        state.cs = flat(0x10, 0xa9b);
        state.gdtr = table(boot.gdt.0.0, u32::from(boot.gdt.1));
        state.idtr = table(0, 0);
        state.ldtr = Segment {
            attributes: 0x82,
            ..table(0, 0xffff)
        };
        state.tr = Segment {
            attributes: 0x8b,
            ..table(0, 0xffff)
        };
        state.cpl = 0;
        state.efer = EFER_SVME | EFER_LMA | EFER_LME;
        state.cr0 = 0x8001_0033;
        state.cr2 = 0;
        state.cr3 = boot.page_tables.0;
        state.cr4 = 1 << 5;
        state.dr6 = 0xffff_0ff0;
        state.dr7 = 0x400;
        state.rflags = 2;
        state.rip = boot.rip.0;
        state.rsp = 0;
        state.rax = 0;
        state.guest_pat = 0x0007_0406_0007_0406;
        state.star = 0;
        state.lstar = 0;
        state.cstar = 0;
        state.sfmask = 0;
        state.kernel_gs_base = 0;
        state.sysenter_cs = 0;
        state.sysenter_esp = 0;
        state.sysenter_eip = 0;
        self.registers = GuestRegisters {
            rsi: boot.boot_params.0,
            ..GuestRegisters::default()
        };
        let control = &mut self.vmcb.control;
        control.event_injection = 0;
        control.exit_interrupt_info = 0;
        control.interrupt_shadow = 0;
        control.virtual_interrupt = V_INTR_MASKING;
        control.intercepts_1 &= !(INTERCEPT_VINTR | INTERCEPT_IRET);
        self.shadow_at = None;
        self.offered = None;
        self.flush_next = true;
        reset_fpu();
    }

    /// A general register by its number in instruction encoding (0 RAX .. 15 R15).
    pub fn register(&self, number: u8) -> u64 {
        let registers = &self.registers;
        match number {
            0 => self.vmcb.state.rax,
            1 => registers.rcx,
            2 => registers.rdx,
            3 => registers.rbx,
            4 => self.vmcb.state.rsp,
            5 => registers.rbp,
            6 => registers.rsi,
            7 => registers.rdi,
            _ => registers.r8_to_r15[usize::from(number & 7)],
        }
    }

    /// Sets a general register, numbered as for [`Self::register`].
    pub fn set_register(&mut self, number: u8, value: u64) {
        let registers = &mut self.registers;
        let target = match number {
            0 => &mut self.vmcb.state.rax,
            1 => &mut registers.rcx,
            2 => &mut registers.rdx,
            3 => &mut registers.rbx,
            4 => &mut self.vmcb.state.rsp,
            5 => &mut registers.rbp,
            6 => &mut registers.rsi,
            7 => &mut registers.rdi,
            _ => &mut registers.r8_to_r15[usize::from(number & 7)],
        };
        *target = value;
    }

    /// The instruction pointer.
    pub fn rip(&self) -> GuestVirt {
        GuestVirt(self.vmcb.state.rip)
    }

    /// Moves the guest past an instruction that was emulated; its interrupt shadow ends.
    pub fn resume_at(&mut self, rip: GuestVirt) {
        self.vmcb.state.rip = rip.0;
        self.vmcb.control.interrupt_shadow = 0;
        self.shadow_at = None;
    }

    /// The next instruction's address where the processor reports it (CPUID NRIPS).
    pub fn reported_next_rip(&self) -> Option<GuestVirt> {
        (self.next_rip_reported && self.vmcb.control.next_rip != 0)
            .then_some(GuestVirt(self.vmcb.control.next_rip))
    }

    /// RFLAGS.
    pub fn rflags(&self) -> u64 {
        self.vmcb.state.rflags
    }

    /// Sets RFLAGS.
    pub fn set_rflags(&mut self, rflags: u64) {
        self.vmcb.state.rflags = rflags | 2;
    }

    /// Takes the interrupt descriptor table away: the next exception cannot be delivered. For tests.
    pub fn lose_interrupt_table(&mut self) {
        self.vmcb.state.idtr.limit = 0;
    }

    /// Flips a bit (0 to 63) of a register: 0 to 15 general ones, 16 RIP, 17 RFLAGS, 18 CR0, 19 CR3,
    /// 20 CR4. For tests: the processor may refuse what comes of it.
    pub fn flip(&mut self, register: u8, bit: u8) {
        let mask = 1 << (bit % 64);
        let state = &mut self.vmcb.state;
        match register {
            0..=15 => self.set_register(register, self.register(register) ^ mask),
            16 => state.rip ^= mask,
            17 => state.rflags ^= mask,
            18 => state.cr0 ^= mask,
            19 => state.cr3 ^= mask,
            20 => state.cr4 ^= mask,
            _ => {}
        }
        self.flush_next = true;
    }

    /// CR0, CR3, CR4 and EFER: what a page walk and a decoder need to know.
    pub fn paging(&self) -> (u64, u64, u64, u64) {
        let state = &self.vmcb.state;
        (state.cr0, state.cr3, state.cr4, state.efer)
    }

    /// EFER as the guest sees it: without SVME.
    pub fn efer(&self) -> u64 {
        self.vmcb.state.efer & !EFER_SVME
    }

    /// Sets EFER; SVME stays on, as VMRUN demands (APM2 15.5.1).
    pub fn set_efer(&mut self, efer: u64) {
        self.vmcb.state.efer = efer | EFER_SVME;
    }

    /// The guest's page-attribute table MSR.
    pub fn pat(&self) -> u64 {
        self.vmcb.state.guest_pat
    }

    /// Sets the guest's page-attribute table MSR.
    pub fn set_pat(&mut self, pat: u64) {
        self.vmcb.state.guest_pat = pat;
    }

    /// CS base and attributes in the packed form of APM2 table B-2, and the privilege level.
    pub fn code_segment(&self) -> (u64, u16, u8) {
        (
            self.vmcb.state.cs.base,
            self.vmcb.state.cs.attributes,
            self.vmcb.state.cpl,
        )
    }

    /// Base and limit of the interrupt and of the global descriptor table.
    pub fn descriptor_tables(&self) -> [(GuestVirt, u32); 2] {
        let state = &self.vmcb.state;
        [&state.idtr, &state.gdtr].map(|table| (GuestVirt(table.base), table.limit))
    }

    /// What was on its way into the stopped guest.
    pub fn pending(&self) -> PendingState {
        let control = &self.vmcb.control;
        PendingState {
            injection: control.event_injection,
            interrupted: control.exit_interrupt_info,
            virtual_interrupt: control.virtual_interrupt,
            shadow: self.in_interrupt_shadow(),
            offered: self.offered,
        }
    }

    /// Collects the whole state of the stopped guest.
    pub fn freeze(&self) -> FrozenState {
        let state = &self.vmcb.state;
        let segment = |s: &Segment| SegmentState {
            selector: s.selector,
            attributes: s.attributes,
            limit: s.limit,
            base: s.base,
        };
        let mut registers = [0; 16];
        for (slot, number) in registers.iter_mut().zip(0u8..) {
            *slot = self.register(number);
        }
        FrozenState {
            registers,
            rip: state.rip,
            rflags: state.rflags,
            cr0: state.cr0,
            cr2: state.cr2,
            cr3: state.cr3,
            cr4: state.cr4,
            efer: self.efer(),
            dr6: state.dr6,
            dr7: state.dr7,
            segments: [
                &state.es, &state.cs, &state.ss, &state.ds, &state.fs, &state.gs,
            ]
            .map(segment),
            ldtr: segment(&state.ldtr),
            tr: segment(&state.tr),
            gdtr: segment(&state.gdtr),
            idtr: segment(&state.idtr),
            star: state.star,
            lstar: state.lstar,
            cstar: state.cstar,
            sfmask: state.sfmask,
            kernel_gs_base: state.kernel_gs_base,
            sysenter_cs: state.sysenter_cs,
            sysenter_esp: state.sysenter_esp,
            sysenter_eip: state.sysenter_eip,
            pat: state.guest_pat,
        }
    }
}

/// Leaves the FPU as reset does, so that a reloaded kernel does not find its predecessor's state.
fn reset_fpu() {
    // SAFETY: FLOAT-STATE: no task runs here, so the state is the stopped guest's and may go; CR0.EM and
    // TS are clear (machine::float).
    unsafe { asm!("fninit", options(nomem, nostack)) };
    if core::arch::x86_64::__cpuid(1).ecx & (1 << 26) != 0 {
        // SAFETY: XCR0 = 1 (x87 only) is always legal; CR4.OSXSAVE is put back as it was.
        unsafe {
            asm!(
                "mov {old}, cr4", "mov {new}, {old}", "or {new}, 0x40000", "mov cr4, {new}",
                "xor ecx, ecx", "xor edx, edx", "mov eax, 1", "xsetbv", "mov cr4, {old}",
                old = out(reg) _, new = out(reg) _, out("eax") _, out("ecx") _, out("edx") _,
                options(nostack)
            );
        }
    }
}
