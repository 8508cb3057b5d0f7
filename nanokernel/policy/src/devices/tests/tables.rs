//! MSI-X tables: their entries, and the pages that guard them.

use super::*;

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
