//! What an application's `init` is given: the devices that are its tasks', each once.
//!
//! Which functions these are was decided before, from the application's table and the configuration
//! (`darma_policy::devices::claims`). The HPET is the application's if `init` takes it; the
//! nanokernel asks afterwards, and makes the GPOS's machine without one.
//!
//! Concurrency: made and used while the machine starts, interrupts off.

use core::fmt;

use darma_abi::units::HostPhys;
use darma_policy::devices::claims::{FunctionId, MAX_CLAIMS};
use darma_policy::devices::functions::FunctionFacts;
use darma_sched::TimeScale;

use crate::function::PciFunction;
use crate::hpet::{Hpet, HpetError};

/// The devices of an application.
#[derive(Debug)]
pub struct Devices {
    functions: [Option<FunctionFacts>; MAX_CLAIMS],
    hpet: Option<HostPhys>,
    hpet_taken: bool,
    scale: TimeScale,
    reach: u64,
}

/// The application does not own such a device, or has taken it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOwned {
    /// No function of this kind is left.
    Function {
        /// Whose.
        vendor: u16,
        /// What.
        device: u16,
    },
    /// The machine has no HPET, or it was taken.
    Hpet,
}

impl fmt::Display for NotOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { vendor, device } => {
                let id = FunctionId {
                    vendor: *vendor,
                    device: *device,
                };
                write!(
                    f,
                    "no PCI function {id} is left for init: bind a task to its interrupt, or hide it by gpos.hide"
                )
            }
            Self::Hpet => write!(f, "the machine has no HPET, or init has taken it already"),
        }
    }
}

impl Devices {
    /// The devices of the application.
    ///
    /// # Safety
    /// The GPOS never reaches any of `functions`, which were taken over, and nobody else drives them
    /// (invariant `DEVICE-OWNER`). An HPET's registers lie at `hpet`, and the GPOS does not reach
    /// them once [`Devices::hpet_is_taken`]. The value lives while the machine starts, interrupts
    /// off (invariant `BOOT-ONCE`). The identity map ends at `reach`.
    pub unsafe fn new(
        functions: &[FunctionFacts],
        hpet: Option<HostPhys>,
        scale: TimeScale,
        reach: u64,
    ) -> Self {
        let mut all = [None; MAX_CLAIMS];
        for (place, facts) in all.iter_mut().zip(functions) {
            *place = Some(*facts);
        }
        Self {
            functions: all,
            hpet,
            hpet_taken: false,
            scale,
            reach,
        }
    }

    /// No devices: for an application on a host, where its tests run.
    pub const fn none(scale: TimeScale) -> Self {
        Self {
            functions: [None; MAX_CLAIMS],
            hpet: None,
            hpet_taken: false,
            scale,
            reach: 0,
        }
    }

    /// Takes a function that is the application's: bound to a task, or hidden by `gpos.hide`. Of
    /// several of a kind the next, in the order of the bus.
    ///
    /// # Errors
    /// [`NotOwned`].
    pub fn function(&mut self, vendor: u16, device: u16) -> Result<PciFunction<'_>, NotOwned> {
        let is_it = |facts: &mut FunctionFacts| (facts.vendor, facts.device) == (vendor, device);
        let mut functions = self.functions.iter_mut();
        let found = functions.find_map(|place| place.take_if(is_it));
        let facts = found.ok_or(NotOwned::Function { vendor, device })?;
        // SAFETY: DEVICE-OWNER, promised at `new`; it was taken out of the list. The borrow of `self`
        // and the type keep it in `init`.
        Ok(unsafe { PciFunction::new(facts, self.reach) })
    }

    /// Takes the high-precision event timer, stopped; the GPOS will not have one.
    ///
    /// # Errors
    /// [`NotOwned`].
    pub fn hpet(&mut self) -> Result<Hpet, HpetError> {
        let base = self.hpet.filter(|_| !self.hpet_taken);
        let base = base.ok_or(HpetError::NotOwned(NotOwned::Hpet))?;
        self.hpet_taken = true;
        // SAFETY: DEVICE-OWNER, promised at `new`; taken once.
        unsafe { Hpet::new(base, self.scale) }
    }

    /// Whether the HPET is the application's now.
    pub const fn hpet_is_taken(&self) -> bool {
        self.hpet_taken
    }

    /// The time-stamp counter's scale.
    pub const fn time_scale(&self) -> TimeScale {
        self.scale
    }
}
