//! The devices together, on a machine made of registers: behaviours by subject, then arbitrary
//! accesses against the promises that the real-time side depends on.

extern crate std;

mod claims;
mod configuration;
mod enumeration;
mod messages;
mod ours;
mod promises;
mod resets;
mod stops;
mod tables;

use std::collections::BTreeMap;
use std::vec::Vec;

use darma_abi::units::{GuestPhys, Vector};
use proptest::prelude::*;

use super::claims::{ClaimError, Claims, FIRST_FREE_PIN, FunctionId};
use super::enumerate::{ConfigAccess, enumerate};
use super::functions::{Bar, Bdf, FunctionFacts, Functions, Header, MsixFacts};
use super::message::{GuestMessage, HostMessage, Processor, Refused, VectorAllocator, translate};
use super::msix::{MsixAct, MsixRead, MsixTables};
use super::pci_config::{BarMoved, HardwareWrite, PciConfig, ReadAct, Why, WriteAct};
use super::power::{PowerAct, PowerFacts, PowerPorts, ResetRoute};
use super::ranges::{AddressRules, Span};
use super::task_function::{BUS_MASTER, BarError, DECODE_MEMORY, NO_WIRE, Step};
use super::virtual_pci::{VirtualEffect, VirtualPci};
use crate::interrupts::routes::{FIRST_HOST_VECTOR, LAST_HOST_VECTOR, Routes, Source};
use crate::mmio::Width;

const HOST_BRIDGE: Bdf = Bdf::new(0, 0, 0);
const DISK: Bdf = Bdf::new(0, 2, 0);
const CARD: Bdf = Bdf::new(0, 3, 0);
const OTHER: Bdf = Bdf::new(0, 5, 0);
const BRIDGE: Bdf = Bdf::new(0, 4, 0);
/// A function that a task owns.
const CONTROL: Bdf = Bdf::new(0, 6, 0);
const ISA: Bdf = Bdf::new(0, 31, 0);
const AHCI: Bdf = Bdf::new(0, 31, 2);
const BEHIND: Bdf = Bdf::new(1, 0, 0);

const CONTROL_ID: FunctionId = FunctionId {
    vendor: 0x1234,
    device: 0x11e8,
};
const TASK_VECTOR: Vector = Vector(0xef);

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
    /// card to be hidden, a bridge, a task's function (MSI), the ISA bridge, an AHCI controller
    /// (MSI), one behind the bridge.
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
            CONTROL,
            &[
                (0x00, 0x11e8_1234, 0),
                (0x04, 0x0010_0107, 0x0000_0507),
                (0x08, 0x00ff_0010, 0),
                (0x10, 0xfea0_0000, 0xfff0_0000),
                (0x18, 0x0000_c101, 0xffff_ffe0),
                (0x34, 0x40, 0),
                (0x40, 0x0080_0005, 0x0071_0000),
                (0x44, 0, 0xffff_fffc),
                (0x48, 0, u32::MAX),
                (0x4c, 0, 0xffff),
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

    /// What the caller of [`Step`] does; the MSI-X tables of this machine are elsewhere.
    fn perform(&mut self, steps: &[Step]) {
        for step in steps {
            if let Step::Config(write) = step {
                self.apply(write);
            }
        }
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
        let mut claims = Claims::new(&functions, &[CARD]).unwrap();
        if functions.iter().any(|function| function.bdf == CONTROL) {
            let facts = claims.function(&functions, CONTROL_ID).unwrap();
            let message = HostMessage::to_task(TASK_VECTOR, CPU.host_apic).unwrap();
            machine.perform(&facts.take_over());
            machine.perform(&facts.send_to(message));
            machine.perform(&[facts.command(NO_WIRE | BUS_MASTER | DECODE_MEMORY)]);
        }
        let owned: Vec<Bdf> = claims.functions().iter().map(|facts| facts.bdf).collect();
        let config = PciConfig::new(&functions, &owned, rules(), CPU).unwrap();
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
