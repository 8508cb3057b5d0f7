//! What the nanokernel itself wants to know of the machine's ACPI.

use heapless::Vec;

use super::madt::{Meaning, visit_entries};
use super::sleep::{SleepTypes, find_s5};
use super::tables::{Fadt, FirmwareTables, Table};
use super::{AcpiError, FADT, HPET, MADT, MCFG, PhysicalMemory, SSDT};
use crate::fields::{u8_at, u16_at, u64_at};

/// Facts of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcpiFacts {
    /// The ISA interrupt that ACPI events come in on.
    pub sci_irq: u16,
    /// The port that switches ACPI mode on and off; `None` if the machine is always in it.
    pub smi_cmd: Option<u16>,
    /// What to write to [`Self::smi_cmd`] to switch ACPI mode on.
    pub acpi_enable: u8,
    /// The power management event block's port.
    pub pm1a_evt: Option<u16>,
    /// The power management control register's port.
    pub pm1a_cnt: Option<u16>,
    /// The same, where a machine has two.
    pub pm1b_cnt: Option<u16>,
    /// The power management timer's port.
    pub pm_timer: Option<PmTimer>,
    /// The register that resets the machine.
    pub reset: Option<ResetRegister>,
    /// What switches the machine off, if the AML declares it plainly.
    pub s5: Option<SleepTypes>,
    /// Where local APICs have their registers.
    pub local_apic: u64,
    /// The I/O APICs.
    pub io_apics: Vec<IoApic, 8>,
    /// ISA interrupts that differ from the rule.
    pub overrides: Vec<IrqOverride, 32>,
    /// Where the HPET has its registers.
    pub hpet: Option<u64>,
    /// Where PCI segment 0's configuration space is mapped.
    pub ecam: Option<Ecam>,
}

/// The power management timer, 3.579545 MHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimer {
    /// Its port, read as 32 bits.
    pub port: u16,
    /// How many of the bits count: 24 or 32.
    pub bits: u8,
}

/// A register that resets the machine when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// Where it is.
    pub space: ResetSpace,
    /// Its address there.
    pub address: u64,
    /// What to write to it.
    pub value: u8,
}

/// Where a reset register can be (ACPI 4.8.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetSpace {
    /// In memory.
    Memory,
    /// At a port.
    Port,
    /// In the configuration space of PCI bus 0.
    PciConfig,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its id.
    pub id: u8,
    /// Where its registers are.
    pub address: u32,
    /// Its first pin's global interrupt number.
    pub gsi_base: u32,
}

/// An ISA interrupt that differs from the rule "pin of its number, edge, active high".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqOverride {
    /// The ISA interrupt.
    pub irq: u8,
    /// The global interrupt that it is.
    pub gsi: u32,
    /// Polarity (bits 1:0) and trigger (bits 3:2): 1 high or edge, 3 low or level, 0 the bus's.
    pub flags: u16,
}

/// A mapping of PCI configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// The address of bus 0, even if the mapping begins with a later one.
    pub base: u64,
    /// The first bus mapped.
    pub first_bus: u8,
    /// The last bus mapped.
    pub last_bus: u8,
}

const FLAG_TIMER_32_BITS: u32 = 1 << 8;
const FLAG_RESET_SUPPORTED: u32 = 1 << 10;
const SPACE_MEMORY: u8 = 0;
const SPACE_PORT: u8 = 1;
const SPACE_PCI_CONFIG: u8 = 2;

impl AcpiFacts {
    /// Collects the facts from `tables`.
    ///
    /// # Errors
    /// The FADT or the MADT is missing or damaged.
    pub fn read(memory: &dyn PhysicalMemory, tables: &FirmwareTables) -> Result<Self, AcpiError> {
        let fadt = Fadt::read(memory, tables.required(FADT)?)?;
        let flags = fadt.word(112);
        let timer_bits = if flags & FLAG_TIMER_32_BITS != 0 {
            32
        } else {
            24
        };
        let mut facts = Self {
            sci_irq: u16_at(&fadt.0, 46).unwrap_or(0),
            smi_cmd: u16::try_from(fadt.word(48)).ok().filter(|&port| port != 0),
            acpi_enable: fadt.byte(52),
            pm1a_evt: port(&fadt, 56, 148),
            pm1a_cnt: port(&fadt, 64, 172),
            pm1b_cnt: port(&fadt, 68, 184),
            pm_timer: port(&fadt, 76, 208).map(|port| PmTimer {
                port,
                bits: timer_bits,
            }),
            reset: (flags & FLAG_RESET_SUPPORTED != 0)
                .then(|| reset(&fadt))
                .flatten(),
            s5: s5(memory, tables),
            local_apic: 0,
            io_apics: Vec::new(),
            overrides: Vec::new(),
            hpet: tables
                .optional(HPET)
                .and_then(|table| quad_in(memory, table, 44)),
            ecam: tables.optional(MCFG).and_then(|table| ecam(memory, table)),
        };
        facts.read_madt(memory, tables.required(MADT)?)?;
        Ok(facts)
    }

    fn read_madt(&mut self, memory: &dyn PhysicalMemory, madt: Table) -> Result<(), AcpiError> {
        let mut address64 = None;
        let damaged = AcpiError::Damaged(MADT);
        let address = visit_entries(memory, madt, &mut |entry| match entry.meaning {
            Meaning::IoApic {
                id,
                address,
                gsi_base,
            } => self
                .io_apics
                .push(IoApic {
                    id,
                    address,
                    gsi_base,
                })
                .map_err(|_| damaged),
            Meaning::Override { irq, gsi, flags } => self
                .overrides
                .push(IrqOverride { irq, gsi, flags })
                .map_err(|_| damaged),
            Meaning::LocalApicAddress(address) => {
                address64 = Some(address);
                Ok(())
            }
            Meaning::LocalApic { .. } | Meaning::LocalNmi | Meaning::Other => Ok(()),
        })?;
        self.local_apic = address64.unwrap_or(u64::from(address));
        Ok(())
    }

    /// The global interrupt and the flags of an ISA interrupt.
    pub fn isa_interrupt(&self, irq: u8) -> IrqOverride {
        let plain = IrqOverride {
            irq,
            gsi: u32::from(irq),
            flags: 0,
        };
        self.overrides
            .iter()
            .find(|entry| entry.irq == irq)
            .copied()
            .unwrap_or(plain)
    }
}

/// A register block's port: the old 32-bit field, else the generic address at `extended`.
fn port(fadt: &Fadt, old: usize, extended: usize) -> Option<u16> {
    let port = match fadt.word(old) {
        0 if fadt.byte(extended) == SPACE_PORT => fadt.quad(extended + 4),
        port => u64::from(port),
    };
    u16::try_from(port).ok().filter(|&port| port != 0)
}

fn reset(fadt: &Fadt) -> Option<ResetRegister> {
    let space = match fadt.byte(116) {
        SPACE_MEMORY => ResetSpace::Memory,
        SPACE_PORT => ResetSpace::Port,
        SPACE_PCI_CONFIG => ResetSpace::PciConfig,
        _ => return None,
    };
    let address = fadt.quad(120);
    (address != 0).then(|| ResetRegister {
        space,
        address,
        value: fadt.byte(128),
    })
}

fn s5(memory: &dyn PhysicalMemory, tables: &FirmwareTables) -> Option<SleepTypes> {
    let more = tables
        .listed
        .iter()
        .filter(|table| table.signature == SSDT && table.is_sound);
    core::iter::once(&tables.dsdt)
        .chain(more)
        .find_map(|&table| find_s5(memory, table))
}

fn quad_in(memory: &dyn PhysicalMemory, table: Table, offset: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    let inside = offset + 8 <= u64::from(table.length);
    let is_read = inside && memory.read(table.address.checked_add(offset)?, &mut bytes);
    is_read
        .then_some(u64::from_le_bytes(bytes))
        .filter(|&quad| quad != 0)
}

/// The first entry that maps segment 0 (PCI Firmware Specification 3.0, 4.1.2).
fn ecam(memory: &dyn PhysicalMemory, table: Table) -> Option<Ecam> {
    let mut at = 44;
    while at + 16 <= u64::from(table.length) {
        let mut entry = [0; 16];
        memory
            .read(table.address.checked_add(at)?, &mut entry)
            .then_some(())?;
        if u16_at(&entry, 8)? == 0 {
            let base = u64_at(&entry, 0)?;
            return Some(Ecam {
                base,
                first_bus: u8_at(&entry, 10)?,
                last_bus: u8_at(&entry, 11)?,
            });
        }
        at += 16;
    }
    None
}
