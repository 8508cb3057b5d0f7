//! The words inside `#[task(..)]` and `#[init(..)]`, each at most once.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, LitInt, LitStr, Token, bracketed, parenthesized};

use super::{Access, Duration, Line, LocalUse, OnFault, SharedUse, cfgs};
use crate::errors::meant;

/// What may stand in a task's attribute.
const KNOWN: [&str; 13] = [
    "priority", "period", "phase", "every", "deadline", "budget", "binds", "capacity", "on_fault",
    "float", "shared", "local", "name",
];

/// A value and where it is written.
pub(super) struct Written<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A task's attribute, word by word.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) priority: Option<u8>,
    pub(super) period: Option<Duration>,
    pub(super) phase: Option<Duration>,
    pub(super) every: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Option<Duration>,
    pub(super) binds: Option<Written<Line>>,
    pub(super) capacity: Option<Written<usize>>,
    pub(super) on_fault: Option<OnFault>,
    pub(super) float: bool,
    pub(super) shared: Vec<SharedUse>,
    pub(super) local: Vec<LocalUse>,
    pub(super) name: Option<String>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut found = Self::default();
        let mut seen: Vec<Ident> = Vec::new();
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            if seen.contains(&word) {
                return Err(syn::Error::new(
                    word.span(),
                    format!("`{word}` is given twice: remove one"),
                ));
            }
            found.word(&word, input)?;
            seen.push(word);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(found)
    }
}

impl Arguments {
    fn word(&mut self, word: &Ident, input: ParseStream) -> syn::Result<()> {
        let name = word.to_string();
        if !KNOWN.contains(&name.as_str()) {
            return Err(syn::Error::new(
                word.span(),
                format!(
                    "`{name}` is nothing that a task declares{}\nthere are: {}",
                    meant(&name, KNOWN.into_iter()),
                    KNOWN.join(", ")
                ),
            ));
        }
        if name == "float" {
            self.float = true;
            return Ok(());
        }
        input.parse::<Token![=]>().map_err(|error| {
            syn::Error::new(
                error.span(),
                format!("`{name}` needs a value: `{name} = ..`"),
            )
        })?;
        match name.as_str() {
            "priority" => self.priority = Some(priority(input)?),
            "period" => self.period = Some(input.parse()?),
            "phase" => self.phase = Some(input.parse()?),
            "every" => self.every = Some(input.parse()?),
            "deadline" => self.deadline = Some(input.parse()?),
            "budget" => self.budget = Some(input.parse()?),
            "binds" => self.binds = Some(line(input)?),
            "capacity" => self.capacity = Some(capacity(input)?),
            "on_fault" => self.on_fault = Some(on_fault(input)?),
            "shared" => self.shared = list(input)?,
            "local" => self.local = list(input)?,
            _ => self.name = Some(input.parse::<LitStr>()?.value()),
        }
        Ok(())
    }
}

fn priority(input: ParseStream) -> syn::Result<u8> {
    let number: LitInt = input.parse()?;
    match number.base10_parse::<u8>() {
        Ok(level @ 1..=3) => Ok(level),
        _ => Err(syn::Error::new(
            number.span(),
            format!(
                "priority {number} does not exist: there are 1 (lowest), 2 and 3, the local APIC's \
                 classes 0xC to 0xE; priority 0 would be the general-purpose OS, which is the idle task"
            ),
        )),
    }
}

fn capacity(input: ParseStream) -> syn::Result<Written<usize>> {
    let number: LitInt = input.parse()?;
    let value = number.base10_parse()?;
    if value == 0 {
        return Err(syn::Error::new(
            number.span(),
            "a capacity of 0 holds no message, `spawn` would always fail: give 1 or more",
        ));
    }
    Ok(Written {
        value,
        span: number.span(),
    })
}

fn on_fault(input: ParseStream) -> syn::Result<OnFault> {
    let word: Ident = input.parse()?;
    match word.to_string().as_str() {
        "restart" => Ok(OnFault::Restart),
        "degrade" => Ok(OnFault::Degrade),
        "stop_all" => Ok(OnFault::StopAll),
        other => Err(syn::Error::new(
            word.span(),
            format!(
                "`{other}` is no policy{}\nthere are: restart (the task starts afresh at its next \
                 release), degrade (it is stopped for good, the others go on), stop_all (no task is \
                 released any more)",
                meant(other, ["restart", "degrade", "stop_all"].into_iter())
            ),
        )),
    }
}

/// `pin(8)` or `pci(0x1234, 0x11e8)`.
fn line(input: ParseStream) -> syn::Result<Written<Line>> {
    const HOW: &str = "write `pin(8)` for a pin of the I/O APIC, or `pci(0x1234, 0x11e8)` (vendor and \
                       device number) for a PCI function";
    let word: Ident = input.parse()?;
    let refuse = |span: Span| syn::Error::new(span, format!("this names no interrupt line: {HOW}"));
    if word != "pin" && word != "pci" {
        return Err(refuse(word.span()));
    }
    let content;
    parenthesized!(content in input);
    let numbers = Punctuated::<LitInt, Token![,]>::parse_terminated(&content)
        .map_err(|error| refuse(error.span()))?;
    let numbers: Vec<&LitInt> = numbers.iter().collect();
    let value = match (word == "pin", numbers.as_slice()) {
        (true, [pin]) => Line::Pin(pin.base10_parse()?),
        (false, [vendor, device]) => Line::Pci {
            vendor: vendor.base10_parse()?,
            device: device.base10_parse()?,
        },
        _ => return Err(refuse(word.span())),
    };
    Ok(Written {
        value,
        span: word.span(),
    })
}

fn list<T: Parse>(input: ParseStream) -> syn::Result<Vec<T>> {
    let content;
    bracketed!(content in input);
    let entries = Punctuated::<T, Token![,]>::parse_terminated(&content)?;
    Ok(entries.into_iter().collect())
}

impl Parse for SharedUse {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let access = if input.parse::<Option<Token![&]>>()?.is_some() {
            Access::Read
        } else {
            Access::Exclusive
        };
        let name: Ident = input.parse()?;
        if input.peek(Token![:]) {
            return Err(syn::Error::new(
                name.span(),
                format!(
                    "declare `{name}` as a field of the struct marked `#[shared]`; here its name is enough"
                ),
            ));
        }
        Ok(Self {
            name,
            access,
            cfgs: cfgs(&attrs),
        })
    }
}

impl Parse for LocalUse {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let name: Ident = input.parse()?;
        let early = if input.parse::<Option<Token![:]>>()?.is_some() {
            let ty = input.parse()?;
            input.parse::<Token![=]>().map_err(|error| {
                syn::Error::new(
                    error.span(),
                    format!(
                        "`{name}` needs a first value: `{name}: Type = value`; a value that only `init` \
                         can make goes into the struct marked `#[local]`, and its name alone stands here"
                    ),
                )
            })?;
            Some((ty, input.parse()?))
        } else {
            None
        };
        Ok(Self {
            name,
            cfgs: cfgs(&attrs),
            early,
        })
    }
}

/// The words of `#[init(..)]`: `local` alone.
pub(super) struct InitArguments {
    pub(super) local: Vec<LocalUse>,
}

impl Parse for InitArguments {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let mut found = Self { local: Vec::new() };
        if input.is_empty() {
            return Ok(found);
        }
        let word: Ident = input.parse()?;
        if word != "local" {
            return Err(syn::Error::new(
                word.span(),
                format!(
                    "`{word}` is nothing that `init` declares: there is `local = [name: Type = value]`"
                ),
            ));
        }
        input.parse::<Token![=]>()?;
        found.local = list(input)?;
        input.parse::<Option<Token![,]>>()?;
        for local in &found.local {
            if local.early.is_none() {
                return Err(syn::Error::new(
                    local.name.span(),
                    format!(
                        "`init` makes the fields of the local struct and cannot be given one: write \
                         `{0}: Type = value` for a local of its own",
                        local.name
                    ),
                ));
            }
        }
        Ok(found)
    }
}
