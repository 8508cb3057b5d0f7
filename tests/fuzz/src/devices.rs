//! The guest's dealings with devices, and the devices' own registers.

use std::collections::BTreeMap;
use std::hint::black_box;

use super::input::Input;
use super::machine::{AHCI, CARD, CPU, DISK, Machine, NETWORK, World, rules};
use darma_abi::units::{GuestPhys, Vector};
use darma_policy::devices::claims::{Claims, FunctionId};
use darma_policy::devices::enumerate::{ConfigAccess, enumerate};
use darma_policy::devices::functions::{Bdf, Functions, MAX_FUNCTIONS};
use darma_policy::devices::message::HostMessage;
use darma_policy::devices::msix::{MsixAct, MsixTables};
use darma_policy::devices::pci_config::{BarMoved, PciConfig, ReadAct, WriteAct};
use darma_policy::devices::power::{PowerAct, PowerFacts, PowerPorts};
use darma_policy::devices::ranges::Span;
use darma_policy::devices::virtual_pci::VirtualPci;
use darma_policy::interrupts::routes::{FIRST_HOST_VECTOR, LAST_HOST_VECTOR};
use darma_policy::mmio::Width;

/// Enumeration of up to four functions, 128 bytes of registers each; every bus above 0 shows the
/// first again. Sizing leaves every register as it was; what a task may claim is harmless.
pub fn pci_enumerate(bytes: &[u8]) {
    let mut functions: Vec<[u32; 32]> = Vec::new();
    let mut input = Input(bytes);
    while !input.is_empty() && functions.len() < 4 {
        functions.push(std::array::from_fn(|_| input.word()));
    }
    let mut devices = Devices(functions);
    let before = devices.0.clone();
    let Ok(found) = enumerate(&mut devices) else {
        return;
    };
    assert!(found.len() <= MAX_FUNCTIONS);
    assert_eq!(devices.0, before);
    if let Ok(config) = PciConfig::new(&found, &[], rules(), CPU) {
        let _ = black_box(MsixTables::new(config.owned()).map(|tables| tables.trapped().count()));
        for (index, _) in config.owned() {
            black_box((config.quiesce(index), config.restore(index)));
        }
    }
    let _ = black_box(VirtualPci::place(&found, &rules(), 1 << 20));
    claim_each(&found);
}

/// Each function for a task: its message goes to the task alone, its driver gets its memory alone.
fn claim_each(found: &Functions) {
    let mut claims = Claims::default();
    let message = HostMessage::to_task(Vector(0xef), 3).expect("a task's");
    for function in found {
        let id = FunctionId {
            vendor: function.vendor,
            device: function.device,
        };
        let Ok(facts) = claims.function(found, id) else {
            continue;
        };
        black_box(facts.take_over());
        assert!(!facts.send_to(message).is_empty());
        for bar in 0..6 {
            if let Ok(at) = facts.block(bar, 0x100) {
                let block = Span::new(at.0, 0x100).expect("it does not wrap");
                assert!(facts.memory().any(|span| span.contains(block)));
                assert!(!facts.msix_table().is_some_and(|span| span.overlaps(block)));
            }
            let _ = black_box(facts.port_range(bar));
        }
    }
}

/// Configuration registers that an input made.
struct Devices(Vec<[u32; 32]>);

impl Devices {
    fn register(&mut self, at: Bdf, offset: u8) -> Option<&mut u32> {
        let index = match (at.bus(), at.device(), at.function()) {
            (0, device, 0) => usize::from(device),
            (_, 0, 0) => 0,
            _ => return None,
        };
        self.0.get_mut(index)?.get_mut(usize::from(offset / 4))
    }
}

impl ConfigAccess for Devices {
    fn read32(&mut self, at: Bdf, offset: u8) -> u32 {
        self.register(at, offset).map_or(u32::MAX, |held| *held)
    }

    fn write32(&mut self, at: Bdf, offset: u8, value: u32) {
        let writable = match offset {
            0x04 => 0xffff,
            0x10..=0x24 => 0xffff_f000,
            0x30 => 0xffff_0001,
            _ => 0,
        };
        if let Some(held) = self.register(at, offset) {
            *held = (*held & !writable) | (value & writable);
        }
    }
}

/// A history of port accesses to configuration space: which function or which port, which offset,
/// width, value. The promises to the real-time side are checked after each.
pub fn pci_config(bytes: &[u8]) {
    let mut world = World::new();
    let mut bdfs = vec![
        Bdf::new(0, 0, 0),
        DISK,
        CARD,
        Bdf::new(0, 31, 0),
        AHCI,
        NETWORK,
    ];
    bdfs.extend(world.ours.bdfs());
    let mut input = Input(bytes);
    while !input.is_empty() {
        let (which, offset, width, value) =
            (input.byte(), input.byte(), input.width(), input.word());
        let port = if let Some(bdf) = bdfs.get(usize::from(which)) {
            let latch = 0x8000_0000 | u32::from(bdf.0) << 8 | u32::from(offset & 0xfc);
            write(&mut world, 0xcf8, Width::Four, latch);
            0xcfc + u16::from(offset & 3)
        } else {
            0xcf8 + u16::from(which & 7)
        };
        write(&mut world, port, width, value);
        if let ReadAct::Hardware { bdf, .. } = world.config.read(port, width, &world.ours) {
            assert_ne!(bdf, CARD, "the card is hidden");
        }
        keeps_promises(&mut world);
    }
}

fn write(world: &mut World, port: u16, width: Width, value: u32) {
    let (ours, routes) = (&mut world.ours, &mut world.routes);
    if let WriteAct::Hardware { writes, moved } =
        world.config.write(port, width, value, ours, routes)
    {
        if let Some(moved) = moved {
            world.tables.bar_moved(&moved);
        }
        for write in &writes {
            assert_ne!(write.bdf, CARD, "the card is hidden");
            world.machine.apply(write);
        }
    }
}

fn keeps_promises(world: &mut World) {
    let machine = &mut world.machine;
    let [enabled, low, high, data] = [0x80, 0x84, 0x88, 0x8c].map(|at| machine.read32(AHCI, at));
    if enabled & 0x1_0000 != 0 {
        assert_eq!((enabled & 0x70_0000, low, high), (0, 0xfee0_3000, 0));
        assert!(
            (FIRST_HOST_VECTOR.0..=LAST_HOST_VECTOR.0)
                .map(u32::from)
                .any(|v| v == data)
        );
    }
    let [disk, network] = [DISK, NETWORK].map(|bdf| machine.read32(bdf, 0x14));
    assert_ne!(disk, network, "two tables on one page");
    for table in world.tables.trapped() {
        let first = u32::try_from(table.first()).expect("a 32-bit register");
        assert!(
            [disk, network].contains(&first),
            "the wrong page is guarded"
        );
    }
    let upper = u64::from(machine.read32(DISK, 0x24)) << 32;
    for (bdf, offset, size, upper) in [
        (DISK, 0x14, 0x1000, 0),
        (DISK, 0x20, 0x4000, upper),
        (NETWORK, 0x14, 0x1000, 0),
        (AHCI, 0x24, 0x1000, 0),
    ] {
        let address = upper | u64::from(machine.read32(bdf, offset) & !0xf);
        let place = Span::new(address, size).expect("it does not wrap");
        assert!(world.config.rules().allows_memory(place), "{place:x?}");
        assert!(!world.ours.occupies(place), "{place:x?}");
    }
}

/// A history of accesses to the page of an MSI-X table: offset, width, value; now and then the
/// table moves. The hardware's table never holds an unmasked message to anybody else.
pub fn msix(bytes: &[u8]) {
    let mut world = World::new();
    let (function, _) = (world.config.owned())
        .find(|(_, facts)| facts.bdf == DISK)
        .expect("the disk");
    let mut page = 0xfebd_1000;
    // By offset, since the registers move with the page. Two entries, masked as after reset.
    let mut table = BTreeMap::from([(0x0c, 1), (0x1c, 1)]);
    let mut input = Input(bytes);
    while !input.is_empty() {
        let (offset, width, value) = (u64::from(input.half()), input.width(), input.quad());
        if offset & 0x8000 != 0 {
            let to = 0xfe00_0000 + (offset & 0xff) * 0x1000;
            let moved = BarMoved {
                function,
                bar: 1,
                from: page,
                to,
            };
            assert!(world.tables.bar_moved(&moved).is_some());
            page = to;
            continue;
        }
        let at = GuestPhys(page + (offset & 0x1fff));
        black_box(world.tables.read(at, width));
        let act = (world.tables).write(at, width, value & width.mask(), CPU, &mut world.routes);
        let Some(MsixAct::Writes(writes)) = act else {
            continue;
        };
        for write in writes {
            table.insert(write.at.0 - page, write.value);
            for entry in [0, 0x10] {
                let word = |at: u64| table.get(&(entry + at)).copied();
                if word(12).is_some_and(|control| control & 1 == 0) {
                    assert_eq!((word(0), word(4)), (Some(0xfee0_3000), Some(0)));
                    let vector = word(8).and_then(|data| u8::try_from(data).ok());
                    let vector = Vector(vector.expect("fixed delivery, edge"));
                    assert!(vector <= LAST_HOST_VECTOR && world.routes.lookup(vector).is_some());
                }
            }
        }
    }
    let first = Machine::new();
    assert_eq!(
        world.machine, first,
        "the table's writes go to memory alone"
    );
}

/// A history of port writes, among which those that would reset or switch off the machine.
pub fn power(bytes: &[u8]) {
    let facts = PowerFacts {
        pm1a_control: Some(0x604),
        pm1b_control: None,
        soft_off: Some((5, 0)),
        reset: Some((0xcf9, 0x0f)),
    };
    let mut ports = PowerPorts::new(facts);
    let intercepted: Vec<u16> = ports.intercepted().collect();
    let mut input = Input(bytes);
    while !input.is_empty() {
        let (port, width, value) = (input.half(), input.width(), input.word());
        let act = ports.classify(port, width, value);
        let reach = u32::from(port)..u32::from(port) + u32::from(width.bytes());
        if !intercepted
            .iter()
            .any(|port| reach.contains(&u32::from(*port)))
        {
            assert_eq!(act, PowerAct::Pass, "port {port:#x}");
        }
    }
}
