//! Makes the ACPI tables that the GPOS is given.
//!
//! By an allowlist: a table that is not known to describe only what the GPOS owns is left out.
//!
//! | table | what happens |
//! |---|---|
//! | RSDP, XSDT | made anew, naming what follows |
//! | DSDT, SSDT, WAET | copied |
//! | MCFG | copied: the mapping traps, and is filtered as the ports are |
//! | FACS | copied: the GPOS writes to it, and the firmware's must stay as it is |
//! | FADT | copied; no SMI command port, as the nanokernel has switched ACPI mode on already; names the copies |
//! | MADT | made anew: one processor, the I/O APICs, overrides, the local NMI pin |
//! | HPET | copied if the GPOS is to have the HPET |
//! | others | dropped: IOMMU, NUMA and hot-plug tables above all |
//!
//! Everything lies in one block of memory, RSDP first. Invariant, tested: every sum in it is right
//! and every address in it leads into it.

use heapless::Vec;

use super::madt::{ENTRIES_OFFSET, Meaning, visit_entries};
use super::tables::{Fadt, FirmwareTables, HEADER_SIZE, MAX_TABLES, Table, sum};
use super::{AcpiError, DSDT, FACS, FADT, HPET, MADT, MCFG, PhysicalMemory, SSDT, Signature, WAET};
use crate::fields::{offset64, put};

/// What became of a firmware table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The GPOS has a copy.
    Kept,
    /// The GPOS has one that says less.
    Edited,
    /// The GPOS does not have it.
    Dropped,
    /// Its sum is wrong, so the GPOS does not have it.
    Damaged,
}

/// Whether the GPOS gets the HPET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpetUse {
    /// The GPOS drives it.
    Gpos,
    /// The GPOS does not learn of it.
    Hidden,
}

/// What became of each firmware table, for the boot log.
pub type Audit = Vec<(Signature, Verdict), { MAX_TABLES + 2 }>;

/// What the tables are made for.
#[derive(Clone, Copy, Debug)]
pub struct GposMachine {
    /// The local APIC id of the only processor that the GPOS has.
    pub boot_apic_id: u32,
    /// Whether it has the HPET.
    pub hpet: HpetUse,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GposTables {
    /// How many bytes of the buffer were used.
    pub size: usize,
    /// What became of each firmware table.
    pub audit: Audit,
}

const RSDP_SIZE: usize = 36;
const XSDT_OFFSET: usize = 64;
/// The FACS asks for it (ACPI 5.2.10); the others are content with less.
const ALIGNMENT: usize = 64;

/// The most bytes that [`build`] uses: what to reserve in the GPOS's memory.
pub fn size_bound(firmware: &FirmwareTables, machine: GposMachine) -> u64 {
    let slot = |table: &Table| {
        u64::from(table.length)
            .checked_next_multiple_of(offset64(ALIGNMENT))
            .unwrap_or(u64::MAX)
    };
    let listed = firmware
        .listed
        .iter()
        .filter(|table| verdict(table, machine).is_given());
    let tables = listed.chain([&firmware.dsdt]).chain(&firmware.facs);
    let head = offset64(XSDT_OFFSET + HEADER_SIZE + 8 * firmware.listed.len() + ALIGNMENT);
    tables.map(slot).fold(head, u64::saturating_add)
}

/// Builds the tables in `buffer`, which the GPOS will find at `base`, a page's address below 4 GiB.
///
/// # Errors
/// A table that must be there is missing or damaged, the MADT does not name the GPOS's processor, or
/// the buffer has fewer bytes than [`size_bound`]. The buffer's contents are then unfit for use.
pub fn build(
    memory: &dyn PhysicalMemory,
    firmware: &FirmwareTables,
    machine: GposMachine,
    base: u64,
    buffer: &mut [u8],
) -> Result<GposTables, AcpiError> {
    let (needed, room) = (size_bound(firmware, machine), offset64(buffer.len()));
    if room < needed || base.checked_add(needed).is_none_or(|end| end > 1 << 32) {
        return Err(AcpiError::NoRoom { needed, room });
    }
    firmware.required(FADT)?;
    firmware.required(MADT)?;
    buffer.fill(0);
    let listed = firmware.listed.len();
    let mut block = Block {
        memory,
        buffer,
        base,
        used: XSDT_OFFSET + HEADER_SIZE + 8 * listed,
    };
    let mut audit = Audit::new();
    let mut note = |signature, verdict| {
        // There is room for every listed table and the two others.
        let _ = audit.push((signature, verdict));
    };

    let mut addresses = Vec::<u64, MAX_TABLES>::new();
    let dsdt = block.copy(firmware.dsdt)?;
    note(DSDT, Verdict::Kept);
    let facs = match firmware.facs {
        Some(facs) => {
            note(FACS, Verdict::Kept);
            block.copy(facs)?
        }
        None => 0,
    };
    for table in &firmware.listed {
        let verdict = verdict(table, machine);
        note(table.signature, verdict);
        if !verdict.is_given() {
            continue;
        }
        let address = match table.signature {
            MADT => block.write_madt(*table, machine.boot_apic_id)?,
            FADT => block.write_fadt(*table, dsdt, facs)?,
            _ => block.copy(*table)?,
        };
        addresses
            .push(address)
            .map_err(|_| AcpiError::Damaged(table.signature))?;
    }
    block
        .write_root(firmware, &addresses)
        .ok_or(AcpiError::NoRoom { needed, room })?;
    Ok(GposTables {
        size: block.used,
        audit,
    })
}

impl Verdict {
    const fn is_given(self) -> bool {
        matches!(self, Self::Kept | Self::Edited)
    }
}

fn verdict(table: &Table, machine: GposMachine) -> Verdict {
    match table.signature {
        _ if !table.is_sound => Verdict::Damaged,
        FADT | MADT => Verdict::Edited,
        SSDT | WAET | MCFG => Verdict::Kept,
        HPET if machine.hpet == HpetUse::Gpos => Verdict::Kept,
        _ => Verdict::Dropped,
    }
}

/// The block of memory under construction.
struct Block<'a> {
    memory: &'a dyn PhysicalMemory,
    buffer: &'a mut [u8],
    base: u64,
    used: usize,
}

impl Block<'_> {
    fn no_room(&self) -> AcpiError {
        AcpiError::NoRoom {
            needed: offset64(self.used),
            room: offset64(self.buffer.len()),
        }
    }

    /// Opens a slot of `length` bytes: its offset.
    fn open(&mut self, length: usize) -> Result<usize, AcpiError> {
        let at = self.used.next_multiple_of(ALIGNMENT);
        let end = at
            .checked_add(length)
            .filter(|&end| end <= self.buffer.len());
        self.used = end.ok_or_else(|| self.no_room())?;
        Ok(at)
    }

    fn slot(&mut self, at: usize, length: usize) -> &mut [u8] {
        self.buffer
            .get_mut(at..at.saturating_add(length))
            .unwrap_or_default()
    }

    fn address(&self, at: usize) -> u64 {
        self.base + offset64(at)
    }

    /// Copies `table` as it is: where the copy lies.
    fn copy(&mut self, table: Table) -> Result<u64, AcpiError> {
        let length = usize::try_from(table.length).unwrap_or(usize::MAX);
        let at = self.open(length)?;
        let memory = self.memory;
        if !memory.read(table.address, self.slot(at, length)) {
            return Err(AcpiError::Damaged(table.signature));
        }
        Ok(self.address(at))
    }

    fn write_fadt(&mut self, table: Table, dsdt: u64, facs: u64) -> Result<u64, AcpiError> {
        let damaged = AcpiError::Damaged(FADT);
        let original = Fadt::read(self.memory, table)?;
        let address = self.copy(table)?;
        let length = usize::try_from(table.length).map_err(|_| damaged)?;
        let fadt = self.slot(
            usize::try_from(address - self.base).map_err(|_| damaged)?,
            length,
        );
        // A 64-bit field of zero stays zero, so that Linux finds nothing to complain of: where both
        // widths are set they must agree. An old, short table ends before them.
        let low = |value: u64| {
            u32::try_from(value)
                .map_err(|_| damaged)
                .map(u32::to_le_bytes)
        };
        let mut edit = |offset: usize, value: &[u8]| {
            if offset + value.len() <= fadt.len() {
                let _ = put(fadt, offset, value);
            }
        };
        for (old, extended, value) in [(36, 132, facs), (40, 140, dsdt)] {
            edit(old, &low(value)?);
            if original.quad(extended) != 0 {
                edit(extended, &value.to_le_bytes());
            }
        }
        // SMI_CMD, then ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ and PSTATE_CNT in one; CST_CNT.
        edit(48, &[0; 8]);
        edit(95, &[0]);
        seal(fadt).ok_or(damaged)?;
        Ok(address)
    }

    fn write_madt(&mut self, table: Table, boot_apic_id: u32) -> Result<u64, AcpiError> {
        let damaged = AcpiError::Damaged(MADT);
        let address = self.copy(table)?;
        let at = usize::try_from(address - self.base).map_err(|_| damaged)?;
        let length = usize::try_from(table.length).map_err(|_| damaged)?;
        let memory = self.memory;
        let madt = self.slot(at, length);
        let mut end = ENTRIES_OFFSET;
        let mut has_processor = false;
        // What is kept never takes more room than the original had.
        visit_entries(memory, table, &mut |entry| {
            let is_kept = match entry.meaning {
                Meaning::LocalApic { id, flags } => {
                    let is_ours = id == boot_apic_id && flags & 1 == 1 && !has_processor;
                    has_processor |= is_ours;
                    is_ours
                }
                Meaning::IoApic { .. }
                | Meaning::Override { .. }
                | Meaning::LocalNmi
                | Meaning::LocalApicAddress(_) => true,
                Meaning::Other => false,
            };
            if is_kept {
                put(madt, end, entry.bytes()).ok_or(damaged)?;
                end += entry.bytes().len();
            }
            Ok(())
        })?;
        if !has_processor {
            return Err(AcpiError::NoBootProcessor(boot_apic_id));
        }
        madt.get_mut(end..).unwrap_or_default().fill(0);
        let short = madt.get_mut(..end).ok_or(damaged)?;
        put(
            short,
            4,
            &u32::try_from(end).map_err(|_| damaged)?.to_le_bytes(),
        )
        .ok_or(damaged)?;
        seal(short).ok_or(damaged)?;
        self.used = at + end;
        Ok(address)
    }

    fn write_root(&mut self, firmware: &FirmwareTables, addresses: &[u64]) -> Option<()> {
        let xsdt_address = self.address(XSDT_OFFSET);
        let length = HEADER_SIZE + 8 * addresses.len();
        let xsdt = self.slot(XSDT_OFFSET, length);
        put(xsdt, 0, b"XSDT")?;
        put(xsdt, 4, &u32::try_from(length).ok()?.to_le_bytes())?;
        put(xsdt, 8, &[1])?;
        put(xsdt, 10, &firmware.oem)?;
        put(xsdt, 16, b"DARMA   ")?;
        put(xsdt, 24, &1u32.to_le_bytes())?;
        put(xsdt, 28, b"DRMA")?;
        put(xsdt, 32, &1u32.to_le_bytes())?;
        for (index, address) in addresses.iter().enumerate() {
            put(xsdt, HEADER_SIZE + 8 * index, &address.to_le_bytes())?;
        }
        seal(xsdt)?;

        let rsdp = self.slot(0, RSDP_SIZE);
        put(rsdp, 0, b"RSD PTR ")?;
        put(rsdp, 9, &firmware.oem)?;
        put(rsdp, 15, &[2])?;
        put(rsdp, 20, &u32::try_from(RSDP_SIZE).ok()?.to_le_bytes())?;
        put(rsdp, 24, &xsdt_address.to_le_bytes())?;
        // The first sum covers the old, short form only; the second all of it (ACPI 5.2.5.3).
        let first = sum(rsdp.get(..20)?).wrapping_neg();
        put(rsdp, 8, &[first])?;
        let second = sum(rsdp).wrapping_neg();
        put(rsdp, 32, &[second])
    }
}

/// Makes a table's sum right.
fn seal(table: &mut [u8]) -> Option<()> {
    put(table, 9, &[0])?;
    let checksum = sum(table).wrapping_neg();
    put(table, 9, &[checksum])
}
