//! The whole scheduler against a model that follows the definitions and nothing else.
//!
//! `kernel` puts the crate's parts together as `rtos/port` does: timer queue, release grids, vectors and
//! their classes, ends of budgets that move when a task is preempted, fault histories, accounts. It goes from
//! event to event. `reference` goes from tick to tick and asks each time what the words mean: is it on the
//! grid, who is the most urgent, how much has it run. On random task sets both must do the same things at
//! the same times and count the same.

mod kernel;
mod reference;

use darma_sched::faults::{FaultKind, OnFault};
use proptest::prelude::*;

/// How long a run lasts, in cycles.
const HORIZON: u64 = 400;

#[derive(Clone, Debug)]
enum Source {
    Periodic { period: u64, phase: u64 },
    Software { capacity: usize },
}

#[derive(Clone, Debug)]
struct Task {
    level: u8,
    source: Source,
    /// Cycles of the first activation, the second, and so on; from the start again after the last.
    work: Vec<u64>,
    /// It panics in every activation whose number is a multiple of the first, after so many cycles.
    panics: Option<(u32, u64)>,
    budget: Option<u64>,
    deadline: Option<u64>,
    on_fault: OnFault,
}

impl Task {
    /// Cycles of activation `number`, from 1, and after how many of them it panics.
    fn program(&self, number: u32) -> (u64, Option<u64>) {
        let work = self.work[(number as usize - 1) % self.work.len()];
        let panics = self
            .panics
            .filter(|(every, _)| number.is_multiple_of(*every));
        (
            work,
            panics.map(|(_, after)| after).filter(|after| *after < work),
        )
    }
}

#[derive(Clone, Debug)]
struct Case {
    tasks: Vec<Task>,
    /// When somebody sends a message to which task.
    sends: Vec<(u64, usize)>,
    /// Where the counter stands when the tasks start.
    start: u64,
}

/// What a run did, in times since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// An activation began; how many came before it since the task's state was last put back.
    Begin(u32),
    End,
    Fault(FaultKind),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Times {
    count: u64,
    sum: u64,
    max: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    runs: u64,
    abandoned: u64,
    budget_overruns: u64,
    overruns: u64,
    missed: u64,
    refused: u64,
    latency: Times,
    response: Times,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    trace: Vec<(u64, usize, What)>,
    counts: Vec<Counts>,
}

fn task() -> impl Strategy<Value = Task> {
    let source = prop_oneof![
        (5u64..60, 0u64..30).prop_map(|(period, phase)| Source::Periodic { period, phase }),
        (1usize..4).prop_map(|capacity| Source::Software { capacity }),
    ];
    let on_fault = prop_oneof![
        6 => Just(OnFault::Restart),
        2 => Just(OnFault::Degrade),
        1 => Just(OnFault::StopAll),
    ];
    (
        1u8..=3,
        source,
        prop::collection::vec(1u64..15, 1..5),
        prop::option::weighted(0.3, (1u32..6, 0u64..10)),
        prop::option::of(3u64..14),
        prop::option::of(1u64..60),
        on_fault,
    )
        .prop_map(
            |(level, source, work, panics, budget, deadline, on_fault)| Task {
                level,
                source,
                work,
                panics,
                budget,
                deadline,
                on_fault,
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    let start = prop_oneof![
        Just(0),
        any::<u64>().prop_map(|start| start.min(u64::MAX - HORIZON - 1)),
        // Grids reach past the end of the counter.
        (1u64..50).prop_map(|left| u64::MAX - HORIZON - left),
    ];
    (
        prop::collection::vec(task(), 1..7),
        prop::collection::vec((0..HORIZON, any::<prop::sample::Index>()), 0..60),
        start,
    )
        .prop_map(|(tasks, sends, start)| {
            let software: Vec<usize> = (0..tasks.len())
                .filter(|task| matches!(tasks[*task].source, Source::Software { .. }))
                .collect();
            let mut sends: Vec<(u64, usize)> = sends
                .into_iter()
                .filter(|_| !software.is_empty())
                .map(|(at, which)| (at, *which.get(&software)))
                .collect();
            sends.sort_unstable();
            Case {
                tasks,
                sends,
                start,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn the_scheduler_does_what_its_words_mean(case in case()) {
        let (done, expected) = (kernel::run(&case), reference::run(&case));
        let differs = done.trace.iter().zip(&expected.trace).find(|(a, b)| a != b);
        prop_assert_eq!(differs, None);
        prop_assert_eq!(done.trace.len(), expected.trace.len());
        prop_assert_eq!(&done.counts, &expected.counts);
    }
}

#[test]
fn the_cases_contain_what_they_are_to_test() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut ends, mut panics, mut budgets, mut restarts, mut refused, mut overruns) =
        (0, 0, 0, 0, 0, 0);
    let mut preempted = 0;
    for _ in 0..200 {
        let case = case().new_tree(&mut runner).expect("a case").current();
        let outcome = reference::run(&case);
        for pair in outcome.trace.windows(2) {
            let begun = matches!((&pair[0].2, &pair[1].2), (What::Begin(_), What::Begin(_)));
            preempted += usize::from(begun && pair[0].0 < pair[1].0);
        }
        for (_, _, what) in &outcome.trace {
            match what {
                What::Begin(before) => restarts += usize::from(*before == 0),
                What::End => ends += 1,
                What::Fault(FaultKind::Budget) => budgets += 1,
                What::Fault(_) => panics += 1,
            }
        }
        for counts in &outcome.counts {
            refused += counts.refused;
            overruns += counts.overruns;
        }
    }
    let seen = format!(
        "{ends} ends, {panics} panics, {budgets} budgets, {restarts} fresh starts, {refused} refused, \
         {overruns} overruns, {preempted} preemptions"
    );
    let all = [ends, panics, budgets, restarts, preempted];
    assert!(all.iter().all(|count| *count > 200), "{seen}");
    assert!(refused > 200 && overruns > 200, "{seen}");
}
