//! What becomes of a task that faulted.
//!
//! A fault ends the activation, never the task alone by accident: the declared policy decides, and a
//! task that faults at every activation is not restarted for ever.

/// Faults in a row, without one activation finished in between, after which a restart is given up.
pub const FAULTS_IN_A_ROW: u32 = 8;

/// What an application declares to happen after a fault of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// Its state is put back, and its next release runs it again. A software task is released at once, so
    /// that those who wait for it can go on; its body bears being run for nothing.
    Restart,
    /// It is not released any more; the others go on.
    Degrade,
    /// No task of the application is released any more; the GPOS goes on.
    StopAll,
}

/// Why an activation was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// An exception of the processor: its vector (APM2 8.2).
    Exception(u8),
    /// A page fault on the guard page below the task's stack.
    StackOverflow,
    /// The program's own panic.
    Panic,
    /// It ran longer than its budget.
    Budget,
}

/// Where in its work a fault hit a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing that others use can be half-written.
    Ordinary,
    /// Between any two stores of shared data: whoever uses it next may read what was never written.
    InsideData,
}

impl FaultKind {
    /// Where such a fault hit, if the task held a lock or not. A panic, and an exception that the
    /// program's own instruction raised, come where the program itself stopped: data is then as Rust's
    /// mutexes would leave it, poisoned but whole. A budget's end and an overflow of the stack come
    /// anywhere.
    pub const fn place(self, in_lock: bool) -> Place {
        match self {
            Self::Budget | Self::StackOverflow if in_lock => Place::InsideData,
            _ => Place::Ordinary,
        }
    }

    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exception(0) => "divide-error",
            Self::Exception(1) => "debug-exception",
            Self::Exception(3) => "breakpoint",
            Self::Exception(6) => "invalid-instruction",
            Self::Exception(7) => "fpu-not-available",
            Self::Exception(12) => "stack-segment",
            Self::Exception(13) => "general-protection",
            Self::Exception(14) => "page-fault",
            Self::Exception(16) => "x87-exception",
            Self::Exception(17) => "alignment",
            Self::Exception(19) => "simd-exception",
            Self::Exception(_) => "exception",
            Self::StackOverflow => "stack-overflow",
            Self::Panic => "panic",
            Self::Budget => "budget-overrun",
        }
    }
}

/// What is done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The task runs again at its next release.
    Restarted,
    /// The task is stopped for good, as declared.
    Stopped,
    /// The task is stopped for good: it faulted [`FAULTS_IN_A_ROW`] times in a row.
    GivenUp,
    /// Every task is stopped for good.
    AllStopped,
}

impl Action {
    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Stopped => "stopped",
            Self::GivenUp => "given-up",
            Self::AllStopped => "all-stopped",
        }
    }
}

/// A task's record of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultHistory {
    faults: u32,
    in_a_row: u32,
    /// The next finish is of an activation that only puts the task's state back.
    empty_run: bool,
}

impl FaultHistory {
    /// No fault yet.
    pub const fn new() -> Self {
        Self {
            faults: 0,
            in_a_row: 0,
            empty_run: false,
        }
    }

    /// Faults since the start.
    pub const fn faults(&self) -> u32 {
        self.faults
    }

    /// An activation was finished that answered a release.
    #[inline]
    pub const fn finished(&mut self) {
        self.in_a_row = 0;
        self.empty_run = false;
    }

    /// An activation was finished that did not say what it answered. After
    /// [`Self::released_for_reset`] that is one which found nothing to do, and it shows nothing.
    #[inline]
    pub const fn finished_silently(&mut self) {
        if self.empty_run {
            self.empty_run = false;
        } else {
            self.in_a_row = 0;
        }
    }

    /// The task was released for no other reason than its reset.
    pub const fn released_for_reset(&mut self) {
        self.empty_run = true;
    }

    /// An activation faulted: what is to be done.
    pub const fn faulted(&mut self, declared: OnFault, at: Place) -> Action {
        self.faults = self.faults.saturating_add(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        if matches!(at, Place::InsideData) {
            return Action::AllStopped;
        }
        match declared {
            OnFault::StopAll => Action::AllStopped,
            OnFault::Degrade => Action::Stopped,
            OnFault::Restart if self.in_a_row >= FAULTS_IN_A_ROW => Action::GivenUp,
            OnFault::Restart => Action::Restarted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_policy_decides() {
        let mut history = FaultHistory::new();
        assert_eq!(
            history.faulted(OnFault::Restart, Place::Ordinary),
            Action::Restarted
        );
        assert_eq!(
            history.faulted(OnFault::Degrade, Place::Ordinary),
            Action::Stopped
        );
        assert_eq!(
            history.faulted(OnFault::StopAll, Place::Ordinary),
            Action::AllStopped
        );
        assert_eq!(history.faults(), 3);
    }

    #[test]
    fn half_written_data_stops_everybody_who_could_read_it() {
        let mut history = FaultHistory::new();
        for kind in [FaultKind::Budget, FaultKind::StackOverflow] {
            let inside = history.faulted(OnFault::Restart, kind.place(true));
            assert_eq!(inside, Action::AllStopped);
            let outside = history.faulted(OnFault::Restart, kind.place(false));
            assert_eq!(outside, Action::Restarted);
            history.finished();
        }
        let panic = history.faulted(OnFault::Restart, FaultKind::Panic.place(true));
        assert_eq!(panic, Action::Restarted);
    }

    #[test]
    fn a_task_that_only_faults_is_given_up() {
        let mut history = FaultHistory::new();
        for _ in 1..FAULTS_IN_A_ROW {
            assert_eq!(
                history.faulted(OnFault::Restart, Place::Ordinary),
                Action::Restarted
            );
        }
        assert_eq!(
            history.faulted(OnFault::Restart, Place::Ordinary),
            Action::GivenUp
        );
    }

    #[test]
    fn a_run_for_the_reset_alone_does_not_end_the_row() {
        let mut history = FaultHistory::new();
        for _ in 1..FAULTS_IN_A_ROW {
            assert_eq!(
                history.faulted(OnFault::Restart, Place::Ordinary),
                Action::Restarted
            );
            history.released_for_reset();
            history.finished_silently();
        }
        assert_eq!(
            history.faulted(OnFault::Restart, Place::Ordinary),
            Action::GivenUp
        );
        history.finished_silently();
        assert_eq!(
            history.faulted(OnFault::Restart, Place::Ordinary),
            Action::Restarted
        );
        history.released_for_reset();
        history.finished();
        assert_eq!(history.in_a_row, 0, "a message was waiting");
    }

    #[test]
    fn a_finished_activation_begins_the_row_anew() {
        let mut history = FaultHistory::new();
        for _ in 0..10 * FAULTS_IN_A_ROW {
            assert_eq!(
                history.faulted(OnFault::Restart, Place::Ordinary),
                Action::Restarted
            );
            history.finished();
        }
    }
}
