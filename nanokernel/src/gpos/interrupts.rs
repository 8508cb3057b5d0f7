//! From physical interrupts to the guest's: collecting, prioritising, injecting, and the timer.
//!
//! The virtual APIC is the only memory of what is pending. Whether something can be injected is
//! asked anew before every entry, because no emulator or processor is trusted to remember it.

use super::Gpos;
use crate::device_interrupts;
use darma_abi::units::Vector;
use darma_machine::time;
use darma_policy::interrupts::Trigger;
use darma_policy::interrupts::io_apic::{IoApicAct, PinProgram, PinSet};
use darma_policy::interrupts::local_apic::ApicEffect;
use darma_policy::interrupts::routes::Source;
use darma_ras_model::detect::Foreign;
use darma_rtos::timer::{self, Waiter};

const HLT: u8 = 0xf4;
/// The mask of a redirection entry.
const MASKED: u64 = 1 << 16;

impl Gpos {
    /// Moves what happened outside into the virtual controllers.
    pub(super) fn collect(&mut self) {
        let Self {
            routes,
            io_apic,
            apic,
            machine_io_apic,
            ..
        } = self;
        let mut taken = 0;
        device_interrupts::take_pending(|host| {
            taken += 1;
            let Some(route) = routes.lookup(host) else {
                return;
            };
            let deliver = match route.source {
                Source::Pin(pin) => {
                    let act = io_apic.on_host_interrupt(pin);
                    if let Some(program) = act.program {
                        machine_io_apic.program(program.pin, program.low, program.high);
                    }
                    act.deliver
                }
                Source::Msi { .. } => Some((route.guest, route.trigger)),
            };
            if let Some((vector, trigger)) = deliver {
                apic.raise(vector, trigger);
            }
        });
        if timer::take_expired(Waiter::Gpos) {
            self.armed = None;
            self.apic.advance(time::now());
            self.arm_timer();
            taken += 1;
        }
        if taken > 1 {
            self.paths.joint();
        }
    }

    /// Offers the most urgent pending interrupt to the guest, or asks for a window.
    pub(super) fn offer_interrupt(&mut self) {
        let pending = self.apic.pending();
        let Some(vector) = pending else {
            self.cpu.request_interrupt_window(false);
            return;
        };
        if self.cpu.in_interrupt_shadow() && self.cpu.interrupts_enabled() && self.stands_at_halt()
        {
            // STI; HLT with an interrupt pending: the processor would leave HLT at once.
            self.advance(1);
        }
        if self.cpu.interruptible() {
            self.apic.accept(vector);
            self.counters.interrupts += 1;
            self.counters.last_vector = Some(vector);
            self.cpu.inject_interrupt(vector);
        } else {
            self.cpu.request_interrupt_window(true);
        }
    }

    fn stands_at_halt(&mut self) -> bool {
        self.paths.joint();
        // One byte: more could lie in a second page, and cost a second walk.
        let mut buffer = [0; 1];
        self.fetch(&mut buffer) == [HLT]
    }

    /// Sets the physical timer to the virtual APIC's next expiry, if that changed.
    pub(crate) fn arm_timer(&mut self) {
        let deadline = self.apic.deadline();
        if deadline != self.armed {
            self.armed = deadline;
            timer::arm(Waiter::Gpos, deadline);
        }
    }

    /// Does what a write to the virtual local APIC asks for.
    pub(super) fn apply(&mut self, effect: ApicEffect) {
        match effect {
            ApicEffect::None => {}
            ApicEffect::Eoi {
                vector,
                trigger: Trigger::Level,
            } => {
                let ended = self.io_apic.on_guest_eoi(vector);
                self.reprogram(ended);
            }
            ApicEffect::Eoi {
                trigger: Trigger::Edge,
                ..
            } => {}
            ApicEffect::NmiSelf => self.cpu.inject_nmi(),
            ApicEffect::TimerChanged | ApicEffect::ModeChanged => self.arm_timer(),
        }
        self.cpu.set_task_priority(self.apic.cr8());
    }

    /// Does what a write to the virtual I/O APIC asks for.
    pub(super) fn apply_io_apic(&mut self, act: IoApicAct) {
        match act {
            IoApicAct::None => {}
            IoApicAct::Program(program) => self.program_pin(program),
            IoApicAct::Unmask(pins) => self.reprogram(pins),
        }
    }

    /// Notes that the GPOS asked for a pin that it cannot have: a task's (whose device gives the GPOS
    /// no interrupt), or one with a delivery that would leave the GPOS.
    pub(super) fn pin_refused(&mut self) {
        self.counters.refused += 1;
        let open = |pin: &u8| {
            let masked = self
                .io_apic
                .entry(*pin)
                .is_some_and(|entry| entry & MASKED != 0);
            !masked && !self.io_apic.is_owned(*pin)
        };
        if let Some(pin) = (0..self.io_apic.pin_count()).find(open) {
            self.foreign(Foreign::Interrupt, u64::from(pin));
        }
    }

    fn reprogram(&mut self, pins: PinSet) {
        for pin in pins {
            if let Some(program) = self.io_apic.program(pin) {
                self.program_pin(program);
            }
        }
    }

    fn program_pin(&mut self, program: PinProgram) {
        const LEVEL: u32 = 1 << 15;
        let [host, ..] = program.low.to_le_bytes();
        let level = program.low & LEVEL != 0;
        device_interrupts::set_level_pin(Vector(host), level.then_some(program.pin));
        self.machine_io_apic
            .program(program.pin, program.low, program.high);
    }
}
