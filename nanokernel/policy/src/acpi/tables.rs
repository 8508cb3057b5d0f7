//! Finds the firmware's tables: from the root pointer over the root table to each one.
//!
//! A table is believed only as far as its header, length and sum go; whether a damaged one matters is
//! for its user to say, so it is listed with [`Table::is_sound`] false. The tables stay where they
//! are: nothing is copied, and sums are taken over small pieces.

use heapless::Vec;

use super::{AcpiError, DSDT, FACS, FADT, PhysicalMemory, Signature};
use crate::fields::{array_at, offset64, u8_at, u32_at, u64_at};

/// A table in the firmware's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub signature: Signature,
    /// Where it lies.
    pub address: u64,
    /// Its size in bytes, header included.
    pub length: u32,
    /// Whether its sum is right.
    pub is_sound: bool,
}

/// The size of the header that all tables but the FACS begin with.
pub const HEADER_SIZE: usize = 36;

/// The most tables that a root table may name.
pub const MAX_TABLES: usize = 64;

/// No known table is larger; a larger one is a wrong length.
const MAX_LENGTH: u32 = 4 << 20;

/// The firmware's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareTables {
    /// The manufacturer's name in the root pointer.
    pub oem: [u8; 6],
    /// What the root table names, in its order.
    pub listed: Vec<Table, MAX_TABLES>,
    /// The AML that the FADT names.
    pub dsdt: Table,
    /// The control structure that the FADT names; firmware without sleep states has none.
    pub facs: Option<Table>,
}

const RSDP_SIZE: usize = 36;
const RSDP_V1_SIZE: usize = 20;

/// Looks for the root pointer where a BIOS puts it (ACPI 5.2.5.1): the first KiB of the extended BIOS
/// data area, then 0xe0000 to 0xfffff. For a boot loader that does not pass its address.
pub fn find_rsdp(memory: &dyn PhysicalMemory) -> Option<u64> {
    let mut segment = [0; 2];
    let ebda = memory
        .read(0x40e, &mut segment)
        .then(|| u64::from(u16::from_le_bytes(segment)) << 4);
    let ebda = ebda.unwrap_or(0)..ebda.map_or(0, |base| base + 1024);
    let areas = ebda.step_by(16).chain((0xe_0000..0x10_0000).step_by(16));
    areas
        .into_iter()
        .find(|&address| read_rsdp(memory, address).is_some())
}

/// The root pointer at `address`, or `None` if there is no valid one.
fn read_rsdp(memory: &dyn PhysicalMemory, address: u64) -> Option<[u8; RSDP_SIZE]> {
    let mut signature = [0; 8];
    if !memory.read(address, &mut signature) || signature != *b"RSD PTR " {
        return None;
    }
    let mut rsdp = [0; RSDP_SIZE];
    memory
        .read(address, rsdp.get_mut(..RSDP_V1_SIZE)?)
        .then_some(())?;
    if sum(&rsdp) != 0 {
        return None;
    }
    if u8_at(&rsdp, 15)? >= 2 {
        memory.read(address, &mut rsdp).then_some(())?;
        if sum(&rsdp) != 0 {
            return None;
        }
    }
    Some(rsdp)
}

impl FirmwareTables {
    /// Reads the tables that the root pointer at `rsdp` leads to.
    ///
    /// # Errors
    /// The root pointer, the root table, the FADT or the DSDT is missing or damaged.
    pub fn read(memory: &dyn PhysicalMemory, rsdp: u64) -> Result<Self, AcpiError> {
        let pointer = read_rsdp(memory, rsdp).ok_or(AcpiError::NoRsdp(rsdp))?;
        // An old root pointer has zeroes where the address of the XSDT would be.
        let (root, entry_size) = match u64_at(&pointer, 24).unwrap_or(0) {
            0 => (u64::from(u32_at(&pointer, 16).unwrap_or(0)), 4),
            xsdt => (xsdt, 8),
        };
        let listed = read_root(memory, root, entry_size).ok_or(AcpiError::BadRoot(root))?;

        let fadt = required(&listed, FADT)?;
        let fields = Fadt::read(memory, fadt)?;
        let dsdt = fields.dsdt();
        let dsdt = read_table(memory, dsdt).filter(|table| table.signature == DSDT);
        let dsdt = dsdt.ok_or(AcpiError::Missing(DSDT))?;
        if !dsdt.is_sound {
            return Err(AcpiError::Damaged(DSDT));
        }
        let facs = read_facs(memory, fields.facs());
        let oem = array_at(&pointer, 9).unwrap_or_default();
        Ok(Self {
            oem,
            listed,
            dsdt,
            facs,
        })
    }

    /// The first sound table of that name, which must be there.
    ///
    /// # Errors
    /// There is none, or only a damaged one.
    pub fn required(&self, signature: Signature) -> Result<Table, AcpiError> {
        required(&self.listed, signature)
    }

    /// The first sound table of that name, if there is one.
    pub fn optional(&self, signature: Signature) -> Option<Table> {
        self.required(signature).ok()
    }
}

fn required(listed: &[Table], signature: Signature) -> Result<Table, AcpiError> {
    let mut named = listed
        .iter()
        .filter(|table| table.signature == signature)
        .peekable();
    named.peek().ok_or(AcpiError::Missing(signature))?;
    named
        .find(|table| table.is_sound)
        .copied()
        .ok_or(AcpiError::Damaged(signature))
}

fn read_root(
    memory: &dyn PhysicalMemory,
    address: u64,
    entry_size: u8,
) -> Option<Vec<Table, MAX_TABLES>> {
    let root = read_table(memory, address).filter(|root| root.is_sound)?;
    let expected = if entry_size == 8 { *b"XSDT" } else { *b"RSDT" };
    if root.signature.0 != expected {
        return None;
    }
    let mut listed = Vec::new();
    let entries =
        u64::from(root.length).checked_sub(offset64(HEADER_SIZE))? / u64::from(entry_size);
    for index in 0..entries {
        let mut entry = [0; 8];
        let at = address + offset64(HEADER_SIZE) + index * u64::from(entry_size);
        memory
            .read(at, entry.get_mut(..usize::from(entry_size))?)
            .then_some(())?;
        // An entry that leads nowhere is the firmware's slip; the others still count.
        let Some(table) = read_table(memory, u64::from_le_bytes(entry)) else {
            continue;
        };
        listed.push(table).ok()?;
    }
    Some(listed)
}

/// The table at `address`, or `None` if there is no readable header with a possible length.
fn read_table(memory: &dyn PhysicalMemory, address: u64) -> Option<Table> {
    let mut header = [0; HEADER_SIZE];
    if address == 0 || !memory.read(address, &mut header) {
        return None;
    }
    let length = u32_at(&header, 4)?;
    address.checked_add(u64::from(length))?;
    if !(36..=MAX_LENGTH).contains(&length) {
        return None;
    }
    let is_sound = sum_in_memory(memory, address, length) == Some(0);
    Some(Table {
        signature: Signature(array_at(&header, 0)?),
        address,
        length,
        is_sound,
    })
}

/// The control structure has a header of its own, without a sum (ACPI 5.2.10).
fn read_facs(memory: &dyn PhysicalMemory, address: u64) -> Option<Table> {
    let mut header = [0; 8];
    if address == 0 || !memory.read(address, &mut header) {
        return None;
    }
    let length = u32_at(&header, 4)?;
    let signature = Signature(array_at(&header, 0)?);
    let fits = signature == FACS && (64..=4096).contains(&length);
    fits.then_some(Table {
        signature,
        address,
        length,
        is_sound: true,
    })
}

fn sum_in_memory(memory: &dyn PhysicalMemory, address: u64, length: u32) -> Option<u8> {
    let mut total = 0u8;
    for from in (0..length).step_by(256) {
        let mut piece = [0; 256];
        let piece = piece.get_mut(..usize::try_from(length - from).ok()?.min(256))?;
        memory
            .read(address.checked_add(u64::from(from))?, piece)
            .then_some(())?;
        total = total.wrapping_add(sum(piece));
    }
    Some(total)
}

/// The sum that is zero over a whole table.
pub fn sum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |total, &byte| total.wrapping_add(byte))
}

/// A FADT with zeroes where a short, old one ends: for every field used here, zero means "none".
#[derive(Clone, Copy, Debug)]
pub struct Fadt(pub [u8; Fadt::SIZE]);

impl Fadt {
    /// The size of a FADT of ACPI 6.4 (5.2.9).
    pub const SIZE: usize = 276;

    /// Reads the FADT that `table` is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(memory: &dyn PhysicalMemory, table: Table) -> Result<Self, AcpiError> {
        let mut fadt = [0; Self::SIZE];
        let length = usize::try_from(table.length)
            .unwrap_or(Self::SIZE)
            .min(Self::SIZE);
        let damaged = AcpiError::Damaged(FADT);
        let part = fadt.get_mut(..length).ok_or(damaged)?;
        if memory.read(table.address, part) {
            Ok(Self(fadt))
        } else {
            Err(damaged)
        }
    }

    /// The 8-bit field at `offset`.
    pub fn byte(&self, offset: usize) -> u8 {
        u8_at(&self.0, offset).unwrap_or(0)
    }

    /// The 32-bit field at `offset`.
    pub fn word(&self, offset: usize) -> u32 {
        u32_at(&self.0, offset).unwrap_or(0)
    }

    /// The 64-bit field at `offset`.
    pub fn quad(&self, offset: usize) -> u64 {
        u64_at(&self.0, offset).unwrap_or(0)
    }

    /// The address of the DSDT: X_DSDT, else DSDT.
    fn dsdt(&self) -> u64 {
        match self.quad(140) {
            0 => u64::from(self.word(40)),
            address => address,
        }
    }

    /// The address of the FACS: X_FIRMWARE_CTRL, else FIRMWARE_CTRL.
    fn facs(&self) -> u64 {
        match self.quad(132) {
            0 => u64::from(self.word(36)),
            address => address,
        }
    }
}
