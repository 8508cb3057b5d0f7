//! The functions that are ours.

use super::*;

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
