//! One half of a context: its shared or its local resources, as a struct of its own. A context without
//! resources of a kind has no such field, as in RTIC.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::Attribute;

/// Which half.
#[derive(Clone, Copy)]
pub(super) enum Half {
    Shared,
    Local,
}

/// How long the references in it live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lives {
    /// For one run of a task.
    Run,
    /// For ever: what `init` gets.
    Static,
}

/// One resource in a context: its `#[cfg]`s, name, type, and the expression that makes it.
pub(super) struct Field {
    pub(super) cfgs: Vec<Attribute>,
    pub(super) name: Ident,
    pub(super) ty: TokenStream,
    pub(super) value: TokenStream,
}

pub(super) struct Part {
    half: Half,
    lives: Lives,
    ty: Ident,
    fields: Vec<Field>,
}

impl Part {
    pub(super) fn new(owner: &Ident, half: Half, lives: Lives, fields: Vec<Field>) -> Self {
        let ty = match half {
            Half::Shared => format_ident!("{owner}_SharedResources"),
            Half::Local => format_ident!("{owner}_LocalResources"),
        };
        Self {
            half,
            lives,
            ty,
            fields,
        }
    }

    fn field_name(&self) -> Ident {
        match self.half {
            Half::Shared => format_ident!("shared"),
            Half::Local => format_ident!("local"),
        }
    }

    fn doc(&self) -> &'static str {
        match self.half {
            Half::Shared => "What it shares with other tasks.",
            Half::Local => "What it alone has.",
        }
    }

    fn generics(&self) -> Option<TokenStream> {
        (self.lives == Lives::Run).then(|| quote!(<'a>))
    }

    /// The struct.
    pub(super) fn declaration(&self, cfgs: &[Attribute]) -> Option<TokenStream> {
        if self.fields.is_empty() {
            return None;
        }
        let (ty, doc, generics) = (&self.ty, self.doc(), self.generics());
        let declared = self.fields.iter().map(|field| {
            let Field { cfgs, name, ty, .. } = field;
            quote!(#(#cfgs)* #[allow(missing_docs)] pub #name: #ty)
        });
        // Uses the lifetime whatever becomes of the fields.
        let marker = generics.as_ref().map(|_| {
            quote! {
                #[doc(hidden)]
                pub __rtos_run: ::core::marker::PhantomData<&'a mut ()>,
            }
        });
        Some(quote! {
            #(#cfgs)*
            #[doc = #doc]
            #[allow(non_camel_case_types)]
            pub(crate) struct #ty #generics {
                #(#declared,)*
                #marker
            }
        })
    }

    /// The context's field of it.
    pub(super) fn field(&self) -> Option<TokenStream> {
        if self.fields.is_empty() {
            return None;
        }
        let (ty, doc, generics, name) = (&self.ty, self.doc(), self.generics(), self.field_name());
        Some(quote!(#[doc = #doc] pub #name: #ty #generics,))
    }

    /// The expression of that field.
    pub(super) fn value(&self) -> Option<TokenStream> {
        if self.fields.is_empty() {
            return None;
        }
        let (ty, name) = (&self.ty, self.field_name());
        let made = self.fields.iter().map(|field| {
            let Field {
                cfgs, name, value, ..
            } = field;
            quote!(#(#cfgs)* #name: #value)
        });
        let marker = self
            .generics()
            .map(|_| quote!(__rtos_run: ::core::marker::PhantomData,));
        Some(quote!(#name: #ty { #(#made,)* #marker },))
    }

    /// The struct under its short name, for the module of the context.
    pub(super) fn export(&self) -> Option<TokenStream> {
        if self.fields.is_empty() {
            return None;
        }
        let ty = &self.ty;
        let short = match self.half {
            Half::Shared => format_ident!("SharedResources"),
            Half::Local => format_ident!("LocalResources"),
        };
        Some(quote!(pub(crate) use super::#ty as #short;))
    }
}
