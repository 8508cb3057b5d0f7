//! Arbitrary accesses against the promises that the real-time side depends on.

use super::*;

fn bdfs() -> impl Strategy<Value = Bdf> {
    prop::sample::select(std::vec![
        HOST_BRIDGE,
        DISK,
        CARD,
        BRIDGE,
        CONTROL,
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
        // On and around the task's registers.
        (0u32..0x300).prop_map(|n| 0xfe90_0000 | n << 12),
        (0u32..0x40).prop_map(|n| 0xc0e0 + n),
    ]
}

/// The promises: no foreign vector, destination or mode in any hardware message, no register of the
/// GPOS over anything protected, the hidden function and the task's untouched and absent.
fn check(world: &mut World) {
    let start = World::new().machine;
    for bdf in [CARD, CONTROL] {
        let of = |machine: &Machine| -> Vec<_> {
            let registers = machine.0.iter().filter(|((at, _), _)| *at == bdf);
            registers.map(|(key, value)| (*key, *value)).collect()
        };
        assert_eq!(of(&world.machine), of(&start), "{bdf}");
        assert!(!world.config.shows(bdf, &world.ours), "{bdf}");
    }
    let functions = start.clone().functions();
    let owned = [CARD, CONTROL].map(|bdf| facts(&functions, bdf));
    let memory: Vec<Span> = owned.iter().flat_map(FunctionFacts::memory).collect();
    let owned_ports: Vec<Span> = owned
        .iter()
        .flat_map(|facts| facts.bars.iter().flatten().filter_map(Bar::ports))
        .collect();
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
        assert!(!memory.iter().any(|taken| taken.overlaps(span)));
    }
    // The bridge's windows decide who answers an address: they are the firmware's.
    for register in [0x18, 0x20, 0x24] {
        assert_eq!(
            world.machine.read32(BRIDGE, register),
            start.clone().read32(BRIDGE, register)
        );
    }
    let ports = Span::new(u64::from(world.machine.read32(DISK, 0x10) & 0xff80), 0x80).unwrap();
    assert!(rules.allows_ports(ports));
    assert!(!owned_ports.iter().any(|taken| taken.overlaps(ports)));
    let shared = world.ours.shared().unwrap();
    assert!(rules.allows_memory(shared));
    assert!(!world.ours.trapped().any(|page| page.overlaps(shared)));
    for span in world.ours.trapped().chain([shared]) {
        assert!(!memory.iter().any(|taken| taken.overlaps(span)));
    }
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
