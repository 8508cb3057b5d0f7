//! What the signatures of `init` and of tasks must look like.

use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{FnArg, Ident, ItemFn, ItemStruct, ReturnType, Signature, Type};

/// Refuses an `init` that does not make the resources.
pub(super) fn check_init(
    item: &ItemFn,
    shared: &ItemStruct,
    local: &ItemStruct,
) -> syn::Result<()> {
    let signature = &item.sig;
    let (shared, local) = (&shared.ident, &local.ident);
    let name = &signature.ident;
    let wanted = format!("`fn {name}(cx: {name}::Context) -> ({shared}, {local})`");
    plain(signature)?;
    if let Some(token) = &signature.asyncness {
        return Err(syn::Error::new(
            token.span(),
            format!("`{name}` runs before any task and cannot wait: write {wanted}"),
        ));
    }
    if signature.inputs.len() != 1 || !takes_context(signature) {
        return Err(syn::Error::new(
            signature.span(),
            format!("`{name}` takes its context and nothing else: write {wanted}"),
        ));
    }
    let right = match &signature.output {
        ReturnType::Type(_, ty) => match &**ty {
            Type::Tuple(tuple) => {
                let names: Vec<Option<Ident>> = tuple.elems.iter().map(last_name).collect();
                names == [Some(shared.clone()), Some(local.clone())]
            }
            _ => false,
        },
        ReturnType::Default => false,
    };
    if right {
        return Ok(());
    }
    let found = match &signature.output {
        ReturnType::Default => "nothing".to_owned(),
        ReturnType::Type(_, ty) => format!("`{}`", ty.to_token_stream()),
    };
    let span = match &signature.output {
        ReturnType::Default => name.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    Err(syn::Error::new(
        span,
        format!(
            "`{name}` returns {found}, but it makes the shared and the local resources, in this \
             order: write {wanted}"
        ),
    ))
}

/// Refuses a task that cannot be called.
pub(super) fn check_task(item: &ItemFn) -> syn::Result<()> {
    let signature = &item.sig;
    let name = &signature.ident;
    plain(signature)?;
    if !takes_context(signature) {
        return Err(syn::Error::new(
            signature
                .inputs
                .first()
                .map_or_else(|| name.span(), Spanned::span),
            format!(
                "the first parameter of a task is its context: `{name}(cx: {name}::Context, ..)`"
            ),
        ));
    }
    match &signature.output {
        ReturnType::Default => Ok(()),
        // An async task may go on for ever; any other would keep everything below it from running.
        ReturnType::Type(_, ty)
            if signature.asyncness.is_some() && matches!(**ty, Type::Never(_)) =>
        {
            Ok(())
        }
        ReturnType::Type(_, ty) => Err(syn::Error::new(
            ty.span(),
            format!(
                "nobody takes what `{name}` returns: write into a shared resource, or spawn a task with it"
            ),
        )),
    }
}

/// The types of the parameters after the context.
pub(super) fn inputs(item: &ItemFn) -> Vec<Type> {
    item.sig
        .inputs
        .iter()
        .skip(1)
        .filter_map(|argument| match argument {
            FnArg::Typed(typed) => Some((*typed.ty).clone()),
            FnArg::Receiver(_) => None,
        })
        .collect()
}

/// Refuses what no task and no `init` can be.
fn plain(signature: &Signature) -> syn::Result<()> {
    let refuse = |spanned: &dyn Fn() -> proc_macro2::Span, what: &str| {
        Err(syn::Error::new(
            spanned(),
            format!(
                "`{}` cannot be {what}: the kernel calls it as it is",
                signature.ident
            ),
        ))
    };
    if !signature.generics.params.is_empty() {
        return refuse(&|| signature.generics.span(), "generic");
    }
    if let Some(token) = &signature.constness {
        return refuse(&|| token.span(), "const");
    }
    if !matches!(signature.safety, syn::Safety::Default) {
        return refuse(&|| signature.safety.span(), "unsafe");
    }
    if let Some(abi) = &signature.abi {
        return refuse(&|| abi.span(), "extern");
    }
    Ok(())
}

/// Whether the first parameter's type is `NAME::Context`.
fn takes_context(signature: &Signature) -> bool {
    let Some(FnArg::Typed(first)) = signature.inputs.first() else {
        return false;
    };
    let Type::Path(path) = &*first.ty else {
        return false;
    };
    let mut last = path.path.segments.iter().rev();
    let (context, module) = (last.next(), last.next());
    context.is_some_and(|segment| segment.ident == "Context")
        && module.is_some_and(|segment| segment.ident == signature.ident)
}

fn last_name(ty: &Type) -> Option<Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.clone()),
        _ => None,
    }
}
