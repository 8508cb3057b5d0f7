//! Reads the firmware's ACPI tables and makes the ones that the GPOS is given.
//!
//! The nanokernel needs a few facts of them (ports, interrupt routing: [`facts`]); the GPOS needs
//! tables that describe only what it owns ([`gpos_tables`]). Both start from [`tables`], which finds
//! and checks the firmware's. Firmware is trusted not to be hostile, but it is often wrong: every
//! length is checked, every table's sum too, and a damaged table that is not needed is only left out.
//!
//! All this happens once, before the GPOS first runs: later the firmware's memory may have been
//! written by the GPOS. What a reload gives to the GPOS is a copy made then.
//!
//! AML is copied, never interpreted. Source: ACPI Specification 6.4, chapter 5.

pub mod facts;
pub mod gpos_tables;
pub mod madt;
pub mod sleep;
pub mod tables;

use core::fmt;

/// Reads physical memory: at boot the edge's mapping, in tests an array.
pub trait PhysicalMemory {
    /// Fills `buffer` from `address` on. False, with the buffer in any state, if it cannot.
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool;
}

/// A table's four-letter name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; 4]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            write!(
                f,
                "{}",
                char::from(if byte.is_ascii_graphic() { byte } else { b'?' })
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The differentiated system description table: most of the AML.
pub const DSDT: Signature = Signature(*b"DSDT");
/// The fixed ACPI description table: the registers.
pub const FADT: Signature = Signature(*b"FACP");
/// The firmware ACPI control structure: the global lock and the waking vector.
pub const FACS: Signature = Signature(*b"FACS");
/// The high precision event timer.
pub const HPET: Signature = Signature(*b"HPET");
/// The multiple APIC description table: processors and interrupt controllers.
pub const MADT: Signature = Signature(*b"APIC");
/// The memory-mapped PCI configuration space.
pub const MCFG: Signature = Signature(*b"MCFG");
/// More AML.
pub const SSDT: Signature = Signature(*b"SSDT");
/// Which hardware quirks an emulated machine does not have.
pub const WAET: Signature = Signature(*b"WAET");

/// Why the firmware's tables cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// There is no root pointer at the address given, or its sum is wrong.
    NoRsdp(u64),
    /// The root table is not there or is damaged.
    BadRoot(u64),
    /// A table that must be there is not.
    Missing(Signature),
    /// A table that must be right has a wrong sum or length, or an entry that makes no sense.
    Damaged(Signature),
    /// The boot processor's local APIC, by its id, is not in the MADT.
    NoBootProcessor(u32),
    /// The GPOS's tables do not fit; sizes in bytes.
    NoRoom {
        /// What they need.
        needed: u64,
        /// What there is.
        room: u64,
    },
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoRsdp(address) => write!(
                f,
                "ACPI: no valid root pointer at {address:#x}: turn ACPI on in the firmware"
            ),
            Self::BadRoot(address) => write!(
                f,
                "ACPI: no valid root table at {address:#x}: update the machine's firmware"
            ),
            Self::Missing(signature) => write!(
                f,
                "ACPI: the firmware has no table {signature}: turn ACPI on in the firmware"
            ),
            Self::Damaged(signature) => write!(
                f,
                "ACPI: the firmware's table {signature} is damaged: update the machine's firmware"
            ),
            Self::NoBootProcessor(id) => write!(
                f,
                "ACPI: the firmware's table APIC does not name the boot processor, local APIC {id}: update the machine's firmware"
            ),
            Self::NoRoom { needed, room } => write!(
                f,
                "ACPI: the GPOS's tables need {needed} bytes, there is room for {room}: turn off unused devices in the firmware"
            ),
        }
    }
}

impl core::error::Error for AcpiError {}

#[cfg(test)]
mod tests;
