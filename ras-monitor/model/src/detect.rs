//! Has the GPOS failed, and how do we know?
//!
//! ```text
//!                 1 fatal event or look            3 restarted()
//!   Watching ──────────────────────► Failed ──────────────────────► Watching
//!      │  2 power off, reboot                           ▲
//!      └────────────────► Ended ────────────────────────┘ 3
//! ```
//! Two sources. *Events* are acts of the GPOS that the edge saw: they are judged at once. *Looks* are
//! samples that the edge takes at the distance that [`Detector::next_look`] asks for: they find what
//! does not happen. Both are judged with the vital signs of the kernel, where these are known, and
//! without them where not.
//!
//! The first fatal verdict decides the cause. What the dying system does after it (a panic often ends
//! in a reset, a reset in a triple fault) is still judged, but only as `Recorded`: one failure, one
//! recovery. Each cause comes with the evidence that led to it, so that a report can say why.
//!
//! What the GPOS lives on with is recorded for the first few times of each cause and counted after
//! that: nothing that it does over and over fills a log or takes time.

mod evidence;
mod look;
mod rates;
mod signs;
mod stall;
mod tables;
mod vitals;

pub use darma_abi::shared::{Cause, Heartbeat};
pub use darma_policy::boot::config::{Violations, Watch};
pub use darma_policy::devices::power::ResetRoute;
pub use evidence::{Evidence, Last};
pub use look::Look;
pub use tables::{Ruin, TableRegister, ruin};
pub use vitals::Vitals;

use darma_abi::units::{GuestVirt, Nanos};
use look::Held;
use rates::Rates;
use signs::Signs;
use stall::Stall;

/// pvpanic: the guest panicked (QEMU docs/specs/pvpanic).
const PVPANIC_PANICKED: u8 = 1 << 0;
/// pvpanic: the guest panicked and will handle it by its own crash kernel.
const PVPANIC_CRASH_LOADED: u8 = 1 << 1;
/// How often one cause is recorded of one start.
const RECORDED_MAX: u32 = 8;
/// More than there are causes, and than their numbers.
const CAUSES: usize = 32;
/// Looks at a system that does well, and at one that may not.
const CALM: u64 = 50_000_000;
const ALERT: u64 = 10_000_000;

/// Something that the edge saw the GPOS do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A write of these bits to the pvpanic port.
    PvPanic(u8),
    /// The processor shut down (exit code VMEXIT_SHUTDOWN, APM2 15.14.3); what [`ruin`] found.
    Shutdown(Ruin),
    /// HLT with interrupts off.
    Halt {
        /// An NMI waits and would wake it.
        nmi_pending: bool,
    },
    /// It asked for a machine reset.
    Reset(ResetRoute),
    /// It entered ACPI S5.
    PowerOff,
    /// It tried something that is not its own, and was answered as by absent hardware.
    Foreign {
        /// What.
        what: Foreign,
        /// The guest-physical address, port, register or pin.
        at: u64,
        /// From where.
        rip: GuestVirt,
    },
    /// The processor refused to run it (VMEXIT_INVALID) or exited in a way that has no meaning.
    InvalidState {
        /// The exit code.
        exit_code: u64,
    },
    /// Its user space reported that it is up.
    UserSpace,
    /// Its user space gave a sign of life.
    Heartbeat(Heartbeat),
}

/// Kinds of what is not the GPOS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Memory.
    Memory,
    /// A port.
    Port,
    /// A model-specific register.
    Register,
    /// A pin of the I/O APIC.
    Interrupt,
}

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Stop, capture, reload.
    Fatal,
    /// Note it; the GPOS goes on (or is already being dealt with).
    Recorded,
    /// It restarts on purpose: stop, reload at once. No failure.
    Restart,
    /// It ended on purpose: stop, do not reload.
    PowerOff,
}

/// The judgement of one event or look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What happened.
    pub cause: Cause,
    /// What was seen.
    pub evidence: Evidence,
    /// What to do.
    pub severity: Severity,
    /// The how-manieth of its cause in this start, from 1.
    pub count: u32,
}

type Judgement = (Cause, Evidence, Severity);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Watching,
    Failed,
    Ended,
}

/// Watches one GPOS.
#[derive(Clone, Debug)]
pub struct Detector {
    limits: Watch,
    state: State,
    last_look: Option<(Nanos, u64)>,
    stall: Stall,
    rates: Rates,
    signs: Signs,
    /// Time on the way to user space.
    boot: Held,
    is_up: bool,
    /// Time since the last heartbeat, once there was one.
    beat: Option<Held>,
    counts: [u32; CAUSES],
}

impl Detector {
    /// Watching, by these limits.
    pub const fn new(limits: Watch) -> Self {
        Self {
            limits,
            state: State::Watching,
            last_look: None,
            stall: Stall::NONE,
            rates: Rates::NONE,
            signs: Signs::NONE,
            boot: Held::NOT,
            is_up: false,
            beat: None,
            counts: [0; CAUSES],
        }
    }

    /// The GPOS was reloaded: watch the new one.
    pub const fn restarted(&mut self) {
        *self = Self::new(self.limits);
    }

    /// How long to wait for the next look. A condition that begins just after a look is noticed by
    /// the next one and then timed: both and the overrun of the last stay below twice the limit.
    pub fn next_look(&self) -> Nanos {
        const LEAST: u64 = 1_000_000;
        let limit = self.limits.hard_lockup.map_or(u64::MAX, |limit| limit.0);
        let alert = self.stall.is_suspicious() || self.signs.is_suspicious();
        let (share, most) = if alert { (10, ALERT) } else { (2, CALM) };
        Nanos((limit / share).clamp(LEAST, most))
    }

    /// Judges an event. `None` when it means nothing, or nothing that is still worth a record.
    pub fn observe(&mut self, event: Event, vitals: &Vitals) -> Option<Verdict> {
        let judgement = self.judge(event, vitals)?;
        self.decide(judgement)
    }

    /// Judges a look.
    pub fn look(&mut self, look: &Look<'_>) -> Option<Verdict> {
        let gap = self.gap(look);
        self.last_look = Some((look.at, look.entries));
        self.stall.note(look, gap);
        self.signs.note(&look.vitals, gap);
        self.is_up |= look.in_user_mode || look.vitals.is_up();
        self.boot.note(!self.is_up, false, gap);
        if let Some(beat) = &mut self.beat {
            beat.note(true, false, gap);
        }
        let window_ends = self.rates.note(look);
        if let Some((cause, evidence)) = self.too_long(look) {
            return self.decide((cause, evidence, Severity::Fatal));
        }
        let told = self.signs.told();
        let remarkable = || window_ends.then(|| self.rates.remarkable()).flatten();
        let (cause, evidence) = told.or_else(remarkable)?;
        self.decide((cause, evidence, Severity::Recorded))
    }

    /// The time that this look can be charged with: twice what was asked for at most, nothing if
    /// the GPOS was not entered.
    fn gap(&self, look: &Look<'_>) -> Nanos {
        let Some((at, entries)) = self.last_look else {
            return Nanos(0);
        };
        if entries == look.entries && !look.idle {
            return Nanos(0);
        }
        let most = self.next_look().0.saturating_mul(2);
        Nanos(look.at.0.saturating_sub(at.0).min(most))
    }

    fn too_long(&self, look: &Look<'_>) -> Option<(Cause, Evidence)> {
        if let Some(held) = self.signs.panicked() {
            return Some((Cause::Panic, Evidence::PanicFlag(held)));
        }
        let stalled = self.stall.verdict(look, &self.limits, &self.rates);
        if stalled.is_some() {
            return stalled;
        }
        if self.boot.reaches(self.limits.boot) {
            return Some((Cause::BootTimeout, Evidence::NotUp(self.boot.total())));
        }
        let beat = self.beat.filter(|beat| beat.reaches(self.limits.heartbeat));
        beat.map(|beat| (Cause::UserSpaceHang, Evidence::NoBeat(beat.total())))
    }

    /// Applies the transitions and the limit of records.
    fn decide(&mut self, (cause, evidence, severity): Judgement) -> Option<Verdict> {
        let count = usize::try_from(cause.code())
            .ok()
            .and_then(|index| self.counts.get_mut(index))?;
        *count = count.saturating_add(1);
        let count = *count;
        let severity = match (self.state, severity) {
            (State::Watching, Severity::Fatal) => {
                self.state = State::Failed;
                Severity::Fatal
            }
            (State::Watching, Severity::PowerOff | Severity::Restart) => {
                self.state = State::Ended;
                severity
            }
            _ if count > RECORDED_MAX => return None,
            _ => Severity::Recorded,
        };
        Some(Verdict {
            cause,
            evidence,
            severity,
            count,
        })
    }

    fn judge(&mut self, event: Event, vitals: &Vitals) -> Option<Judgement> {
        let fatal = |cause, evidence| Some((cause, evidence, Severity::Fatal));
        match event {
            Event::PvPanic(bits) if bits & PVPANIC_PANICKED != 0 => {
                fatal(Cause::Panic, Evidence::PvPanic(bits))
            }
            Event::PvPanic(bits) if bits & PVPANIC_CRASH_LOADED != 0 => {
                self.signs.leave_alone();
                Some((Cause::Panic, Evidence::PvPanic(bits), Severity::Recorded))
            }
            Event::PvPanic(_) | Event::Halt { nmi_pending: true } => None,
            Event::Shutdown(ruin) => Some(end(Last::Shutdown(ruin), vitals)),
            Event::Halt { nmi_pending: false } => Some(end(Last::Halt, vitals)),
            Event::Reset(route) => Some(end(Last::Reset(route), vitals)),
            Event::PowerOff => Some(end(Last::PowerOff, vitals)),
            Event::Foreign { what, at, rip } => {
                let cause = match what {
                    Foreign::Memory => Cause::PartitionViolation,
                    Foreign::Port => Cause::ForeignPort,
                    Foreign::Register => Cause::ForeignMsr,
                    Foreign::Interrupt => Cause::ForeignInterrupt,
                };
                let severity = match self.limits.violations {
                    Violations::Record => Severity::Recorded,
                    Violations::Fatal => Severity::Fatal,
                };
                Some((cause, Evidence::Foreign(at, rip), severity))
            }
            Event::InvalidState { exit_code } => {
                fatal(Cause::InvalidState, Evidence::ExitCode(exit_code))
            }
            Event::UserSpace => {
                self.is_up = true;
                None
            }
            Event::Heartbeat(Heartbeat::Beat) => {
                self.is_up = true;
                self.beat = Some(Held::NOT);
                None
            }
            Event::Heartbeat(Heartbeat::End) => {
                self.beat = None;
                None
            }
        }
    }
}

/// The meaning of an act that nothing can follow. A kernel that panics says so first, and one that
/// restarts or ends in an orderly way as well; what comes out of nothing is a failure, named by the act.
fn end(last: Last, vitals: &Vitals) -> Judgement {
    if let Last::PowerOff = last {
        return (Cause::PowerOff, Evidence::Ended(last), Severity::PowerOff);
    }
    if vitals.is_panicking() {
        return (Cause::Panic, Evidence::PanicThen(last), Severity::Fatal);
    }
    let by_order = match last {
        Last::Reset(_) | Last::Shutdown(Ruin::NoHandlers) if vitals.is_restarting() => {
            Some((Cause::Reboot, Severity::Restart))
        }
        Last::Halt if vitals.is_ending() => Some((Cause::OrderedHalt, Severity::PowerOff)),
        _ => None,
    };
    if let Some((cause, severity)) = by_order {
        return (cause, Evidence::Ordered(last), severity);
    }
    let cause = match last {
        Last::Reset(ResetRoute::Keyboard) => Cause::SelfResetKeyboard,
        Last::Reset(ResetRoute::Cf9) => Cause::SelfResetCf9,
        Last::Reset(ResetRoute::Acpi) => Cause::SelfResetAcpi,
        Last::Reset(ResetRoute::Port92) => Cause::SelfResetPort92,
        Last::Halt => Cause::HaltedInterruptsOff,
        Last::Shutdown(Ruin::Pages { .. }) => Cause::PageTablesDestroyed,
        Last::Shutdown(Ruin::Descriptors { .. }) => Cause::DescriptorTablesDestroyed,
        Last::Shutdown(Ruin::Nothing | Ruin::NoHandlers) => Cause::TripleFault,
        Last::PowerOff => Cause::PowerOff,
    };
    (cause, Evidence::Ended(last), Severity::Fatal)
}

#[cfg(test)]
mod tests;
