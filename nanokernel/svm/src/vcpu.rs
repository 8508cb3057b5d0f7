//! The virtual processor: state, entry, exits, event injection.
//!
//! Two facts that the processor does not keep for us are kept here. An event whose delivery an
//! exit interrupted is remembered and delivered again first (APM2 15.7.2). And an interrupt shadow
//! is remembered with the address it covers, because QEMU's TCG reports it on exit but forgets it
//! on the next entry (see docs/hardware-notes.md).

use crate::exit::{Exit, NestedFault, PortAccess};
use crate::features::Features;
use crate::permission::{IoMap, MsrMap};
use crate::vmcb::{Control, Vmcb};
use core::arch::asm;
use darma_abi::units::{Cycles, GuestPhys, GuestVirt, HostPhys, Vector};
#[cfg(doc)]
use darma_machine::ATTENTION;
use darma_machine::{irq_off, time};

core::arch::global_asm!(include_str!("enter.S"));

unsafe extern "C" {
    fn svm_enter(registers: *mut GuestRegisters, vmcb: u64, host_state: u64) -> u32;
}

const INTERCEPT_INTR: u32 = 1 << 0;
const INTERCEPT_NMI: u32 = 1 << 1;
const INTERCEPT_INIT: u32 = 1 << 3;
pub(crate) const INTERCEPT_VINTR: u32 = 1 << 4;
const INTERCEPT_RDPMC: u32 = 1 << 15;
const INTERCEPT_CPUID: u32 = 1 << 18;
const INTERCEPT_RSM: u32 = 1 << 19;
pub(crate) const INTERCEPT_IRET: u32 = 1 << 20;
const INTERCEPT_INVD: u32 = 1 << 22;
const INTERCEPT_HLT: u32 = 1 << 24;
const INTERCEPT_INVLPGA: u32 = 1 << 26;
const INTERCEPT_IO: u32 = 1 << 27;
const INTERCEPT_MSR: u32 = 1 << 28;
const INTERCEPT_SHUTDOWN: u32 = 1 << 31;
/// VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, WBINVD, MONITOR, MWAIT both ways.
const INTERCEPTS_2: u32 = 0x7f | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
/// #DB and #AC can loop inside their own delivery and then hold interrupts back for ever, so they
/// are intercepted and given to the guest by injection. #MC is the machine's, so the host sees it
/// first; it is then given to the guest as well, whose memory or device it most likely was.
const INTERCEPTED_EXCEPTIONS: u32 = 1 << 1 | 1 << 17 | 1 << 18;

const V_IRQ: u64 = 1 << 8;
const V_INTR_PRIO_MAX: u64 = 0xf << 16;
const V_IGN_TPR: u64 = 1 << 20;
const V_VECTOR_SHIFT: u32 = 32;
const V_VECTOR: u64 = 0xff << V_VECTOR_SHIFT;
pub(crate) const V_INTR_MASKING: u64 = 1 << 24;

const EVENT_VALID: u64 = 1 << 31;
const EVENT_HAS_ERROR: u64 = 1 << 11;
const EVENT_NMI: u64 = 2 << 8;
const EVENT_EXCEPTION: u64 = 3 << 8;
const EVENT_TYPE: u64 = 7 << 8;
const EVENT_SOFTWARE: u64 = 4 << 8;

const RFLAGS_IF: u64 = 1 << 9;
pub(crate) const EFER_SVME: u64 = 1 << 12;
pub(crate) const EFER_LMA: u64 = 1 << 10;
pub(crate) const EFER_LME: u64 = 1 << 8;

/// The general registers that VMRUN does not switch, in the order `enter.S` knows.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct GuestRegisters {
    pub(crate) rbx: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rbp: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) r8_to_r15: [u64; 8],
}

/// The virtual processor. One per physical processor; it must stay where it is once started.
#[repr(C, align(4096))]
pub struct VirtualCpu {
    pub(crate) vmcb: Vmcb,
    io_map: IoMap,
    msr_map: MsrMap,
    host_save: [u8; 4096],
    host_state: [u8; 4096],
    pub(crate) registers: GuestRegisters,
    exit_time: Cycles,
    exit_interrupts: u32,
    pub(crate) next_rip_reported: bool,
    pub(crate) shadow_at: Option<u64>,
    /// The interrupt that the guest is offered and has not taken yet.
    pub(crate) offered: Option<Vector>,
    pub(crate) flush_next: bool,
}

impl VirtualCpu {
    /// A virtual processor that has not been set up.
    pub const fn new() -> Self {
        Self {
            // SAFETY: the control block is plain integers, for which zero is a value.
            vmcb: unsafe { core::mem::zeroed() },
            io_map: IoMap::pass_all(),
            msr_map: MsrMap::intercept_all(),
            host_save: [0; 4096],
            host_state: [0; 4096],
            registers: GuestRegisters {
                rbx: 0,
                rcx: 0,
                rdx: 0,
                rbp: 0,
                rsi: 0,
                rdi: 0,
                r8_to_r15: [0; 8],
            },
            exit_time: Cycles(0),
            exit_interrupts: 0,
            next_rip_reported: false,
            shadow_at: None,
            offered: None,
            flush_next: true,
        }
    }

    /// Physical address of the host's save area, for [`crate::features::enable`].
    pub fn host_save_area(&self) -> u64 {
        self.host_save.as_ptr() as u64
    }

    /// Sets the intercepts and the nested page tables, and keeps the host's task register and the
    /// rest that VMRUN does not switch for every exit to load. Every port passes to the machine and every
    /// MSR exits, until [`Self::intercept_port`] and [`Self::pass_msrs`] say otherwise.
    pub fn set_up(&mut self, features: Features, tables: HostPhys) {
        // SAFETY: VMSAVE writes the host's own state into a page that is this object's; SVM is on,
        // or there would be no `features`.
        unsafe {
            asm!("vmsave rax", in("rax") &raw mut self.host_state, options(nostack, preserves_flags))
        };
        self.next_rip_reported = features.next_rip;
        let io_map = (&raw const self.io_map) as u64;
        let msr_map = (&raw const self.msr_map) as u64;
        let control: &mut Control = &mut self.vmcb.control;
        control.exceptions = INTERCEPTED_EXCEPTIONS;
        control.intercepts_1 = INTERCEPT_INTR
            | INTERCEPT_NMI
            | INTERCEPT_INIT
            | INTERCEPT_RDPMC
            | INTERCEPT_CPUID
            | INTERCEPT_RSM
            | INTERCEPT_INVD
            | INTERCEPT_HLT
            | INTERCEPT_INVLPGA
            | INTERCEPT_IO
            | INTERCEPT_MSR
            | INTERCEPT_SHUTDOWN;
        control.intercepts_2 = INTERCEPTS_2;
        control.io_map = io_map;
        control.msr_map = msr_map;
        control.asid = 1;
        control.nested_paging = 1;
        control.nested_cr3 = tables.0;
        control.virtual_interrupt = V_INTR_MASKING;
    }

    /// Makes accesses to `port` exit.
    pub fn intercept_port(&mut self, port: u16) {
        self.io_map.intercept(port);
    }

    /// Lets reads of these MSRs through, and writes as well if `writes`.
    pub fn pass_msrs(&mut self, msrs: core::ops::RangeInclusive<u32>, writes: bool) {
        for msr in msrs {
            self.msr_map.pass(msr, writes);
        }
    }

    /// Makes the nested page tables' changes take effect at the next entry.
    pub fn flush_translations(&mut self) {
        self.flush_next = true;
    }

    /// Runs the guest until something happens, unless [`ATTENTION`] is set already.
    ///
    /// Interrupts are on when this returns; one that caused the exit has been taken by then.
    pub fn run(&mut self) -> Exit {
        // Deliver again what the last exit cut short, unless something newer is to be injected.
        if self.vmcb.control.event_injection & EVENT_VALID == 0 {
            match redelivery(self.vmcb.control.exit_interrupt_info) {
                Some(Redelivery::Interrupt(vector)) => self.inject_interrupt(vector),
                Some(Redelivery::Event(event)) => self.vmcb.control.event_injection = event,
                None => {}
            }
        }
        let control = &mut self.vmcb.control;
        control.tlb_control = u32::from(self.flush_next);
        control.clean = 0;
        let vmcb = (&raw const self.vmcb) as u64;
        let host_state = (&raw const self.host_state) as u64;
        // SAFETY: the control block is complete after `set_up` and `reset_to`; nested paging keeps
        // the guest away from all memory of the image (PARTITION); `enter.S` restores every host
        // register that Rust relies on, and a task that touches the FPU's state puts it back.
        let entered = unsafe { svm_enter(&raw mut self.registers, vmcb, host_state) };
        if entered == 0 {
            return Exit::NotEntered;
        }
        // The count first: what is taken between the two is then on top, and at worst too much is left out.
        self.exit_interrupts = irq_off::interrupts();
        self.exit_time = time::now();
        self.flush_next = false;
        if self.vmcb.control.virtual_interrupt & V_IRQ == 0 {
            self.offered = None;
        }
        let exit = self.exit();
        if exit == Exit::NmiReturn {
            // The instruction itself has not run: without the intercept it does.
            self.vmcb.control.intercepts_1 &= !INTERCEPT_IRET;
        }
        let rip = self.vmcb.state.rip;
        let shadow = self.vmcb.control.interrupt_shadow & 1 != 0 || self.shadow_at == Some(rip);
        // A window means by definition that no shadow holds interrupts back any more.
        self.shadow_at = (shadow && exit != Exit::InterruptWindow).then_some(rip);
        exit
    }

    fn exit(&self) -> Exit {
        let control = &self.vmcb.control;
        match control.exit_code {
            0x41 => Exit::Exception(1),
            0x51 => Exit::Exception(17),
            0x52 => Exit::Exception(18),
            0x60 => Exit::Interrupt,
            0x61 => Exit::Nmi,
            0x64 => Exit::InterruptWindow,
            0x72 => Exit::Cpuid,
            0x76 | 0x89 => Exit::CacheFlush,
            0x74 => Exit::NmiReturn,
            0x78 => Exit::Halt,
            0x7b => Exit::Port(port_access(control.exit_info_1, control.exit_info_2)),
            0x7c if control.exit_info_1 & 1 == 0 => Exit::ReadMsr,
            0x7c => Exit::WriteMsr,
            0x7f => Exit::Shutdown,
            0x81 => Exit::Hypercall,
            0x6f | 0x73 | 0x7a | 0x80 | 0x82..=0x86 | 0x8a..=0x8c => Exit::NoSuchInstruction,
            0x400 => Exit::NestedFault(NestedFault {
                address: GuestPhys(control.exit_info_2),
                write: control.exit_info_1 & 2 != 0,
                fetch: control.exit_info_1 & 0x10 != 0,
                table_walk: control.exit_info_1 >> 33 & 1 != 0,
            }),
            0xffff_ffff | u64::MAX => Exit::InvalidState,
            other => Exit::Unexpected(other),
        }
    }

    /// The last exit as the hardware reported it: code and two words of information.
    pub fn raw_exit(&self) -> (u64, u64, u64) {
        let control = &self.vmcb.control;
        (control.exit_code, control.exit_info_1, control.exit_info_2)
    }

    /// When the last exit was over: after the interrupt, if one caused it.
    pub const fn exit_time(&self) -> Cycles {
        self.exit_time
    }

    /// How many interrupts had been taken by then ([`irq_off::interrupts`]): one that is taken later is
    /// counted on top, whatever was the reason of the exit.
    pub const fn exit_interrupts(&self) -> u32 {
        self.exit_interrupts
    }

    /// An event is waiting for the next entry, so no other can be injected before it.
    pub fn event_waiting(&self) -> bool {
        let control = &self.vmcb.control;
        self.offered.is_some()
            || control.event_injection & EVENT_VALID != 0
            || redelivery(control.exit_interrupt_info).is_some()
    }

    /// The guest would take an interrupt now: IF set, no shadow, no event waiting.
    pub fn interruptible(&self) -> bool {
        self.interrupts_enabled() && self.shadow_at.is_none() && !self.event_waiting()
    }

    /// RFLAGS.IF of the guest.
    pub fn interrupts_enabled(&self) -> bool {
        self.vmcb.state.rflags & RFLAGS_IF != 0
    }

    /// The guest is in the shadow of STI or MOV SS.
    pub fn in_interrupt_shadow(&self) -> bool {
        self.shadow_at.is_some()
    }

    /// Offers the guest an external interrupt, which it takes as soon as it can.
    ///
    /// By V_IRQ and its vector, not by event injection: QEMU 7.2 may deliver an injected interrupt
    /// twice, the second time at any instruction (docs/hardware-notes.md). Call it only when the
    /// guest is [`Self::interruptible`].
    pub fn inject_interrupt(&mut self, vector: Vector) {
        let control = &mut self.vmcb.control;
        control.exit_interrupt_info = 0;
        control.intercepts_1 &= !INTERCEPT_VINTR;
        control.virtual_interrupt = control.virtual_interrupt & !V_VECTOR
            | V_IRQ
            | V_INTR_PRIO_MAX
            | V_IGN_TPR
            | u64::from(vector.0) << V_VECTOR_SHIFT;
        self.offered = Some(vector);
    }

    /// Injects an NMI at the next entry. Its handler's end is noticed by the next IRET, as the
    /// processor does that keeps further NMIs back until then (APM2 8.2.3).
    pub fn inject_nmi(&mut self) {
        self.inject(EVENT_NMI | 2);
        self.vmcb.control.intercepts_1 |= INTERCEPT_IRET;
    }

    /// An injected NMI's handler has not returned yet.
    pub fn in_nmi(&self) -> bool {
        self.vmcb.control.intercepts_1 & INTERCEPT_IRET != 0
    }

    /// Injects an exception at the next entry.
    pub fn inject_exception(&mut self, vector: u8, error: Option<u32>) {
        let error = error.map_or(0, |code| EVENT_HAS_ERROR | u64::from(code) << 32);
        self.inject(EVENT_EXCEPTION | u64::from(vector) | error);
    }

    fn inject(&mut self, event: u64) {
        self.vmcb.control.event_injection = event | EVENT_VALID;
        self.vmcb.control.exit_interrupt_info = 0;
    }

    /// Asks for an [`Exit::InterruptWindow`] as soon as the guest can take an interrupt, or not.
    /// While an interrupt is offered nothing changes: it comes first.
    pub fn request_interrupt_window(&mut self, wanted: bool) {
        if self.offered.is_some() {
            return;
        }
        let control = &mut self.vmcb.control;
        let window = V_IRQ | V_INTR_PRIO_MAX | V_IGN_TPR;
        if wanted {
            control.intercepts_1 |= INTERCEPT_VINTR;
            control.virtual_interrupt |= window;
        } else {
            control.intercepts_1 &= !INTERCEPT_VINTR;
            control.virtual_interrupt &= !window;
        }
    }

    /// The guest's task-priority class (its CR8).
    #[allow(clippy::cast_possible_truncation, reason = "four bits")]
    pub fn task_priority(&self) -> u8 {
        (self.vmcb.control.virtual_interrupt & 0xf) as u8
    }

    /// Sets what the guest reads as CR8.
    pub fn set_task_priority(&mut self, class: u8) {
        let control = &mut self.vmcb.control;
        control.virtual_interrupt = control.virtual_interrupt & !0xff | u64::from(class & 0xf);
    }
}

impl Default for VirtualCpu {
    fn default() -> Self {
        Self::new()
    }
}

/// An event whose delivery an exit cut short.
enum Redelivery {
    Interrupt(Vector),
    Event(u64),
}

/// What to deliver again after an exit (APM2 15.7.2). Software interrupts are not: the instruction
/// runs again instead.
fn redelivery(exit_interrupt_info: u64) -> Option<Redelivery> {
    if exit_interrupt_info & EVENT_VALID == 0 {
        return None;
    }
    match exit_interrupt_info & EVENT_TYPE {
        0 => {
            let [vector, ..] = exit_interrupt_info.to_le_bytes();
            Some(Redelivery::Interrupt(Vector(vector)))
        }
        EVENT_SOFTWARE => None,
        _ => Some(Redelivery::Event(exit_interrupt_info)),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "fields of the exit information"
)]
fn port_access(info: u64, next_rip: u64) -> PortAccess {
    PortAccess {
        port: (info >> 16) as u16,
        size: (info >> 4 & 7) as u8,
        input: info & 1 != 0,
        string: info & 4 != 0,
        next_rip: GuestVirt(next_rip),
    }
}
