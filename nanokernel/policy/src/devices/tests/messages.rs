//! Interrupt messages: translated, or refused.

use super::*;

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
                function: 6,
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
