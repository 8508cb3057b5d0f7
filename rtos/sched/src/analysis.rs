//! Does every task meet its deadline? Response times, computed before the program runs.
//!
//! The model is what the local APIC does. A task of a higher class preempts; tasks of one class never
//! preempt each other, and of several that wait the earlier in the table starts first. A task that
//! locks a resource runs, meanwhile, at the resource's ceiling. In the literature this is fixed
//! priority with preemption thresholds under the Stack Resource Policy (Baker 1991; Wang and Saksena
//! 1999); the several-jobs form below is needed because a task that cannot be preempted by its
//! neighbours can push its own next job (Bril and others 2007). For task `i`, with `C` the execution
//! time and `T` the distance of two releases:
//!
//! ```text
//! S(q) = B + q C(i) + sum over earlier(i)  (1 + floor(S(q) / T)) C       start of job q
//! F(q) = S(q) + C(i) + sum over higher(i)  (releases in (S(q), F(q))) C  its end
//! R    = the largest F(q) - q T(i) while the busy period lasts
//! ```
//!
//! `B`, the blocking, happens once and before the start: the longest budget of a task that can hold
//! `i` back though it is less urgent. That is a lower task which locks something whose ceiling
//! reaches `i` (its whole budget, because how long it locks is not declared), or a later one of `i`'s
//! own class. Each task's release costs every task a timer interrupt. The result is an upper bound;
//! the test below holds it against a simulated machine.
//!
//! What is not declared is not in the sum: a task without a budget counts for nothing, one without a
//! distance of releases is analysed for nobody. Pure integers, no allocation, bounded loops.

use crate::priority::Priority;
use darma_abi::units::Nanos;

/// Rounds of one fixed point, and jobs of one busy period, after which no bound is claimed.
const PATIENCE: u64 = 20_000;

/// One task as declared. A task's position in the table is its place among those of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its class.
    pub priority: Priority,
    /// Execution time of one activation, preemption excluded.
    pub budget: Option<Nanos>,
    /// Shortest distance of two releases: the period of a periodic task.
    pub distance: Option<Nanos>,
    /// Highest ceiling of the resources that it locks.
    pub ceiling: Option<Priority>,
}

/// What the kernel takes for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Once in a busy period: the longest section with interrupts off, and the expiries of timers that
    /// are no task's, each of which can be set again only when no task runs.
    pub once: Nanos,
    /// Per release of any task: the timer's interrupt, which is above all tasks.
    pub release: Nanos,
    /// Per activation: entry, exit and accounting, at the task's own priority.
    pub activation: Nanos,
}

impl Costs {
    /// Measured: QEMU 7.2, one instruction counted as 2 ns. From a deadline to the task's first
    /// instruction 0.3 us, of which the timer's interrupt is 0.2 us; there and back between two
    /// tasks 450 instructions at most (the scenario thread-metric); rounded up.
    pub const EMULATED: Self = Self {
        once: Nanos(2_000),
        release: Nanos(600),
        activation: Nanos(900),
    };
    /// A kernel that costs nothing.
    pub const NONE: Self = Self {
        once: Nanos(0),
        release: Nanos(0),
        activation: Nanos(0),
    };
}

/// What is known of a task's response time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// It declares no budget, or no distance of two releases.
    NotDeclared,
    /// It always ends within this time of its release.
    Bounded(Bound),
    /// More is demanded than the processor has, or so nearly as much that no bound was found.
    Unbounded,
}

/// A response time and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// From release to end.
    pub response: Nanos,
    /// Part of it in which a less urgent task holds it back.
    pub blocking: Nanos,
    /// That task, by its place in the table.
    pub blocked_by: Option<usize>,
    /// Start and end of the worst job, and that job's number, in the busy period.
    start: u64,
    end: u64,
    job: u64,
}

/// What one other task adds to a [`Bound`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How often it runs within the busy period up to the worst job's end.
    pub activations: u64,
    /// Its execution time in them, entry and exit included.
    pub time: Nanos,
}

/// The response time of task number `index`.
pub fn response(tasks: &[Demand], index: usize, costs: &Costs) -> Response {
    let Some(own) = tasks.get(index) else {
        return Response::NotDeclared;
    };
    let (Some(_), Some(distance)) = (own.budget, own.distance) else {
        return Response::NotDeclared;
    };
    let analysis = Analysis {
        tasks,
        index,
        costs,
    };
    analysis
        .worst_job(distance.0)
        .map_or(Response::Unbounded, Response::Bounded)
}

/// What task number `other` adds to the bound of task number `index` by running before it or instead
/// of it. Blocking is not in it.
pub fn share(tasks: &[Demand], index: usize, other: usize, bound: &Bound, costs: &Costs) -> Share {
    let analysis = Analysis {
        tasks,
        index,
        costs,
    };
    let activations = match (analysis.relation(other), distance(tasks, other)) {
        (Relation::Higher, Some(distance)) => bound.end.div_ceil(distance),
        (Relation::Earlier, Some(distance)) => bound.start / distance + 1,
        (Relation::Own, _) => bound.job,
        _ => 0,
    };
    let time = analysis
        .execution(other)
        .unwrap_or(0)
        .saturating_mul(activations);
    Share {
        activations,
        time: Nanos(time),
    }
}

/// What another task is to the one that is analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Own,
    /// Of a higher class: preempts it.
    Higher,
    /// Of its class and before it in the table: runs first, but does not preempt.
    Earlier,
    /// Of its class and after it: may have started.
    Later,
    /// Of a lower class: may be inside a lock.
    Lower,
}

fn distance(tasks: &[Demand], index: usize) -> Option<u64> {
    let distance = tasks.get(index)?.distance?.0;
    (distance > 0).then_some(distance)
}

struct Analysis<'a> {
    tasks: &'a [Demand],
    index: usize,
    costs: &'a Costs,
}

impl Analysis<'_> {
    fn relation(&self, other: usize) -> Relation {
        let (Some(own), Some(task)) = (self.tasks.get(self.index), self.tasks.get(other)) else {
            return Relation::Lower;
        };
        if other == self.index {
            Relation::Own
        } else if task.priority > own.priority {
            Relation::Higher
        } else if task.priority < own.priority {
            Relation::Lower
        } else if other < self.index {
            Relation::Earlier
        } else {
            Relation::Later
        }
    }

    /// Budget plus what the kernel adds to each activation.
    fn execution(&self, task: usize) -> Option<u64> {
        let budget = self.tasks.get(task)?.budget?;
        budget.0.checked_add(self.costs.activation.0)
    }

    fn blocking(&self) -> (u64, Option<usize>) {
        let mut longest = (0, None);
        for (other, task) in self.tasks.iter().enumerate() {
            let holds_back = match self.relation(other) {
                Relation::Later => true,
                Relation::Lower => self
                    .tasks
                    .get(self.index)
                    .is_some_and(|own| task.ceiling.is_some_and(|reach| reach >= own.priority)),
                _ => false,
            };
            let time = self.execution(other).unwrap_or(0);
            if holds_back && time > longest.0 {
                longest = (time, Some(other));
            }
        }
        longest
    }

    /// Runs `step` from zero until it gives back what it was given.
    fn fixed_point(start: u64, step: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut time = start;
        for _ in 0..PATIENCE {
            let next = step(time)?;
            if next == time {
                return Some(time);
            }
            time = next;
        }
        None
    }

    /// Adds what all tasks take in a window: `runs` says how often a task of that relation and
    /// distance runs in it, `releases` how often it is released.
    fn demand(
        &self,
        runs: impl Fn(Relation, u64) -> u64,
        releases: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        let mut sum = 0u64;
        for other in 0..self.tasks.len() {
            let Some(distance) = distance(self.tasks, other) else {
                continue;
            };
            let relation = self.relation(other);
            if let Some(execution) = self.execution(other) {
                let time = execution.checked_mul(runs(relation, distance))?;
                sum = sum.checked_add(time)?;
            }
            let interrupts = self.costs.release.0.checked_mul(releases(distance))?;
            sum = sum.checked_add(interrupts)?;
        }
        Some(sum)
    }

    fn worst_job(&self, own_distance: u64) -> Option<Bound> {
        if own_distance == 0 {
            return None;
        }
        let execution = self.execution(self.index)?;
        let (blocking, blocked_by) = self.blocking();
        let first = blocking.checked_add(self.costs.once.0)?;
        let busy = Self::fixed_point(first.max(1), |window| {
            let runs = |relation, distance| match relation {
                Relation::Own | Relation::Higher | Relation::Earlier => window.div_ceil(distance),
                Relation::Later | Relation::Lower => 0,
            };
            let demand = self.demand(runs, |distance| window.div_ceil(distance))?;
            first.checked_add(demand)
        })?;
        let jobs = busy.div_ceil(own_distance).max(1);
        if jobs > PATIENCE {
            return None;
        }
        let mut worst: Option<Bound> = None;
        for job in 0..jobs {
            let (start, end) = self.job(job, execution, first)?;
            let response = end.saturating_sub(job.checked_mul(own_distance)?);
            if worst.is_none_or(|bound| response > bound.response.0) {
                worst = Some(Bound {
                    response: Nanos(response),
                    blocking: Nanos(blocking),
                    blocked_by,
                    start,
                    end,
                    job,
                });
            }
        }
        worst
    }

    /// Start and end of job number `job` of the busy period.
    fn job(&self, job: u64, execution: u64, first: u64) -> Option<(u64, u64)> {
        let before = first.checked_add(execution.checked_mul(job)?)?;
        let start = Self::fixed_point(before, |start| {
            let runs = |relation, distance| match relation {
                Relation::Higher | Relation::Earlier => start / distance + 1,
                Relation::Own | Relation::Later | Relation::Lower => 0,
            };
            let demand = self.demand(runs, |distance| start / distance + 1)?;
            before.checked_add(demand)
        })?;
        let alone = start.checked_add(execution)?;
        let end = Self::fixed_point(alone, |end| {
            let since = |distance| end.div_ceil(distance).saturating_sub(start / distance + 1);
            let runs = |relation, distance| match relation {
                Relation::Higher => since(distance),
                _ => 0,
            };
            alone.checked_add(self.demand(runs, since)?)
        })?;
        Some((start, end))
    }
}

#[cfg(test)]
#[path = "analysis_tests.rs"]
mod tests;
