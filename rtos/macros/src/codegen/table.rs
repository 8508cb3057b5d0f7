//! The task table, and the start that fills the resources.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Meta;

use super::{context, early_static, late_static, number, priority, release, shared_static};
use crate::analyze::Analysis;
use crate::syntax::{App, Duration, Float, Kind, Line, OnFault, Task};

/// Each task's place in the table. A task that a `#[cfg]` removes takes none.
pub(super) fn numbers(app: &App) -> TokenStream {
    let mut next = quote!(0);
    let mut numbers = Vec::new();
    for task in &app.tasks {
        let number = number(task);
        numbers.push(quote! {
            #[doc(hidden)]
            #[allow(dead_code, non_upper_case_globals)]
            const #number: u8 = #next;
        });
        let conditions = task.cfgs.iter().filter_map(|attr| match &attr.meta {
            Meta::List(list) => Some(&list.tokens),
            _ => None,
        });
        next = if task.cfgs.is_empty() {
            quote!(#number + 1)
        } else {
            quote!(#number + cfg!(all(#(#conditions),*)) as u8)
        };
    }
    quote! {
        #(#numbers)*
        #[doc(hidden)]
        #[allow(dead_code, non_upper_case_globals)]
        const __rtos_number_of_tasks: u8 = #next;
    }
}

/// The static table and what starts the application.
pub(super) fn generate(app: &App, analysis: &Analysis) -> TokenStream {
    let name = app.name.to_string().replace('_', "-");
    let entries = app.tasks.iter().map(entry);
    let timer = analysis.timer.map(timer_entry);
    let monotonic = if analysis.timer.is_some() {
        quote!(::core::option::Option::Some(::rtos::export::TaskId(
            __rtos_number_of_tasks
        )))
    } else {
        quote!(::core::option::Option::None)
    };
    let init = start(app, analysis);
    quote! {
        #[doc(hidden)]
        #[allow(dead_code)]
        pub(crate) static __RTOS_APPLICATION: ::rtos::export::Application =
            ::rtos::export::Application {
                name: ::rtos::export::application_name(option_env!("CARGO_BIN_NAME"), #name),
                tasks: &[#(#entries,)* #timer],
                init: #init,
                monotonic: #monotonic,
            };

        const _: () = ::rtos::export::assert_places(__RTOS_APPLICATION.tasks.len());

        ::rtos::export::entry!(__RTOS_APPLICATION);
    }
}

fn entry(task: &Task) -> TokenStream {
    let Task { shown, cfgs, .. } = task;
    let priority = priority(task.priority);
    let source = match &task.kind {
        Kind::Periodic { period, phase } => {
            let period = nanos(*period);
            let phase = phase.map_or_else(|| quote!(::rtos::export::Nanos(0)), nanos);
            quote!(::rtos::export::Source::Periodic { period: #period, phase: #phase })
        }
        Kind::Hardware { line, .. } => {
            let line = match line {
                Line::Pin(pin) => quote!(Pin(#pin)),
                Line::Pci { vendor, device } => quote!(Pci { vendor: #vendor, device: #device }),
            };
            quote!(::rtos::export::Source::Interrupt(::rtos::export::Line::#line))
        }
        Kind::Software { .. } | Kind::Async => quote!(::rtos::export::Source::Software),
    };
    let deadline = optional(task.effective_deadline());
    let budget = optional(task.budget);
    let on_fault = match task.on_fault {
        OnFault::Restart => quote!(Restart),
        OnFault::Degrade => quote!(Degrade),
        OnFault::StopAll => quote!(StopAll),
    };
    let float = match task.float {
        Float::Soft => quote!(Soft),
        Float::Hard => quote!(Hard),
    };
    let body = release::body(task);
    let reset = release::reset(task);
    quote! {
        #(#cfgs)*
        ::rtos::export::Task {
            name: #shown,
            priority: #priority,
            source: #source,
            deadline: #deadline,
            budget: #budget,
            on_fault: ::rtos::export::OnFault::#on_fault,
            float: ::rtos::export::Float::#float,
            body: #body,
            reset: #reset,
        }
    }
}

/// The task that serves the async tasks' timer. Last in the table: it wakes others, it is not waited for.
fn timer_entry(level: u8) -> TokenStream {
    let priority = priority(level);
    quote! {
        ::rtos::export::Task {
            name: "async-timer",
            priority: #priority,
            source: ::rtos::export::Source::Software,
            deadline: ::core::option::Option::None,
            budget: ::core::option::Option::None,
            on_fault: ::rtos::export::OnFault::StopAll,
            float: ::rtos::export::Float::Soft,
            body: ::rtos::export::serve_timer,
            reset: { fn reset() {} reset },
        }
    }
}

fn nanos(duration: Duration) -> TokenStream {
    let nanos = duration.nanos.0;
    quote!(::rtos::export::Nanos(#nanos))
}

fn optional(duration: Option<Duration>) -> TokenStream {
    match duration {
        Some(duration) => {
            let nanos = nanos(duration);
            quote!(::core::option::Option::Some(#nanos))
        }
        None => quote!(::core::option::Option::None),
    }
}

/// Calls the user's `init` and puts what it returns in its place.
fn start(app: &App, analysis: &Analysis) -> TokenStream {
    let init = &app.init.item.sig.ident;
    let context = context::init_value(app);
    let shared = app.shared.fields.iter().map(|resource| {
        let (name, cfgs, place) = (
            &resource.name,
            &resource.cfgs,
            shared_static(&resource.name),
        );
        quote!(#(#cfgs)* { #place.init(shared.#name); })
    });
    let local = app.local.fields.iter().map(|resource| {
        let (name, cfgs, place) = (&resource.name, &resource.cfgs, late_static(&resource.name));
        quote!(#(#cfgs)* { #place.init(local.#name); })
    });
    let timer = analysis.timer.map(
        |_| quote!(::rtos::export::start_timer(::rtos::export::TaskId(__rtos_number_of_tasks));),
    );
    quote! {
        {
            #[allow(unused_variables, unused_unsafe)]
            fn start(devices: &mut ::rtos::device::Devices) {
                #timer
                // SAFETY: GENERATED-CODE: called once, before any task runs.
                unsafe {
                    let (shared, local) = #init(#context);
                    #(#shared)*
                    #(#local)*
                }
            }
            start
        }
    }
}

/// Puts a task's early locals back to their first values.
pub(super) fn first_values(task: &Task) -> Vec<TokenStream> {
    task.local
        .iter()
        .filter_map(|entry| {
            let (_, value) = entry.early.as_ref()?;
            let cfgs = &entry.cfgs;
            let place = early_static(&task.name, &entry.name);
            Some(quote!(#(#cfgs)* { #place.put(#value); }))
        })
        .collect()
}
