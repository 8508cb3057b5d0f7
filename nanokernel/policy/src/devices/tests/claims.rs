//! What tasks own, and how their interrupts reach them.

use super::*;

fn claims(machine: &mut Machine) -> (Functions, Claims) {
    let functions = machine.functions();
    let claims = Claims::new(&functions, &[CARD]).unwrap();
    (functions, claims)
}

fn id(vendor: u16, device: u16) -> FunctionId {
    FunctionId { vendor, device }
}

/// The machine with this function at [`OTHER`] in addition.
fn with(registers: &[(u8, u32, u32)]) -> Machine {
    let mut machine = Machine::q35();
    machine.set(OTHER, registers);
    machine
}

#[test]
fn a_tasks_function_is_absent_for_the_gpos() {
    let mut world = World::new();
    for offset in (0..=0xfc).step_by(4) {
        assert_eq!(world.read(CONTROL, offset, Width::Four), u32::MAX);
    }
    assert_eq!(
        world.write(CONTROL, 4, Width::Two, 0),
        WriteAct::Ignored(Why::Absent)
    );
    let rules = world.config.rules();
    let registers = Span::new(0xfea0_0000, 0x10_0000).unwrap();
    assert!(rules.protected_memory.contains(&registers), "is unmapped");
    let ports = Span::new(0xc100, 0x20).unwrap();
    assert!(rules.protected_ports.contains(&ports), "are intercepted");
}

#[test]
fn a_function_is_granted_once_and_one_of_two_to_each() {
    let mut machine = Machine::q35();
    let (functions, mut claims) = claims(&mut machine);
    assert_eq!(
        claims.function(&functions, CONTROL_ID).unwrap().bdf,
        CONTROL
    );
    assert_eq!(
        claims.function(&functions, CONTROL_ID),
        Err(ClaimError::Taken(CONTROL_ID))
    );
    let owned: Vec<Bdf> = claims.functions().iter().map(|facts| facts.bdf).collect();
    assert_eq!(
        owned,
        [CARD, CONTROL],
        "the hidden one is the tasks' as well"
    );
    let mut two = with(&[
        (0x00, 0x11e8_1234, 0),
        (0x04, 0x0010_0000, 0x0507),
        (0x34, 0x40, 0),
        (0x40, 0x0000_0005, 0x0071_0000),
    ]);
    let (functions, mut claims) = self::claims(&mut two);
    let mut next = || {
        claims
            .function(&functions, CONTROL_ID)
            .map(|facts| facts.bdf)
    };
    assert_eq!(next(), Ok(OTHER));
    assert_eq!(next(), Ok(CONTROL));
    assert_eq!(next(), Err(ClaimError::Taken(CONTROL_ID)));
}

#[test]
fn what_the_gpos_could_reach_otherwise_is_refused_by_name() {
    let no_message = [(0x00, 0x0001_1234, 0), (0x10, 0xfd00_0000, 0xffff_f000)];
    // Its registers begin in the page in which the disk's port-sized ones would lie.
    let shares = [
        (0x00, 0x0001_1234, 0),
        (0x04, 0x0010_0000, 0),
        (0x10, 0xfebd_2800, 0xffff_f800),
        (0x34, 0x40, 0),
        (0x40, 0x0000_0005, 0),
    ];
    let table_outside = [
        (0x00, 0x0001_1234, 0),
        (0x04, 0x0010_0000, 0),
        (0x10, 0xfd00_0000, 0xffff_f000),
        (0x34, 0x40, 0),
        (0x40, 0x0000_0011, 0),
        (0x44, 0x0000_1000, 0),
        (0x48, 0, 0),
    ];
    let wanted = id(0x1234, 1);
    for (registers, error) in [
        (&no_message[..], ClaimError::NoMessage(OTHER)),
        (&shares[..], ClaimError::SharesPage(OTHER, AHCI)),
        (&table_outside[..], ClaimError::NoTable(OTHER)),
    ] {
        let (functions, mut claims) = claims(&mut with(registers));
        assert_eq!(claims.function(&functions, wanted), Err(error));
        assert!(std::format!("{error}").contains("00:05.0"));
        assert_eq!(claims.functions().len(), 1, "nothing is granted");
    }
    let (functions, mut claims) = claims(&mut Machine::q35());
    for machine in [ISA, BRIDGE, HOST_BRIDGE] {
        assert!(facts(&functions, machine).take_over().is_empty());
    }
    for (wanted, error) in [
        (wanted, ClaimError::Absent(wanted)),
        (id(0x8086, 0x2918), ClaimError::ChipSet(ISA)),
        (id(0x1b36, 0x000c), ClaimError::ChipSet(BRIDGE)),
    ] {
        assert_eq!(claims.function(&functions, wanted), Err(error));
    }
    // The first of the two disks can be had, the second is behind the bridge.
    let disk = id(0x1af4, 0x1042);
    assert!(claims.function(&functions, disk).is_ok());
    assert_eq!(
        claims.function(&functions, disk),
        Err(ClaimError::BehindBridge(BEHIND))
    );
}

#[test]
fn pins_are_granted_once_above_the_legacy_ones_and_only_if_there() {
    let mut claims = Claims::default();
    assert_eq!(claims.pin(20, 24), Ok(()));
    assert_eq!(claims.pin(20, 24), Err(ClaimError::PinTaken(20)));
    assert_eq!(
        claims.pin(24, 24),
        Err(ClaimError::PinAbsent { pin: 24, pins: 24 })
    );
    for legacy in 0..FIRST_FREE_PIN {
        assert_eq!(claims.pin(legacy, 24), Err(ClaimError::PinLegacy(legacy)));
    }
    assert_eq!(claims.pins(), 1 << 20);
}

#[test]
fn a_tasks_message_goes_to_its_vector_and_no_wire_is_left() {
    let mut machine = World::new().machine;
    assert_eq!(machine.read32(CONTROL, 0x44), 0xfee0_3000);
    assert_eq!(machine.read32(CONTROL, 0x4c), u32::from(TASK_VECTOR.0));
    assert_eq!(machine.read32(CONTROL, 0x40) >> 16 & 1, 1, "on");
    assert_eq!(machine.read32(CONTROL, 4) & 0x0507, 0x0406);
    for outside in [0x00, 0x30, 0xbf, 0xf0, 0xfe, 0xff] {
        assert_eq!(HostMessage::to_task(Vector(outside), 3), None);
    }
}

/// The disk has a table and no MSI.
#[test]
fn a_table_carries_the_message_where_there_is_no_msi() {
    let functions = Machine::q35().functions();
    let disk = facts(&functions, DISK);
    let message = HostMessage::to_task(TASK_VECTOR, 3).unwrap();
    let mut table = BTreeMap::new();
    let mut opened_last = false;
    for step in disk.send_to(message) {
        match step {
            Step::Table(write) => {
                table.insert(write.at.0 & 0xfff, write.value);
            }
            Step::MaskOthers { first, count } => {
                assert_eq!((first.0, count), (0xfebd_101c, 1));
            }
            Step::Config(write) => opened_last = write.value == 0x8000,
        }
    }
    let entry = [(0, 0xfee0_3000), (4, 0), (8, 0xef), (12, 0)];
    assert_eq!(table, BTreeMap::from(entry));
    assert!(opened_last, "the table is closed while it is written");
}

#[test]
fn a_driver_gets_the_memory_of_its_registers_and_not_the_messages() {
    let functions = Machine::q35().functions();
    let control = facts(&functions, CONTROL);
    assert_eq!(control.block(0, 0x100).map(|at| at.0), Ok(0xfea0_0000));
    assert_eq!(control.block(0, 0x10_0000).map(|at| at.0), Ok(0xfea0_0000));
    let (bdf, bar) = (CONTROL, 0);
    let too_small = |wanted| BarError::TooSmall {
        bdf,
        bar,
        size: 0x10_0000,
        wanted,
    };
    for wanted in [0, 0x10_0001, u64::MAX] {
        assert_eq!(control.block(0, wanted), Err(too_small(wanted)));
    }
    for bar in [1, 2, 6, 0xff] {
        assert_eq!(control.block(bar, 4), Err(BarError::Absent { bdf, bar }));
    }
    assert_eq!(control.port_range(2), Ok((0xc100, 0x20)));
    assert_eq!(control.port_range(0), Err(BarError::Absent { bdf, bar }));
    let disk = facts(&functions, DISK);
    let messages = BarError::HoldsMessages { bdf: DISK, bar: 1 };
    assert_eq!(disk.block(1, 16), Err(messages));
    assert!(disk.block(4, 0x4000).is_ok());
    // A table in the middle: what is before it can be had.
    let mut moved = disk;
    moved.capabilities.msix = Some(MsixFacts {
        table_offset: 0x100,
        ..disk.capabilities.msix.unwrap()
    });
    assert!(moved.block(1, 0x100).is_ok());
    assert_eq!(moved.block(1, 0x104), Err(messages));
    // Before the pending bits, which are at 0x800, lies the table.
    assert_eq!(moved.block(1, 0x1000), Err(messages));
}

proptest! {
    #[test]
    fn no_registers_that_a_device_shows_make_a_claim_panic(
        registers in prop::collection::vec((0u8..64, any::<u32>(), any::<u32>()), 0..40),
        bar: u8,
        bytes: u64,
    ) {
        let registers: Vec<_> = registers
            .into_iter()
            .map(|(place, value, writable)| (place * 4, value, writable))
            .chain([(0, 0x0001_1234, 0)])
            .collect();
        let (functions, mut claims) = claims(&mut with(&registers));
        if let Ok(facts) = claims.function(&functions, id(0x1234, 1)) {
            let message = HostMessage::to_task(TASK_VECTOR, 3).unwrap();
            prop_assert!(!facts.send_to(message).is_empty());
            for bar in [bar, bar % 6] {
                if let Ok(at) = facts.block(bar, bytes) {
                    let block = Span::new(at.0, bytes).unwrap();
                    prop_assert!(facts.memory().any(|span| span.contains(block)));
                    let table = facts.msix_table();
                    prop_assert!(!table.is_some_and(|table| table.overlaps(block)));
                }
                let _ = facts.port_range(bar);
            }
        }
    }
}
