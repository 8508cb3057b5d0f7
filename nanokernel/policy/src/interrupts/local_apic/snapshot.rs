//! A copy of the APIC's state as plain data, for the fault record and the log.

use super::{ApicCounters, ApicMode, VirtualApic};
use darma_abi::units::Cycles;

/// The virtual APIC at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApicSnapshot {
    /// How the registers were reached.
    pub mode: ApicMode,
    /// Task priority.
    pub tpr: u8,
    /// Processor priority.
    pub ppr: u8,
    /// Spurious-interrupt vector register.
    pub spurious: u32,
    /// Requested interrupts, vector 0 in bit 0 of the first word.
    pub irr: [u64; 4],
    /// Interrupts in service.
    pub isr: [u64; 4],
    /// Which of them are level-triggered.
    pub tmr: [u64; 4],
    /// Errors since the guest last asked.
    pub errors: u32,
    /// The last message sent.
    pub command: u64,
    /// The vector table: timer, thermal, performance, LINT0, LINT1, error.
    pub lvt: [u32; 6],
    /// Initial count.
    pub timer_initial: u32,
    /// Divide configuration.
    pub timer_divide: u32,
    /// The timer's deadline, masked or not, in the guest's time-stamp counter.
    pub timer_deadline: Option<Cycles>,
    /// What went nowhere.
    pub counters: ApicCounters,
}

impl VirtualApic {
    /// The state now.
    pub fn snapshot(&self) -> ApicSnapshot {
        ApicSnapshot {
            mode: self.mode,
            tpr: self.tpr,
            ppr: self.ppr(),
            spurious: self.spurious,
            irr: self.irr.words(),
            isr: self.isr.words(),
            tmr: self.tmr.words(),
            errors: self.errors_seen,
            command: self.command,
            lvt: self.lvt,
            timer_initial: self.timer.initial(),
            timer_divide: self.timer.divide(),
            timer_deadline: self.timer.deadline(),
            counters: self.counters,
        }
    }
}
