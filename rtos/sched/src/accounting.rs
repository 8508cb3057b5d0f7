//! What is counted per task: activations, runs, overruns, missed deadlines, latencies.
//!
//! ```text
//!            1 activate            2 start              3 finish
//!   Waiting ───────────► Pending ───────────► Running ───────────► Waiting
//!              4 activate: overrun ──┘   └── 4 activate: overrun
//!                                        └── 5 abandon ──► Waiting
//! ```
//! 1. The release point is noted; nothing else, because it happens between the timer's interrupt and
//!    the task's first instruction.
//! 2. Latency is start minus release, recorded under the phase that the start fell in.
//! 3. A finish after the deadline is a miss.
//! 4. An activation that finds the last one unfinished is an overrun: it is not queued, and since
//!    its deadline can no longer be met it is a miss as well.
//! 5. A fault or an exhausted budget ended it.
//!
//! Latency is taken in cycles and recorded in nanoseconds, so histograms of machines with different
//! clocks compare. Every call is O(1). The object is large (four histograms): a static, reached by
//! the task itself under its own priority's ceiling.

use crate::faults::FaultKind;
use crate::time_scale::TimeScale;
use darma_abi::shared::Phase;
use darma_abi::units::Cycles;
use darma_histogram::Histogram;

/// How many phases are told apart.
pub const PHASES: usize = 3;

/// What became of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The task is pending now: send its interrupt.
    Pended,
    /// The last activation is not finished: do not send.
    Overrun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Pending,
    Running,
}

/// The figures of one phase.
#[derive(Clone, Debug)]
pub struct PhaseRecord {
    /// From release to first instruction, in nanoseconds.
    pub latency: Histogram,
    /// Deadlines missed.
    pub missed: u64,
}

impl PhaseRecord {
    const fn new() -> Self {
        Self {
            latency: Histogram::new(),
            missed: 0,
        }
    }
}

/// The account of one task.
#[derive(Clone, Debug)]
pub struct Accounting {
    state: State,
    relative_deadline: u64,
    released: u64,
    activations: u64,
    runs: u64,
    overruns: u64,
    budget_overruns: u64,
    phases: [PhaseRecord; PHASES],
    response: Histogram,
}

impl Default for Accounting {
    fn default() -> Self {
        Self::new()
    }
}

impl Accounting {
    /// An empty account of a task without a deadline.
    pub const fn new() -> Self {
        Self {
            state: State::Waiting,
            relative_deadline: u64::MAX,
            released: 0,
            activations: 0,
            runs: 0,
            overruns: 0,
            budget_overruns: 0,
            phases: [PhaseRecord::new(), PhaseRecord::new(), PhaseRecord::new()],
            response: Histogram::new(),
        }
    }

    /// Sets the distance from release to deadline, from the next finish on; `None`: no deadline.
    pub const fn set_deadline(&mut self, relative_deadline: Option<Cycles>) {
        self.relative_deadline = match relative_deadline {
            Some(distance) => distance.0,
            None => u64::MAX,
        };
    }

    /// Transitions 1 and 4: the task was released at `at` (the point it should start, not now).
    #[inline]
    pub fn activate(&mut self, at: Cycles, phase: Phase) -> Activation {
        // One a nanosecond would take 584 years to wrap: saturating here would only cost.
        self.activations = self.activations.wrapping_add(1);
        if self.state != State::Waiting {
            return self.overrun(phase);
        }
        self.state = State::Pending;
        self.released = at.0;
        Activation::Pended
    }

    #[cold]
    fn overrun(&mut self, phase: Phase) -> Activation {
        self.overruns = self.overruns.saturating_add(1);
        self.miss(phase, 1);
        Activation::Overrun
    }

    /// Counts releases that passed without the timer being served ([`crate::Release::skipped`]):
    /// each is an overrun and a missed deadline.
    #[cold]
    pub fn skip(&mut self, releases: u64, phase: Phase) {
        self.activations = self.activations.saturating_add(releases);
        self.overruns = self.overruns.saturating_add(releases);
        self.miss(phase, releases);
    }

    /// Transition 2: `now` was read at the task's first instruction. A start that nothing released
    /// (a stray interrupt on the task's vector) is not recorded.
    #[inline]
    pub fn start(&mut self, now: Cycles, phase: Phase, scale: &TimeScale) {
        if self.state != State::Pending {
            return;
        }
        self.state = State::Running;
        self.runs = self.runs.saturating_add(1);
        let waited = scale.nanos(now.saturating_since(Cycles(self.released)));
        self.phase_mut(phase).latency.record(waited.0);
    }

    /// Transition 3: the task is done at `now`. Returns whether the deadline was met.
    #[inline]
    pub fn finish(&mut self, now: Cycles, phase: Phase, scale: &TimeScale) -> bool {
        if self.state != State::Running {
            return true;
        }
        self.state = State::Waiting;
        let response = now.saturating_since(Cycles(self.released));
        let met = response.0 <= self.relative_deadline;
        self.response.record(scale.nanos(response).0);
        if !met {
            self.miss(phase, 1);
        }
        met
    }

    /// Transition 5: the activation was ended by force. It counts as a missed deadline.
    #[cold]
    pub fn abandon(&mut self, phase: Phase, fault: FaultKind) {
        self.state = State::Waiting;
        self.miss(phase, 1);
        if fault == FaultKind::Budget {
            self.budget_overruns = self.budget_overruns.saturating_add(1);
        }
    }

    /// The release that the last activation answers.
    pub const fn released(&self) -> Cycles {
        Cycles(self.released)
    }

    /// From release to finish, in nanoseconds, under all phases.
    pub const fn response(&self) -> &Histogram {
        &self.response
    }

    /// Activations that were ended because their budget was over.
    pub const fn budget_overruns(&self) -> u64 {
        self.budget_overruns
    }

    /// How often the task was released, skipped releases included.
    pub const fn activations(&self) -> u64 {
        self.activations
    }

    /// How often it started.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// Releases that found the last one unfinished, or were skipped.
    pub const fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Missed deadlines over all phases.
    pub fn missed(&self) -> u64 {
        self.phases
            .iter()
            .fold(0, |sum, phase| sum.saturating_add(phase.missed))
    }

    /// The figures of one phase.
    pub fn phase(&self, phase: Phase) -> &PhaseRecord {
        let [idle, loaded, recovery] = &self.phases;
        match phase {
            Phase::Idle => idle,
            Phase::Loaded => loaded,
            Phase::Recovery => recovery,
        }
    }

    /// Whether an activation is not yet finished.
    pub fn is_busy(&self) -> bool {
        self.state != State::Waiting
    }

    fn phase_mut(&mut self, phase: Phase) -> &mut PhaseRecord {
        let [idle, loaded, recovery] = &mut self.phases;
        match phase {
            Phase::Idle => idle,
            Phase::Loaded => loaded,
            Phase::Recovery => recovery,
        }
    }

    fn miss(&mut self, phase: Phase, count: u64) {
        let record = self.phase_mut(phase);
        record.missed = record.missed.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;

    const SCALE: TimeScale = TimeScale::GIGAHERTZ;

    fn account() -> Box<Accounting> {
        let mut account = Box::new(Accounting::new());
        account.set_deadline(Some(Cycles(1000)));
        account
    }

    #[test]
    fn a_timely_run_is_recorded_under_its_phase() {
        let mut task = account();
        assert_eq!(
            task.activate(Cycles(5000), Phase::Loaded),
            Activation::Pended
        );
        task.start(Cycles(5120), Phase::Loaded, &SCALE);
        assert!(task.finish(Cycles(5900), Phase::Loaded, &SCALE));
        let record = task.phase(Phase::Loaded);
        assert_eq!(record.latency.max_ns(), Some(120));
        assert_eq!(task.response().max_ns(), Some(900));
        assert_eq!(
            (
                task.activations(),
                task.runs(),
                task.overruns(),
                task.missed()
            ),
            (1, 1, 0, 0)
        );
        assert_eq!(task.phase(Phase::Idle).latency.count(), 0);
    }

    #[test]
    fn finishing_at_the_deadline_is_in_time_and_after_it_is_a_miss() {
        let mut task = account();
        task.activate(Cycles(0), Phase::Idle);
        task.start(Cycles(1), Phase::Idle, &SCALE);
        assert!(task.finish(Cycles(1000), Phase::Idle, &SCALE));
        task.activate(Cycles(2000), Phase::Idle);
        task.start(Cycles(2001), Phase::Idle, &SCALE);
        assert!(!task.finish(Cycles(3001), Phase::Idle, &SCALE));
        assert_eq!(task.missed(), 1);
    }

    #[test]
    fn an_activation_before_the_last_one_finished_is_an_overrun_and_a_miss() {
        let mut task = account();
        task.activate(Cycles(0), Phase::Recovery);
        assert_eq!(
            task.activate(Cycles(1000), Phase::Recovery),
            Activation::Overrun
        );
        task.start(Cycles(1500), Phase::Recovery, &SCALE);
        assert_eq!(
            task.activate(Cycles(2000), Phase::Recovery),
            Activation::Overrun
        );
        assert!(!task.finish(Cycles(2500), Phase::Recovery, &SCALE));
        assert_eq!(task.overruns(), 2);
        assert_eq!(task.phase(Phase::Recovery).missed, 3);
        assert_eq!(task.phase(Phase::Recovery).latency.max_ns(), Some(1500));
        assert_eq!(
            task.activate(Cycles(3000), Phase::Recovery),
            Activation::Pended
        );
    }

    #[test]
    fn an_abandoned_activation_is_a_miss_and_the_next_one_runs() {
        let mut task = account();
        task.activate(Cycles(0), Phase::Idle);
        task.abandon(Phase::Idle, FaultKind::Budget);
        assert_eq!((task.missed(), task.budget_overruns()), (1, 1));
        assert_eq!(task.activate(Cycles(1000), Phase::Idle), Activation::Pended);
    }

    #[test]
    fn without_a_deadline_nothing_is_late() {
        let mut task = Box::new(Accounting::new());
        task.activate(Cycles(0), Phase::Idle);
        task.start(Cycles(1), Phase::Idle, &SCALE);
        assert!(task.finish(Cycles(1 << 60), Phase::Idle, &SCALE));
    }

    #[test]
    fn skipped_releases_are_missed_deadlines() {
        let mut task = account();
        task.skip(3, Phase::Idle);
        assert_eq!(
            (task.activations(), task.overruns(), task.missed()),
            (3, 3, 3)
        );
    }

    #[test]
    fn a_start_that_nothing_released_is_not_recorded() {
        let mut task = account();
        task.start(Cycles(10), Phase::Idle, &SCALE);
        assert!(task.finish(Cycles(20), Phase::Idle, &SCALE));
        assert_eq!(task.runs(), 0);
        assert!(!task.is_busy());
    }
}
