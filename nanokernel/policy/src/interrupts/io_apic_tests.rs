extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const LOW: u8 = 0x10;

fn fresh() -> (VirtualIoApic, Routes) {
    let config = IoApicConfig {
        id: 0,
        version: 0x20,
        pins: 24,
        owned: !(1 << 7),
        processor: 0,
    };
    (VirtualIoApic::new(config), Routes::new())
}

fn write(io: &mut VirtualIoApic, routes: &mut Routes, register: u8, value: u32) -> IoApicAct {
    assert_eq!(
        io.write(SELECT, u32::from(register), routes),
        IoApicAct::None
    );
    io.write(WINDOW, value, routes)
}

fn read(io: &mut VirtualIoApic, routes: &mut Routes, register: u8) -> u32 {
    assert_eq!(
        io.write(SELECT, u32::from(register), routes),
        IoApicAct::None
    );
    io.read(WINDOW)
}

#[test]
fn the_version_and_number_of_pins_are_the_hardwares() {
    let (mut io, mut routes) = fresh();
    assert_eq!(read(&mut io, &mut routes, 1), 0x0017_0020);
}

#[test]
fn after_reset_every_pin_is_masked_on_both_sides() {
    let (mut io, mut routes) = fresh();
    for pin in 0..24 {
        assert_eq!(read(&mut io, &mut routes, LOW + 2 * pin), MASKED);
        let hardware = (pin != 7).then_some(MASKED);
        assert_eq!(io.program(pin).map(|entry| entry.low), hardware);
    }
    assert_eq!(io.program(24), None);
}

#[test]
fn the_hardware_gets_a_vector_of_the_pool_and_the_guest_reads_its_own() {
    let (mut io, mut routes) = fresh();
    let act = write(&mut io, &mut routes, LOW + 2 * 4, 0x0000_29ef);
    let host = routes.host_vector(Source::Pin(4)).unwrap();
    let low = u32::from(host.0) | ACTIVE_LOW;
    assert_eq!(
        act,
        IoApicAct::Program(PinProgram {
            pin: 4,
            low,
            high: 0
        })
    );
    assert_eq!(read(&mut io, &mut routes, LOW + 2 * 4), 0x0000_29ef);
    let delivered = io.on_host_interrupt(4);
    assert_eq!(delivered.deliver, Some((Vector(0xef), Trigger::Edge)));
    assert_eq!(delivered.program, None);
}

#[test]
fn a_level_pin_is_masked_until_the_guest_has_ended_it() {
    let (mut io, mut routes) = fresh();
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0000_a022);
    let host = u32::from(routes.host_vector(Source::Pin(10)).unwrap().0);
    let open = host | ACTIVE_LOW | LEVEL;
    assert_eq!(io.program(10).unwrap().low, open);

    let taken = io.on_host_interrupt(10);
    assert_eq!(taken.deliver, Some((Vector(0x22), Trigger::Level)));
    assert_eq!(taken.program.unwrap().low, open | MASKED);
    assert_eq!(read(&mut io, &mut routes, LOW + 2 * 10), 0x0000_e022);

    assert_eq!(io.on_guest_eoi(Vector(0x23)).count(), 0);
    let ended: Vec<u8> = io.on_guest_eoi(Vector(0x22)).collect();
    assert_eq!(ended, [10]);
    assert_eq!(io.program(10).unwrap().low, open);
    assert_eq!(read(&mut io, &mut routes, LOW + 2 * 10), 0x0000_a022);
}

#[test]
fn the_eoi_register_ends_a_level_interrupt_where_the_version_has_one() {
    let (mut io, mut routes) = fresh();
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0000_a022);
    let _ = io.on_host_interrupt(10);
    let IoApicAct::Unmask(mut pins) = io.write(EOI, 0x22, &mut routes) else {
        panic!("no pins to unmask");
    };
    assert_eq!(pins.next(), Some(10));
    assert_eq!(pins.next(), None);

    let mut old = VirtualIoApic::new(IoApicConfig {
        version: 0x11,
        ..io.config
    });
    assert_eq!(old.write(EOI, 0x22, &mut routes), IoApicAct::None);
}

#[test]
fn turning_a_pin_to_edge_and_back_clears_remote_irr() {
    let (mut io, mut routes) = fresh();
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0000_a022);
    let _ = io.on_host_interrupt(10);
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0001_2022);
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0000_a022);
    assert_eq!(read(&mut io, &mut routes, LOW + 2 * 10), 0x0000_a022);
    assert_eq!(io.program(10).unwrap().low & MASKED, 0);
}

#[test]
fn a_guest_that_masks_a_pin_in_service_finds_it_masked_after_the_end() {
    let (mut io, mut routes) = fresh();
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0000_a022);
    let _ = io.on_host_interrupt(10);
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0001_a022);
    assert_eq!(io.on_guest_eoi(Vector(0x22)).count(), 1);
    assert_ne!(io.program(10).unwrap().low & MASKED, 0);
}

#[test]
fn a_vector_rewritten_in_service_does_not_leave_the_pin_dead() {
    let (mut io, mut routes) = fresh();
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0000_a022);
    let _ = io.on_host_interrupt(10);
    let _ = write(&mut io, &mut routes, LOW + 2 * 10, 0x0000_a033);
    assert_ne!(io.program(10).unwrap().low & MASKED, 0);
    assert_eq!(io.on_guest_eoi(Vector(0x22)).count(), 1);
    assert_eq!(io.program(10).unwrap().low & MASKED, 0);
}

#[test]
fn other_delivery_modes_stay_masked_and_are_counted() {
    let (mut io, mut routes) = fresh();
    for mode in [2, 4, 5, 7] {
        let _ = write(&mut io, &mut routes, LOW, mode << 8 | 0x30);
        assert_ne!(io.program(0).unwrap().low & MASKED, 0);
        assert_eq!(io.on_host_interrupt(0).deliver, None);
    }
    assert_eq!(io.refused(), 4);
    let _ = write(&mut io, &mut routes, LOW, 0x0001_0700);
    assert_eq!(io.refused(), 4);
}

#[test]
fn a_pin_that_the_gpos_does_not_own_is_never_programmed() {
    let (mut io, mut routes) = fresh();
    for low in [0x31, 0x8031, 0x0001_0031] {
        let act = write(&mut io, &mut routes, LOW + 2 * 7, low);
        assert_eq!(act, IoApicAct::None);
        assert_eq!(io.program(7), None);
        assert_eq!(io.on_host_interrupt(7).program, None);
        assert_eq!(routes.host_vector(Source::Pin(7)), None);
        assert_eq!(read(&mut io, &mut routes, LOW + 2 * 7), low, "but kept");
    }
    assert_eq!(io.refused(), 2, "for two it was unmasked");
}

#[test]
fn an_edge_under_way_when_the_guest_masks_is_not_lost() {
    let (mut io, mut routes) = fresh();
    let _ = write(&mut io, &mut routes, LOW + 2 * 4, 0x31);
    let _ = write(&mut io, &mut routes, LOW + 2 * 4, 0x0001_0031);
    assert_eq!(
        io.on_host_interrupt(4).deliver,
        Some((Vector(0x31), Trigger::Edge))
    );
}

proptest! {
    #[test]
    fn whatever_the_guest_writes_the_hardware_sees_only_harmless_entries(
        writes in proptest::collection::vec((any::<u8>(), any::<u32>(), any::<u32>(), 0..5u8), 0..200),
        pins in any::<u8>(), version in any::<u8>(), processor in any::<u8>()
    ) {
        let mut io = VirtualIoApic::new(IoApicConfig { id: 3, version, pins, owned: !8, processor });
        let mut routes = Routes::new();
        for (register, value, offset, kind) in writes {
            match kind {
                0 => drop(io.on_host_interrupt(register)),
                1 => drop(io.on_guest_eoi(Vector(register))),
                2 => drop(io.write(offset, value, &mut routes)),
                _ => {
                    let _ = io.write(SELECT, u32::from(register), &mut routes);
                    let _ = io.write(WINDOW, value & 0xffff, &mut routes);
                }
            }
            let _ = (io.read(offset), io.read(WINDOW));
            for pin in 0..io.pin_count() {
                let Some(entry) = io.program(pin) else {
                    prop_assert_eq!(pin, 3);
                    continue;
                };
                prop_assert_eq!(entry.high, u32::from(processor) << 24);
                prop_assert_eq!(entry.low & !(VECTOR | ACTIVE_LOW | LEVEL | MASKED), 0);
                let serving = io.entry(pin).unwrap() & u64::from(REMOTE_IRR) != 0;
                if entry.low & MASKED == 0 {
                    prop_assert!((0x30..0xc0).contains(&(entry.low & VECTOR)));
                    prop_assert!(!serving);
                    let host = Vector(low_byte(entry.low));
                    prop_assert_eq!(routes.lookup(host).unwrap().source, Source::Pin(pin));
                }
            }
        }
    }
}
