//! `#[rtos::app]`: one module declares an application's tasks and what they share.
//!
//! Four steps, one module each. `syntax` turns the annotated module into a model and refuses what
//! is no sentence of the language; `check` refuses sentences that make no sense (a local of two
//! tasks, a resource nobody uses); `analyze` computes each resource's ceiling and each task's
//! response time, and refuses a task set that misses a deadline; `codegen` writes statics, contexts
//! and the task table. Every refusal names the things and the remedy, and is held by a file in
//! `rtos/ui`.
//!
//! The language is RTIC 2's wherever the machine is the same; decision 0016 says where it is not and
//! why. Runs inside the compiler, on the host: a panic here would be the user's build failing without
//! a place, so every wrong input ends as a `syn::Error`.
#![forbid(unsafe_code)]

mod analyze;
mod check;
mod codegen;
mod errors;
mod syntax;

use proc_macro::TokenStream;

/// Makes a module an application: its tasks, its resources, its start.
///
/// `rtos/README.md` explains it step by step; the crate `rtos` documents every argument.
#[proc_macro_attribute]
pub fn app(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

fn expand(
    arguments: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    let app = syntax::parse(arguments, item)?;
    check::check(&app)?;
    let analysis = analyze::analyze(&app)?;
    Ok(codegen::generate(&app, &analysis))
}

#[cfg(test)]
mod tests;
