//! Has the GPOS failed, and how do we know?
//!
//! ```text
//!                 1 fatal event                    3 restarted()
//!   Watching ──────────────────────► Failed ──────────────────────► Watching
//!      │  2 power off                                   ▲
//!      └────────────────► Off ──────────────────────────┘ 3
//! ```
//! The first fatal event decides the cause. What the dying system does after it (a panic often ends
//! in a reset, a reset in a triple fault) is still judged, but only as `Recorded`: one failure, one
//! recovery. Each cause comes with the evidence that led to it, so that a report can say why.

pub use darma_abi::shared::Cause;
pub use darma_policy::devices::power::ResetRoute;

/// pvpanic: the guest panicked (QEMU docs/specs/pvpanic).
const PVPANIC_PANICKED: u8 = 1 << 0;
/// pvpanic: the guest panicked and will handle it by its own crash kernel.
const PVPANIC_CRASH_LOADED: u8 = 1 << 1;

/// Something that the edge saw the GPOS do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A write of these bits to the pvpanic port.
    PvPanic(u8),
    /// The processor shut down (exit code VMEXIT_SHUTDOWN, APM2 15.14.3).
    Shutdown,
    /// HLT.
    Halt {
        /// RFLAGS.IF at the HLT.
        interrupts_on: bool,
        /// An NMI waits and would wake it.
        nmi_pending: bool,
    },
    /// It asked for a machine reset.
    Reset(ResetRoute),
    /// It entered ACPI S5.
    PowerOff,
    /// A check of the watchdog: the GPOS ran, and this many timer interrupts it has taken so far.
    Watchdog {
        /// Timer interrupts taken since boot.
        ticks_taken: u64,
        /// It sits in HLT with interrupts on: idle, not stuck.
        idle: bool,
    },
    /// An access outside the partition that has no harmless answer.
    PartitionViolation {
        /// The guest-physical address.
        at: u64,
    },
    /// The processor refused to run it (VMEXIT_INVALID) or exited in a way that has no meaning.
    InvalidState {
        /// The exit code.
        exit_code: u64,
    },
}

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Stop, capture, reload.
    Fatal,
    /// Note it; the GPOS goes on (or is already being dealt with).
    Recorded,
    /// It ended on purpose: stop, do not reload.
    PowerOff,
}

/// The judgement of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What happened.
    pub cause: Cause,
    /// What was seen.
    pub evidence: Event,
    /// What to do.
    pub severity: Severity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Watching,
    Failed,
    Off,
}

/// Watches one GPOS.
#[derive(Clone, Debug)]
pub struct Detector {
    state: State,
    last_ticks: u64,
    stalled_checks: u32,
    stall_limit: u32,
}

impl Detector {
    /// Watching. `stall_limit` watchdog checks in a row without a timer interrupt taken are a
    /// hang; 0 switches that detection off.
    pub const fn new(stall_limit: u32) -> Self {
        Self {
            state: State::Watching,
            last_ticks: 0,
            stalled_checks: 0,
            stall_limit,
        }
    }

    /// Judges an event. `None` when it means nothing.
    pub fn observe(&mut self, event: Event) -> Option<Verdict> {
        let (cause, severity) = self.judge(event)?;
        let severity = match (self.state, severity) {
            (State::Watching, Severity::Fatal) => {
                self.state = State::Failed;
                Severity::Fatal
            }
            (State::Watching, Severity::PowerOff) => {
                self.state = State::Off;
                Severity::PowerOff
            }
            _ => Severity::Recorded,
        };
        Some(Verdict {
            cause,
            evidence: event,
            severity,
        })
    }

    /// The GPOS was reloaded: watch the new one.
    pub const fn restarted(&mut self) {
        *self = Self::new(self.stall_limit);
    }

    fn judge(&mut self, event: Event) -> Option<(Cause, Severity)> {
        let fatal = |cause| Some((cause, Severity::Fatal));
        match event {
            Event::PvPanic(bits) if bits & PVPANIC_PANICKED != 0 => fatal(Cause::Panic),
            Event::PvPanic(bits) if bits & PVPANIC_CRASH_LOADED != 0 => {
                Some((Cause::Panic, Severity::Recorded))
            }
            Event::PvPanic(_) => None,
            Event::Shutdown => fatal(Cause::TripleFault),
            Event::Halt {
                interrupts_on: false,
                nmi_pending: false,
            } => fatal(Cause::HaltedInterruptsOff),
            Event::Halt { .. } => None,
            Event::Reset(ResetRoute::Keyboard) => fatal(Cause::SelfResetKeyboard),
            Event::Reset(ResetRoute::Cf9) => fatal(Cause::SelfResetCf9),
            Event::Reset(ResetRoute::Acpi) => fatal(Cause::SelfResetAcpi),
            Event::Reset(ResetRoute::Port92) => fatal(Cause::SelfResetPort92),
            Event::PowerOff => Some((Cause::PowerOff, Severity::PowerOff)),
            Event::PartitionViolation { .. } => fatal(Cause::PartitionViolation),
            Event::InvalidState { .. } => fatal(Cause::InvalidState),
            Event::Watchdog { ticks_taken, idle } => self.check_progress(ticks_taken, idle),
        }
    }

    fn check_progress(&mut self, ticks_taken: u64, idle: bool) -> Option<(Cause, Severity)> {
        if idle || ticks_taken != self.last_ticks {
            self.last_ticks = ticks_taken;
            self.stalled_checks = 0;
            return None;
        }
        self.stalled_checks = self.stalled_checks.saturating_add(1);
        let hung = self.stall_limit != 0 && self.stalled_checks >= self.stall_limit;
        hung.then_some((Cause::NoProgress, Severity::Fatal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(event: Event) -> Option<(Cause, Severity)> {
        Detector::new(3)
            .observe(event)
            .map(|verdict| (verdict.cause, verdict.severity))
    }

    #[test]
    fn every_way_to_die_has_its_cause() {
        let halt = Event::Halt {
            interrupts_on: false,
            nmi_pending: false,
        };
        for (event, cause) in [
            (Event::PvPanic(1), Cause::Panic),
            (Event::PvPanic(3), Cause::Panic),
            (Event::Shutdown, Cause::TripleFault),
            (halt, Cause::HaltedInterruptsOff),
            (Event::Reset(ResetRoute::Keyboard), Cause::SelfResetKeyboard),
            (Event::Reset(ResetRoute::Cf9), Cause::SelfResetCf9),
            (Event::Reset(ResetRoute::Acpi), Cause::SelfResetAcpi),
            (Event::Reset(ResetRoute::Port92), Cause::SelfResetPort92),
            (
                Event::PartitionViolation { at: 0 },
                Cause::PartitionViolation,
            ),
            (
                Event::InvalidState {
                    exit_code: u64::MAX,
                },
                Cause::InvalidState,
            ),
        ] {
            assert_eq!(severity(event), Some((cause, Severity::Fatal)), "{event:?}");
        }
    }

    #[test]
    fn a_halt_that_something_can_end_is_idling() {
        assert_eq!(
            severity(Event::Halt {
                interrupts_on: true,
                nmi_pending: false
            }),
            None
        );
        assert_eq!(
            severity(Event::Halt {
                interrupts_on: false,
                nmi_pending: true
            }),
            None
        );
    }

    #[test]
    fn a_power_off_is_no_failure() {
        assert_eq!(
            severity(Event::PowerOff),
            Some((Cause::PowerOff, Severity::PowerOff))
        );
    }

    #[test]
    fn a_guest_with_a_crash_kernel_of_its_own_is_left_to_it() {
        assert_eq!(
            severity(Event::PvPanic(2)),
            Some((Cause::Panic, Severity::Recorded))
        );
        assert_eq!(severity(Event::PvPanic(0)), None);
    }

    #[test]
    fn the_first_fatal_event_decides_and_a_restart_starts_over() {
        let mut detector = Detector::new(0);
        let mut observe = |event| detector.observe(event).map(|verdict| verdict.severity);
        assert_eq!(observe(Event::PvPanic(1)), Some(Severity::Fatal));
        assert_eq!(
            observe(Event::Reset(ResetRoute::Cf9)),
            Some(Severity::Recorded)
        );
        assert_eq!(observe(Event::PowerOff), Some(Severity::Recorded));
        detector.restarted();
        let again = detector
            .observe(Event::Shutdown)
            .map(|verdict| verdict.severity);
        assert_eq!(again, Some(Severity::Fatal));
    }

    #[test]
    fn a_hang_is_a_run_of_checks_without_a_tick() {
        let mut detector = Detector::new(3);
        let mut check = |ticks_taken, idle| {
            detector
                .observe(Event::Watchdog { ticks_taken, idle })
                .map(|verdict| verdict.cause)
        };
        assert_eq!(check(10, false), None);
        assert_eq!(check(10, false), None);
        assert_eq!(check(10, false), None);
        assert_eq!(check(11, false), None, "it moved");
        assert_eq!(check(11, false), None);
        assert_eq!(check(11, true), None, "idle is not stuck");
        assert_eq!(check(11, false), None);
        assert_eq!(check(11, false), None);
        assert_eq!(check(11, false), Some(Cause::NoProgress));
    }
}
