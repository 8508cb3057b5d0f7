extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const LONG_MODE: ControlRegisters = ControlRegisters {
    efer: 0x1d01,
    pat: 0x0007_0406_0007_0406,
    cr0: 0x8005_0033,
};

fn fresh() -> MsrPolicy {
    let hardware = |msr| match msr {
        0xfe => 0x508,
        0x2ff => 0xc06,
        _ => u64::from(msr),
    };
    MsrPolicy::new(MsrFacts {
        mtrrs: Mtrrs::capture(hardware),
        machine_check: 0x0100_010a,
        optional_efer: 1 << 14,
    })
}

fn value(policy: &mut MsrPolicy, msr: u32) -> u64 {
    match policy.read(msr, LONG_MODE) {
        Ok(MsrRead::Value(value)) => value,
        other => panic!("{msr:#x}: {other:?}"),
    }
}

#[test]
fn the_guest_sees_its_efer_without_svme_and_cannot_ask_for_it() {
    let mut policy = fresh();
    assert_eq!(value(&mut policy, 0xc000_0080), 0xd01);
    assert_eq!(
        policy.write(0xc000_0080, 0x1d01, LONG_MODE),
        Err(GeneralProtection)
    );
    assert_eq!(
        policy.write(0xc000_0080, 0xd01, LONG_MODE),
        Ok(MsrWrite::Efer(0x1d01))
    );
    assert_eq!(
        policy.write(0xc000_0080, 0x501, LONG_MODE),
        Ok(MsrWrite::Efer(0x1501))
    );
    assert_eq!(
        policy.write(0xc000_0080, 0x4d01, LONG_MODE),
        Ok(MsrWrite::Efer(0x5d01))
    );
    assert_eq!(
        policy.write(0xc000_0080, 0x8d01, LONG_MODE),
        Err(GeneralProtection)
    );
}

#[test]
fn long_mode_cannot_change_under_paging_and_lma_is_the_processors() {
    let mut policy = fresh();
    assert_eq!(
        policy.write(0xc000_0080, 0xc01, LONG_MODE),
        Err(GeneralProtection)
    );
    let flat = ControlRegisters {
        efer: 0x1000,
        cr0: 0x11,
        ..LONG_MODE
    };
    assert_eq!(
        policy.write(0xc000_0080, 0x501, flat),
        Ok(MsrWrite::Efer(0x1101))
    );
}

#[test]
fn pat_belongs_to_the_virtual_processor_and_takes_memory_types_only() {
    let mut policy = fresh();
    assert_eq!(value(&mut policy, 0x277), 0x0007_0406_0007_0406);
    let linux = 0x0407_0506_0007_0106;
    assert_eq!(
        policy.write(0x277, linux, LONG_MODE),
        Ok(MsrWrite::Pat(linux))
    );
    assert_eq!(policy.write(0x277, 2, LONG_MODE), Err(GeneralProtection));
    assert_eq!(
        policy.write(0x277, 0x0800_0000_0000_0000, LONG_MODE),
        Err(GeneralProtection)
    );
}

#[test]
fn the_apics_registers_are_the_apics() {
    let mut policy = fresh();
    for msr in [0x1b, 0x6e0, 0x800, 0x80b, 0x830, 0x8ff] {
        assert_eq!(policy.read(msr, LONG_MODE), Ok(MsrRead::Apic));
        assert_eq!(policy.write(msr, 0, LONG_MODE), Ok(MsrWrite::Apic));
    }
}

#[test]
fn memory_type_ranges_start_as_the_hardwares_and_read_back_what_was_written() {
    let mut policy = fresh();
    assert_eq!(value(&mut policy, 0xfe), 0x508);
    assert_eq!(value(&mut policy, 0x20f), 0x20f);
    assert_eq!(value(&mut policy, 0x26f), 0x26f);
    assert_eq!(value(&mut policy, 0x2ff), 0xc06);
    for msr in [0x200, 0x20f, 0x250, 0x258, 0x259, 0x268, 0x26f, 0x2ff] {
        assert_eq!(policy.write(msr, 0x42, LONG_MODE), Ok(MsrWrite::Done));
        assert_eq!(value(&mut policy, msr), 0x42);
    }
    for msr in [0x210, 0x251, 0x25a, 0x267] {
        assert_eq!(policy.read(msr, LONG_MODE), Err(GeneralProtection));
    }
    assert_eq!(policy.write(0xfe, 0, LONG_MODE), Err(GeneralProtection));
    policy.reset();
    assert_eq!(value(&mut policy, 0x200), 0x200);
}

#[test]
fn machine_check_banks_are_there_and_empty() {
    let mut policy = fresh();
    assert_eq!(value(&mut policy, 0x179), 0x10a);
    assert_eq!(policy.write(0x17b, u64::MAX, LONG_MODE), Ok(MsrWrite::Done));
    assert_eq!(value(&mut policy, 0x17b), u64::MAX);
    assert_eq!(policy.write(0x424, u64::MAX, LONG_MODE), Ok(MsrWrite::Done));
    assert_eq!(value(&mut policy, 0x424), u64::MAX);
    assert_eq!(value(&mut policy, 0x420), 0);
    assert_eq!(policy.write(0x425, u64::MAX, LONG_MODE), Ok(MsrWrite::Done));
    assert_eq!(value(&mut policy, 0x425), 0);
    assert_eq!(policy.read(0x428, LONG_MODE), Err(GeneralProtection));
}

/// What Linux 6.1 touches without expecting a fault on AMD processors of any family.
#[test]
fn what_linux_touches_unasked_does_not_fault() {
    let mut policy = fresh();
    let by_family = [
        0xc001_0000,
        0xc001_0004,
        0xc001_001f,
        0xc001_0020,
        0xc001_0055,
        0xc001_0061,
        0xc001_0064,
        0xc001_0200,
        0xc001_0201,
        0xc001_0299,
        0xc001_1005,
        0xc001_1023,
        0xc001_102a,
        0xc001_1028,
    ];
    for msr in by_family {
        assert_eq!(value(&mut policy, msr), 0);
        assert_eq!(policy.write(msr, u64::MAX, LONG_MODE), Ok(MsrWrite::Done));
        assert_eq!(value(&mut policy, msr), 0);
    }
    let machines = [
        0xc001_0010,
        0xc001_0015,
        0xc001_001d,
        0xc001_1020,
        0xc001_1029,
        0x10,
        0x8b,
    ];
    let readable: Vec<u32> = passages().flat_map(|(range, _)| range).collect();
    for msr in machines {
        assert!(readable.contains(&msr), "{msr:#x}");
        assert_eq!(policy.write(msr, u64::MAX, LONG_MODE), Ok(MsrWrite::Done));
    }
    assert_eq!(policy.counters().absent, 0);
    assert_eq!(policy.counters().last_swallowed, 0x8b);
}

#[test]
fn what_does_not_exist_faults_and_is_counted() {
    let mut policy = fresh();
    for msr in [
        0x3a,
        0x3b,
        0x10a,
        0x4b56_4d00,
        0xc000_0104,
        0xc001_0114,
        0xc001_0117,
        0xc000_2000,
    ] {
        assert_eq!(
            policy.read(msr, LONG_MODE),
            Err(GeneralProtection),
            "{msr:#x}"
        );
        assert_eq!(
            policy.write(msr, 0, LONG_MODE),
            Err(GeneralProtection),
            "{msr:#x}"
        );
        assert_eq!(policy.counters().last_absent, msr);
    }
    assert_eq!(policy.counters().absent, 16);
}

#[test]
fn only_what_the_processor_switches_or_nobody_needs_is_writable_directly() {
    let writable: Vec<u32> = passages()
        .filter(|(_, passage)| *passage == Passage::ReadWrite)
        .flat_map(|(range, _)| range)
        .collect();
    assert_eq!(
        writable,
        [
            0xc000_0081,
            0xc000_0082,
            0xc000_0083,
            0xc000_0084,
            0xc000_0100,
            0xc000_0101,
            0xc000_0102,
            0xc000_0103,
            0x174,
            0x175,
            0x176,
            0x48,
            0x49,
            0xda0,
        ]
    );
}

#[test]
fn the_first_entry_for_a_register_is_the_one_the_bitmap_uses() {
    for (range, passage) in passages() {
        for msr in range {
            let class = class_of(msr).unwrap();
            let expected = match passage {
                Passage::ReadWrite => Class::Own,
                Passage::Read => Class::ReadOnly,
            };
            assert_eq!(class, expected, "{msr:#x}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_guest_writes_efer_keeps_svme_and_pat_stays_legal(
        accesses in proptest::collection::vec(
            (prop_oneof![any::<u32>(), 0..0x1000u32, 0xc000_0000..0xc000_0200u32,
                0xc001_0000..0xc001_2000u32], any::<u64>()), 0..100)
    ) {
        let mut policy = fresh();
        for (msr, value) in accesses {
            let _ = policy.read(msr, LONG_MODE);
            match policy.write(msr, value, LONG_MODE) {
                Ok(MsrWrite::Efer(efer)) => prop_assert!(efer & EFER_SVME != 0),
                Ok(MsrWrite::Pat(pat)) => prop_assert!(is_pat(pat)),
                _ => {}
            }
        }
    }
}
