//! What a function is given: its context, and the module of its name where the context is found.

use darma_abi::units::Nanos;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::Attribute;

use super::part::{Field, Half, Lives, Part};
use super::resources::stand_in;
use super::{context_of, early_static, late_static, shared_static};
use crate::syntax::{
    Access, App, Float, Kind, LocalUse, Resource, SharedUse, Sharing, Task, shown,
};

/// The locals of `init`.
fn init_part(app: &App) -> Part {
    let name = &app.init.item.sig.ident;
    let fields = app
        .init
        .local
        .iter()
        .filter_map(|entry| early_field(name, entry, &quote!('static)))
        .collect();
    Part::new(name, Half::Local, Lives::Static, fields)
}

/// The context of `init` and its module.
pub(super) fn init(app: &App) -> TokenStream {
    let name = &app.init.item.sig.ident;
    let locals = init_part(app);
    let context = format_ident!("{name}_Context");
    let (declaration, field, export) = (locals.declaration(&[]), locals.field(), locals.export());
    let doc = format!("What [`{name}`](fn@{name}) is given.");
    quote! {
        #declaration

        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code)]
        pub(crate) struct #context<'a> {
            /// The devices that tasks are bound to, and the HPET: for their drivers to take.
            pub devices: &'a mut ::rtos::device::Devices,
            #field
        }

        #[doc = #doc]
        #[allow(unused_imports)]
        pub(crate) mod #name {
            pub(crate) use super::#context as Context;
            #export
        }
    }
}

/// How the start makes the context of `init`.
pub(super) fn init_value(app: &App) -> TokenStream {
    let context = format_ident!("{}_Context", app.init.item.sig.ident);
    let local = init_part(app).value();
    quote!(#context { devices, #local })
}

/// A task's context, the function that makes it, and the task's module.
pub(super) fn task(app: &App, task: &Task, response: Option<Nanos>) -> TokenStream {
    let Task { name, cfgs, .. } = task;
    let shared = task
        .shared
        .iter()
        .filter_map(|entry| Some(shared_field(app.shared.find(&entry.name)?, entry)))
        .collect();
    let local = task
        .local
        .iter()
        .filter_map(|entry| match &entry.early {
            Some(_) => early_field(name, entry, &quote!('a)),
            None => Some(late_field(app.local.find(&entry.name)?, entry)),
        })
        .collect();
    let shared = Part::new(name, Half::Shared, Lives::Run, shared);
    let local = Part::new(name, Half::Local, Lives::Run, local);
    let declarations = [shared.declaration(cfgs), local.declaration(cfgs)];
    let fields = [shared.field(), local.field()];
    let values = [shared.value(), local.value()];
    let exports = [shared.export(), local.export()];
    let context = format_ident!("{name}_Context");
    let maker = context_of(task);
    // An async task is activated many times while one context lives, so it has no one `Run`.
    let (run_field, run_value, parameter) = if task.is_async() {
        let field = quote! {
            #[doc(hidden)]
            pub __rtos_run: ::core::marker::PhantomData<&'a mut ()>,
        };
        (
            field,
            quote!(__rtos_run: ::core::marker::PhantomData,),
            None,
        )
    } else {
        let field = quote! {
            /// This run: which task, when it was released, when it started.
            pub run: &'a ::rtos::Run,
        };
        (field, quote!(run,), Some(quote!(run: &'a ::rtos::Run)))
    };
    let is_hard = task.float == Float::Hard;
    let float_field = is_hard.then(|| {
        quote! {
            /// Shows that the floating-point registers are this task's.
            pub float: ::rtos::HardFloat<'a>,
        }
    });
    let float_value = is_hard.then(|| quote!(float: ::rtos::export::hard_float(),));
    let spawn_export = matches!(task.kind, Kind::Software { .. } | Kind::Async).then(|| {
        let spawn = format_ident!("{name}_spawn");
        quote! {
            #[doc(inline)]
            pub(crate) use super::#spawn as spawn;
        }
    });
    let doc = describe(task, response);
    let response = match response {
        Some(Nanos(nanos)) => quote!(::core::option::Option::Some(::rtos::Nanos(#nanos))),
        None => quote!(::core::option::Option::None),
    };
    let context_doc = format!("What [`{name}`](fn@{name}) is given when it runs.");
    quote! {
        #(#declarations)*

        #(#cfgs)*
        #[doc = #context_doc]
        #[allow(non_camel_case_types)]
        pub(crate) struct #context<'a> {
            #run_field
            #(#fields)*
            #float_field
        }

        /// # Safety
        /// For one run of the task, while no other context of it exists.
        #(#cfgs)*
        #[doc(hidden)]
        #[inline(always)]
        #[allow(unused_unsafe)]
        unsafe fn #maker<'a>(#parameter) -> #context<'a> {
            // SAFETY: GENERATED-CODE: the task lists each of these, and `init` has filled them; what is
            // handed out mutably has no second user that could run meanwhile.
            unsafe {
                #context {
                    #run_value
                    #(#values)*
                    #float_value
                }
            }
        }

        #(#cfgs)*
        #[doc = #doc]
        #[allow(unused_imports)]
        pub(crate) mod #name {
            pub(crate) use super::#context as Context;
            /// The longest response as it was analysed, from release to end.
            #[allow(dead_code)]
            pub(crate) const RESPONSE: ::core::option::Option<::rtos::Nanos> = #response;
            #(#exports)*
            #spawn_export
        }
    }
}

fn shared_field(resource: &Resource, entry: &SharedUse) -> Field {
    let Resource { name, ty, .. } = resource;
    let place = shared_static(name);
    let (ty, value) = match (resource.sharing, entry.access) {
        (_, Access::Read) => (quote!(&'a #ty), quote!(&*#place.get())),
        (Sharing::LockFree, Access::Exclusive) => (quote!(&'a mut #ty), quote!(&mut *#place.get())),
        (Sharing::Locked, Access::Exclusive) => {
            let stand_in = stand_in(name);
            (
                quote!(shared_resources::#stand_in<'a>),
                quote!(shared_resources::#stand_in::new()),
            )
        }
    };
    Field {
        cfgs: both(&resource.cfgs, &entry.cfgs),
        name: name.clone(),
        ty,
        value,
    }
}

fn late_field(resource: &Resource, entry: &LocalUse) -> Field {
    let Resource { name, ty, .. } = resource;
    let place = late_static(name);
    Field {
        cfgs: both(&resource.cfgs, &entry.cfgs),
        name: name.clone(),
        ty: quote!(&'a mut #ty),
        value: quote!(&mut *#place.get()),
    }
}

fn early_field(owner: &Ident, entry: &LocalUse, lifetime: &TokenStream) -> Option<Field> {
    let (ty, _) = entry.early.as_ref()?;
    let place = early_static(owner, &entry.name);
    Some(Field {
        cfgs: entry.cfgs.clone(),
        name: entry.name.clone(),
        ty: quote!(&#lifetime mut #ty),
        value: quote!(&mut *#place.get()),
    })
}

fn both(first: &[Attribute], second: &[Attribute]) -> Vec<Attribute> {
    first.iter().chain(second).cloned().collect()
}

/// The documentation of a task's module: what was declared, and what follows from it.
fn describe(task: &Task, response: Option<Nanos>) -> String {
    let released = match &task.kind {
        Kind::Periodic { period, .. } => format!("released every {}", shown(period.nanos)),
        Kind::Hardware { line, .. } => format!("released by {line}"),
        Kind::Software { capacity } => format!("released by `spawn`, {capacity} messages at most"),
        Kind::Async => "an async task, released by `spawn` and by what it awaits".to_owned(),
    };
    let times = match response {
        Some(response) => format!(
            "It ends within {} of its release, as far as all tasks of its priority and above, and \
             all that lock what it locks, declare budget and distance of releases.",
            shown(response)
        ),
        None => {
            "Its response time is not analysed: it does not declare both a budget and a period \
                 or `every`."
                .to_owned()
        }
    };
    format!(
        "The task `{}` ({:?} in reports): priority {}, {released}.\n\n{times}",
        task.name, task.shown, task.priority
    )
}
