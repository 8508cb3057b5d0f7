//! Concludes what the declarations imply: ceilings, and whether every deadline is met.

use std::collections::HashMap;
use std::fmt::Write;

use darma_abi::units::Nanos;
use darma_sched::Priority;
use darma_sched::analysis::{self, Bound, Costs, Demand, Response};
use proc_macro2::Ident;

use crate::errors::Errors;
use crate::syntax::{Access, App, Demanded, Duration, Sharing, Task, shown};

/// What the time in the kernel is taken to be.
const COSTS: Costs = Costs::EMULATED;

/// What code generation needs to know beyond what was written.
pub(crate) struct Analysis {
    ceilings: HashMap<Ident, u8>,
    /// Of each task, in the order of the table: its response time, if it was analysed.
    pub(crate) responses: Vec<Option<Nanos>>,
    /// Priority of the async tasks' timer.
    pub(crate) timer: Option<u8>,
}

impl Analysis {
    /// The priority of the highest user of a shared resource.
    pub(crate) fn ceiling(&self, resource: &Ident) -> u8 {
        self.ceilings.get(resource).copied().unwrap_or(1)
    }
}

/// Analyses a checked application.
pub(crate) fn analyze(app: &App) -> syn::Result<Analysis> {
    let mut ceilings: HashMap<Ident, u8> = HashMap::new();
    for task in &app.tasks {
        for entry in &task.shared {
            let ceiling = ceilings.entry(entry.name.clone()).or_default();
            *ceiling = task.priority.max(*ceiling);
        }
    }
    let demands: Vec<Demand> = app
        .tasks
        .iter()
        .map(|task| demand(app, task, &ceilings))
        .collect();
    let mut errors = Errors::default();
    if app.demanded == Demanded::Complete {
        complete(app, &demands, &mut errors);
    }
    let mut responses = Vec::new();
    for (index, task) in app.tasks.iter().enumerate() {
        let response = analysis::response(&demands, index, &COSTS);
        match response {
            Response::Bounded(bound) => {
                if let Some(deadline) = task.effective_deadline()
                    && bound.response > deadline.nanos
                {
                    let message = late(app, &demands, index, &bound, deadline);
                    errors.add(task.name.span(), message);
                }
                responses.push(Some(bound.response));
            }
            Response::NotDeclared => responses.push(None),
            Response::Unbounded => {
                errors.add(task.name.span(), overloaded(app, index));
                responses.push(None);
            }
        }
    }
    errors.finish(Analysis {
        ceilings,
        responses,
        timer: app.timer(),
    })
}

fn demand(app: &App, task: &Task, ceilings: &HashMap<Ident, u8>) -> Demand {
    let locks = task.shared.iter().filter(|entry| {
        entry.access == Access::Exclusive
            && app
                .shared
                .find(&entry.name)
                .is_some_and(|resource| resource.sharing == Sharing::Locked)
    });
    let ceiling = locks
        .filter_map(|entry| ceilings.get(&entry.name))
        .max()
        .and_then(|level| Priority::new(*level));
    let nanos = |duration: Option<Duration>| duration.map(|duration| duration.nanos);
    Demand {
        // The syntax admits 1 to 3 only.
        priority: Priority::new(task.priority).unwrap_or(Priority::LOW),
        budget: nanos(task.budget),
        distance: nanos(task.distance()),
        ceiling,
    }
}

/// Refuses tasks that could hold up a deadline and do not say for how long.
fn complete(app: &App, demands: &[Demand], errors: &mut Errors) {
    for (task, own) in app.tasks.iter().zip(demands) {
        // The most urgent of those it could make late.
        let Some(late) = app
            .tasks
            .iter()
            .filter(|other| other.effective_deadline().is_some())
            .filter(|other| {
                task.priority >= other.priority
                    || own
                        .ceiling
                        .is_some_and(|reach| reach.level() >= other.priority)
            })
            .max_by_key(|other| other.priority)
        else {
            continue;
        };
        let lacks = match (task.is_async(), task.budget, task.distance()) {
            (true, ..) if task.priority >= late.priority => {
                errors.add(
                    task.name.span(),
                    format!(
                        "analysis = complete: nothing bounds how often the async task `{}` runs, and it \
                         can hold up `{}` (priority {}), which has a deadline: give it a lower priority",
                        task.name, late.name, late.priority
                    ),
                );
                continue;
            }
            (_, None, None) if task.priority >= late.priority => {
                "a budget, and `every = ..`, the least distance of its releases"
            }
            // A lower task is waited for once, however often it runs.
            (_, None, _) => "a budget",
            (_, Some(_), None) if task.priority >= late.priority => {
                "`every = ..`, the least distance of its releases"
            }
            _ => continue,
        };
        errors.add(
            task.name.span(),
            format!(
                "analysis = complete: `{}` can hold up `{}` (priority {}), which has a deadline, and does \
                 not say for how long: declare {lacks}",
                task.name, late.name, late.priority
            ),
        );
    }
}

/// Why a task is late: everything that its response time is made of.
fn late(app: &App, demands: &[Demand], index: usize, bound: &Bound, deadline: Duration) -> String {
    let Some(task) = app.tasks.get(index) else {
        return String::new();
    };
    let budget = task.budget.map_or(Nanos(0), |budget| budget.nanos);
    let mut text = format!(
        "`{}` may finish as late as {} after its release, but its deadline is {}\n  {} its own budget",
        task.name,
        shown(bound.response),
        shown(deadline.nanos),
        shown(budget)
    );
    let mut parts: Vec<(Nanos, String)> = Vec::new();
    if let Some(blocker) = bound.blocked_by.and_then(|other| app.tasks.get(other)) {
        parts.push((
            bound.blocking,
            format!("blocked once by {}", blocking(task, blocker)),
        ));
    }
    for (other, from) in app.tasks.iter().enumerate() {
        let share = analysis::share(demands, index, other, bound, &COSTS);
        let how = if other == index {
            "its own earlier releases".to_owned()
        } else if from.priority > task.priority {
            format!("preempted by `{}` (priority {})", from.name, from.priority)
        } else {
            format!(
                "behind `{}` (same priority, earlier in the source)",
                from.name
            )
        };
        let times = match share.activations {
            1 => "once".to_owned(),
            more => format!("{more} times"),
        };
        parts.push((share.time, format!("{how}, {times}")));
    }
    let named: u64 = parts.iter().map(|(time, _)| time.0).sum();
    let rest = bound
        .response
        .0
        .saturating_sub(named)
        .saturating_sub(budget.0);
    parts.push((
        Nanos(rest),
        "in the kernel, for these and for all releases".to_owned(),
    ));
    for (time, what) in parts.iter().filter(|(time, _)| time.0 > 0) {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {} {what}", shown(*time));
    }
    text.push_str(
        "\nshorten a budget, lengthen a period or this deadline, or raise this task's priority",
    );
    text
}

fn blocking(task: &Task, blocker: &Task) -> String {
    if blocker.priority == task.priority {
        format!(
            "`{}`, which has the same priority and is not preempted",
            blocker.name
        )
    } else {
        format!(
            "`{}` (priority {}), which locks what reaches priority {}; its whole budget is counted",
            blocker.name, blocker.priority, task.priority
        )
    }
}

/// Why there is no bound: the share of the processor that each task asks for.
fn overloaded(app: &App, index: usize) -> String {
    let Some(task) = app.tasks.get(index) else {
        return String::new();
    };
    let mut text = format!(
        "`{}` and the tasks above it ask for more time than the processor has; of each second:",
        task.name
    );
    for other in app
        .tasks
        .iter()
        .filter(|other| other.priority >= task.priority)
    {
        let (Some(budget), Some(distance)) = (other.budget, other.distance()) else {
            continue;
        };
        let each = u128::from(budget.nanos.0) + u128::from(COSTS.activation.0 + COSTS.release.0);
        let second = each * 1_000_000_000 / u128::from(distance.nanos.0.max(1));
        let second = Nanos(u64::try_from(second).unwrap_or(u64::MAX));
        let _ = write!(
            text,
            "\n  {} `{}` (priority {}): {} every {}, and the kernel's part",
            shown(second),
            other.name,
            other.priority,
            shown(budget.nanos),
            shown(distance.nanos)
        );
    }
    text.push_str("\nshorten a budget or lengthen a period");
    text
}
