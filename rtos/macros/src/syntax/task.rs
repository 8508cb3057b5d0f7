//! From an attribute and a function to a task: which kind it is, and which words go with that kind.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, ItemFn, Meta};

use super::arguments::{Arguments, InitArguments};
use super::{Duration, Float, Kind, LocalUse, OnFault, Task, cfgs, function};
use crate::errors::Errors;

/// Messages that a software task's queue holds if nothing else is said, as in RTIC 1.
const DEFAULT_CAPACITY: usize = 1;

fn arguments<T: syn::parse::Parse>(attr: &Attribute) -> syn::Result<T> {
    match &attr.meta {
        Meta::Path(_) => syn::parse_str(""),
        _ => attr.parse_args(),
    }
}

/// The locals that `#[init(local = [..])]` declares.
pub(super) fn init(attr: &Attribute) -> syn::Result<Vec<LocalUse>> {
    arguments::<InitArguments>(attr).map(|found| found.local)
}

pub(super) fn parse(attr: &Attribute, item: ItemFn) -> syn::Result<Task> {
    let arguments: Arguments = arguments(attr)?;
    let name = item.sig.ident.clone();
    let is_async = item.sig.asyncness.is_some();
    let mut errors = Errors::default();
    if let Err(error) = function::check_task(&item) {
        errors.push(error);
    }
    fitting(&arguments, &item, &mut errors);
    let inputs = function::inputs(&item);
    let kind = if let Some(binds) = arguments.binds {
        Kind::Hardware {
            line: binds.value,
            span: binds.span,
        }
    } else if let Some(period) = arguments.period {
        Kind::Periodic {
            period,
            phase: arguments.phase,
        }
    } else if is_async {
        Kind::Async
    } else {
        Kind::Software {
            capacity: arguments
                .capacity
                .map_or(DEFAULT_CAPACITY, |capacity| capacity.value),
        }
    };
    let task = Task {
        shown: arguments
            .name
            .unwrap_or_else(|| name.to_string().replace('_', "-")),
        priority: arguments.priority.unwrap_or(1),
        kind,
        deadline: arguments.deadline,
        budget: arguments.budget,
        every: arguments.every,
        on_fault: arguments.on_fault.unwrap_or(OnFault::Restart),
        float: if arguments.float {
            Float::Hard
        } else {
            Float::Soft
        },
        shared: arguments.shared,
        local: arguments.local,
        inputs,
        cfgs: cfgs(&item.attrs),
        name,
        item,
    };
    times(&task, &mut errors);
    errors.finish(task)
}

/// Refuses words that do not go together, or not with this kind of function.
fn fitting(found: &Arguments, item: &ItemFn, errors: &mut Errors) {
    let name = &item.sig.ident;
    let is_async = item.sig.asyncness.is_some();
    let has_inputs = item.sig.inputs.len() > 1;
    let span_of = |duration: &Option<Duration>| duration.map(|duration| duration.span);
    let binds = found.binds.as_ref().map(|binds| binds.span);
    let capacity = found.capacity.as_ref().map(|capacity| capacity.span);
    let mut refuse = |word: Option<Span>, message: &str| {
        if let Some(span) = word {
            errors.add(span, format!("`{name}`: {message}"));
        }
    };
    if is_async {
        refuse(
            span_of(&found.period),
            "an async task is not released by a period: loop inside and await \
             `Mono::delay_until(..)`, or write a plain `fn`",
        );
        refuse(
            binds,
            "an async task is not bound to a line: bind a plain `fn` and let it send to a channel \
             that the async task awaits",
        );
        refuse(
            capacity,
            "an async task has one place, a second `spawn` fails while it runs: send messages \
             through a channel, or write a plain `fn`",
        );
        refuse(
            span_of(&found.deadline).or(span_of(&found.every)),
            "an async task ends when it wants to and has no deadline of its own (a budget is of each \
             stretch between two awaits): put the timed part into a plain `fn` task",
        );
    }
    if found.period.is_some() {
        refuse(
            binds,
            "a task is released by its period or by a line, not both: remove `period` or `binds`",
        );
        refuse(
            span_of(&found.every),
            "`every` is for tasks without a period, whose releases the program decides: remove it",
        );
    } else {
        refuse(
            span_of(&found.phase),
            "a phase is the first release of a periodic task: add `period = ..` or remove it",
        );
    }
    if found.period.is_some() || found.binds.is_some() {
        refuse(
            capacity,
            "only software tasks, which `spawn` releases, have a queue: remove `capacity`",
        );
        if has_inputs && !is_async {
            refuse(
                Some(item.sig.inputs.span()),
                "nobody hands messages to a task that a clock or a device releases: keep the \
                 context only, or let a software task take the message",
            );
        }
    }
    if found.float && is_async {
        refuse(
            Some(name.span()),
            "hard floating point does not outlast an await: call a plain `fn` task marked `float`",
        );
    }
}

/// Refuses times that contradict each other.
fn times(task: &Task, errors: &mut Errors) {
    let name = &task.name;
    let shown = |duration: Duration| super::shown(duration.nanos);
    let distance = task.distance();
    if let (Some(deadline), Some(distance)) = (task.deadline, distance)
        && deadline.nanos > distance.nanos
    {
        errors.add(
            deadline.span,
            format!(
                "`{name}` may still be running at its next release: its deadline of {} is longer \
                 than the {} between releases; shorten the deadline",
                shown(deadline),
                shown(distance)
            ),
        );
    }
    let limit = task.effective_deadline().or(distance);
    if let (Some(budget), Some(limit)) = (task.budget, limit)
        && budget.nanos > limit.nanos
    {
        errors.add(
            budget.span,
            format!(
                "`{name}` cannot finish in time even alone: its budget of {} is longer than its \
                 deadline of {}; shorten the budget or lengthen the deadline",
                shown(budget),
                shown(limit)
            ),
        );
    }
}
