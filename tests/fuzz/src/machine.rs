//! A machine with PCI functions made of registers, and what the nanokernel makes of it.

use std::collections::BTreeMap;

use darma_policy::devices::enumerate::{ConfigAccess, enumerate};
use darma_policy::devices::functions::Bdf;
use darma_policy::devices::message::Processor;
use darma_policy::devices::msix::MsixTables;
use darma_policy::devices::pci_config::{HardwareWrite, PciConfig};
use darma_policy::devices::ranges::{AddressRules, Span};
use darma_policy::devices::virtual_pci::VirtualPci;
use darma_policy::interrupts::routes::Routes;

pub(super) const DISK: Bdf = Bdf::new(0, 2, 0);
pub(super) const NETWORK: Bdf = Bdf::new(0, 5, 0);
pub(super) const CARD: Bdf = Bdf::new(0, 3, 0);
const ISA: Bdf = Bdf::new(0, 31, 0);
pub(super) const AHCI: Bdf = Bdf::new(0, 31, 2);
pub(super) const CPU: Processor = Processor {
    host_apic: 3,
    guest_apic: 0,
};

/// Value and writable bits by function and offset: a virtio disk and a network card with MSI-X, a
/// card that the GPOS must not touch, chip-set functions and an AHCI controller with MSI.
const REGISTERS: &[(Bdf, u8, u32, u32)] = &[
    (Bdf::new(0, 0, 0), 0x00, 0x29c0_8086, 0),
    (Bdf::new(0, 0, 0), 0x08, 0x0600_0000, 0),
    (Bdf::new(0, 0, 0), 0x60, 0, u32::MAX),
    (DISK, 0x00, 0x1042_1af4, 0),
    (DISK, 0x04, 0x0010_0007, 0x0407),
    (DISK, 0x08, 0x0100_0001, 0),
    (DISK, 0x14, 0xfebd_1000, 0xffff_f000),
    (DISK, 0x20, 0x0000_000c, 0xffff_c000),
    (DISK, 0x24, 0x0000_0008, u32::MAX),
    (DISK, 0x34, 0x98, 0),
    (DISK, 0x98, 0x0001_0011, 0xc000_0000),
    (DISK, 0x9c, 0x0000_0001, 0),
    (DISK, 0xa0, 0x0000_0801, 0),
    (NETWORK, 0x00, 0x1041_1af4, 0),
    (NETWORK, 0x04, 0x0010_0007, 0x0407),
    (NETWORK, 0x08, 0x0200_0001, 0),
    (NETWORK, 0x14, 0xfebd_3000, 0xffff_f000),
    (NETWORK, 0x34, 0x98, 0),
    (NETWORK, 0x98, 0x0001_0011, 0xc000_0000),
    (NETWORK, 0x9c, 0x0000_0001, 0),
    (NETWORK, 0xa0, 0x0000_0801, 0),
    (CARD, 0x00, 0x10d3_8086, 0),
    (CARD, 0x04, 0x0000_0003, 0x0407),
    (CARD, 0x08, 0x0200_0000, 0),
    (CARD, 0x10, 0xfeb0_0000, 0xfffe_0000),
    (ISA, 0x00, 0x2918_8086, 0),
    (ISA, 0x08, 0x0601_0002, 0),
    (ISA, 0x0c, 0x0080_0000, 0),
    (AHCI, 0x00, 0x2922_8086, 0),
    (AHCI, 0x04, 0x0010_0007, 0x0407),
    (AHCI, 0x08, 0x0106_0102, 0),
    (AHCI, 0x24, 0xfebd_2000, 0xffff_f000),
    (AHCI, 0x34, 0x80, 0),
    (AHCI, 0x80, 0x0080_0005, 0x0071_0000),
    (AHCI, 0x84, 0, 0xffff_fffc),
    (AHCI, 0x88, 0, u32::MAX),
    (AHCI, 0x8c, 0, 0xffff),
];

/// The configuration registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine(BTreeMap<(Bdf, u8), (u32, u32)>);

impl Machine {
    pub(super) fn new() -> Self {
        let entry = |&(bdf, offset, value, writable)| ((bdf, offset), (value, writable));
        Self(REGISTERS.iter().map(entry).collect())
    }

    pub(super) fn apply(&mut self, write: &HardwareWrite) {
        let shift = 8 * u32::from(write.offset & 3);
        let mask = u32::try_from(write.width.mask()).expect("a dword at most") << shift;
        let old = self.read32(write.bdf, write.offset & 0xfc);
        let new = (old & !mask) | ((write.value << shift) & mask);
        self.write32(write.bdf, write.offset & 0xfc, new);
    }
}

impl ConfigAccess for Machine {
    fn read32(&mut self, at: Bdf, offset: u8) -> u32 {
        let absent = !u32::from(self.0.contains_key(&(at, 0))).wrapping_neg();
        self.0
            .get(&(at, offset))
            .map_or(absent, |(value, _)| *value)
    }

    fn write32(&mut self, at: Bdf, offset: u8, value: u32) {
        if let Some((held, writable)) = self.0.get_mut(&(at, offset)) {
            *held = (*held & !*writable) | (value & *writable);
        }
    }
}

/// Where devices may be, and what is nobody's to overlay.
pub(super) fn rules() -> AddressRules {
    let span = |first, last| Span::between(first, last).expect("in order");
    let mut rules = AddressRules::default();
    let windows = [
        span(0xc000_0000, 0xfebf_ffff),
        span(8 << 32, (16 << 32) - 1),
    ];
    rules.memory_windows.extend(windows);
    rules.protected_memory.extend([span(0, 0x1fff_ffff)]);
    rules.protected_ports.extend([span(0x0601, 0x067f)]);
    rules
}

/// The machine with everything that stands between it and the GPOS.
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) config: PciConfig,
    pub(super) ours: VirtualPci,
    pub(super) tables: MsixTables,
    pub(super) routes: Routes,
}

impl World {
    pub(super) fn new() -> Self {
        let mut machine = Machine::new();
        let functions = enumerate(&mut machine).expect("few functions");
        let ours = VirtualPci::place(&functions, &rules(), 1 << 20).expect("room");
        let config = PciConfig::new(&functions, &[CARD], rules(), CPU).expect("it is there");
        let tables = MsixTables::new(config.owned()).expect("two tables");
        Self {
            machine,
            config,
            ours,
            tables,
            routes: Routes::new(),
        }
    }
}
