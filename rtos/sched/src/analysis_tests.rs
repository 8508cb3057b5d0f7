extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn task(level: u8, budget: u64, distance: u64) -> Demand {
    Demand {
        priority: Priority::new(level).expect("1 to 3"),
        budget: Some(Nanos(budget)),
        distance: Some(Nanos(distance)),
        ceiling: None,
    }
}

fn locks(level: u8, demand: Demand) -> Demand {
    Demand {
        ceiling: Priority::new(level),
        ..demand
    }
}

fn bound(tasks: &[Demand], index: usize) -> Bound {
    match response(tasks, index, &Costs::NONE) {
        Response::Bounded(bound) => bound,
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_classes_that_share_nothing_have_the_textbook_responses() {
    let tasks = [task(3, 1, 4), task(2, 2, 6), task(1, 3, 13)];
    let responses: Vec<u64> = (0..3).map(|i| bound(&tasks, i).response.0).collect();
    assert_eq!(responses, [1, 3, 10]);
    let lowest = bound(&tasks, 2);
    let share = |other| share(&tasks, 2, other, &lowest, &Costs::NONE);
    assert_eq!((share(0).activations, share(0).time), (3, Nanos(3)));
    assert_eq!((share(1).activations, share(1).time), (2, Nanos(4)));
}

#[test]
fn a_lower_task_blocks_only_through_a_ceiling_that_reaches() {
    let plain = [task(3, 1, 100), task(1, 50, 1000)];
    assert_eq!(bound(&plain, 0).response, Nanos(1));
    let locking = [plain[0], locks(3, plain[1])];
    let blocked = bound(&locking, 0);
    assert_eq!(blocked.response, Nanos(51));
    assert_eq!(blocked.blocked_by, Some(1));
    let below = [plain[0], locks(2, plain[1])];
    assert_eq!(bound(&below, 0).response, Nanos(1));
}

#[test]
fn of_one_class_the_later_blocks_once_and_the_earlier_runs_first() {
    let tasks = [task(2, 10, 100), task(2, 20, 100), task(2, 5, 100)];
    assert_eq!(bound(&tasks, 0).response, Nanos(30));
    assert_eq!(bound(&tasks, 2).response, Nanos(35));
    assert_eq!(bound(&tasks, 2).blocked_by, None);
}

#[test]
fn a_job_that_is_pushed_by_its_own_predecessor_is_found() {
    // Three tasks of one class: the last one's worst job is not the first of the busy period.
    // The figures are of Davis, Burns, Bril and Lukkien's counter-example (2007).
    let tasks = [
        task(2, 1000, 2500),
        task(2, 1000, 3500),
        task(2, 1000, 3500),
    ];
    assert_eq!(bound(&tasks, 2).response, Nanos(3500));
    assert_eq!(bound(&tasks, 1).response, Nanos(3000));
}

#[test]
fn what_the_kernel_takes_counts_for_everybody() {
    let tasks = [task(3, 10, 100), task(1, 10, 100)];
    let costs = Costs {
        once: Nanos(3),
        release: Nanos(2),
        activation: Nanos(1),
    };
    // Once 3, two releases of 2, own execution 11.
    let Response::Bounded(high) = response(&tasks, 0, &costs) else {
        panic!("bounded");
    };
    assert_eq!(high.response, Nanos(18));
}

#[test]
fn an_overloaded_processor_has_no_bound() {
    let tasks = [task(3, 60, 100), task(1, 50, 100)];
    assert_eq!(response(&tasks, 1, &Costs::NONE), Response::Unbounded);
    assert_eq!(bound(&tasks, 0).response, Nanos(60));
    let absurd = [task(3, u64::MAX, u64::MAX), task(1, u64::MAX, 1)];
    for index in 0..2 {
        assert_eq!(
            response(&absurd, index, &Costs::EMULATED),
            Response::Unbounded
        );
    }
}

#[test]
fn what_is_not_declared_is_not_analysed() {
    let silent = Demand {
        budget: None,
        ..task(3, 0, 10)
    };
    let sporadic = Demand {
        distance: None,
        ..task(1, 5, 0)
    };
    let tasks = [silent, sporadic, task(2, 5, 10)];
    assert_eq!(response(&tasks, 0, &Costs::NONE), Response::NotDeclared);
    assert_eq!(response(&tasks, 1, &Costs::NONE), Response::NotDeclared);
    assert_eq!(response(&tasks, 3, &Costs::NONE), Response::NotDeclared);
    assert_eq!(bound(&tasks, 2).response, Nanos(5));
}

/// A task of the simulated machine: what is declared, and one section in which it holds a lock.
#[derive(Clone, Debug)]
struct Simulated {
    demand: Demand,
    phase: u64,
    /// Steps of execution after which it locks and unlocks.
    lock: (u64, u64),
}

/// The machine of `tests/ceiling_protocol.rs` with time: every tick, the APIC delivers what it may,
/// then the timer's handler or the innermost task runs one tick. Gives each task's longest response.
fn simulate(tasks: &[Simulated], costs: &Costs, ticks: u64) -> Vec<u64> {
    struct Frame {
        task: usize,
        done: u64,
    }
    let mut pending: Vec<Option<u64>> = vec![None; tasks.len()];
    let mut running_since: Vec<u64> = vec![0; tasks.len()];
    let mut worst = vec![0; tasks.len()];
    let mut stack: Vec<Frame> = Vec::new();
    let mut timer_work = 0;
    let length =
        |task: usize| tasks[task].demand.budget.map_or(0, |budget| budget.0) + costs.activation.0;
    for now in 0..ticks {
        for (index, task) in tasks.iter().enumerate() {
            let distance = task.demand.distance.expect("declared").0;
            if now >= task.phase && (now - task.phase) % distance == 0 {
                timer_work += costs.release.0;
                pending[index].get_or_insert(now);
            }
        }
        if timer_work > 0 {
            timer_work -= 1;
            continue;
        }
        // The class in service, raised by what the innermost task locks.
        let level = stack.last().map_or(0, |frame| {
            let task = &tasks[frame.task];
            let inside = (task.lock.0..task.lock.1).contains(&frame.done);
            let ceiling = task.demand.ceiling.filter(|_| inside);
            task.demand
                .priority
                .level()
                .max(ceiling.map_or(0, Priority::level))
        });
        let next = (0..tasks.len())
            .filter(|index| pending[*index].is_some())
            .filter(|index| tasks[*index].demand.priority.level() > level)
            .max_by_key(|index| (tasks[*index].demand.priority, std::cmp::Reverse(*index)));
        if let Some(task) = next {
            running_since[task] = pending[task].take().expect("pending");
            stack.push(Frame { task, done: 0 });
        }
        if let Some(frame) = stack.last_mut() {
            frame.done += 1;
            if frame.done >= length(frame.task) {
                let task = frame.task;
                worst[task] = worst[task].max(now + 1 - running_since[task]);
                stack.pop();
            }
        }
    }
    worst
}

prop_compose! {
    fn any_task()(
        level in 1u8..=3,
        budget in 1u64..12,
        distance in 10u64..120,
        phase in 0u64..60,
        ceiling in 0u8..=3,
        lock in (0u64..12, 0u64..12),
    ) -> Simulated {
        Simulated {
            demand: Demand {
                // A task locks what it may: its own class is the least ceiling.
                ceiling: (ceiling >= level).then(|| Priority::new(ceiling).expect("1 to 3")),
                ..task(level, budget, distance)
            },
            phase,
            lock: (lock.0.min(lock.1), lock.0.max(lock.1)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn no_simulated_response_is_longer_than_the_bound(
        tasks in prop::collection::vec(any_task(), 1..7),
        release in 0u64..2,
        activation in 0u64..3,
    ) {
        let costs = Costs {
            once: Nanos(0),
            release: Nanos(release),
            activation: Nanos(activation),
        };
        let demands: Vec<Demand> = tasks.iter().map(|task| task.demand).collect();
        let seen = simulate(&tasks, &costs, 6000);
        for (index, seen) in seen.iter().enumerate() {
            if let Response::Bounded(bound) = response(&demands, index, &costs) {
                prop_assert!(
                    *seen <= bound.response.0,
                    "task {index}: simulated {seen}, bound {bound:?}"
                );
            }
        }
    }

    #[test]
    fn a_longer_budget_of_anybody_never_shortens_a_response(
        tasks in prop::collection::vec(any_task(), 1..7),
        chosen in 0usize..7,
    ) {
        let demands: Vec<Demand> = tasks.iter().map(|task| task.demand).collect();
        let mut longer = demands.clone();
        let chosen = chosen % demands.len();
        longer[chosen].budget = demands[chosen].budget.map(|budget| Nanos(budget.0 + 1));
        for index in 0..demands.len() {
            match (response(&demands, index, &Costs::NONE), response(&longer, index, &Costs::NONE)) {
                (Response::Bounded(before), Response::Bounded(after)) => {
                    prop_assert!(after.response >= before.response);
                }
                (before, after) => prop_assert!(after == Response::Unbounded || before == after),
            }
        }
    }
}
