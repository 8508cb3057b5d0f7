//! The annotated module as a model: what the user wrote, and nothing that was concluded from it.

mod app;
mod arguments;
mod duration;
mod function;
mod task;

use proc_macro2::{Span, TokenStream};
use syn::{Attribute, Expr, Ident, Item, ItemFn, ItemStruct, Type};

pub(crate) use duration::{Duration, shown};

/// An application.
pub(crate) struct App {
    /// The module: attributes, visibility and name.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: syn::Visibility,
    pub(crate) name: Ident,
    pub(crate) demanded: Demanded,
    /// Whatever else stands in the module.
    pub(crate) items: Vec<Item>,
    pub(crate) shared: Resources,
    pub(crate) local: Resources,
    pub(crate) init: Init,
    /// In the order of the source, which is the order of the table.
    pub(crate) tasks: Vec<Task>,
}

impl App {
    /// Priority of the async tasks' timer: that of the highest of them.
    pub(crate) fn timer(&self) -> Option<u8> {
        let waiting = self.tasks.iter().filter(|task| task.is_async());
        waiting.map(|task| task.priority).max()
    }
}

/// What the analysis has to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demanded {
    /// What is declared.
    Declared,
    /// Everything that a deadline depends on.
    Complete,
}

/// The struct marked `#[shared]` or `#[local]`.
pub(crate) struct Resources {
    /// As the user wrote it, without the attributes of this language.
    pub(crate) item: ItemStruct,
    pub(crate) fields: Vec<Resource>,
}

impl Resources {
    pub(crate) fn find(&self, name: &Ident) -> Option<&Resource> {
        self.fields.iter().find(|resource| resource.name == *name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.fields.iter().map(|resource| resource.name.to_string())
    }
}

/// One field of such a struct.
pub(crate) struct Resource {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) sharing: Sharing,
}

/// How a shared resource is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Through `lock`.
    Locked,
    /// Directly: the declaration says `#[lock_free]`.
    LockFree,
}

/// The function marked `#[init]`.
pub(crate) struct Init {
    pub(crate) item: ItemFn,
    pub(crate) local: Vec<LocalUse>,
}

/// A function marked `#[task]`.
pub(crate) struct Task {
    pub(crate) item: ItemFn,
    pub(crate) name: Ident,
    /// Its name in reports.
    pub(crate) shown: String,
    /// 1 to 3.
    pub(crate) priority: u8,
    pub(crate) kind: Kind,
    pub(crate) deadline: Option<Duration>,
    pub(crate) budget: Option<Duration>,
    /// Least distance of two releases, of a task that has no period.
    pub(crate) every: Option<Duration>,
    pub(crate) on_fault: OnFault,
    pub(crate) float: Float,
    pub(crate) shared: Vec<SharedUse>,
    pub(crate) local: Vec<LocalUse>,
    /// Types of the parameters after the context.
    pub(crate) inputs: Vec<Type>,
    pub(crate) cfgs: Vec<Attribute>,
}

impl Task {
    /// The deadline that holds: the declared one, or a periodic task's period.
    pub(crate) fn effective_deadline(&self) -> Option<Duration> {
        match (self.deadline, &self.kind) {
            (None, Kind::Periodic { period, .. }) => Some(*period),
            (declared, _) => declared,
        }
    }

    /// The distance of two releases: the period, or what `every` promises.
    pub(crate) fn distance(&self) -> Option<Duration> {
        match self.kind {
            Kind::Periodic { period, .. } => Some(period),
            _ => self.every,
        }
    }

    pub(crate) fn is_async(&self) -> bool {
        matches!(self.kind, Kind::Async)
    }
}

/// What releases a task.
pub(crate) enum Kind {
    Periodic {
        period: Duration,
        phase: Option<Duration>,
    },
    Hardware {
        line: Line,
        span: Span,
    },
    Software {
        capacity: usize,
    },
    Async,
}

/// An interrupt that a task is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Pin(u8),
    Pci { vendor: u16, device: u16 },
}

impl core::fmt::Display for Line {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Pin(pin) => write!(f, "pin({pin})"),
            Self::Pci { vendor, device } => write!(f, "pci({vendor:#06x}, {device:#06x})"),
        }
    }
}

/// What happens to a task that faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFault {
    Restart,
    Degrade,
    StopAll,
}

/// Whose registers a task's floating point uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    Soft,
    Hard,
}

/// An entry of `shared = [..]`.
pub(crate) struct SharedUse {
    pub(crate) name: Ident,
    pub(crate) access: Access,
    pub(crate) cfgs: Vec<Attribute>,
}

/// What a task may do with a shared resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `x`: change it.
    Exclusive,
    /// `&x`: read it, without a lock.
    Read,
}

/// An entry of `local = [..]`.
pub(crate) struct LocalUse {
    pub(crate) name: Ident,
    pub(crate) cfgs: Vec<Attribute>,
    /// Type and first value, if it is declared here; else it is a field of the local struct.
    pub(crate) early: Option<(Type, Expr)>,
}

/// Reads the annotated module.
pub(crate) fn parse(arguments: TokenStream, item: TokenStream) -> syn::Result<App> {
    let demanded = demanded(arguments)?;
    app::parse(syn::parse2(item)?, demanded)
}

fn demanded(arguments: TokenStream) -> syn::Result<Demanded> {
    if arguments.is_empty() {
        return Ok(Demanded::Declared);
    }
    match arguments.to_string().as_str() {
        "analysis = complete" | "analysis = complete ," => Ok(Demanded::Complete),
        _ => Err(syn::Error::new_spanned(
            arguments,
            "`#[rtos::app]` takes `analysis = complete` or nothing: the device is always the local APIC, \
             and each task has a vector of its own",
        )),
    }
}

/// The `#[cfg]` attributes among these: what must stand on everything generated for the thing.
fn cfgs(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cfg"))
        .cloned()
        .collect()
}
