//! The statics behind the resources, and for each locked one the type that stands for it in a
//! context: it has `lock` and nothing else, and its name says so in the compiler's messages.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::{early_static, late_static, priority, shared_static};
use crate::analyze::Analysis;
use crate::syntax::{Access, App, LocalUse, Resource, Sharing};

/// Statics, stand-ins and the assertions on their types.
pub(super) fn generate(app: &App, analysis: &Analysis) -> TokenStream {
    let shared = app
        .shared
        .fields
        .iter()
        .map(|resource| shared(app, resource));
    let locked: Vec<&Resource> = app
        .shared
        .fields
        .iter()
        .filter(|resource| resource.sharing == Sharing::Locked)
        .collect();
    let types = locked.iter().map(|resource| stand_in_type(resource));
    let locks = locked
        .iter()
        .map(|resource| lock(resource, analysis.ceiling(&resource.name)));
    let late = app.local.fields.iter().map(late);
    let early = app
        .tasks
        .iter()
        .flat_map(|task| task.local.iter().map(|entry| (&task.name, entry)))
        .chain(
            app.init
                .local
                .iter()
                .map(|entry| (&app.init.item.sig.ident, entry)),
        )
        .filter_map(|(owner, entry)| early(owner, entry));
    quote! {
        #(#shared)*
        #(#late)*
        #(#early)*
        /// What stands for a locked resource in a task's context.
        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        mod shared_resources {
            #(#types)*
        }
        #(#locks)*
    }
}

/// The name of the type that stands for a locked resource.
pub(super) fn stand_in(name: &Ident) -> Ident {
    format_ident!("{}_that_needs_to_be_locked", name)
}

fn shared(app: &App, resource: &Resource) -> TokenStream {
    let Resource { name, ty, cfgs, .. } = resource;
    let place = shared_static(name);
    let late = late_type(ty);
    let only_read = app
        .tasks
        .iter()
        .flat_map(|task| &task.shared)
        .any(|entry| entry.name == *name && entry.access == Access::Read);
    // Readers of several priorities hold `&T` at the same time.
    let sync = only_read.then(|| {
        quote! {
            #(#cfgs)*
            const _: () = ::rtos::export::assert_sync::<#ty>();
        }
    });
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        static #place: #late = ::rtos::export::Late::new();
        #sync
    }
}

/// The type of a resource's static, placed so that a complaint about it points to the user's type.
fn late_type(ty: &Type) -> TokenStream {
    quote_spanned!(ty.span()=> ::rtos::export::Late<#ty>)
}

fn late(resource: &Resource) -> TokenStream {
    let Resource { name, ty, cfgs, .. } = resource;
    let place = late_static(name);
    let late = late_type(ty);
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        static #place: #late = ::rtos::export::Late::new();
    }
}

fn early(owner: &Ident, entry: &LocalUse) -> Option<TokenStream> {
    let LocalUse { name, cfgs, early } = entry;
    let (ty, value) = early.as_ref()?;
    let place = early_static(owner, name);
    Some(quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        static #place: ::rtos::export::Early<#ty> = ::rtos::export::Early::new(#value);
    })
}

fn stand_in_type(resource: &Resource) -> TokenStream {
    let Resource { name, cfgs, .. } = resource;
    let stand_in = stand_in(name);
    quote! {
        #(#cfgs)*
        pub(super) struct #stand_in<'a> {
            task: ::core::marker::PhantomData<&'a mut ()>,
        }

        #(#cfgs)*
        impl<'a> #stand_in<'a> {
            /// # Safety
            /// For the context of a running task that lists the resource, once per run.
            #[inline(always)]
            pub(super) unsafe fn new() -> Self {
                Self { task: ::core::marker::PhantomData }
            }
        }
    }
}

fn lock(resource: &Resource, ceiling: u8) -> TokenStream {
    let Resource { name, ty, cfgs, .. } = resource;
    let stand_in = stand_in(name);
    let place = shared_static(name);
    let ceiling = priority(ceiling);
    quote! {
        #(#cfgs)*
        impl<'a> ::rtos::Mutex for shared_resources::#stand_in<'a> {
            type T = #ty;

            #[inline(always)]
            fn lock<R>(&mut self, use_it: impl FnOnce(&mut #ty) -> R) -> R {
                // SAFETY: GENERATED-CODE: the ceiling is that of the highest task that lists the
                // resource, `init` has filled it, and `&mut self` keeps this task from locking twice.
                unsafe {
                    ::rtos::export::lock(
                        #place.get(),
                        ::rtos::export::Ceiling::of(#ceiling),
                        use_it,
                    )
                }
            }
        }
    }
}
