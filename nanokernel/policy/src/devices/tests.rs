//! The devices together, on a machine made of registers: behaviours one by one, then arbitrary
//! accesses against the promises that the real-time side depends on.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use darma_abi::units::{GuestPhys, Vector};
use proptest::prelude::*;

use super::enumerate::{ConfigAccess, enumerate};
use super::functions::{Bdf, FunctionFacts, Functions, Header};
use super::message::{GuestMessage, Processor, Refused, VectorAllocator, translate};
use super::msix::{MsixAct, MsixRead, MsixTables};
use super::pci_config::{BarMoved, HardwareWrite, PciConfig, ReadAct, Why, WriteAct};
use super::power::{PowerAct, PowerFacts, PowerPorts, ResetRoute};
use super::ranges::{AddressRules, Span};
use super::virtual_pci::{VirtualEffect, VirtualPci};
use crate::interrupts::routes::{FIRST_HOST_VECTOR, LAST_HOST_VECTOR, Routes, Source};
use crate::mmio::Width;

const HOST_BRIDGE: Bdf = Bdf::new(0, 0, 0);
const DISK: Bdf = Bdf::new(0, 2, 0);
const CARD: Bdf = Bdf::new(0, 3, 0);
const OTHER: Bdf = Bdf::new(0, 5, 0);
const BRIDGE: Bdf = Bdf::new(0, 4, 0);
const ISA: Bdf = Bdf::new(0, 31, 0);
const AHCI: Bdf = Bdf::new(0, 31, 2);
const BEHIND: Bdf = Bdf::new(1, 0, 0);

const CPU: Processor = Processor {
    host_apic: 3,
    guest_apic: 0,
};

/// Configuration registers with a mask of the writable bits each.
#[derive(Clone, Default)]
struct Machine(BTreeMap<(Bdf, u8), (u32, u32)>);

impl Machine {
    fn set(&mut self, bdf: Bdf, registers: &[(u8, u32, u32)]) {
        for (offset, value, writable) in registers {
            self.0.insert((bdf, *offset), (*value, *writable));
        }
    }

    /// In the shape of QEMU's q35: a virtio disk (MSI-X, 64-bit memory, a configuration window), a
    /// card to be hidden, a bridge, the ISA bridge, an AHCI controller (MSI), one behind the bridge.
    fn q35() -> Self {
        let mut machine = Self::default();
        machine.set(
            HOST_BRIDGE,
            &[
                (0, 0x29c0_8086, 0),
                (8, 0x0600_0000, 0),
                (0x60, 0, u32::MAX),
            ],
        );
        machine.set(
            DISK,
            &[
                (0x00, 0x1042_1af4, 0),
                (0x04, 0x0010_0007, 0x0000_0407),
                (0x08, 0x0100_0001, 0),
                (0x10, 0xc001, 0xffff_ff80),
                (0x14, 0xfebd_1000, 0xffff_f000),
                (0x20, 0x0000_000c, 0xffff_c000),
                (0x24, 0x0000_0008, 0xffff_ffff),
                (0x34, 0x98, 0),
                (0x84, 0x0514_0009, 0),
                (0x88, 0, u32::MAX),
                (0x98, 0x0001_8411, 0xc000_0000),
                (0x9c, 0x0000_0001, 0),
                (0xa0, 0x0000_0801, 0),
            ],
        );
        machine.set(
            CARD,
            &[
                (0x00, 0x10d3_8086, 0),
                (0x04, 0x0000_0003, 0x0000_0407),
                (0x08, 0x0200_0000, 0),
                (0x10, 0xfeb0_0000, 0xfffe_0000),
                (0x18, 0x0000_c0a1, 0xffff_ffe0),
                (0x30, 0, 0xfffc_0001),
            ],
        );
        machine.set(
            BRIDGE,
            &[
                (0x00, 0x000c_1b36, 0),
                (0x04, 0x0000_0007, 0x0000_0407),
                (0x08, 0x0604_0000, 0),
                (0x0c, 0x0001_0000, 0),
                (0x18, 0x0001_0100, 0x00ff_ffff),
                (0x20, 0xfe90_fe80, 0xfff0_fff0),
                (0x24, 0x0001_fff1, 0xfff0_fff0),
                (0x3c, 0, 0x00ff_00ff),
            ],
        );
        machine.set(
            BEHIND,
            &[
                (0x00, 0x1042_1af4, 0),
                (0x04, 0x0000_0006, 0x0000_0407),
                (0x08, 0x0100_0001, 0),
                (0x10, 0xfe80_0000, 0xffff_f000),
            ],
        );
        machine.set(
            ISA,
            &[
                (0x00, 0x2918_8086, 0),
                (0x08, 0x0601_0002, 0),
                (0x0c, 0x0080_0000, 0),
                (0x40, 0x0000_0601, u32::MAX),
                (0x60, 0x8080_8080, u32::MAX),
            ],
        );
        machine.set(
            AHCI,
            &[
                (0x00, 0x2922_8086, 0),
                (0x04, 0x0010_0007, 0x0000_0407),
                (0x08, 0x0106_0102, 0),
                (0x24, 0xfebd_2000, 0xffff_f000),
                (0x34, 0x80, 0),
                (0x80, 0x0080_0005, 0x0071_0000),
                (0x84, 0, 0xffff_fffc),
                (0x88, 0, u32::MAX),
                (0x8c, 0, 0xffff),
            ],
        );
        machine
    }

    fn apply(&mut self, write: &HardwareWrite) {
        let shift = 8 * u32::from(write.offset & 3);
        let mask = u32::try_from(write.width.mask()).unwrap() << shift;
        let old = self.read32(write.bdf, write.offset & 0xfc);
        self.write32(
            write.bdf,
            write.offset & 0xfc,
            (old & !mask) | ((write.value << shift) & mask),
        );
    }

    fn functions(&mut self) -> Functions {
        enumerate(self).unwrap()
    }
}

impl ConfigAccess for Machine {
    fn read32(&mut self, at: Bdf, offset: u8) -> u32 {
        let absent = if self.0.contains_key(&(at, 0)) {
            0
        } else {
            u32::MAX
        };
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

fn rules() -> AddressRules {
    let mut rules = AddressRules::default();
    rules
        .memory_windows
        .push(Span::between(0xc000_0000, 0xfebf_ffff).unwrap())
        .unwrap();
    rules
        .memory_windows
        .push(Span::between(0x8_0000_0000, 0xf_ffff_ffff).unwrap())
        .unwrap();
    rules
        .protected_memory
        .push(Span::between(0, 0x1fff_ffff).unwrap())
        .unwrap();
    rules
        .protected_ports
        .push(Span::between(0x0601, 0x067f).unwrap())
        .unwrap();
    rules
}

struct World {
    machine: Machine,
    config: PciConfig,
    ours: VirtualPci,
    tables: MsixTables,
    routes: Routes,
}

impl World {
    fn new() -> Self {
        Self::on(Machine::q35())
    }

    fn on(mut machine: Machine) -> Self {
        let functions = machine.functions();
        let ours = VirtualPci::place(&functions, &rules(), 0x10_0000).unwrap();
        let config = PciConfig::new(&functions, &[CARD], rules(), CPU).unwrap();
        let tables = MsixTables::new(config.owned()).unwrap();
        Self {
            machine,
            config,
            ours,
            tables,
            routes: Routes::new(),
        }
    }

    fn select(&mut self, bdf: Bdf, offset: u8) {
        let latch = 0x8000_0000 | u32::from(bdf.0) << 8 | u32::from(offset & 0xfc);
        let Self {
            config,
            ours,
            routes,
            ..
        } = self;
        assert_eq!(
            config.write(0xcf8, Width::Four, latch, ours, routes),
            WriteAct::Done
        );
    }

    fn read(&mut self, bdf: Bdf, offset: u8, width: Width) -> u32 {
        self.select(bdf, offset);
        self.read_port(0xcfc + u16::from(offset & 3), width)
    }

    fn read_port(&mut self, port: u16, width: Width) -> u32 {
        match self.config.read(port, width, &self.ours) {
            ReadAct::Value(value) => value,
            ReadAct::Hardware {
                bdf, offset, keep, ..
            } => (self.machine.read32(bdf, offset & 0xfc) >> (8 * u32::from(offset & 3))) & keep,
        }
    }

    fn write(&mut self, bdf: Bdf, offset: u8, width: Width, value: u32) -> WriteAct {
        self.select(bdf, offset);
        self.write_port(0xcfc + u16::from(offset & 3), width, value)
    }

    fn write_port(&mut self, port: u16, width: Width, value: u32) -> WriteAct {
        let Self {
            config,
            ours,
            routes,
            ..
        } = self;
        let act = config.write(port, width, value, ours, routes);
        if let WriteAct::Hardware { writes, moved } = &act {
            if let Some(moved) = moved {
                self.tables.bar_moved(moved);
            }
            for write in writes {
                self.machine.apply(write);
            }
        }
        act
    }
}

fn facts(functions: &Functions, bdf: Bdf) -> FunctionFacts {
    *functions
        .iter()
        .find(|function| function.bdf == bdf)
        .unwrap()
}

#[test]
fn enumeration_finds_functions_registers_capabilities_and_buses() {
    let mut machine = Machine::q35();
    let before = machine.0.clone();
    let functions = machine.functions();
    assert_eq!(machine.0, before, "sizing leaves every register as it was");
    let all: Vec<Bdf> = functions.iter().map(|function| function.bdf).collect();
    assert_eq!(all, [HOST_BRIDGE, DISK, CARD, BRIDGE, ISA, AHCI, BEHIND]);
    let disk = facts(&functions, DISK);
    assert_eq!(disk.bars[0].unwrap().ports(), Span::new(0xc000, 0x80));
    assert_eq!(
        disk.bars[1].unwrap().memory(),
        Span::new(0xfebd_1000, 0x1000)
    );
    assert_eq!(
        disk.bars[4].unwrap().memory(),
        Span::new(0x8_0000_0000, 0x4000)
    );
    assert_eq!(disk.bars[5], None);
    let msix = disk.capabilities.msix.unwrap();
    assert_eq!(
        (msix.entries, msix.table_bar, msix.pending_offset),
        (2, 1, 0x800)
    );
    assert_eq!(disk.capabilities.virtio_window, Some(0x84));
    assert_eq!(facts(&functions, CARD).rom.unwrap().size, 0x4_0000);
    let Header::Bridge {
        secondary,
        memory,
        prefetchable,
        ..
    } = facts(&functions, BRIDGE).header
    else {
        panic!("a bridge");
    };
    assert_eq!(
        (secondary, memory),
        (1, Span::between(0xfe80_0000, 0xfe9f_ffff))
    );
    assert_eq!(prefetchable, None, "a closed window forwards nothing");
}

#[test]
fn a_function_that_answers_everywhere_fills_the_table_and_no_more() {
    struct Everywhere;
    impl ConfigAccess for Everywhere {
        fn read32(&mut self, at: Bdf, offset: u8) -> u32 {
            // Every function is a many-function bridge to its own bus and every chain a circle.
            if offset == 0x0c {
                0x0081_0000
            } else {
                u32::from(at.bus()) << 8 | 0x5010
            }
        }
        fn write32(&mut self, _: Bdf, _: u8, _: u32) {}
    }
    assert!(enumerate(&mut Everywhere).is_err());
}

#[test]
fn hiding_an_absent_function_names_it() {
    let functions = Machine::q35().functions();
    let error = PciConfig::new(&functions, &[Bdf::new(0, 9, 1)], rules(), CPU)
        .err()
        .unwrap();
    assert!(std::format!("{error}").contains("00:09.1"));
}

#[test]
fn a_hidden_function_is_absent() {
    let mut world = World::new();
    assert_eq!(world.read(CARD, 0, Width::Four), u32::MAX);
    assert_eq!(world.read(CARD, 2, Width::Two), 0xffff);
    assert_eq!(
        world.write(CARD, 4, Width::Two, 7),
        WriteAct::Ignored(Why::Absent)
    );
    assert_eq!(world.read(DISK, 0, Width::Four), 0x1042_1af4);
    assert_eq!(world.read(DISK, 3, Width::One), 0x10);
}

#[test]
fn the_address_port_reads_back_and_mechanism_1_is_found() {
    let mut world = World::new();
    assert_eq!(
        world.write_port(0xcfb, Width::One, 1),
        WriteAct::Ignored(Why::Absent)
    );
    world.write_port(0xcf8, Width::Four, 0x8000_0000);
    assert_eq!(world.read_port(0xcf8, Width::Four), 0x8000_0000);
    world.write_port(0xcf8, Width::Four, 0);
    assert_eq!(world.read_port(0xcfc, Width::Four), u32::MAX, "not enabled");
}

#[test]
fn sizing_answers_without_reaching_the_hardware() {
    let mut world = World::new();
    for (bdf, offset, ones, answer) in [
        (DISK, 0x14, u32::MAX, 0xffff_f000),
        (DISK, 0x10, u32::MAX, 0xffff_ff81),
        (DISK, 0x20, u32::MAX, 0xffff_c00c),
        (DISK, 0x24, u32::MAX, 0xffff_ffff),
        (DISK, 0x1c, u32::MAX, 0),
    ] {
        let before = world.read(bdf, offset, Width::Four);
        let act = world.write(bdf, offset, Width::Four, ones);
        assert!(matches!(
            act,
            WriteAct::Done | WriteAct::Ignored(Why::Absent)
        ));
        assert_eq!(world.machine.read32(bdf, offset), before);
        assert_eq!(world.read(bdf, offset, Width::Four), answer);
        world.write(bdf, offset, Width::Four, before);
        assert_eq!(world.read(bdf, offset, Width::Four), before);
    }
}

#[test]
fn a_register_moves_within_the_windows_and_nowhere_else() {
    let mut world = World::new();
    let act = world.write(DISK, 0x14, Width::Four, 0xe000_0000);
    let moved = BarMoved {
        function: 1,
        bar: 1,
        from: 0xfebd_1000,
        to: 0xe000_0000,
    };
    assert!(matches!(act, WriteAct::Hardware { moved: Some(m), .. } if m == moved));
    assert_eq!(world.machine.read32(DISK, 0x14), 0xe000_0000);
    let ours = u32::try_from(world.ours.shared().unwrap().first()).unwrap();
    // RAM, the APIC, the hidden card, our shared memory, nowhere.
    for bad in [0x0010_0000, 0xfee0_0000, 0xfeb0_1000, ours, 0x3000_0000] {
        assert_eq!(world.write(DISK, 0x14, Width::Four, bad), WriteAct::Done);
        assert_eq!(world.machine.read32(DISK, 0x14), 0xe000_0000);
        assert_eq!(
            world.read(DISK, 0x14, Width::Four),
            bad,
            "the GPOS reads what it wrote"
        );
    }
    // Ports: the power management block, the hidden card's, then a free place.
    for (port, held) in [(0x0600, 0xc001), (0xc080, 0xc001), (0xd000, 0xd001)] {
        world.write(DISK, 0x10, Width::Four, port);
        assert_eq!(world.machine.read32(DISK, 0x10), held);
    }
}

#[test]
fn a_64_bit_register_moves_once_both_halves_are_right() {
    let mut world = World::new();
    world.write(DISK, 0x20, Width::Four, 0xd000_0000);
    assert_eq!(
        world.machine.read32(DISK, 0x20),
        0xd000_000c,
        "still above 4 GiB"
    );
    world.write(DISK, 0x24, Width::Four, 0x10);
    assert_eq!(world.machine.read32(DISK, 0x24), 8, "outside of the window");
    let act = world.write(DISK, 0x24, Width::Four, 0);
    assert!(matches!(act, WriteAct::Hardware { writes, .. } if writes.len() == 2));
    assert_eq!(world.machine.read32(DISK, 0x24), 0);
}

#[test]
fn a_register_that_a_function_reset_cleared_reads_so() {
    let mut world = World::new();
    world.machine.write32(DISK, 0x14, 0);
    assert_eq!(
        world.read(DISK, 0x14, Width::Four),
        0,
        "or Linux would not restore it"
    );
    world.write(DISK, 0x14, Width::Four, 0xfebd_1000);
    assert_eq!(world.machine.read32(DISK, 0x14), 0xfebd_1000);
}

#[test]
fn the_chip_set_the_bridges_and_the_virtio_window_keep_the_firmwares_settings() {
    let mut world = World::new();
    let kept = WriteAct::Ignored(Why::FirmwareOwned);
    assert_eq!(
        world.write(HOST_BRIDGE, 0x60, Width::Four, 0xb000_0001),
        kept
    );
    assert_eq!(world.write(ISA, 0x40, Width::Four, 0x0701), kept);
    assert!(matches!(
        world.write(ISA, 0x61, Width::One, 10),
        WriteAct::Hardware { .. }
    ));
    assert_eq!(world.write(BRIDGE, 0x18, Width::Four, 0), kept);
    assert_eq!(world.write(BRIDGE, 0x20, Width::Four, 0xfeb0_fea0), kept);
    assert_eq!(
        world.write(BRIDGE, 0x3e, Width::Two, 0x40),
        WriteAct::Ignored(Why::Reset)
    );
    assert!(matches!(
        world.write(BRIDGE, 0x3e, Width::Two, 3),
        WriteAct::Hardware { .. }
    ));
    assert_eq!(world.write(DISK, 0x88, Width::Four, 1), kept);
}

#[test]
fn a_message_interrupt_is_programmed_with_the_hosts_vector() {
    let mut world = World::new();
    assert_eq!(
        world.read(AHCI, 0x80, Width::Four) >> 16 & 0x7e,
        0,
        "one message is offered"
    );
    world.write(AHCI, 0x84, Width::Four, 0xfee0_0000);
    world.write(AHCI, 0x88, Width::Four, 0);
    world.write(AHCI, 0x8c, Width::Two, 0x41ec);
    assert_eq!(
        world.machine.read32(AHCI, 0x84),
        0,
        "not before it is enabled"
    );
    world.write(AHCI, 0x82, Width::Two, 0x81);
    assert_eq!(world.machine.read32(AHCI, 0x84), 0xfee0_3000);
    assert_eq!(
        world.machine.read32(AHCI, 0x8c),
        u32::from(FIRST_HOST_VECTOR.0)
    );
    assert_eq!(world.machine.read32(AHCI, 0x80) >> 16, 0x81);
    assert_eq!(
        world.read(AHCI, 0x8c, Width::Two),
        0x41ec,
        "the GPOS sees its own"
    );
    let route = world.routes.lookup(FIRST_HOST_VECTOR).unwrap();
    assert_eq!(
        (route.source, route.guest),
        (
            Source::Msi {
                function: 5,
                entry: 0
            },
            Vector(0xec)
        )
    );
    // An NMI: off again in the hardware.
    world.write(AHCI, 0x8c, Width::Two, 0x4400);
    assert_eq!(world.machine.read32(AHCI, 0x80) >> 16, 0x80);
    assert_eq!(world.config.refused_messages(), 1);
}

#[test]
fn messages_other_than_plain_interrupts_to_the_own_processor_are_refused() {
    let mut routes = Routes::new();
    let mut ask = |address, address_upper, data| {
        let message = GuestMessage {
            address,
            address_upper,
            data,
        };
        translate(
            Source::Msi {
                function: 0,
                entry: 0,
            },
            message,
            CPU,
            &mut routes,
        )
    };
    let foreign = Err(Refused::ForeignDestination);
    assert_eq!(ask(0xfee0_1000, 0, 0x40), foreign);
    assert_eq!(
        ask(0xfee0_0020, 0, 0x40),
        foreign,
        "an extended destination"
    );
    assert_eq!(ask(0x1000, 0, 0x40), foreign, "memory");
    assert_eq!(ask(0xfee0_0000, 1, 0x40), foreign);
    assert_eq!(
        ask(0xfee0_2004, 0, 0x40),
        foreign,
        "a logical set without us"
    );
    assert_eq!(
        ask(0xfee0_0000, 0, 0x0f),
        Err(Refused::IllegalVector(Vector(0x0f)))
    );
    for mode in [2, 4, 5, 7] {
        assert_eq!(
            ask(0xfee0_0000, 0, u32::from(mode) << 8 | 0x40),
            Err(Refused::DeliveryMode(mode))
        );
    }
    for address in [
        0xfee0_0000,
        0xfee0_1004,
        0xfeef_f000,
        0xfee0_000c | 0xff << 12,
    ] {
        assert!(ask(address, 0, 0x41ff).is_ok(), "{address:#x}");
    }
}

#[test]
fn a_table_entry_reaches_the_hardware_translated_and_only_when_unmasked() {
    let mut world = World::new();
    let World { tables, routes, .. } = &mut world;
    assert_eq!(
        tables.trapped().collect::<Vec<_>>(),
        [Span::new(0xfebd_1000, 0x1000).unwrap()]
    );
    assert_eq!(
        tables.mask_all().map(|w| w.at.0).collect::<Vec<_>>(),
        [0xfebd_100c, 0xfebd_101c]
    );
    let mut write = |offset: u64, width, value| match tables
        .write(GuestPhys(0xfebd_1000 + offset), width, value, CPU, routes)
        .unwrap()
    {
        MsixAct::Writes(writes) => writes.iter().map(|w| (w.at.0 & 0xfff, w.value)).collect(),
        MsixAct::Pass => std::vec![(0xfff, 0)],
    };
    let none: Vec<(u64, u32)> = Vec::new();
    assert_eq!(write(0x10, Width::Four, 0xfee0_0000), none);
    assert_eq!(write(0x18, Width::Four, 0x4025), none);
    let vector = u32::from(FIRST_HOST_VECTOR.0);
    let programmed = std::vec![
        (0x1c, 1),
        (0x10, 0xfee0_3000),
        (0x14, 0),
        (0x18, vector),
        (0x1c, 0)
    ];
    assert_eq!(write(0x1c, Width::Four, 0), programmed);
    assert_eq!(
        write(0x18, Width::Eight, 0x1_0000_0400),
        std::vec![(0x1c, 1)]
    );
    assert_eq!(
        write(0x1c, Width::Four, 0),
        std::vec![(0x1c, 1)],
        "an NMI stays masked"
    );
    assert_eq!(write(0x1d, Width::One, 0), none, "undefined, ignored");
    assert_eq!(
        write(0x800, Width::Four, 0),
        std::vec![(0xfff, 0)],
        "pending bits pass"
    );
    assert_eq!(tables.refused(), 1);
    let read = |offset: u64| tables.read(GuestPhys(0xfebd_1000 + offset), Width::Four);
    assert_eq!(read(0x10), Some(MsixRead::Value(0xfee0_0000)));
    assert_eq!(read(0x0c), Some(MsixRead::Value(1)));
    assert_eq!(read(0x800), Some(MsixRead::Pass));
    assert_eq!(tables.read(GuestPhys(0xfebd_2000), Width::Four), None);
}

#[test]
fn a_table_follows_its_register() {
    let mut world = World::new();
    world.write(DISK, 0x14, Width::Four, 0xe000_0000);
    assert_eq!(world.tables.read(GuestPhys(0xfebd_1000), Width::Four), None);
    assert_eq!(
        world.tables.read(GuestPhys(0xe000_000c), Width::Four),
        Some(MsixRead::Value(1))
    );
}

/// A second function with a table, 4 KiB in all, at this address.
fn with_another_table(address: u32) -> World {
    let mut machine = Machine::q35();
    machine.set(
        OTHER,
        &[
            (0x00, 0x1041_1af4, 0),
            (0x04, 0x0010_0007, 0x0000_0407),
            (0x08, 0x0200_0001, 0),
            (0x14, address, 0xffff_f000),
            (0x34, 0x98, 0),
            (0x98, 0x0001_0011, 0xc000_0000),
            (0x9c, 0x0000_0001, 0),
            (0xa0, 0x0000_0801, 0),
        ],
    );
    World::on(machine)
}

#[test]
fn no_table_moves_onto_the_page_of_another() {
    let mut world = with_another_table(0xfebd_3000);
    assert_eq!(
        world.write(OTHER, 0x14, Width::Four, 0xfebd_1000),
        WriteAct::Done,
        "when it moved on, the disk's table would be mapped"
    );
    assert_eq!(world.machine.read32(OTHER, 0x14), 0xfebd_3000);
    world.write(DISK, 0x14, Width::Four, 0xfebd_4000);
    world.write(OTHER, 0x14, Width::Four, 0xfebd_1000);
    assert_eq!(world.machine.read32(OTHER, 0x14), 0xfebd_1000);
}

#[test]
fn tables_that_the_firmware_put_on_one_page_stay_there() {
    let mut world = with_another_table(0xfebd_1000);
    world.write(OTHER, 0x14, Width::Four, 0xfebd_3000);
    world.write(DISK, 0x14, Width::Four, 0xfebd_4000);
    assert_eq!(world.machine.read32(OTHER, 0x14), 0xfebd_1000);
    assert_eq!(world.machine.read32(DISK, 0x14), 0xfebd_1000);
}

#[test]
fn a_table_that_the_firmware_did_not_place_cannot_be_placed() {
    let mut world = with_another_table(0);
    world.write(OTHER, 0x14, Width::Four, 0xfebd_3000);
    assert_eq!(world.machine.read32(OTHER, 0x14), 0);
}

#[test]
fn our_functions_do_not_move_over_a_device() {
    let mut world = World::new();
    let ours: Vec<Bdf> = world.ours.bdfs().collect();
    let before: Vec<Span> = world.ours.trapped().chain(world.ours.shared()).collect();
    for bdf in ours {
        for register in [0x10, 0x14, 0x18] {
            for device in [0xfebd_1000, 0xfebd_2000, 0xfe80_0000] {
                world.write(bdf, register, Width::Four, device);
            }
        }
    }
    let after: Vec<Span> = world.ours.trapped().chain(world.ours.shared()).collect();
    assert_eq!(after, before);
}

#[test]
fn the_next_gpos_finds_its_tables_where_the_firmware_put_them() {
    let mut world = World::new();
    world.write(DISK, 0x14, Width::Four, 0xfe00_0000);
    let page = |first| Span::new(first, 0x1000).unwrap();
    let moved: Vec<(Span, Span)> = world.tables.reset().into_iter().collect();
    assert_eq!(moved, [(page(0xfe00_0000), page(0xfebd_1000))]);
    assert_eq!(
        world.tables.trapped().collect::<Vec<_>>(),
        [page(0xfebd_1000)]
    );
    assert!(world.tables.reset().is_empty());
}

#[test]
fn quiesce_stops_a_function_and_restore_puts_it_back() {
    let mut world = World::new();
    world.write(AHCI, 0x84, Width::Four, 0xfee0_0000);
    world.write(AHCI, 0x8c, Width::Two, 0x40);
    world.write(AHCI, 0x82, Width::Two, 1);
    world.write(AHCI, 0x24, Width::Four, 0xe000_0000);
    for write in world.config.quiesce(5) {
        world.machine.apply(&write);
    }
    assert_eq!(world.machine.read32(AHCI, 4) & 0x407, 0x403);
    assert_eq!(world.machine.read32(AHCI, 0x80) >> 16 & 1, 0);
    world.config.reset();
    for write in world.config.restore(5) {
        world.machine.apply(&write);
    }
    assert_eq!(world.read(AHCI, 0x24, Width::Four), 0xfebd_2000);
    assert!(
        world.config.quiesce(2).is_empty(),
        "the hidden card is not the GPOS's"
    );
    assert!(world.config.restore(200).is_empty());
}

#[test]
fn our_functions_stand_where_drivers_look_and_answer_as_they_expect() {
    let mut world = World::new();
    let [panic, shared]: [Bdf; 2] = world.ours.bdfs().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(world.read(panic, 0, Width::Four), 0x0011_1b36);
    assert_eq!(world.read(panic, 0x0b, Width::One), 0x08);
    assert_eq!(world.read(shared, 0, Width::Four), 0x1110_1af4);
    assert_eq!(world.read(shared, 8, Width::One), 1);
    let register = u64::from(world.read(panic, 0x10, Width::Four));
    let doorbell = u64::from(world.read(shared, 0x10, Width::Four));
    assert_eq!(
        world.ours.mmio_read(GuestPhys(register), Width::One),
        Some(3)
    );
    assert_eq!(
        world.ours.mmio_write(GuestPhys(register), Width::One, 1),
        Some(VirtualEffect::PanicEvent { bits: 1 })
    );
    assert_eq!(
        world
            .ours
            .mmio_write(GuestPhys(doorbell + 4), Width::Four, 9),
        Some(VirtualEffect::Doorbell {
            offset: 4,
            value: 9
        })
    );
    assert_eq!(
        world.ours.mmio_read(GuestPhys(0xfebd_1000), Width::Four),
        None
    );
    // Nothing of ours overlaps anything of the machine's.
    let functions = world.machine.functions();
    for span in functions.iter().flat_map(FunctionFacts::memory) {
        assert!(!world.ours.occupies(span), "{span:x?}");
    }
}

#[test]
fn the_shared_memory_moves_when_its_register_does() {
    let mut world = World::new();
    let shared = world.ours.bdfs().nth(1).unwrap();
    let from = world.ours.shared().unwrap().first();
    let nothing = WriteAct::Virtual(VirtualEffect::Nothing);
    assert_eq!(world.write(shared, 0x18, Width::Four, u32::MAX), nothing);
    assert_eq!(world.read(shared, 0x18, Width::Four), 0xfff0_000c);
    assert_eq!(world.write(shared, 0x1c, Width::Four, u32::MAX), nothing);
    assert_eq!(world.read(shared, 0x1c, Width::Four), u32::MAX);
    assert_eq!(world.write(shared, 0x1c, Width::Four, 0), nothing);
    let act = world.write(shared, 0x18, Width::Four, 0xd000_0000);
    let to = GuestPhys(0xd000_0000);
    let expected = VirtualEffect::SharedMoved {
        from: GuestPhys(from),
        to,
    };
    assert_eq!(act, WriteAct::Virtual(expected));
    assert_eq!(world.write(shared, 0x18, Width::Four, 0xfee0_0000), nothing);
    assert_eq!(world.write(shared, 0x20, Width::Four, 0xd000_0000), nothing);
    assert_eq!(world.ours.shared(), Span::new(0xd000_0000, 0x10_0000));
}

#[test]
fn every_way_to_reset_or_power_off_is_recognised() {
    let facts = PowerFacts {
        pm1a_control: Some(0x604),
        soft_off: Some((0, 0)),
        reset: Some((0xcf9, 0x0f)),
        ..PowerFacts::default()
    };
    let mut ports = PowerPorts::new(facts);
    let reset = |route| PowerAct::SelfReset { route };
    for (port, width, value, act) in [
        (0x604, Width::Two, 0x2001, PowerAct::PowerOff),
        (0x605, Width::One, 0x20, PowerAct::PowerOff),
        (0x604, Width::Two, 0x2401, PowerAct::Sleep { kind: 1 }),
        (0x604, Width::Two, 0x0001, PowerAct::Pass),
        (0xcf9, Width::One, 0x0f, reset(ResetRoute::Acpi)),
        (0xcf9, Width::One, 0x02, PowerAct::Pass),
        (0xcf9, Width::One, 0x06, reset(ResetRoute::Cf9)),
        (0xcf8, Width::Two, 0x0600, reset(ResetRoute::Cf9)),
        (0xcf8, Width::Four, 0x8000_0600, PowerAct::Pass),
        (0x64, Width::One, 0xfe, reset(ResetRoute::Keyboard)),
        (0x64, Width::One, 0xff, PowerAct::Pass),
        (0x64, Width::One, 0xdd, PowerAct::Refused),
        (0x60, Width::One, 0x00, PowerAct::Pass),
        (0x64, Width::One, 0xd1, PowerAct::Pass),
        (0x60, Width::One, 0x02, reset(ResetRoute::Keyboard)),
        (0x92, Width::One, 0x03, reset(ResetRoute::Port92)),
        (0x91, Width::Two, 0x0100, reset(ResetRoute::Port92)),
        (0x92, Width::One, 0x02, PowerAct::Pass),
        (0x92, Width::One, 0x00, PowerAct::Refused),
        (0xb2, Width::One, 0x03, PowerAct::Refused),
        (0x3f8, Width::One, 0x55, PowerAct::Pass),
    ] {
        assert_eq!(
            ports.classify(port, width, value),
            act,
            "{port:#x} {value:#x}"
        );
    }
    assert!(
        [0x60, 0x64, 0x92, 0xb2, 0x604, 0x605, 0xcf9]
            .iter()
            .all(|port| ports.intercepted().any(|other| other == *port))
    );
}

/// Gives out one vector and remembers that it did.
struct One(u32);

impl VectorAllocator for One {
    fn route(&mut self, _: Source, _: Vector) -> Option<Vector> {
        self.0 += 1;
        (self.0 <= 1).then_some(Vector(0x77))
    }
}

#[test]
fn without_a_vector_a_source_stays_masked() {
    let message = GuestMessage {
        address: 0xfee0_0000,
        address_upper: 0,
        data: 0x40,
    };
    let mut one = One(0);
    let source = Source::Msi {
        function: 0,
        entry: 0,
    };
    assert!(translate(source, message, CPU, &mut one).is_ok());
    assert_eq!(
        translate(source, message, CPU, &mut one),
        Err(Refused::NoVector)
    );
}

fn bdfs() -> impl Strategy<Value = Bdf> {
    prop::sample::select(std::vec![
        HOST_BRIDGE,
        DISK,
        CARD,
        BRIDGE,
        ISA,
        AHCI,
        BEHIND,
        Bdf::new(0, 0x10, 0),
        Bdf::new(0, 0x11, 0),
        Bdf::new(5, 0, 0),
    ])
}

fn widths() -> impl Strategy<Value = Width> {
    prop::sample::select(&[Width::One, Width::Two, Width::Four, Width::Eight][..])
}

/// Values that hit something, and noise.
fn values() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        Just(u32::MAX),
        Just(0),
        Just(0x0001_0000),
        (0u32..0x100).prop_map(|n| n << 24),
        (0u32..0x1_0000).prop_map(|n| 0xfe00_0000 | n << 8),
        (0u32..0x1_0000).prop_map(|n| n << 16 | n),
        (0u32..0x800).prop_map(|n| 0xfee0_0000 | n),
    ]
}

/// The promises: no foreign vector, destination or mode in any hardware message, no register of the
/// GPOS over anything protected, the hidden function untouched.
fn check(world: &mut World) {
    let hidden = Machine::q35();
    for (key, value) in hidden.0.iter().filter(|((bdf, _), _)| *bdf == CARD) {
        assert_eq!(world.machine.0.get(key), Some(value));
    }
    if world.machine.read32(AHCI, 0x80) & 0x0001_0000 != 0 {
        assert_eq!(
            world.machine.read32(AHCI, 0x80) & 0x0070_0000,
            0,
            "one message"
        );
        assert_eq!(world.machine.read32(AHCI, 0x84), 0xfee0_3000);
        assert_eq!(world.machine.read32(AHCI, 0x88), 0);
        let vector = world.machine.read32(AHCI, 0x8c);
        assert!(
            (FIRST_HOST_VECTOR.0..=LAST_HOST_VECTOR.0).contains(&u8::try_from(vector).unwrap())
        );
    }
    let rules = world.config.rules().clone();
    for (bdf, offset, size, wide) in [
        (DISK, 0x14, 0x1000, false),
        (DISK, 0x20, 0x4000, true),
        (AHCI, 0x24, 0x1000, false),
    ] {
        let mut address = u64::from(world.machine.read32(bdf, offset) & !0xf);
        if wide {
            address |= u64::from(world.machine.read32(bdf, offset + 4)) << 32;
        }
        let span = Span::new(address, size).unwrap();
        assert!(rules.allows_memory(span), "{span:x?}");
        assert!(!world.ours.occupies(span), "{span:x?}");
    }
    let ports = Span::new(u64::from(world.machine.read32(DISK, 0x10) & 0xff80), 0x80).unwrap();
    assert!(rules.allows_ports(ports));
    let shared = world.ours.shared().unwrap();
    assert!(rules.allows_memory(shared));
    assert!(!world.ours.trapped().any(|page| page.overlaps(shared)));
}

proptest! {
    #[test]
    fn no_configuration_access_breaks_the_promises(
        accesses in prop::collection::vec(
            (bdfs(), any::<u8>(), widths(), values(), any::<bool>()), 1..60,
        ),
    ) {
        let mut world = World::new();
        for (bdf, offset, width, value, is_read) in accesses {
            if is_read {
                let _ = world.read(bdf, offset, width);
            } else {
                let _ = world.write(bdf, offset, width, value);
            }
            check(&mut world);
        }
    }

    #[test]
    fn no_port_access_panics(
        accesses in prop::collection::vec((any::<u16>(), widths(), any::<u32>()), 1..60),
    ) {
        let mut world = World::new();
        let mut power = PowerPorts::new(PowerFacts { pm1a_control: Some(0xffff), ..PowerFacts::default() });
        for (port, width, value) in accesses {
            let _ = world.read_port(port, width);
            let _ = world.write_port(port, width, value);
            let _ = world.read_port(0xcf8 | port & 7, width);
            let _ = world.write_port(0xcf8 | port & 7, width, value);
            let _ = power.classify(port, width, value);
        }
        check(&mut world);
    }

    #[test]
    fn no_table_write_leaves_an_unmasked_foreign_message(
        accesses in prop::collection::vec((0u64..0x1010, widths(), values(), values()), 1..80),
    ) {
        let mut world = World::new();
        let mut table = BTreeMap::from([(0xfebd_100c_u64, 1u32), (0xfebd_101c, 1)]);
        for (offset, width, low, high) in accesses {
            // Mostly the two entries.
            let at = GuestPhys(0xfebd_1000 + if offset < 0xc00 { offset & 0x1f } else { offset });
            let value = (u64::from(high) << 32 | u64::from(low)) & width.mask();
            let World { tables, routes, .. } = &mut world;
            let _ = tables.read(at, width);
            if let Some(MsixAct::Writes(writes)) = tables.write(at, width, value, CPU, routes) {
                for write in writes {
                    table.insert(write.at.0, write.value);
                    for entry in [0xfebd_1000, 0xfebd_1010] {
                        if table[&(entry + 12)] & 1 == 0 {
                            prop_assert_eq!(table[&entry], 0xfee0_3000);
                            prop_assert_eq!(table[&(entry + 4)], 0);
                            let vector = Vector(u8::try_from(table[&(entry + 8)]).unwrap());
                            prop_assert!(routes.lookup(vector).is_some());
                            prop_assert!(vector <= LAST_HOST_VECTOR);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn our_registers_take_any_access(at: u64, width in widths(), value: u64) {
        let world = World::new();
        let base = world.ours.trapped().next().unwrap().first();
        for at in [at, base.wrapping_add(at & 0x1fff)] {
            let _ = world.ours.mmio_read(GuestPhys(at), width);
            let _ = world.ours.mmio_write(GuestPhys(at), width, value);
        }
    }
}
