//! Single accesses to configuration space: hidden functions, registers that move, what stays.

use super::*;

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
fn quiesce_stops_a_function_and_restore_puts_it_back() {
    let mut world = World::new();
    world.write(AHCI, 0x84, Width::Four, 0xfee0_0000);
    world.write(AHCI, 0x8c, Width::Two, 0x40);
    world.write(AHCI, 0x82, Width::Two, 1);
    world.write(AHCI, 0x24, Width::Four, 0xe000_0000);
    for write in world.config.quiesce(6) {
        world.machine.apply(&write);
    }
    assert_eq!(world.machine.read32(AHCI, 4) & 0x407, 0x403);
    assert_eq!(world.machine.read32(AHCI, 0x80) >> 16 & 1, 0);
    world.config.reset();
    for write in world.config.restore(6) {
        world.machine.apply(&write);
    }
    assert_eq!(world.read(AHCI, 0x24, Width::Four), 0xfebd_2000);
    for (index, owner) in [(2, "the hidden card"), (4, "the task's function")] {
        assert!(
            world.config.quiesce(index).is_empty() && world.config.restore(index).is_empty(),
            "{owner} is not the GPOS's"
        );
    }
    assert!(world.config.restore(200).is_empty());
}
