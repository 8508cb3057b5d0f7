//! The guest's interrupt controllers, driven by arbitrary histories.

use std::hint::black_box;

use super::input::Input;
use darma_abi::units::{Cycles, Vector};
use darma_policy::interrupts::io_apic::{IoApicConfig, VirtualIoApic};
use darma_policy::interrupts::local_apic::{ApicConfig, ApicMode, VirtualApic};
use darma_policy::interrupts::routes::{FIRST_HOST_VECTOR, LAST_HOST_VECTOR, Routes, Source};
use darma_policy::interrupts::{FIRST_LEGAL_VECTOR, Trigger};

/// A history of the local APIC: what happens (a byte), to which register (two), with what (four).
pub fn local_apic(bytes: &[u8]) {
    let mut apic = VirtualApic::new(ApicConfig {
        minimum_period: Cycles(10_000),
    });
    let mut now = Cycles(1 << 40);
    let mut input = Input(bytes);
    while !input.is_empty() {
        let (kind, register, value) = (input.byte(), u32::from(input.half()), input.word());
        let [low, ..] = value.to_le_bytes();
        match kind % 7 {
            0 => {
                let _ = black_box(apic.write_mmio(register & 0xfff, value, now));
                black_box(apic.read_mmio(register & 0xfff, now));
            }
            1 => {
                // The x2APIC's range, the base register and the deadline; values of both widths.
                let msr = match register >> 8 {
                    0x1b => 0x1b,
                    0x6e => 0x6e0,
                    _ => 0x800 | register & 0xff,
                };
                let wide = u64::from(value) << (kind / 7 % 4 * 8);
                let _ = black_box(apic.write_msr(msr, wide, now));
                let _ = black_box(apic.read_msr(msr, now));
            }
            2 => drop(black_box(apic.raise(Vector(low), Trigger::Edge))),
            3 => drop(black_box(apic.raise(Vector(low), Trigger::Level))),
            4 => {
                apic.set_cr8(low);
                assert_eq!(apic.cr8(), low & 0xf);
            }
            5 => {
                if let Some(vector) = apic.pending() {
                    assert!(apic.accept(vector));
                    assert!(!apic.accept(vector), "accepted twice");
                    assert!(apic.ppr() >> 4 >= vector.class());
                }
            }
            _ => {
                let due = apic
                    .deadline()
                    .is_some_and(|at| at.0 <= now.0 + u64::from(value));
                now = Cycles(now.0 + u64::from(value));
                assert_eq!(apic.advance(now), due);
            }
        }
        if let Some(vector) = apic.pending() {
            assert!(vector.0 >= FIRST_LEGAL_VECTOR && vector.class() > apic.cr8());
            assert_ne!(apic.mode(), ApicMode::Disabled);
        }
        black_box((apic.snapshot(), apic.takes_extint(), apic.takes_nmi()));
    }
}

/// A history of the I/O APIC: pins, version and processor; then what happens, to which register or
/// pin, with what. Whatever it was, the hardware sees harmless entries only.
pub fn io_apic(bytes: &[u8]) {
    const MASKED: u32 = 1 << 16;
    /// Vector, polarity, trigger mode and mask: fixed delivery, physical destination.
    const HARMLESS: u32 = 0x1_a0ff;
    let mut input = Input(bytes);
    let (pins, version, processor) = (input.byte(), input.byte(), input.byte());
    let mut io = VirtualIoApic::new(IoApicConfig {
        id: 0,
        version,
        pins,
        owned: !8,
        processor,
    });
    let mut routes = Routes::new();
    while !input.is_empty() {
        let (kind, register, value) = (input.byte(), input.byte(), input.word());
        match kind % 4 {
            0 => drop(black_box(io.on_host_interrupt(register))),
            1 => drop(black_box(io.on_guest_eoi(Vector(register)))),
            2 => drop(black_box(io.write(u32::from(register), value, &mut routes))),
            _ => {
                let _ = io.write(0x00, u32::from(register), &mut routes);
                let _ = io.write(0x10, value, &mut routes);
            }
        }
        black_box((io.read(u32::from(register)), io.read(0x10)));
        for pin in 0..io.pin_count() {
            let Some(entry) = io.program(pin) else {
                assert_eq!(pin, 3, "not the GPOS's");
                continue;
            };
            assert_eq!(entry.high, u32::from(processor) << 24);
            assert_eq!(entry.low & !HARMLESS, 0);
            if entry.low & MASKED == 0 {
                let [vector, ..] = entry.low.to_le_bytes();
                assert!((FIRST_HOST_VECTOR.0..=LAST_HOST_VECTOR.0).contains(&vector));
                let route = routes.lookup(Vector(vector)).expect("routed");
                assert_eq!(route.source, Source::Pin(pin));
            }
        }
    }
}
