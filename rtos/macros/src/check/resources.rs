//! Resources and their users.

use proc_macro2::Ident;

use crate::errors::{Errors, meant};
use crate::syntax::{Access, App, LocalUse, Resource, SharedUse, Sharing, Task};

/// One task's use of one shared resource.
type User<'a> = (&'a Task, &'a SharedUse);

/// Checks the shared resources and everybody's list of them.
pub(super) fn shared(app: &App, errors: &mut Errors) {
    for task in &app.tasks {
        once_each(
            task.shared.iter().map(|entry| &entry.name),
            &task.name,
            errors,
        );
        for entry in &task.shared {
            if app.shared.find(&entry.name).is_none() {
                undeclared(app, task, &entry.name, Wanted::Shared, errors);
            }
        }
    }
    for resource in &app.shared.fields {
        let users: Vec<User> = app
            .tasks
            .iter()
            .flat_map(|task| task.shared.iter().map(move |entry| (task, entry)))
            .filter(|(_, entry)| entry.name == resource.name)
            .collect();
        match users.as_slice() {
            [] => errors.add(
                resource.name.span(),
                format!(
                    "no task uses the shared resource `{0}`: write `shared = [{0}]` at a task, or \
                     remove it",
                    resource.name
                ),
            ),
            users => access(resource, users, errors),
        }
    }
}

/// Refuses ways of sharing that would let two tasks be inside one resource.
fn access(resource: &Resource, users: &[User], errors: &mut Errors) {
    let name = &resource.name;
    let of = |access| {
        users
            .iter()
            .copied()
            .filter(move |(_, entry)| entry.access == access)
    };
    let (writer, reader) = (of(Access::Exclusive).next(), of(Access::Read).next());
    if let (Some((writer, _)), Some((reader, entry))) = (writer, reader) {
        errors.add(
            entry.name.span(),
            format!(
                "`{}` reads `{name}` without a lock while `{}` may be changing it: write `{name}` \
                 instead of `&{name}` here and lock it, or let all users only read",
                reader.name, writer.name
            ),
        );
    }
    if resource.sharing == Sharing::Locked {
        return;
    }
    if let Some((task, entry)) = reader {
        errors.add(
            entry.name.span(),
            format!(
                "`{name}` is `#[lock_free]`, which is for changing it, and `{}` only reads it: \
                 remove `&` here, or `#[lock_free]` there",
                task.name
            ),
        );
    }
    let [(first, _), others @ ..] = users else {
        return;
    };
    for (other, entry) in others {
        if other.priority != first.priority {
            let (low, high) = if other.priority < first.priority {
                (other, first)
            } else {
                (first, other)
            };
            errors.add(
                entry.name.span(),
                format!(
                    "`{name}` is `#[lock_free]`, but `{}` (priority {}) can preempt `{}` (priority \
                     {}) in the middle of a change: remove `#[lock_free]` and lock it, or give both \
                     the same priority",
                    high.name, high.priority, low.name, low.priority
                ),
            );
        }
    }
    if let Some((task, entry)) = users.iter().find(|(task, _)| task.is_async())
        && users.len() > 1
    {
        errors.add(
            entry.name.span(),
            format!(
                "`{name}` is `#[lock_free]`, but the async task `{}` could keep it across an await, \
                 while its other users run: remove `#[lock_free]` and lock it",
                task.name
            ),
        );
    }
}

/// Checks the local resources and everybody's list of them.
pub(super) fn local(app: &App, errors: &mut Errors) {
    let mut taken: Vec<(&Ident, &Ident)> = Vec::new();
    once_each(
        app.init.local.iter().map(|entry| &entry.name),
        &app.init.item.sig.ident,
        errors,
    );
    for task in &app.tasks {
        once_each(
            task.local.iter().map(|entry| &entry.name),
            &task.name,
            errors,
        );
        for LocalUse { name, early, .. } in &task.local {
            match (app.local.find(name), early) {
                (Some(_), Some(_)) => errors.add(
                    name.span(),
                    format!(
                        "`{name}` is a field of the local struct, which `init` makes, and declared \
                         here a second time: write its name alone, or another name"
                    ),
                ),
                (None, None) => undeclared(app, task, name, Wanted::Local, errors),
                (Some(_), None) => match taken.iter().find(|(other, _)| *other == name) {
                    Some((_, owner)) => errors.add(
                        name.span(),
                        format!(
                            "`{name}` is local to `{owner}`, and `{}` claims it too: a local has one \
                             user; move it to the shared struct and lock it",
                            task.name
                        ),
                    ),
                    None => taken.push((name, &task.name)),
                },
                (None, Some(_)) => {}
            }
        }
    }
    for resource in &app.local.fields {
        let name = &resource.name;
        let claimed = app
            .tasks
            .iter()
            .any(|task| task.local.iter().any(|entry| entry.name == *name));
        if !claimed {
            errors.add(
                name.span(),
                format!(
                    "no task uses the local resource `{name}`: write `local = [{name}]` at a task, \
                     or remove it"
                ),
            );
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Shared,
    Local,
}

/// Refuses a name that is declared nowhere, or in the other struct.
fn undeclared(app: &App, task: &Task, name: &Ident, wanted: Wanted, errors: &mut Errors) {
    let (struct_of, other, kind, other_kind) = match wanted {
        Wanted::Shared => (&app.shared, &app.local, "shared", "local"),
        Wanted::Local => (&app.local, &app.shared, "local", "shared"),
    };
    if other.find(name).is_some() {
        errors.add(
            name.span(),
            format!(
                "`{name}` is a {other_kind} resource: list it in `{other_kind} = [..]` of `{}`",
                task.name
            ),
        );
        return;
    }
    let known: Vec<String> = struct_of.names().collect();
    let meant = meant(&name.to_string(), known.iter().map(String::as_str));
    let remedy = match wanted {
        Wanted::Shared => format!("declare it in `{}`", struct_of.item.ident),
        Wanted::Local => format!(
            "declare it in `{}`, or give it a type and a first value here: `{name}: Type = value`",
            struct_of.item.ident
        ),
    };
    errors.add(
        name.span(),
        format!(
            "`{}` uses `{name}`, which is no {kind} resource{meant}\n{remedy}",
            task.name
        ),
    );
}

fn once_each<'a>(names: impl Iterator<Item = &'a Ident>, owner: &Ident, errors: &mut Errors) {
    let mut seen: Vec<&Ident> = Vec::new();
    for name in names {
        if seen.contains(&name) {
            errors.add(
                name.span(),
                format!("`{owner}` lists `{name}` twice: remove one"),
            );
        }
        seen.push(name);
    }
}
