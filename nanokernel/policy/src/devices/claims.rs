//! What the real-time tasks own: the functions and pins that an application's table asks for.
//!
//! A claim is judged once, at start-up, before the GPOS exists, and holds for as long as the machine
//! runs. What is granted is treated like a function that the configuration hides: absent from
//! configuration space, its registers protected and unmapped, its ports intercepted
//! ([`super::pci_config`]). Besides that, a claim is refused where the GPOS could reach the function
//! by another way than its own registers:
//!
//! - behind a bridge, whose decoding, power state and link are the GPOS's;
//! - where another owner's registers lie on the same page, since pages are what nested paging
//!   hides;
//! - where interrupts could come by a wire only: the GPOS's functions hang on the same four.
//!
//! Of the I/O APIC's pins the first sixteen are the legacy devices', the firmware's overrides and
//! the system control interrupt's; tasks may have the others.
//!
//! Invariant: a granted function is granted once.

use core::fmt;

use heapless::Vec;

use super::functions::{Bdf, FunctionFacts, Functions, Header};
use super::ranges::Span;

/// How many functions and how many pins an application may have. Its tasks are at most as many.
pub const MAX_CLAIMS: usize = 16;
/// The first pin that is not a legacy device's.
pub const FIRST_FREE_PIN: u8 = 16;

/// What a function is, as its first configuration register says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId {
    /// Whose.
    pub vendor: u16,
    /// What.
    pub device: u16,
}

impl FunctionId {
    fn is(self, facts: &FunctionFacts) -> bool {
        (facts.vendor, facts.device) == (self.vendor, self.device)
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// Why a task cannot have what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// The machine has no such function.
    Absent(FunctionId),
    /// Each function of this kind has another owner already.
    Taken(FunctionId),
    /// It belongs to the machine and not to a driver.
    ChipSet(Bdf),
    /// The GPOS drives the bridge before it.
    BehindBridge(Bdf),
    /// It has neither MSI nor MSI-X.
    NoMessage(Bdf),
    /// Its MSI-X table lies outside of its memory, or that was not placed.
    NoTable(Bdf),
    /// A page holds registers of both.
    SharesPage(Bdf, Bdf),
    /// The I/O APIC ends before this pin.
    PinAbsent {
        /// The pin.
        pin: u8,
        /// How many there are.
        pins: u8,
    },
    /// A legacy device's pin.
    PinLegacy(u8),
    /// Another task's pin.
    PinTaken(u8),
    /// More than [`MAX_CLAIMS`].
    TooMany,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(id) => write!(
                f,
                "this machine has no PCI function {id}: add it, or take the task out of the application"
            ),
            Self::Taken(id) => write!(
                f,
                "every PCI function {id} of this machine is another task's already: one task can have it"
            ),
            Self::ChipSet(bdf) => write!(
                f,
                "PCI function {bdf} belongs to the chip set and can be no task's"
            ),
            Self::BehindBridge(bdf) => write!(
                f,
                "PCI function {bdf} is behind a bridge, which the GPOS drives: move it to bus 0"
            ),
            Self::NoMessage(bdf) => write!(
                f,
                "PCI function {bdf} has neither MSI nor MSI-X: its interrupt's wire is shared with the GPOS"
            ),
            Self::NoTable(bdf) => write!(
                f,
                "the MSI-X table of PCI function {bdf} is nowhere in its memory: update the firmware"
            ),
            Self::SharesPage(bdf, other) => write!(
                f,
                "PCI functions {bdf} and {other} have registers on one page: hide {other} by gpos.hide, or move one"
            ),
            Self::PinAbsent { pin, pins } => {
                write!(
                    f,
                    "the I/O APIC has no pin {pin}, its pins are 0 to {}",
                    pins.saturating_sub(1)
                )
            }
            Self::PinLegacy(pin) => write!(
                f,
                "pin {pin} of the I/O APIC is a legacy device's: tasks have {FIRST_FREE_PIN} and above"
            ),
            Self::PinTaken(pin) => {
                write!(
                    f,
                    "pin {pin} of the I/O APIC is another task's already: one task can have it"
                )
            }
            Self::TooMany => write!(
                f,
                "the application asks for more than {MAX_CLAIMS} PCI functions, those in gpos.hide included"
            ),
        }
    }
}

/// The functions and pins that are not the GPOS's.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    functions: Vec<FunctionFacts, MAX_CLAIMS>,
    bound: Vec<Bdf, MAX_CLAIMS>,
    pins: u64,
}

impl Claims {
    /// Nothing but what the configuration hides, which an application may use without an interrupt.
    /// A hidden function that the machine does not have is left to
    /// [`PciConfig::new`](super::pci_config::PciConfig::new) to name.
    ///
    /// # Errors
    /// [`ClaimError::TooMany`].
    pub fn new(functions: &Functions, hidden: &[Bdf]) -> Result<Self, ClaimError> {
        let mut claims = Self::default();
        for facts in functions.iter().filter(|facts| hidden.contains(&facts.bdf)) {
            claims
                .functions
                .push(*facts)
                .map_err(|_| ClaimError::TooMany)?;
        }
        Ok(claims)
    }

    /// Grants a task the next function of this kind, in the order of the bus.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing is granted then.
    pub fn function(
        &mut self,
        functions: &Functions,
        id: FunctionId,
    ) -> Result<FunctionFacts, ClaimError> {
        let mut found = functions.iter().filter(|facts| id.is(facts)).peekable();
        found.peek().ok_or(ClaimError::Absent(id))?;
        let facts = found
            .find(|facts| !self.bound.contains(&facts.bdf))
            .ok_or(ClaimError::Taken(id))?;
        let bdf = facts.bdf;
        if facts.is_chip_set() || facts.header != Header::Endpoint {
            return Err(ClaimError::ChipSet(bdf));
        }
        if bdf.bus() != 0 {
            return Err(ClaimError::BehindBridge(bdf));
        }
        match (facts.capabilities.msi, facts.capabilities.msix) {
            (Some(_), _) => {}
            (None, Some(msix)) if facts.holds(msix) => {}
            (None, Some(_)) => return Err(ClaimError::NoTable(bdf)),
            (None, None) => return Err(ClaimError::NoMessage(bdf)),
        }
        let known = self.owns(bdf);
        let others = functions
            .iter()
            .filter(|other| other.bdf != bdf && !self.owns(other.bdf));
        for other in others {
            if shares_page(facts, other) {
                return Err(ClaimError::SharesPage(bdf, other.bdf));
            }
        }
        if !known {
            self.functions
                .push(*facts)
                .map_err(|_| ClaimError::TooMany)?;
        }
        self.bound.push(bdf).map_err(|_| ClaimError::TooMany)?;
        Ok(*facts)
    }

    /// Grants a task a pin of an I/O APIC that has `pins` of them.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing is granted then.
    pub fn pin(&mut self, pin: u8, pins: u8) -> Result<(), ClaimError> {
        if pin >= pins.min(64) {
            return Err(ClaimError::PinAbsent { pin, pins });
        }
        if pin < FIRST_FREE_PIN {
            return Err(ClaimError::PinLegacy(pin));
        }
        let bit = 1 << pin;
        if self.pins & bit != 0 {
            return Err(ClaimError::PinTaken(pin));
        }
        self.pins |= bit;
        Ok(())
    }

    /// The functions that are not the GPOS's.
    pub fn functions(&self) -> &[FunctionFacts] {
        &self.functions
    }

    /// The tasks' pins, pin 0 in bit 0.
    pub const fn pins(&self) -> u64 {
        self.pins
    }

    fn owns(&self, bdf: Bdf) -> bool {
        self.functions.iter().any(|facts| facts.bdf == bdf)
    }
}

/// Whether a page holds registers of both. What a bridge forwards counts too, so a function on bus 0
/// inside of a bridge's window is refused as well.
fn shares_page(one: &FunctionFacts, other: &FunctionFacts) -> bool {
    let pages = |span: Span| Span::between(span.first() & !0xfff, span.last() | 0xfff);
    one.memory().filter_map(pages).any(|mine| {
        other
            .memory()
            .filter_map(pages)
            .any(|theirs| theirs.overlaps(mine))
    })
}
