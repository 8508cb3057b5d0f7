//! The local APIC of the GPOS, as data (APM2 chapter 16).
//!
//! A pure state machine: registers in, effects out, time as a parameter. It decides which interrupt
//! the guest takes next; delivering it is the edge's work. The pending state lives only here: the
//! virtual processor is told at every entry and never asked, because an interrupt that only it remembers
//! has been seen to get lost.
//!
//! One interrupt's way through it:
//!
//! ```text
//!  raise --(1)--> IRR --(2) accept, if class > PPR--> ISR --(3) EOI--> done
//!                  ^ same vector again: (4) merged into the one waiting
//! ```
//!
//! Invariants: [`VirtualApic::pending`] never names a vector whose class is not above both the task
//! priority and everything in service; each IRR bit is accepted at most once; nothing a guest
//! writes panics or loops. All [`Cycles`] are the guest's time-stamp counter.
//!
//! What is left out, as the guest can tell: other processors (messages to them vanish and are
//! counted), extended APIC space and directed EOI (not announced), moving the register page.

mod base;
mod command;
mod registers;
mod snapshot;
mod timer;
mod vector_set;

#[cfg(test)]
mod tests;

use super::{FIRST_LEGAL_VECTOR, Trigger};
use darma_abi::units::{Cycles, Vector};

pub use base::{ApicMode, REGISTER_PAGE};
pub use snapshot::ApicSnapshot;

use timer::Timer;
use vector_set::VectorSet;

/// The x2APIC's MSRs (APM2 16.11).
pub const X2APIC_MSRS: core::ops::RangeInclusive<u32> = 0x800..=0x8ff;
/// IA32_APIC_BASE.
pub const MSR_APIC_BASE: u32 = 0x1b;
/// IA32_TSC_DEADLINE.
pub const MSR_TSC_DEADLINE: u32 = 0x6e0;

/// A mask bit in a local vector table entry.
const LVT_MASKED: u32 = 1 << 16;

/// The access must raise #GP(0) in the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneralProtection;

/// What a register write asks of the edge beyond looking at [`VirtualApic::pending`] again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum ApicEffect {
    /// Nothing.
    None,
    /// An interrupt has ended. If it was level-triggered the I/O APIC must hear of it.
    Eoi {
        /// Which one.
        vector: Vector,
        /// How it was raised.
        trigger: Trigger,
    },
    /// The guest sent itself an NMI.
    NmiSelf,
    /// [`VirtualApic::deadline`] may have changed.
    TimerChanged,
    /// The register page appeared, vanished or gave way to MSRs. Switching off disarms the timer.
    ModeChanged,
}

/// What became of a raised interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raised {
    /// It waits in IRR: (1).
    Queued,
    /// One of the same vector waited already: (4).
    Merged,
    /// The APIC is off, or the vector is below 16: nothing will be delivered.
    Dropped,
}

/// What the machine fixes about the virtual APIC.
#[derive(Clone, Copy, Debug)]
pub struct ApicConfig {
    /// The shortest period of the periodic timer: each period costs an exit, and a shorter one
    /// would leave the guest no time to run.
    pub minimum_period: Cycles,
}

/// Messages and interrupts that went nowhere. Saturating, for the log and the fault record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ApicCounters {
    /// Interrupts dropped because the APIC was off or the vector illegal.
    pub dropped: u32,
    /// INIT, start-up and SMI messages ignored.
    pub ignored_control: u32,
    /// Messages to processors that do not exist.
    pub absent_target: u32,
}

/// Index of an entry in the local vector table, in the order of the registers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lvt {
    Timer = 0,
    Lint0 = 3,
    Lint1 = 4,
    Error = 5,
}

/// The virtual local APIC: processor 0, the bootstrap processor.
#[derive(Clone, Debug)]
pub struct VirtualApic {
    mode: ApicMode,
    tpr: u8,
    logical: u32,
    format: u32,
    spurious: u32,
    irr: VectorSet,
    isr: VectorSet,
    tmr: VectorSet,
    errors_seen: u32,
    errors_shown: u32,
    command: u64,
    lvt: [u32; 6],
    timer: Timer,
    counters: ApicCounters,
    config: ApicConfig,
}

impl VirtualApic {
    /// The APIC after reset: xAPIC mode, globally on, software-disabled, everything masked. That
    /// is what the processor itself offers; a kernel entered by the boot protocol expects no more.
    pub const fn new(config: ApicConfig) -> Self {
        Self {
            mode: ApicMode::XApic,
            tpr: 0,
            logical: 0,
            format: u32::MAX,
            spurious: 0xff,
            irr: VectorSet::EMPTY,
            isr: VectorSet::EMPTY,
            tmr: VectorSet::EMPTY,
            errors_seen: 0,
            errors_shown: 0,
            command: 0,
            lvt: [LVT_MASKED; 6],
            timer: Timer::new(config.minimum_period),
            counters: ApicCounters {
                dropped: 0,
                ignored_control: 0,
                absent_target: 0,
            },
            config,
        }
    }

    /// Back to the state of [`VirtualApic::new`], for the next boot of the GPOS.
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// Requests an interrupt: (1), (4).
    ///
    /// While the guest has the APIC software-disabled an edge is lost, as on the processor, but a
    /// level is kept: its source stays asserted and would only ask again.
    pub fn raise(&mut self, vector: Vector, trigger: Trigger) -> Raised {
        if vector.0 < FIRST_LEGAL_VECTOR {
            self.report_error(registers::ERROR_RECEIVED_VECTOR);
            return self.drop_one();
        }
        if self.mode == ApicMode::Disabled || (trigger == Trigger::Edge && !self.software_enabled())
        {
            return self.drop_one();
        }
        match trigger {
            Trigger::Edge => {
                self.tmr.remove(vector);
            }
            Trigger::Level => self.tmr.insert(vector),
        }
        if self.irr.contains(vector) {
            return Raised::Merged;
        }
        self.irr.insert(vector);
        Raised::Queued
    }

    /// The interrupt to inject now: the highest in IRR, if its class is above the processor
    /// priority and the APIC is on. The guest's IF and interrupt shadow are the edge's to check.
    pub fn pending(&self) -> Option<Vector> {
        let vector = self.irr.highest()?;
        (vector.class() > self.ppr() >> 4 && self.delivers()).then_some(vector)
    }

    /// The highest interrupt in IRR whatever the priorities say: something to wait for. With
    /// [`VirtualApic::pending`] `None` it becomes due by an EOI or a lower TPR.
    pub fn requested(&self) -> Option<Vector> {
        self.irr.highest().filter(|_| self.delivers())
    }

    /// The guest has been made to take `vector`: (2). False, and no change, if it was not in IRR.
    pub fn accept(&mut self, vector: Vector) -> bool {
        let waited = self.irr.remove(vector);
        if waited {
            self.isr.insert(vector);
        }
        waited
    }

    /// The vector to deliver in place of one that vanished between the decision and its delivery.
    pub fn spurious_vector(&self) -> Vector {
        Vector(registers::low_byte(self.spurious))
    }

    /// The task priority, as CR8 shows it: bits 7 to 4 of TPR.
    pub const fn cr8(&self) -> u8 {
        self.tpr >> 4
    }

    /// Takes over what the guest has in CR8 (the virtual processor keeps it). An unchanged class keeps the lower
    /// half of TPR, so copying the value back at every exit loses nothing.
    pub const fn set_cr8(&mut self, cr8: u8) {
        if cr8 & 0xf != self.tpr >> 4 {
            self.tpr = cr8 << 4;
        }
    }

    /// The processor priority: the task's or that of the interrupt in service, the higher class.
    pub fn ppr(&self) -> u8 {
        let serving = self.isr.highest().map_or(0, |vector| vector.0 & 0xf0);
        if self.tpr & 0xf0 >= serving {
            self.tpr
        } else {
            serving
        }
    }

    /// When [`VirtualApic::advance`] must be called next; `None` if no expiry would be delivered.
    pub fn deadline(&self) -> Option<Cycles> {
        if self.lvt_entry(Lvt::Timer) & LVT_MASKED != 0 {
            return None;
        }
        self.timer.deadline()
    }

    /// Lets time pass: raises the timer's interrupt if its deadline has come. True if it did.
    pub fn advance(&mut self, now: Cycles) -> bool {
        let fired = self.timer.expire(now);
        let entry = self.lvt_entry(Lvt::Timer);
        if fired && entry & LVT_MASKED == 0 {
            self.raise(Vector(registers::low_byte(entry)), Trigger::Edge);
            return true;
        }
        false
    }

    /// True if the guest wants interrupts of the legacy controller by LINT0 (virtual wire mode).
    pub fn takes_extint(&self) -> bool {
        self.takes_lint(Lvt::Lint0, 7)
    }

    /// True if the guest wants an external NMI by LINT1.
    pub fn takes_nmi(&self) -> bool {
        self.takes_lint(Lvt::Lint1, 4)
    }

    /// The mode set through IA32_APIC_BASE.
    pub const fn mode(&self) -> ApicMode {
        self.mode
    }

    /// What went nowhere since the last reset.
    pub const fn counters(&self) -> ApicCounters {
        self.counters
    }

    /// Ends the interrupt in service: (3). Without one the write has no effect.
    fn end_of_interrupt(&mut self) -> ApicEffect {
        let Some(vector) = self.isr.highest() else {
            return ApicEffect::None;
        };
        self.isr.remove(vector);
        let trigger = if self.tmr.contains(vector) {
            Trigger::Level
        } else {
            Trigger::Edge
        };
        ApicEffect::Eoi { vector, trigger }
    }

    /// Notes an error and raises the error interrupt unless it is masked. A bad vector in the error
    /// entry itself is noted without a further interrupt: there is no way to signal that.
    fn report_error(&mut self, error: u32) {
        self.errors_seen |= error;
        let entry = self.lvt_entry(Lvt::Error);
        let vector = Vector(registers::low_byte(entry));
        if entry & LVT_MASKED == 0 && self.delivers() && vector.0 >= FIRST_LEGAL_VECTOR {
            self.tmr.remove(vector);
            self.irr.insert(vector);
        }
    }

    fn drop_one(&mut self) -> Raised {
        self.counters.dropped = self.counters.dropped.saturating_add(1);
        Raised::Dropped
    }

    fn takes_lint(&self, lvt: Lvt, delivery_mode: u32) -> bool {
        let entry = self.lvt_entry(lvt);
        self.mode != ApicMode::Disabled
            && entry & LVT_MASKED == 0
            && (entry >> 8) & 7 == delivery_mode
    }

    fn lvt_entry(&self, lvt: Lvt) -> u32 {
        self.lvt.get(lvt as usize).copied().unwrap_or(LVT_MASKED)
    }

    const fn software_enabled(&self) -> bool {
        self.spurious & registers::SVR_ENABLED != 0
    }

    fn delivers(&self) -> bool {
        self.mode != ApicMode::Disabled && self.software_enabled()
    }
}
