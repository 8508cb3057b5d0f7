//! One function per kind of exit, and the loop that runs the guest between them.

use super::{Ending, Gpos};
use core::sync::atomic::Ordering;
use darma_abi::units::GuestPhys;
use darma_machine::{ATTENTION, time};
use darma_policy::mmio::{self, Kind, Trapped, Unknown, Width};
use darma_svm::exit::{Exit, NestedFault, PortAccess};
use x86_64::instructions::interrupts;

const UNDEFINED_INSTRUCTION: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const LOCAL_APIC: u64 = 0xfee0_0000;
const PAGE: u64 = 4096;

impl Gpos {
    /// Runs the guest until it ends. Every pass is one exit; interrupts are on throughout, but for
    /// the entry and the exit themselves.
    pub(crate) fn run(&mut self) -> Ending {
        loop {
            ATTENTION.store(0, Ordering::Relaxed);
            self.collect();
            self.offer_interrupt();
            let exit = self.cpu.run(&ATTENTION);
            self.counters.exits += 1;
            match exit {
                Exit::NotEntered | Exit::Interrupt | Exit::Nmi | Exit::InterruptWindow => {}
                Exit::Cpuid => self.cpuid(),
                Exit::Halt => {
                    if !self.cpu.interrupts_enabled() {
                        return Ending::Halted;
                    }
                    self.halt();
                }
                Exit::CacheFlush => self.skip(Trapped::Any),
                Exit::Port(access) => self.port(access),
                Exit::ReadMsr => self.read_msr(),
                Exit::WriteMsr => self.write_msr(),
                Exit::NestedFault(fault) => self.nested_fault(fault),
                Exit::Shutdown => return Ending::TripleFault,
                Exit::Hypercall | Exit::NoSuchInstruction => {
                    self.cpu.inject_exception(UNDEFINED_INSTRUCTION, None);
                }
                Exit::Exception(vector) => {
                    // #AC carries an error code, which is always zero; #DB has none.
                    let error = (vector == 17).then_some(0);
                    self.cpu.inject_exception(vector, error);
                }
                Exit::InvalidState => return Ending::Broken(u64::MAX),
                Exit::Unexpected(code) => return Ending::Broken(code),
            }
        }
    }

    /// HLT: wait for an interrupt of the guest's, with the tasks running meanwhile.
    fn halt(&mut self) {
        self.skip(Trapped::Hlt);
        loop {
            ATTENTION.store(0, Ordering::Relaxed);
            self.collect();
            if self.apic.pending().is_some() || self.cpu.event_waiting() {
                return;
            }
            interrupts::disable();
            if ATTENTION.load(Ordering::Relaxed) == 0 {
                // STI takes effect after HLT has begun, so nothing can slip in between.
                interrupts::enable_and_hlt();
            } else {
                interrupts::enable();
            }
        }
    }

    fn cpuid(&mut self) {
        let (leaf, subleaf) = (low(self.cpu.register(0)), low(self.cpu.register(1)));
        let [a, b, c, d] = self.cpuid_leaf(leaf, subleaf);
        self.cpu.set_register(0, u64::from(a));
        self.cpu.set_register(3, u64::from(b));
        self.cpu.set_register(1, u64::from(c));
        self.cpu.set_register(2, u64::from(d));
        self.skip(Trapped::Cpuid);
    }

    fn read_msr(&mut self) {
        match self.msr_value(low(self.cpu.register(1))) {
            Some(value) => {
                self.cpu.set_register(0, value & 0xffff_ffff);
                self.cpu.set_register(2, value >> 32);
                self.skip(Trapped::Rdmsr);
            }
            None => self.cpu.inject_exception(GENERAL_PROTECTION, Some(0)),
        }
    }

    fn write_msr(&mut self) {
        let value = self.cpu.register(2) << 32 | self.cpu.register(0) & 0xffff_ffff;
        if self.set_msr(low(self.cpu.register(1)), value) {
            self.skip(Trapped::Wrmsr);
        } else {
            self.cpu.inject_exception(GENERAL_PROTECTION, Some(0));
        }
    }

    fn port(&mut self, access: PortAccess) {
        self.counters.absent += 1;
        if access.input && !access.string {
            let ones = match access.size {
                1 => 0xff,
                2 => 0xffff,
                _ => 0xffff_ffff,
            };
            let kept = if access.size < 4 {
                self.cpu.register(0) & !ones
            } else {
                0
            };
            self.cpu.set_register(0, kept | ones);
        }
        self.cpu.resume_at(access.next_rip);
    }

    /// An access to memory that is not mapped: one of the virtual controllers, or nothing.
    fn nested_fault(&mut self, fault: NestedFault) {
        if fault.fetch || fault.table_walk {
            // No instruction to emulate: the guest jumped, or points its page tables, outside its
            // memory. All ones would be read there; the closest a processor comes is a fault.
            self.counters.absent += 1;
            self.cpu.inject_exception(GENERAL_PROTECTION, Some(0));
            return;
        }
        let mut buffer = [0; 15];
        let bytes = self.fetch(&mut buffer);
        let mut regs = self.registers();
        let mode = self.mode();
        match mmio::decode(bytes, mode, &regs, fault.address) {
            Ok(access) => {
                if let Kind::Write { value } = access.kind {
                    self.device_write(fault.address, access.size, value);
                    mmio::complete_write(&mut regs, &access, mode);
                } else {
                    let value = self.device_read(fault.address, access.size);
                    if let Some(result) = mmio::complete_read(&mut regs, &access, mode, value) {
                        self.device_write(fault.address, access.size, result);
                    }
                }
                self.set_registers(&regs);
            }
            Err(unknown) => self.unknown_access(unknown),
        }
    }

    fn unknown_access(&mut self, unknown: Unknown) {
        self.counters.absent += 1;
        match unknown.length() {
            Some(length) => self.advance(length),
            None => self.cpu.inject_exception(UNDEFINED_INSTRUCTION, None),
        }
    }

    fn device_read(&mut self, at: GuestPhys, size: Width) -> u64 {
        if let Some(offset) = page_offset(at, LOCAL_APIC) {
            return u64::from(self.apic.read_mmio(offset, time::now()));
        }
        if let Some(offset) = page_offset(at, self.io_apic_base.0) {
            return u64::from(self.io_apic.read(offset));
        }
        self.counters.absent += 1;
        let _ = size;
        u64::MAX
    }

    fn device_write(&mut self, at: GuestPhys, _size: Width, value: u64) {
        if let Some(offset) = page_offset(at, LOCAL_APIC) {
            let effect = self.apic.write_mmio(offset, low(value), time::now());
            self.apply(effect);
        } else if let Some(offset) = page_offset(at, self.io_apic_base.0) {
            let act = self.io_apic.write(offset, low(value), &mut self.routes);
            self.apply_io_apic(act);
        } else {
            self.counters.absent += 1;
        }
    }
}

/// The offset of `at` in the page at `base`, if it lies there.
fn page_offset(at: GuestPhys, base: u64) -> Option<u32> {
    u32::try_from(at.0.checked_sub(base)?)
        .ok()
        .filter(|offset| u64::from(*offset) < PAGE)
}

/// The low half.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the low half is what is meant"
)]
pub(super) fn low(value: u64) -> u32 {
    value as u32
}
