//! Stopping and resetting the functions of a dead GPOS.

use super::super::resets::{BRIDGE_CONTROL, Means};
use super::*;

/// The disk (index 1) resets itself; the card is hidden; the function behind the bridge cannot.
fn world(behind: &[(u8, u32, u32)]) -> World {
    let mut machine = Machine::q35();
    // PCI Express at 0xb0, after virtio's window: Device Capabilities with function level reset.
    machine.set(
        DISK,
        &[
            (0x98, 0x0001_b011, 0xc000_0000),
            (0xb0, 0x0002_0010, 0),
            (0xb4, 0x1000_8000, 0),
            (0xb8, 0x0000_0010, 0xffff),
        ],
    );
    machine.set(BEHIND, behind);
    World::on(machine)
}

fn index_of(world: &World, bdf: Bdf) -> u8 {
    world
        .config
        .owned()
        .find(|(_, facts)| facts.bdf == bdf)
        .map_or(u8::MAX, |(index, _)| index)
}

#[test]
fn a_function_resets_itself_and_keeps_the_firmwares_payload_size() {
    let world = world(&[]);
    let disk = index_of(&world, DISK);
    assert_eq!(world.config.means(disk), Some(Means::Function));
    let write = world.config.function_reset(disk).unwrap();
    assert_eq!((write.bdf, write.offset, write.value), (DISK, 0xb8, 0x8010));
    let sign = world.config.at_work(disk).unwrap();
    assert_eq!((sign.offset, sign.mask), (0xba, 0x20));
    assert_eq!(world.config.identity(disk), Some((DISK, 0x1042_1af4)));
    let restored = world.config.restore(disk);
    let control = restored.iter().find(|write| write.offset == 0xb8);
    assert_eq!(control.map(|write| write.value), Some(0x10));
    assert_eq!(restored.first().map(|write| write.value), Some(0x0400));
    assert_eq!(restored.last().map(|write| write.value), Some(0x0003));
}

#[test]
fn a_conventional_function_says_so_in_its_advanced_capability() {
    let world = world(&[
        (0x04, 0x0010_0006, 0x0000_0407),
        (0x34, 0x40, 0),
        (0x40, 0x0306_0013, 0),
        (0x44, 0, 0xff),
    ]);
    let behind = index_of(&world, BEHIND);
    assert_eq!(world.config.means(behind), Some(Means::Function));
    let write = world.config.function_reset(behind).unwrap();
    assert_eq!(
        (write.offset, write.width, write.value),
        (0x44, Width::One, 1)
    );
}

#[test]
fn what_cannot_reset_itself_is_reset_with_its_bus_where_all_there_is_the_gposs() {
    let world = world(&[]);
    let behind = index_of(&world, BEHIND);
    assert_eq!(world.config.means(behind), Some(Means::Bus(BRIDGE)));
    assert_eq!(world.config.function_reset(behind), None);
    let bridges: Vec<_> = world.config.bus_resets().collect();
    assert_eq!(bridges, [(BRIDGE, 1)]);
}

#[test]
fn a_bus_with_a_function_that_is_not_the_gposs_is_never_reset() {
    let mut machine = Machine::q35();
    let beside = Bdf::new(1, 1, 0);
    machine.set(beside, &[(0x00, 0x1042_1af4, 0), (0x08, 0x0100_0001, 0)]);
    let functions = machine.functions();
    let config = PciConfig::new(&functions, &[beside], rules(), CPU).unwrap();
    assert_eq!(config.bus_resets().count(), 0);
    let behind = (0u8..).zip(&functions).find(|(_, it)| it.bdf == BEHIND);
    let (index, _) = behind.unwrap();
    assert_eq!(config.means(index), Some(Means::Driver));
}

#[test]
fn a_function_in_quarantine_is_absent_from_then_on_and_silent() {
    let mut world = world(&[]);
    let disk = index_of(&world, DISK);
    let write = world.config.quarantine(disk).unwrap();
    assert_eq!((write.bdf, write.offset, write.value), (DISK, 4, 0x0400));
    assert_eq!(world.read(DISK, 0, Width::Four), u32::MAX);
    assert_eq!(
        world.write(DISK, 4, Width::Two, 7),
        WriteAct::Ignored(Why::Absent)
    );
    world.config.reset();
    assert_eq!(world.read(DISK, 0, Width::Four), u32::MAX);
    assert!(world.config.restore(disk).is_empty() && world.config.means(disk).is_none());
    assert_eq!(world.config.quarantine(disk), None);
}

#[test]
fn neither_the_chip_set_nor_what_others_own_is_stopped_or_reset() {
    let mut world = world(&[]);
    for index in 0..=u8::MAX {
        let writes = world.config.quiesce(index).into_iter();
        let all = writes
            .chain(world.config.restore(index))
            .chain(world.config.function_reset(index));
        for write in all {
            assert!(![HOST_BRIDGE, CARD, CONTROL, ISA, BRIDGE].contains(&write.bdf));
            assert_ne!(write.offset, BRIDGE_CONTROL);
        }
    }
    assert_eq!(world.config.quarantine(index_of(&world, ISA)), None);
}
