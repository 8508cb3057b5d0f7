//! Walks the entries of the MADT: processors and interrupt controllers (ACPI 5.2.12).

use super::tables::{HEADER_SIZE, Table};
use super::{AcpiError, MADT, PhysicalMemory};
use crate::fields::{array_at, offset64, u8_at, u16_at, u32_at, u64_at};

/// Where the entries begin: behind the header, the local APIC's address and the flags.
pub const ENTRIES_OFFSET: usize = HEADER_SIZE + 8;

/// The longest entry that has a meaning here.
pub const MAX_ENTRY: usize = 16;

/// An entry, with what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadtEntry {
    /// Its bytes, type and length first; valid up to its length.
    bytes: [u8; MAX_ENTRY],
    length: usize,
    /// What it says.
    pub meaning: Meaning,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A processor's local APIC: id and flags (bit 0: enabled).
    LocalApic {
        /// The APIC id.
        id: u32,
        /// Flags.
        flags: u32,
    },
    /// An I/O APIC.
    IoApic {
        /// Its id.
        id: u8,
        /// Where its registers are.
        address: u32,
        /// Its first pin's global interrupt number.
        gsi_base: u32,
    },
    /// An ISA interrupt that does not come in on the pin of its number, or not in the ISA way.
    Override {
        /// The ISA interrupt.
        irq: u8,
        /// The global interrupt that it is.
        gsi: u32,
        /// Polarity (bits 1:0) and trigger (bits 3:2), as in the MPS.
        flags: u16,
    },
    /// The local interrupt pin that NMI comes in on.
    LocalNmi,
    /// The local APIC's 64-bit address.
    LocalApicAddress(u64),
    /// Nothing that matters here.
    Other,
}

impl MadtEntry {
    /// The entry as it stands in the table; entries too long to matter are cut.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn parse(bytes: [u8; MAX_ENTRY], length: usize) -> Self {
        let meaning = Meaning::parse(bytes.get(..length).unwrap_or_default());
        Self {
            bytes,
            length,
            meaning: meaning.unwrap_or(Meaning::Other),
        }
    }
}

impl Meaning {
    fn parse(entry: &[u8]) -> Option<Self> {
        Some(match (u8_at(entry, 0)?, entry.len()) {
            (0, 8) => Self::LocalApic {
                id: u8_at(entry, 3)?.into(),
                flags: u32_at(entry, 4)?,
            },
            (9, 16) => Self::LocalApic {
                id: u32_at(entry, 4)?,
                flags: u32_at(entry, 8)?,
            },
            (1, 12) => Self::IoApic {
                id: u8_at(entry, 2)?,
                address: u32_at(entry, 4)?,
                gsi_base: u32_at(entry, 8)?,
            },
            (2, 10) => Self::Override {
                irq: u8_at(entry, 3)?,
                gsi: u32_at(entry, 4)?,
                flags: u16_at(entry, 8)?,
            },
            (4, 6) | (10, 12) => Self::LocalNmi,
            (5, 12) => Self::LocalApicAddress(u64_at(entry, 4)?),
            _ => Self::Other,
        })
    }
}

/// Calls `visit` with each entry of the MADT `table`; returns the table's local APIC address.
///
/// # Errors
/// An entry has no length or ends behind the table, or `visit` says so.
pub fn visit_entries(
    memory: &dyn PhysicalMemory,
    table: Table,
    visit: &mut dyn FnMut(&MadtEntry) -> Result<(), AcpiError>,
) -> Result<u32, AcpiError> {
    let damaged = AcpiError::Damaged(MADT);
    let read = |at: u64, buffer: &mut [u8]| {
        let address = table.address.checked_add(at).ok_or(damaged)?;
        if memory.read(address, buffer) {
            Ok(())
        } else {
            Err(damaged)
        }
    };
    let mut fixed = [0; 4];
    read(offset64(HEADER_SIZE), &mut fixed)?;

    let end = u64::from(table.length);
    let mut at = offset64(ENTRIES_OFFSET);
    // Each entry has at least its two bytes of type and length, so this ends.
    while at + 2 <= end {
        let mut head = [0; 2];
        read(at, &mut head)?;
        let [_, length] = head;
        let next = at + u64::from(length);
        if length < 2 || next > end {
            return Err(damaged);
        }
        let mut bytes = [0; MAX_ENTRY];
        let length = usize::from(length).min(MAX_ENTRY);
        read(at, bytes.get_mut(..length).ok_or(damaged)?)?;
        visit(&MadtEntry::parse(bytes, length))?;
        at = next;
    }
    Ok(array_at(&fixed, 0).map_or(0, u32::from_le_bytes))
}
