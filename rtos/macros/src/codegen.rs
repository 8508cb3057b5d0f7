//! Writes what the application's author would otherwise write by hand, and wrongly.
//!
//! Everything is generated at the level of the user's module, because the user's types are named as
//! they are seen from there; the task's own module re-exports its part under the short names. The
//! generated code contains `unsafe`, which its author cannot check; it rests on the invariant
//! GENERATED-CODE of `docs/soundness.md`: each function that reaches a static is nested where only
//! the task table can name it, and the checks before this step have passed.

mod context;
mod part;
mod release;
mod resources;
mod table;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{FnArg, ItemFn, PathArguments, Type, parse_quote};

use crate::analyze::Analysis;
use crate::syntax::{App, Task};

/// The application as plain Rust.
pub(crate) fn generate(app: &App, analysis: &Analysis) -> TokenStream {
    let App {
        attrs,
        vis,
        name,
        items,
        ..
    } = app;
    let (shared, local) = (&app.shared.item, &app.local.item);
    let init = named_lifetime(&app.init.item);
    let functions = app.tasks.iter().map(|task| named_lifetime(&task.item));
    let resources = resources::generate(app, analysis);
    let init_context = context::init(app);
    let contexts = app.tasks.iter().enumerate().map(|(index, task)| {
        context::task(app, task, analysis.responses.get(index).copied().flatten())
    });
    let numbers = table::numbers(app);
    let queues = app.tasks.iter().map(release::generate);
    let table = table::generate(app, analysis);
    quote! {
        #(#attrs)*
        #vis mod #name {
            #(#items)*
            #shared
            #local
            #init
            #(#functions)*
            #resources
            #init_context
            #(#contexts)*
            #numbers
            #(#queues)*
            #table
        }
    }
}

/// Writes out the lifetime of `Context`, which an async signature needs and a strict lint asks for; the
/// user need not know of it.
fn named_lifetime(item: &ItemFn) -> ItemFn {
    let mut item = item.clone();
    if let Some(FnArg::Typed(first)) = item.sig.inputs.first_mut()
        && let Type::Path(path) = &mut *first.ty
        && let Some(last) = path.path.segments.last_mut()
        && last.arguments.is_none()
    {
        last.arguments = PathArguments::AngleBracketed(parse_quote!(<'_>));
    }
    item
}

/// The `const` that holds a task's place in the table.
fn number(task: &Task) -> Ident {
    format_ident!("__rtos_{}_number", task.name)
}

/// The static of a shared resource.
fn shared_static(name: &Ident) -> Ident {
    format_ident!("__rtos_shared_{}", name)
}

/// The static of a local resource that `init` makes.
fn late_static(name: &Ident) -> Ident {
    format_ident!("__rtos_local_{}", name)
}

/// The static of a local resource that `owner` declares with its first value.
fn early_static(owner: &Ident, name: &Ident) -> Ident {
    format_ident!("__rtos_{}_local_{}", owner, name)
}

/// The function that makes a task's context.
fn context_of(task: &Task) -> Ident {
    format_ident!("__rtos_{}_context", task.name)
}

/// The name of the constant of `Priority` with this level.
fn priority(level: u8) -> TokenStream {
    match level {
        1 => quote!(::rtos::export::Priority::LOW),
        2 => quote!(::rtos::export::Priority::MIDDLE),
        _ => quote!(::rtos::export::Priority::HIGH),
    }
}
