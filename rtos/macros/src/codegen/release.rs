//! How a task is released and what its activation calls: `spawn`, the body, the reset.
//!
//! Body and reset are nested in the table's expressions, so that nobody but the kernel can call them.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Type;

use super::{context_of, number, table};
use crate::syntax::{Kind, OnFault, Task};

/// How often an async task may fault and be started again: each time, the memory of the future that
/// was stopped is given up, because timers and channels may still point into it.
const RESTARTS: usize = 4;

/// The queue or the executor of a task that is released by `spawn`, and `spawn`.
pub(super) fn generate(task: &Task) -> TokenStream {
    match task.kind {
        Kind::Software { capacity } => software(task, capacity),
        Kind::Async => executor(task),
        Kind::Periodic { .. } | Kind::Hardware { .. } => TokenStream::new(),
    }
}

/// A message's type, its pattern, what comes back when it is refused, and the pattern of that.
struct Message {
    types: Vec<Type>,
    names: Vec<syn::Ident>,
}

impl Message {
    fn of(task: &Task) -> Self {
        Self {
            types: task.inputs.clone(),
            names: (0..task.inputs.len())
                .map(|index| format_ident!("input_{index}"))
                .collect(),
        }
    }

    /// As a tuple, whatever its length.
    fn tuple_type(&self) -> TokenStream {
        let types = &self.types;
        quote!((#(#types,)*))
    }

    fn tuple(&self) -> TokenStream {
        let names = &self.names;
        quote!((#(#names,)*))
    }

    fn parameters(&self) -> TokenStream {
        let (types, names) = (&self.types, &self.names);
        quote!(#(#names: #types),*)
    }

    /// What `spawn` gives back: nothing, the one argument, or a tuple of them.
    fn refused(&self) -> (TokenStream, TokenStream) {
        match (self.types.as_slice(), self.names.as_slice()) {
            ([ty], [name]) => (quote!(#ty), quote!(#name)),
            (types, names) => (quote!((#(#types),*)), quote!((#(#names),*))),
        }
    }
}

fn port(task: &Task) -> TokenStream {
    let number = number(task);
    quote! {
        ::rtos::export::Kernel {
            pend: {
                fn pend() {
                    ::rtos::export::pend(::rtos::export::TaskId(#number));
                }
                pend
            },
            now: ::rtos::export::now,
        }
    }
}

fn software(task: &Task, capacity: usize) -> TokenStream {
    let Task { name, cfgs, .. } = task;
    let queue = format_ident!("__rtos_{name}_queue");
    let spawn = format_ident!("{name}_spawn");
    let message = Message::of(task);
    let (tuple_type, tuple, parameters) =
        (message.tuple_type(), message.tuple(), message.parameters());
    let (refused_type, refused) = message.refused();
    let port = port(task);
    let doc = format!(
        "Releases [`{name}`](fn@{name}) with this message, from anywhere.\n\n# Errors\nIts queue is \
         full ({capacity} messages): the message comes back."
    );
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        static #queue: ::rtos::export::Queue<#tuple_type, #capacity> =
            ::rtos::export::Queue::new(#port);

        #(#cfgs)*
        #[doc = #doc]
        #[allow(dead_code, clippy::result_unit_err)]
        pub(crate) fn #spawn(#parameters) -> ::core::result::Result<(), #refused_type> {
            #queue.send(#tuple).map_err(|#tuple| #refused)
        }
    }
}

fn executor(task: &Task) -> TokenStream {
    let Task { name, cfgs, .. } = task;
    let executor = format_ident!("__rtos_{name}_executor");
    let make = format_ident!("__rtos_{name}_make");
    let spawn = format_ident!("{name}_spawn");
    let message = Message::of(task);
    let (tuple_type, tuple, parameters) =
        (message.tuple_type(), message.tuple(), message.parameters());
    let (refused_type, refused) = message.refused();
    let names = &message.names;
    let port = port(task);
    let context = context_of(task);
    let cells = match task.on_fault {
        OnFault::Restart => RESTARTS,
        OnFault::Degrade | OnFault::StopAll => 1,
    };
    let doc = format!(
        "Starts [`{name}`](fn@{name}), from anywhere.\n\n# Errors\nIt is running already: the arguments \
         come back."
    );
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        fn #make(#tuple: #tuple_type) -> impl ::core::future::Future {
            // SAFETY: GENERATED-CODE: the executor runs one future of the task at a time.
            let context = unsafe { #context() };
            #name(context, #(#names),*)
        }

        #(#cfgs)*
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        static #executor: ::rtos::export::Executor<
            { ::rtos::export::size_of_future(&#make) },
            #cells,
        > = ::rtos::export::Executor::new(#port);

        #(#cfgs)*
        #[doc = #doc]
        #[allow(dead_code, clippy::result_unit_err)]
        pub(crate) fn #spawn(#parameters) -> ::core::result::Result<(), #refused_type> {
            #executor.spawn(#tuple, #make).map_err(|#tuple| #refused)
        }
    }
}

/// What an activation calls.
pub(super) fn body(task: &Task) -> TokenStream {
    let name = &task.name;
    let context = context_of(task);
    match task.kind {
        Kind::Periodic { .. } | Kind::Hardware { .. } => quote! {
            {
                fn body(run: &::rtos::Run) {
                    // SAFETY: GENERATED-CODE: the kernel runs a task once at a time.
                    #name(unsafe { #context(run) })
                }
                body
            }
        },
        Kind::Software { .. } => {
            let queue = format_ident!("__rtos_{name}_queue");
            let message = Message::of(task);
            let (tuple, names) = (message.tuple(), &message.names);
            quote! {
                {
                    fn body(run: &::rtos::Run) {
                        if let ::core::option::Option::Some(message) = #queue.receive() {
                            run.answers(message.sent);
                            let #tuple = message.value;
                            // SAFETY: GENERATED-CODE: the kernel runs a task once at a time.
                            #name(unsafe { #context(run) }, #(#names),*)
                        }
                    }
                    body
                }
            }
        }
        Kind::Async => {
            let executor = format_ident!("__rtos_{name}_executor");
            quote! {
                {
                    fn body(run: &::rtos::Run) {
                        // SAFETY: GENERATED-CODE: only this body polls, and the kernel runs it once at a
                        // time.
                        unsafe { #executor.poll(|at| run.answers(at)) }
                    }
                    body
                }
            }
        }
    }
}

/// What puts a stopped task's state back before it is started again.
pub(super) fn reset(task: &Task) -> TokenStream {
    let name = &task.name;
    let first_values = table::first_values(task);
    let more = match task.kind {
        Kind::Periodic { .. } | Kind::Hardware { .. } => quote!(),
        Kind::Software { .. } => {
            let queue = format_ident!("__rtos_{name}_queue");
            quote!(#queue.resume();)
        }
        Kind::Async => {
            let executor = format_ident!("__rtos_{name}_executor");
            quote!(#executor.abandon();)
        }
    };
    quote! {
        {
            #[allow(unused_unsafe)]
            fn reset() {
                // SAFETY: GENERATED-CODE: called when the task was stopped and before it is released
                // again, so nobody uses its state.
                unsafe {
                    #(#first_values)*
                    #more
                }
            }
            reset
        }
    }
}
