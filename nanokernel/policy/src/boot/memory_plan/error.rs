//! Why memory cannot be divided, in words that say what to do about it.

use core::fmt;

use super::super::e820::{self, TooManyEntries};
use super::super::span::Span;

/// Why memory cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// The firmware's map, or what is made of it, has too many entries.
    TooManyEntries,
    /// Something that the boot loader placed does not lie in free RAM.
    NotInRam {
        /// What.
        what: &'static str,
        /// Where.
        span: Span,
    },
    /// No free place for something below the nanokernel's reach.
    NoPlace {
        /// What, with the key that sets its size.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The machine's RAM in bytes.
        ram: u64,
    },
    /// The GPOS would get too little.
    TooLittleRam {
        /// What it should have, in bytes.
        needed: u64,
        /// What is left for it, in bytes.
        left: u64,
        /// The machine's RAM in bytes.
        ram: u64,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        match *self {
            Self::TooManyEntries => write!(
                f,
                "memory: the firmware's map gives more than {} entries: turn off unused firmware features",
                e820::MAX_ENTRIES
            ),
            Self::NotInRam { what, span } => write!(
                f,
                "memory: the {what} at {span} is not in free RAM by the firmware's map: start it with a boot loader that honours the map"
            ),
            Self::NoPlace { what, size, ram } => write!(
                f,
                "memory: no room for {what} of {} MiB in {} MiB of RAM: make it smaller or give the machine more memory",
                size.div_ceil(MIB),
                ram / MIB
            ),
            Self::TooLittleRam { needed, left, ram } => write!(
                f,
                "memory: the GPOS needs {} MiB but {} of {} MiB are left: give the machine {} MiB more, or lower gpos.memory or dump.size",
                needed.div_ceil(MIB),
                left / MIB,
                ram / MIB,
                needed.saturating_sub(left).div_ceil(MIB)
            ),
        }
    }
}

impl core::error::Error for PlanError {}

impl From<TooManyEntries> for PlanError {
    fn from(_: TooManyEntries) -> Self {
        Self::TooManyEntries
    }
}
