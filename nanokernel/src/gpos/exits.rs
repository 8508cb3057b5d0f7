//! The loop that runs the guest, and one step per kind of exit.

use super::{Gpos, Stop};
use crate::task_log;
use core::sync::atomic::Ordering;
use darma_abi::units::GuestPhys;
use darma_machine::{ATTENTION, time};
use darma_policy::mmio::{self, Kind, Trapped, Unknown};
use darma_ras_model::detect::Event;
use darma_rtos::timer::{self, Waiter};
use darma_rtos::{ending, faults};
use darma_svm::exit::{Exit, NestedFault};
use x86_64::instructions::interrupts;

const UNDEFINED_INSTRUCTION: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const ALIGNMENT_CHECK: u8 = 17;
const LOCAL_APIC: u64 = 0xfee0_0000;
const PAGE: u64 = 4096;

impl Gpos {
    /// Runs the guest until something happens that is more than an exit: an event to judge, a
    /// doorbell, or the monitor's timer. Interrupts are on throughout, but for the entry and the
    /// exit themselves.
    pub(crate) fn run(&mut self) -> Stop {
        if self.idle
            && let Err(stop) = self.wait()
        {
            return stop;
        }
        self.paths.close(time::now());
        // What a stop left undone is looked for once.
        ATTENTION.store(1, Ordering::Relaxed);
        // CPUID changes nothing that an interrupt's offer depends on: what was offered, or asked for by
        // a window, still is. Each exec of a dynamic program makes some thirty such exits.
        let mut settled = false;
        loop {
            if ATTENTION.load(Ordering::Relaxed) != 0 {
                if let Some(stop) = self.attend() {
                    return stop;
                }
                settled = false;
            }
            if !settled {
                self.offer_interrupt();
            }
            #[cfg(feature = "inject")]
            self.strike();
            self.paths.end(time::now());
            let exit = self.cpu.run();
            self.paths
                .begin(&exit, self.cpu.exit_time(), self.cpu.exit_interrupts());
            self.counters.exits += 1;
            settled = exit == Exit::Cpuid;
            // The guest may have moved its CR8; what is emulated next works on the APIC's copy.
            self.apic.set_cr8(self.cpu.task_priority());
            let event = match exit {
                Exit::NotEntered
                | Exit::Interrupt
                | Exit::Nmi
                | Exit::InterruptWindow
                | Exit::NmiReturn => None,
                Exit::Cpuid => {
                    self.cpuid();
                    None
                }
                Exit::Halt => match self.halt() {
                    Ok(()) => None,
                    Err(stop) => return stop,
                },
                Exit::CacheFlush => {
                    // Caches are coherent with the GPOS's devices; flushing them would hold every
                    // task up for as long as it takes.
                    self.skip(Trapped::Any);
                    None
                }
                Exit::Port(access) => self.port(access),
                Exit::ReadMsr => {
                    self.read_msr();
                    None
                }
                Exit::WriteMsr => {
                    self.write_msr();
                    None
                }
                Exit::NestedFault(fault) => self.nested_fault(fault),
                Exit::Shutdown => Some(Event::Shutdown(self.ruin())),
                Exit::Hypercall | Exit::NoSuchInstruction => {
                    self.cpu.inject_exception(UNDEFINED_INSTRUCTION, None);
                    None
                }
                Exit::Exception(vector) => {
                    // #AC's error code is always zero; #DB has none.
                    self.cpu
                        .inject_exception(vector, (vector == ALIGNMENT_CHECK).then_some(0));
                    None
                }
                Exit::InvalidState => Some(Event::InvalidState {
                    exit_code: u64::MAX,
                }),
                Exit::Unexpected(exit_code) => Some(Event::InvalidState { exit_code }),
            };
            if let Some(event) = event {
                return Stop::Event(event);
            }
            if let Some(stop) = self.notice.take() {
                return stop;
            }
        }
    }

    /// Takes note of what interrupts left for the main loop, one stop at a time: whoever leaves
    /// [`Gpos::run`] with it comes back through its start, which looks again.
    fn attend(&mut self) -> Option<Stop> {
        ATTENTION.store(0, Ordering::Relaxed);
        self.collect();
        let stop = if faults::waiting() {
            Some(Stop::TaskFault)
        } else if ending::is_wanted() {
            Some(Stop::Exit)
        } else if timer::take_expired(Waiter::Monitor) {
            Some(Stop::MonitorTimer)
        } else {
            None
        };
        if task_log::print() {
            // A task's words are no part of an exit's path.
            self.paths.close(time::now());
        }
        stop
    }

    /// HLT: wait for an interrupt of the guest's, with the tasks running meanwhile.
    fn halt(&mut self) -> Result<(), Stop> {
        if !self.cpu.interrupts_enabled() {
            return Err(Stop::Event(Event::Halt {
                nmi_pending: self.cpu.event_waiting(),
            }));
        }
        self.skip(Trapped::Hlt);
        self.wait()
    }

    /// The guest sleeps behind its HLT. A look of the monitor's does not wake it: `idle` stays set
    /// and `run` comes back here.
    fn wait(&mut self) -> Result<(), Stop> {
        self.idle = true;
        loop {
            if let Some(stop) = self.attend() {
                return Err(stop);
            }
            if self.apic.pending().is_some() || self.cpu.event_waiting() {
                self.idle = false;
                return Ok(());
            }
            if self.work_waits {
                return Err(Stop::Spare);
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

    /// An access to memory that is not mapped: a virtual controller, a device of ours, a trapped
    /// page, or nothing at all.
    fn nested_fault(&mut self, fault: NestedFault) -> Option<Event> {
        if fault.fetch || fault.table_walk {
            // No instruction to emulate: the guest jumped, or points its page tables, outside its
            // memory. A processor would fetch all ones there; the nearest harmless answer is a fault.
            self.violation(fault.address);
            self.cpu.inject_exception(GENERAL_PROTECTION, Some(0));
            return None;
        }
        let mut buffer = [0; 15];
        let bytes = self.fetch(&mut buffer);
        let mut regs = self.registers();
        let mode = self.mode();
        let access = match mmio::decode(bytes, mode, &regs, fault.address) {
            Ok(access) => access,
            Err(unknown) => {
                self.unknown_access(fault.address, unknown);
                return None;
            }
        };
        let event = if let Kind::Write { value } = access.kind {
            mmio::complete_write(&mut regs, &access, mode);
            self.device_write(fault.address, access.size, value)
        } else {
            let value = self.device_read(fault.address, access.size);
            mmio::complete_read(&mut regs, &access, mode, value)
                .and_then(|result| self.device_write(fault.address, access.size, result))
        };
        self.set_registers(&regs);
        event
    }

    fn unknown_access(&mut self, at: GuestPhys, unknown: Unknown) {
        self.violation(at);
        match unknown.length() {
            Some(length) => self.advance(length),
            None => self.cpu.inject_exception(UNDEFINED_INSTRUCTION, None),
        }
    }

    /// The virtual interrupt controllers' registers; `None` if `at` is none of them.
    pub(super) fn controller_read(&mut self, at: GuestPhys) -> Option<u32> {
        if let Some(offset) = page_offset(at, LOCAL_APIC) {
            return Some(self.apic.read_mmio(offset, time::now()));
        }
        page_offset(at, self.io_apic_base.0).map(|offset| self.io_apic.read(offset))
    }

    /// Writes to the virtual interrupt controllers; false if `at` is none of theirs.
    pub(super) fn controller_write(&mut self, at: GuestPhys, value: u64) -> bool {
        if let Some(offset) = page_offset(at, LOCAL_APIC) {
            let effect = self.apic.write_mmio(offset, low(value), time::now());
            self.apply(effect);
        } else if let Some(offset) = page_offset(at, self.io_apic_base.0) {
            let refused = self.io_apic.refused();
            let act = self.io_apic.write(offset, low(value), &mut self.routes);
            self.apply_io_apic(act);
            if self.io_apic.refused() != refused {
                self.pin_refused();
            }
        } else {
            return false;
        }
        true
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
