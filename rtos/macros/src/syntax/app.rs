//! Sorts a module's items: resources, `init`, tasks, and everything else.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Attribute, Fields, Item, ItemFn, ItemMod, ItemStruct};

use super::{App, Demanded, Init, Resource, Resources, Sharing, Task, cfgs, function, task};
use crate::errors::Errors;

/// What a module has of each kind while it is read.
#[derive(Default)]
struct Parts {
    items: Vec<Item>,
    shared: Option<Resources>,
    local: Option<Resources>,
    init: Option<Init>,
    tasks: Vec<Task>,
}

pub(super) fn parse(module: ItemMod, demanded: Demanded) -> syn::Result<App> {
    let Some((_, items)) = module.content else {
        return Err(syn::Error::new(
            module.span(),
            "the application is the module's content: write `mod app { .. }`, not `mod app;`",
        ));
    };
    let mut errors = Errors::default();
    let mut parts = Parts::default();
    for item in items {
        parts.sort(item, &mut errors);
    }
    let name = module.ident;
    let missing = [
        (
            parts.init.is_none(),
            "a function `#[init] fn init(cx: init::Context) -> (Shared, Local) { .. }`",
        ),
        (
            parts.shared.is_none(),
            "a struct `#[shared] struct Shared { .. }` (empty if the tasks share nothing)",
        ),
        (
            parts.local.is_none(),
            "a struct `#[local] struct Local { .. }` (empty if no task is handed anything by `init`)",
        ),
    ];
    // A marked item that was refused is there, only wrong: saying both would mislead.
    for (is_missing, what) in missing {
        if is_missing && !errors.any() {
            errors.add(
                name.span(),
                format!("the application `{name}` lacks {what}"),
            );
        }
    }
    let Parts {
        items,
        shared: Some(shared),
        local: Some(local),
        init: Some(init),
        tasks,
    } = parts
    else {
        return Err(errors.into_error(name.span()));
    };
    if let Err(error) = function::check_init(&init.item, &shared.item, &local.item) {
        errors.push(error);
    }
    errors.finish(App {
        attrs: module.attrs,
        vis: module.vis,
        name,
        demanded,
        items,
        shared,
        local,
        init,
        tasks,
    })
}

impl Parts {
    fn sort(&mut self, item: Item, errors: &mut Errors) {
        match item {
            Item::Struct(mut item) => {
                if let Some(attr) = take(&mut item.attrs, "shared") {
                    let found = resources(item, Place::Shared);
                    put(
                        &mut self.shared,
                        errors.keep(found),
                        attr.span(),
                        "shared",
                        errors,
                    );
                } else if let Some(attr) = take(&mut item.attrs, "local") {
                    let found = resources(item, Place::Local);
                    put(
                        &mut self.local,
                        errors.keep(found),
                        attr.span(),
                        "local",
                        errors,
                    );
                } else {
                    self.items.push(Item::Struct(item));
                }
            }
            Item::Fn(item) => self.sort_function(item, errors),
            other => self.items.push(other),
        }
    }

    fn sort_function(&mut self, mut item: ItemFn, errors: &mut Errors) {
        if let Some(attr) = take(&mut item.attrs, "init") {
            let found = task::init(&attr).map(|local| Init { item, local });
            put(
                &mut self.init,
                errors.keep(found),
                attr.span(),
                "init",
                errors,
            );
        } else if let Some(attr) = take(&mut item.attrs, "task") {
            self.tasks.extend(errors.keep(task::parse(&attr, item)));
        } else if let Some(attr) = take(&mut item.attrs, "idle") {
            errors.add(
                attr.span(),
                "there is no idle task to write: the general-purpose OS is the idle task, it runs \
                 whenever no task does; for background work declare a task of priority 1",
            );
        } else {
            self.items.push(Item::Fn(item));
        }
    }
}

/// Takes the first attribute of this name away.
fn take(attrs: &mut Vec<Attribute>, name: &str) -> Option<Attribute> {
    let position = attrs.iter().position(|attr| attr.path().is_ident(name))?;
    Some(attrs.remove(position))
}

fn put<T>(place: &mut Option<T>, found: Option<T>, span: Span, name: &str, errors: &mut Errors) {
    if place.is_some() {
        errors.add(
            span,
            format!("a second `#[{name}]`: an application has one, remove this"),
        );
    } else {
        *place = found;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Shared,
    Local,
}

fn resources(mut item: ItemStruct, place: Place) -> syn::Result<Resources> {
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new(
            item.generics.span(),
            "resources are static: give this struct no type parameters or lifetimes",
        ));
    }
    let mut found = Vec::new();
    match &mut item.fields {
        Fields::Named(fields) => {
            for field in &mut fields.named {
                let lock_free = take(&mut field.attrs, "lock_free");
                if let (Some(attr), Place::Local) = (&lock_free, place) {
                    return Err(syn::Error::new(
                        attr.span(),
                        "a local resource has one user and needs no lock: remove `#[lock_free]`",
                    ));
                }
                // Named fields have names.
                let Some(name) = field.ident.clone() else {
                    continue;
                };
                found.push(Resource {
                    name,
                    ty: field.ty.clone(),
                    cfgs: cfgs(&field.attrs),
                    sharing: if lock_free.is_some() {
                        Sharing::LockFree
                    } else {
                        Sharing::Locked
                    },
                });
            }
        }
        Fields::Unit => {}
        Fields::Unnamed(fields) => {
            return Err(syn::Error::new(
                fields.span(),
                format!(
                    "resources are known by name: write `struct {} {{ name: Type, .. }}`",
                    item.ident.to_token_stream()
                ),
            ));
        }
    }
    Ok(Resources {
        item,
        fields: found,
    })
}
