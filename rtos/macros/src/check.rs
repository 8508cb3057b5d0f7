//! Refuses declarations that are well formed and cannot work: resources without users, users without
//! resources, sharing without a lock where preemption is possible, and more than the hardware has.

mod resources;

use std::collections::HashMap;

use crate::errors::Errors;
use crate::syntax::{App, Kind};

/// Vectors in one priority class of the local APIC: the most tasks of one priority.
const PER_PRIORITY: usize = 16;

/// Checks the whole application.
pub(crate) fn check(app: &App) -> syn::Result<()> {
    let mut errors = Errors::default();
    resources::shared(app, &mut errors);
    resources::local(app, &mut errors);
    names(app, &mut errors);
    lines(app, &mut errors);
    places(app, &mut errors);
    errors.finish(())
}

/// Reports tell tasks apart by name.
fn names(app: &App, errors: &mut Errors) {
    let mut seen = HashMap::new();
    for task in &app.tasks {
        if task.shown.is_empty() || !task.shown.bytes().all(|byte| byte.is_ascii_graphic()) {
            errors.add(
                task.name.span(),
                format!(
                    "{:?} is no name for reports: use visible ASCII without spaces",
                    task.shown
                ),
            );
        }
        if let Some(first) = seen.insert(task.shown.as_str(), &task.name) {
            errors.add(
                task.name.span(),
                format!(
                    "`{first}` and `{}` would both be called {:?} in reports: give one of them \
                     another `name = \"..\"`",
                    task.name, task.shown
                ),
            );
        }
    }
}

fn lines(app: &App, errors: &mut Errors) {
    let mut seen: Vec<(_, &syn::Ident)> = Vec::new();
    for task in &app.tasks {
        let Kind::Hardware { line, span } = task.kind else {
            continue;
        };
        match seen.iter().find(|(other, _)| *other == line) {
            Some((_, first)) => errors.add(
                span,
                format!(
                    "`{first}` and `{}` are both bound to {line}: a line releases one task; let that \
                     one spawn the other",
                    task.name
                ),
            ),
            None => seen.push((line, &task.name)),
        }
    }
}

/// Each task has a vector of its own, and async tasks one more together, for their timer.
fn places(app: &App, errors: &mut Errors) {
    let timer = app.timer();
    for priority in 1..=3 {
        let of_priority: Vec<_> = app
            .tasks
            .iter()
            .filter(|task| task.priority == priority)
            .collect();
        let extra = usize::from(timer == Some(priority));
        let places = PER_PRIORITY - extra;
        if let Some(first_too_many) = of_priority.get(places) {
            let also = if extra > 0 {
                ", one of which is the timer's of the async tasks"
            } else {
                ""
            };
            errors.add(
                first_too_many.name.span(),
                format!(
                    "{} tasks of priority {priority}, but a class of the local APIC has \
                     {PER_PRIORITY} vectors{also}: move `{}` to another priority, or merge tasks",
                    of_priority.len(),
                    first_too_many.name
                ),
            );
        }
    }
}
