//! What is counted per task: activations, runs, overruns, missed deadlines, latencies, responses.
//!
//! An activation is accounted as a whole when it is over, by the task's own exit, so that nothing of it
//! stands between a release and the task's first instruction. Latency is start minus release, response
//! is finish minus release, both recorded under the phase in which the activation ended. A finish
//! after the deadline is a miss. A release that came before the last activation was finished is an
//! *overrun*: it is not run, and since its deadline can no longer be met it is a miss as well.
//!
//! Times are taken in cycles and recorded in nanoseconds, so histograms of machines with different
//! clocks compare. Every call is O(1). The object is large (four histograms): a static, reached by
//! the task's exit alone, under its own priority.

use crate::faults::FaultKind;
use crate::time_scale::TimeScale;
use darma_abi::shared::Phase;
use darma_abi::units::Cycles;
use darma_histogram::Histogram;

/// How many phases are told apart.
pub const PHASES: usize = 3;

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

/// The times of one activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The release that it answers: the point it should have started at.
    pub released: Cycles,
    /// Its first instruction.
    pub started: Cycles,
    /// Its end.
    pub finished: Cycles,
}

/// The account of one task.
#[derive(Clone, Debug)]
pub struct Accounting {
    relative_deadline: u64,
    runs: u64,
    abandoned: u64,
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
            relative_deadline: u64::MAX,
            runs: 0,
            abandoned: 0,
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

    /// An activation ran to its end. Returns whether its deadline was met.
    #[inline]
    pub fn ran(&mut self, times: &Activation, phase: Phase, scale: &TimeScale) -> bool {
        self.runs = self.runs.saturating_add(1);
        let waited = scale.nanos(times.started.saturating_since(times.released));
        self.phase_mut(phase).latency.record(waited.0);
        let response = times.finished.saturating_since(times.released);
        self.response.record(scale.nanos(response).0);
        let met = response.0 <= self.relative_deadline;
        if !met {
            self.miss(phase, 1);
        }
        met
    }

    /// Counts releases that came before the last activation was over ([`crate::Release::skipped`]):
    /// each is an overrun and a missed deadline.
    #[cold]
    pub fn skip(&mut self, releases: u64, phase: Phase) {
        self.overruns = self.overruns.saturating_add(releases);
        self.miss(phase, releases);
    }

    /// The activation was ended by a fault or by its budget. It counts as a missed deadline.
    #[cold]
    pub fn abandon(&mut self, phase: Phase, fault: FaultKind) {
        self.abandoned = self.abandoned.saturating_add(1);
        self.miss(phase, 1);
        if fault == FaultKind::Budget {
            self.budget_overruns = self.budget_overruns.saturating_add(1);
        }
    }

    /// From release to finish, in nanoseconds, under all phases.
    pub const fn response(&self) -> &Histogram {
        &self.response
    }

    /// Activations that were ended because their budget was over.
    pub const fn budget_overruns(&self) -> u64 {
        self.budget_overruns
    }

    /// How often the task was released: what ran, what was abandoned, what was skipped.
    pub const fn activations(&self) -> u64 {
        self.runs
            .saturating_add(self.abandoned)
            .saturating_add(self.overruns)
    }

    /// How often it ran to its end.
    pub const fn runs(&self) -> u64 {
        self.runs
    }

    /// How often it was ended by a fault or by its budget.
    pub const fn abandoned(&self) -> u64 {
        self.abandoned
    }

    /// Releases that found the last one unfinished.
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

    fn times(released: u64, started: u64, finished: u64) -> Activation {
        Activation {
            released: Cycles(released),
            started: Cycles(started),
            finished: Cycles(finished),
        }
    }

    #[test]
    fn a_timely_run_is_recorded_under_its_phase() {
        let mut task = account();
        assert!(task.ran(&times(5000, 5120, 5900), Phase::Loaded, &SCALE));
        let record = task.phase(Phase::Loaded);
        assert_eq!(record.latency.max_ns(), Some(120));
        assert_eq!(task.response().max_ns(), Some(900));
        let counts = (
            task.activations(),
            task.runs(),
            task.overruns(),
            task.missed(),
        );
        assert_eq!(counts, (1, 1, 0, 0));
        assert_eq!(task.phase(Phase::Idle).latency.count(), 0);
    }

    #[test]
    fn finishing_at_the_deadline_is_in_time_and_after_it_is_a_miss() {
        let mut task = account();
        assert!(task.ran(&times(0, 1, 1000), Phase::Idle, &SCALE));
        assert!(!task.ran(&times(2000, 2001, 3001), Phase::Idle, &SCALE));
        assert_eq!(task.missed(), 1);
    }

    #[test]
    fn skipped_releases_are_overruns_and_missed_deadlines() {
        let mut task = account();
        assert!(!task.ran(&times(0, 1500, 2500), Phase::Recovery, &SCALE));
        task.skip(2, Phase::Recovery);
        assert_eq!((task.activations(), task.overruns()), (3, 2));
        assert_eq!(task.phase(Phase::Recovery).missed, 3);
        assert_eq!(task.phase(Phase::Recovery).latency.max_ns(), Some(1500));
    }

    #[test]
    fn an_abandoned_activation_is_a_miss() {
        let mut task = account();
        task.abandon(Phase::Idle, FaultKind::Budget);
        task.abandon(Phase::Idle, FaultKind::Panic);
        assert_eq!((task.missed(), task.budget_overruns()), (2, 1));
        assert_eq!(
            (task.activations(), task.runs(), task.abandoned()),
            (2, 0, 2)
        );
    }

    #[test]
    fn without_a_deadline_nothing_is_late() {
        let mut task = Box::new(Accounting::new());
        assert!(task.ran(&times(0, 1, 1 << 60), Phase::Idle, &SCALE));
    }
}
