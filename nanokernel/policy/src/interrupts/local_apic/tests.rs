extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const SVR: u32 = 0xf0;
const LVT_TIMER: u32 = 0x320;
const NOW: Cycles = Cycles(1_000_000);

fn fresh() -> VirtualApic {
    VirtualApic::new(ApicConfig {
        minimum_period: Cycles(20_000),
    })
}

/// An xAPIC that a kernel has switched on.
fn enabled() -> VirtualApic {
    let mut apic = fresh();
    let _ = apic.write_mmio(SVR, 0x1ff, NOW);
    apic
}

fn x2apic() -> VirtualApic {
    let mut apic = enabled();
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0d00, NOW),
        Ok(ApicEffect::ModeChanged)
    );
    apic
}

#[test]
fn the_version_announces_six_entries_and_no_directed_eoi() {
    assert_eq!(fresh().read_mmio(0x30, NOW), 0x0005_0014);
}

#[test]
fn reset_leaves_everything_masked_and_off() {
    let mut apic = enabled();
    apic.raise(Vector(0x40), Trigger::Level);
    apic.reset();
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.read_mmio(SVR, NOW), 0xff);
    for entry in 0..6 {
        assert_eq!(apic.read_mmio(LVT_TIMER + entry * 0x10, NOW), 1 << 16);
    }
    assert_eq!(apic.read_msr(MSR_APIC_BASE, NOW), Ok(0xfee0_0900));
}

#[test]
fn an_interrupt_goes_from_request_to_service_to_its_end() {
    let mut apic = enabled();
    assert_eq!(apic.raise(Vector(0x41), Trigger::Edge), Raised::Queued);
    assert_eq!(apic.raise(Vector(0x41), Trigger::Edge), Raised::Merged);
    assert_eq!(apic.pending(), Some(Vector(0x41)));
    assert!(apic.accept(Vector(0x41)));
    assert!(!apic.accept(Vector(0x41)));
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.ppr(), 0x40);
    assert_eq!(
        apic.write_mmio(0xb0, 0, NOW),
        ApicEffect::Eoi {
            vector: Vector(0x41),
            trigger: Trigger::Edge
        }
    );
    assert_eq!(apic.write_mmio(0xb0, 0, NOW), ApicEffect::None);
    assert_eq!(apic.ppr(), 0);
}

#[test]
fn the_end_of_a_level_interrupt_says_so_and_tmr_shows_it() {
    let mut apic = x2apic();
    apic.raise(Vector(0x22), Trigger::Level);
    assert_eq!(apic.read_msr(0x819, NOW), Ok(1 << 2));
    apic.accept(Vector(0x22));
    assert_eq!(
        apic.write_msr(0x80b, 0, NOW),
        Ok(ApicEffect::Eoi {
            vector: Vector(0x22),
            trigger: Trigger::Level
        })
    );
}

#[test]
fn only_a_higher_class_interrupts_the_one_in_service() {
    let mut apic = enabled();
    apic.raise(Vector(0x41), Trigger::Edge);
    apic.accept(Vector(0x41));
    apic.raise(Vector(0x4f), Trigger::Edge);
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.requested(), Some(Vector(0x4f)));
    apic.raise(Vector(0x50), Trigger::Edge);
    assert_eq!(apic.pending(), Some(Vector(0x50)));
}

#[test]
fn the_task_priority_holds_back_its_class_and_below() {
    let mut apic = enabled();
    apic.set_cr8(4);
    apic.raise(Vector(0x4f), Trigger::Edge);
    assert_eq!(apic.pending(), None);
    apic.set_cr8(3);
    assert_eq!(apic.pending(), Some(Vector(0x4f)));
    assert_eq!(apic.read_mmio(0x80, NOW), 0x30);
}

#[test]
fn copying_cr8_back_keeps_the_lower_half_of_the_task_priority() {
    let mut apic = enabled();
    let _ = apic.write_mmio(0x80, 0x1f, NOW);
    apic.set_cr8(apic.cr8());
    assert_eq!(apic.read_mmio(0x80, NOW), 0x1f);
}

#[test]
fn software_disabled_it_delivers_nothing_loses_edges_and_keeps_levels() {
    let mut apic = fresh();
    assert_eq!(apic.raise(Vector(0x41), Trigger::Edge), Raised::Dropped);
    assert_eq!(apic.raise(Vector(0x42), Trigger::Level), Raised::Queued);
    assert_eq!(apic.pending(), None);
    let _ = apic.write_mmio(SVR, 0x1ff, NOW);
    assert_eq!(apic.pending(), Some(Vector(0x42)));
    assert_eq!(apic.counters().dropped, 1);
}

#[test]
fn switching_off_masks_the_vector_table() {
    let mut apic = enabled();
    let _ = apic.write_mmio(LVT_TIMER, 0xec, NOW);
    assert_eq!(apic.write_mmio(SVR, 0xff, NOW), ApicEffect::TimerChanged);
    assert_eq!(apic.read_mmio(LVT_TIMER, NOW), 0x0001_00ec);
    let _ = apic.write_mmio(LVT_TIMER, 0xec, NOW);
    assert_eq!(apic.read_mmio(LVT_TIMER, NOW), 0x0001_00ec);
}

#[test]
fn the_modes_follow_the_manual_and_nothing_else() {
    let mut apic = fresh();
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0400, NOW),
        Err(GeneralProtection)
    );
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0000, NOW),
        Ok(ApicEffect::ModeChanged)
    );
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0c00, NOW),
        Err(GeneralProtection)
    );
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0800, NOW),
        Ok(ApicEffect::ModeChanged)
    );
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0c00, NOW),
        Ok(ApicEffect::ModeChanged)
    );
    assert_eq!(apic.read_msr(MSR_APIC_BASE, NOW), Ok(0xfee0_0d00));
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0800, NOW),
        Err(GeneralProtection)
    );
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xdead_0d00, NOW),
        Err(GeneralProtection)
    );
    assert_eq!(
        apic.write_msr(MSR_APIC_BASE, 0xfee0_0d00, NOW),
        Ok(ApicEffect::None)
    );
}

#[test]
fn x2apic_msrs_exist_only_in_their_mode_and_only_those() {
    assert_eq!(enabled().read_msr(0x802, NOW), Err(GeneralProtection));
    let mut apic = x2apic();
    assert_eq!(apic.read_msr(0x802, NOW), Ok(0));
    assert_eq!(apic.read_msr(0x80d, NOW), Ok(1));
    assert_eq!(apic.read_mmio(0x30, NOW), 0);
    for absent in [
        0x800, 0x801, 0x809, 0x80c, 0x80e, 0x82f, 0x831, 0x840, 0x8ff,
    ] {
        assert_eq!(
            apic.read_msr(absent, NOW),
            Err(GeneralProtection),
            "{absent:#x}"
        );
        assert_eq!(
            apic.write_msr(absent, 0, NOW),
            Err(GeneralProtection),
            "{absent:#x}"
        );
    }
    for read_only in [0x802, 0x803, 0x80a, 0x80d, 0x810, 0x818, 0x820, 0x839] {
        assert!(apic.read_msr(read_only, NOW).is_ok());
        assert_eq!(
            apic.write_msr(read_only, 0, NOW),
            Err(GeneralProtection),
            "{read_only:#x}"
        );
    }
    assert_eq!(apic.write_msr(0x80b, 1, NOW), Err(GeneralProtection));
    assert_eq!(apic.write_msr(0x808, 1 << 32, NOW), Err(GeneralProtection));
    assert_eq!(apic.read_msr(0x83f, NOW), Err(GeneralProtection));
}

#[test]
fn a_message_to_oneself_arrives_by_every_road() {
    let mut apic = x2apic();
    let roads = [
        (0x83f, 0x51),
        (0x830, 0x4_0052),
        (0x830, 0x53),
        (0x830, 0x1_0000_0854),
    ];
    for (msr, value) in roads {
        assert_eq!(apic.write_msr(msr, value, NOW), Ok(ApicEffect::None));
        let expected = Vector(u8::try_from(value & 0xff).unwrap());
        assert_eq!(apic.requested(), Some(expected));
    }
    let mut apic = enabled();
    let _ = apic.write_mmio(0xd0, 0x0100_0000, NOW);
    let _ = apic.write_mmio(0x310, 0x0100_0000, NOW);
    let _ = apic.write_mmio(0x300, 0x855, NOW);
    assert_eq!(apic.pending(), Some(Vector(0x55)));
    assert_eq!(apic.read_mmio(0x310, NOW), 0x0100_0000);
}

#[test]
fn messages_to_others_and_control_messages_are_only_counted() {
    let mut apic = x2apic();
    for value in [0x1_0000_0050u64, 0xc_0050, 0x2_0000_0850] {
        assert_eq!(apic.write_msr(0x830, value, NOW), Ok(ApicEffect::None));
    }
    for value in [0x500u64, 0x600, 0x200] {
        assert_eq!(apic.write_msr(0x830, value, NOW), Ok(ApicEffect::None));
    }
    assert_eq!(apic.requested(), None);
    assert_eq!(apic.counters().absent_target, 3);
    assert_eq!(apic.counters().ignored_control, 3);
}

#[test]
fn an_nmi_to_oneself_is_an_effect() {
    assert_eq!(
        x2apic().write_msr(0x830, 0x4_0400, NOW),
        Ok(ApicEffect::NmiSelf)
    );
}

#[test]
fn an_illegal_vector_is_an_error_and_raises_the_error_interrupt() {
    let mut apic = x2apic();
    let _ = apic.write_msr(0x837, 0xfe, NOW);
    let _ = apic.write_msr(0x83f, 0x05, NOW);
    assert_eq!(apic.pending(), Some(Vector(0xfe)));
    assert_eq!(apic.read_msr(0x828, NOW), Ok(0));
    let _ = apic.write_msr(0x828, 0, NOW);
    assert_eq!(apic.read_msr(0x828, NOW), Ok(0x20));
    let _ = apic.write_msr(0x828, 0, NOW);
    assert_eq!(apic.read_msr(0x828, NOW), Ok(0));
}

#[test]
fn the_pins_are_state_that_the_edge_can_ask_for() {
    let mut apic = enabled();
    assert!(!apic.takes_extint() && !apic.takes_nmi());
    let _ = apic.write_mmio(0x350, 0x700, NOW);
    let _ = apic.write_mmio(0x360, 0x400, NOW);
    assert!(apic.takes_extint() && apic.takes_nmi());
    assert_eq!(apic.read_mmio(0x350, NOW), 0x700);
}

#[test]
fn a_deadline_in_the_past_fires_at_once_and_zero_disarms() {
    let mut apic = x2apic();
    let _ = apic.write_msr(0x832, 0x4_00ec, NOW);
    assert_eq!(
        apic.write_msr(MSR_TSC_DEADLINE, 2_000_000, NOW),
        Ok(ApicEffect::TimerChanged)
    );
    assert_eq!(apic.deadline(), Some(Cycles(2_000_000)));
    assert_eq!(apic.read_msr(MSR_TSC_DEADLINE, NOW), Ok(2_000_000));
    let _ = apic.write_msr(MSR_TSC_DEADLINE, 0, NOW);
    assert_eq!(apic.deadline(), None);
    assert_eq!(apic.pending(), None);
    let _ = apic.write_msr(MSR_TSC_DEADLINE, 1, NOW);
    assert_eq!(apic.pending(), Some(Vector(0xec)));
    assert_eq!(apic.deadline(), None);
    assert_eq!(apic.read_msr(MSR_TSC_DEADLINE, NOW), Ok(0));
}

#[test]
fn a_masked_timer_asks_for_no_wake_up_and_expires_silently() {
    let mut apic = enabled();
    let _ = apic.write_mmio(LVT_TIMER, 0x1_00ec, NOW);
    let _ = apic.write_mmio(0x3e0, 0xb, NOW);
    let _ = apic.write_mmio(0x380, 1000, NOW);
    assert_eq!(apic.deadline(), None);
    assert_eq!(apic.read_mmio(0x390, Cycles(NOW.0 + 400)), 600);
    let _ = apic.write_mmio(LVT_TIMER, 0xec, Cycles(NOW.0 + 500));
    assert_eq!(apic.deadline(), Some(Cycles(NOW.0 + 1000)));
    let _ = apic.write_mmio(LVT_TIMER, 0x1_00ec, Cycles(NOW.0 + 600));
    let _ = apic.write_mmio(LVT_TIMER, 0xec, Cycles(NOW.0 + 1100));
    assert_eq!(apic.deadline(), None);
    assert_eq!(apic.pending(), None);
}

#[test]
fn a_calibrating_kernel_sees_the_bus_run_at_the_rate_of_the_counter() {
    let mut apic = enabled();
    let _ = apic.write_mmio(LVT_TIMER, 0x1_00ec, NOW);
    let _ = apic.write_mmio(0x3e0, 0x3, NOW);
    let _ = apic.write_mmio(0x380, u32::MAX, NOW);
    assert_eq!(
        apic.read_mmio(0x390, Cycles(NOW.0 + 16_000_000)),
        u32::MAX - 1_000_000
    );
}

/// The accesses of Linux 6.1 from taking x2APIC mode to its first tick, in their order.
#[test]
fn a_booting_linux_meets_no_fault_no_error_and_no_stale_interrupt() {
    let mut apic = fresh();
    let write = |apic: &mut VirtualApic, msr, value| {
        assert!(
            apic.write_msr(msr, value, NOW).is_ok(),
            "{msr:#x} {value:#x}"
        );
    };
    let read = |apic: &VirtualApic, msr| apic.read_msr(msr, NOW).expect("readable");
    let base = read(&apic, MSR_APIC_BASE);
    write(&mut apic, MSR_APIC_BASE, base | 0xc00);
    assert_eq!(read(&apic, 0x803) >> 16 & 0xff, 5);
    // Everything masked first.
    for entry in [0x837, 0x832, 0x835, 0x836, 0x834, 0x833] {
        let value = read(&apic, entry);
        write(&mut apic, entry, value | 0x1_0000);
    }
    write(&mut apic, 0x828, 0);
    assert_eq!(read(&apic, 0x828), 0);
    let spurious = read(&apic, 0x80f);
    write(&mut apic, 0x80f, spurious & !0x100);
    assert_eq!((read(&apic, 0x802), read(&apic, 0x80d)), (0, 1));
    write(&mut apic, 0x808, 0x10);
    for word in 0..8 {
        assert_eq!(
            (read(&apic, 0x810 + word), read(&apic, 0x820 + word)),
            (0, 0)
        );
    }
    write(&mut apic, 0x80f, 0x1ff);
    write(&mut apic, 0x834, 0x400);
    write(&mut apic, 0x835, 0x1_0700);
    write(&mut apic, 0x836, 0x400);
    write(&mut apic, 0x837, 0xfe);
    write(&mut apic, 0x828, 0);
    assert_eq!(read(&apic, 0x828), 0);
    write(&mut apic, 0x832, 0x4_00ec);
    write(&mut apic, MSR_TSC_DEADLINE, NOW.0 + 1_000_000);
    assert!(!apic.advance(Cycles(NOW.0 + 999_999)));
    assert!(apic.advance(Cycles(NOW.0 + 1_000_000)));
    assert_eq!(apic.pending(), Some(Vector(0xec)));
    assert!(apic.accept(Vector(0xec)));
    write(&mut apic, 0x80b, 0);
    assert_eq!(apic.requested(), None);
    assert_eq!(apic.counters(), ApicCounters::default());
}

#[derive(Clone, Debug)]
enum Step {
    WriteMmio(u32, u32),
    WriteMsr(u32, u64),
    Raise(u8, bool),
    Cr8(u8),
    Accept,
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![
        any::<u64>(),
        0..0x1000u64,
        Just(0),
        Just(0x4_00ec),
        Just(0x1ff)
    ];
    let msr = prop_oneof![
        0x800..0x840u32,
        Just(MSR_APIC_BASE),
        Just(MSR_TSC_DEADLINE),
        any::<u32>()
    ];
    let base = prop_oneof![Just(0xfee0_0d00u64), Just(0xfee0_0900), Just(0xfee0_0000)];
    let step = prop_oneof![
        (0..0x40u32, any::<u32>()).prop_map(|(r, v)| Step::WriteMmio(r * 16, v)),
        (0..0x40u32, 0..0x7_0000u32).prop_map(|(r, v)| Step::WriteMmio(r * 16, v)),
        (any::<u32>(), any::<u32>()).prop_map(|(o, v)| Step::WriteMmio(o, v)),
        (msr, value).prop_map(|(m, v)| Step::WriteMsr(m, v)),
        base.prop_map(|v| Step::WriteMsr(MSR_APIC_BASE, v)),
        Just(Step::WriteMmio(SVR, 0x1ff)),
        (any::<u8>(), any::<bool>()).prop_map(|(v, l)| Step::Raise(v, l)),
        any::<u8>().prop_map(Step::Cr8),
        Just(Step::Accept),
        any::<u32>().prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn no_history_inverts_priorities_or_accepts_a_request_twice(history in steps()) {
        let mut apic = fresh();
        let mut now = NOW;
        for step in history {
            match step {
                Step::WriteMmio(offset, value) => {
                    let _ = apic.write_mmio(offset, value, now);
                    let _ = apic.read_mmio(offset, now);
                }
                Step::WriteMsr(msr, value) => {
                    let _ = apic.write_msr(msr, value, now);
                    let _ = apic.read_msr(msr, now);
                }
                Step::Raise(vector, level) => {
                    let trigger = if level { Trigger::Level } else { Trigger::Edge };
                    let raised = apic.raise(Vector(vector), trigger);
                    prop_assert!(raised == Raised::Dropped || apic.irr.contains(Vector(vector)));
                }
                Step::Cr8(value) => {
                    apic.set_cr8(value);
                    prop_assert_eq!(apic.cr8(), value & 0xf);
                }
                Step::Accept => {
                    if let Some(vector) = apic.pending() {
                        let serving = apic.isr.highest().map_or(0, Vector::class);
                        prop_assert!(vector.class() > serving);
                        prop_assert!(apic.accept(vector));
                        prop_assert!(!apic.accept(vector));
                        prop_assert_eq!(apic.isr.highest(), Some(vector));
                    }
                }
                Step::Wait(cycles) => {
                    let due = apic.deadline();
                    now = Cycles(now.0 + u64::from(cycles));
                    let fired = apic.advance(now);
                    prop_assert_eq!(fired, due.is_some_and(|deadline| deadline <= now));
                }
            }
            if let Some(vector) = apic.pending() {
                prop_assert!(vector.0 >= FIRST_LEGAL_VECTOR);
                prop_assert!(vector.class() > apic.cr8());
                prop_assert_eq!(apic.mode() != ApicMode::Disabled, true);
            }
            prop_assert!(apic.deadline().is_none_or(|d| d > now || apic.advance(now)));
            let _ = apic.snapshot();
        }
    }
}
