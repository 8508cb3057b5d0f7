//! Behaviour of the whole: small firmware made up table by table, read and rebuilt.

extern crate std;
use super::facts::*;
use super::gpos_tables::{GposMachine, HpetUse, Verdict, build, size_bound};
use super::sleep::SleepTypes;
use super::tables::{FirmwareTables, find_rsdp, sum};
use super::*;
use crate::fields::{array_at, u16_at, u32_at, u64_at};
use proptest::prelude::*;
use std::{format, vec, vec::Vec};

const BASE: u64 = 0xe_0000;
const GPOS_BASE: u64 = 0x7fe_0000;
const MACHINE: GposMachine = GposMachine {
    boot_apic_id: 3,
    hpet: HpetUse::Gpos,
};

/// Memory from `BASE` on, nothing else.
pub(crate) struct Firmware(Vec<u8>);

impl PhysicalMemory for Firmware {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let Some(from) = address
            .checked_sub(BASE)
            .and_then(|at| usize::try_from(at).ok())
        else {
            return false;
        };
        let source = from
            .checked_add(buffer.len())
            .and_then(|end| self.0.get(from..end));
        source.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
    }
}

impl Firmware {
    fn place(&mut self, bytes: &[u8]) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(64), 0);
        let address = BASE + self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        address
    }

    fn tables(&self) -> FirmwareTables {
        FirmwareTables::read(self, BASE).unwrap()
    }
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 36];
    bytes[..4].copy_from_slice(signature);
    bytes[8] = 1;
    bytes[10..16].copy_from_slice(b"MAKER ");
    bytes.extend_from_slice(body);
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[9] = sum(&bytes).wrapping_neg();
    bytes
}

fn fadt(facs: u64, dsdt: u64) -> Vec<u8> {
    let mut body = vec![0; 276 - 36];
    let mut set = |offset: usize, bytes: &[u8]| {
        body[offset - 36..offset - 36 + bytes.len()].copy_from_slice(bytes);
    };
    set(36, &u32::try_from(facs).unwrap().to_le_bytes());
    set(46, &9u16.to_le_bytes());
    set(48, &0xb2u32.to_le_bytes());
    set(52, &[2, 3, 4, 5]);
    set(56, &0x600u32.to_le_bytes());
    set(64, &0x604u32.to_le_bytes());
    set(95, &[0x85]);
    set(112, &(1u32 << 10 | 1 << 8).to_le_bytes());
    set(116, &[1, 8, 0, 1]);
    set(120, &0xcf9u64.to_le_bytes());
    set(128, &[0x0f]);
    set(140, &dsdt.to_le_bytes());
    set(208, &[1, 32, 0, 3]);
    set(212, &0x608u64.to_le_bytes());
    table(b"FACP", &body)
}

fn madt() -> Vec<u8> {
    let mut body = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    for entry in [
        &[0, 8, 0, 0, 1, 0, 0, 0][..],
        &[0, 8, 1, 3, 1, 0, 0, 0],
        &[1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        &[2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
        &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[4, 6, 0xff, 0, 0, 1],
        &[
            0x7f, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
    ] {
        body.extend_from_slice(entry);
    }
    table(b"APIC", &body)
}

const S5: &[u8] = b"\x08_S5_\x12\x06\x04\x0a\x05\x0a\x07\x00\x00";

/// A root pointer and everything that it leads to. The AML is longer than a piece of the scan.
fn firmware() -> Firmware {
    let mut firmware = Firmware(vec![0; 64]);
    let mut facs = [0u8; 64];
    facs[..4].copy_from_slice(b"FACS");
    facs[4] = 64;
    let facs = firmware.place(&facs);
    let dsdt = firmware.place(&table(b"DSDT", &[&[0x5b; 230][..], S5, &[0; 40]].concat()));
    let mut hpet = vec![0; 20];
    hpet[8..16].copy_from_slice(&0xfed0_0000u64.to_le_bytes());
    let mut mcfg = vec![0; 8];
    mcfg.extend_from_slice(&0xb000_0000u64.to_le_bytes());
    mcfg.extend_from_slice(&[0, 0, 0, 255, 0, 0, 0, 0]);
    let tables = [
        fadt(facs, dsdt),
        madt(),
        table(b"HPET", &hpet),
        table(b"MCFG", &mcfg),
        table(b"SSDT", b"aml"),
        table(b"WAET", &[2, 0, 0, 0]),
        table(b"DMAR", &[0; 12]),
    ];
    let entries: Vec<u8> = tables
        .iter()
        .flat_map(|table| firmware.place(table).to_le_bytes())
        .collect();
    let xsdt = firmware.place(&table(b"XSDT", &entries));
    let mut rsdp = [0u8; 36];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(b"MAKER ");
    rsdp[15] = 2;
    rsdp[20] = 36;
    rsdp[24..32].copy_from_slice(&xsdt.to_le_bytes());
    rsdp[8] = sum(&rsdp[..20]).wrapping_neg();
    rsdp[32] = sum(&rsdp).wrapping_neg();
    firmware.0[..36].copy_from_slice(&rsdp);
    firmware
}

/// Damages the first table of that name without mending its sum.
fn damage(firmware: &mut Firmware, signature: &[u8; 4]) {
    let at = firmware
        .0
        .windows(4)
        .position(|bytes| bytes == signature)
        .unwrap();
    firmware.0[at + 30] ^= 1;
}

fn built(firmware: &Firmware, machine: GposMachine) -> (Vec<u8>, gpos_tables::GposTables) {
    let tables = firmware.tables();
    let mut buffer = vec![0xcc; usize::try_from(size_bound(&tables, machine)).unwrap()];
    let result = build(firmware, &tables, machine, GPOS_BASE, &mut buffer).unwrap();
    (buffer, result)
}

/// The tables that a block's XSDT names, each with its sum checked.
fn listed(block: &[u8]) -> Vec<&[u8]> {
    let at = |address: u64| {
        let from = &block[usize::try_from(address - GPOS_BASE).unwrap()..];
        let table = &from[..u32_at(from, 4).unwrap() as usize];
        assert_eq!(
            sum(table),
            0,
            "{:?}",
            Signature(array_at(table, 0).unwrap())
        );
        table
    };
    assert_eq!((sum(&block[..20]), sum(&block[..36])), (0, 0));
    let xsdt = at(u64_at(block, 24).unwrap());
    (36..xsdt.len())
        .step_by(8)
        .map(|offset| at(u64_at(xsdt, offset).unwrap()))
        .collect()
}

#[test]
fn the_root_pointer_is_found_where_a_bios_puts_it() {
    let mut shifted = firmware();
    assert_eq!(find_rsdp(&shifted), Some(BASE));
    shifted.0[0] = b'r';
    assert_eq!(find_rsdp(&shifted), None);
}

#[test]
fn the_facts_are_read() {
    let firmware = firmware();
    let facts = AcpiFacts::read(&firmware, &firmware.tables()).unwrap();
    assert_eq!(
        (facts.sci_irq, facts.smi_cmd, facts.acpi_enable),
        (9, Some(0xb2), 2)
    );
    assert_eq!(
        (facts.pm1a_evt, facts.pm1a_cnt, facts.pm1b_cnt),
        (Some(0x600), Some(0x604), None)
    );
    assert_eq!(
        facts.pm_timer,
        Some(PmTimer {
            port: 0x608,
            bits: 32
        }),
        "by its generic address"
    );
    let reset = ResetRegister {
        space: ResetSpace::Port,
        address: 0xcf9,
        value: 0x0f,
    };
    assert_eq!(facts.reset, Some(reset));
    assert_eq!(facts.s5, Some(SleepTypes { a: 5, b: 7 }));
    assert_eq!(facts.local_apic, 0xfee0_0000);
    let io_apic = IoApic {
        id: 2,
        address: 0xfec0_0000,
        gsi_base: 0,
    };
    assert_eq!(facts.io_apics.as_slice(), [io_apic]);
    assert_eq!(
        facts.isa_interrupt(0),
        IrqOverride {
            irq: 0,
            gsi: 2,
            flags: 0
        }
    );
    assert_eq!(
        facts.isa_interrupt(9),
        IrqOverride {
            irq: 9,
            gsi: 9,
            flags: 0x0d
        }
    );
    assert_eq!(
        facts.isa_interrupt(4),
        IrqOverride {
            irq: 4,
            gsi: 4,
            flags: 0
        }
    );
    assert_eq!(facts.hpet, Some(0xfed0_0000));
    assert_eq!(
        facts.ecam,
        Some(Ecam {
            base: 0xb000_0000,
            first_bus: 0,
            last_bus: 255
        })
    );
}

#[test]
fn the_off_state_is_found_wherever_it_lies_in_the_aml() {
    for before in 0..600 {
        let mut memory = Firmware(vec![]);
        let aml = [&vec![0x5b; before][..], S5, &[1; 9]].concat();
        let bytes = table(b"DSDT", &aml);
        let address = memory.place(&bytes);
        let length = u32::try_from(bytes.len()).unwrap();
        let table = tables::Table {
            signature: DSDT,
            address,
            length,
            is_sound: true,
        };
        assert_eq!(
            sleep::find_s5(&memory, table),
            Some(SleepTypes { a: 5, b: 7 }),
            "{before}"
        );
    }
}

#[test]
fn the_gpos_gets_what_it_owns_and_the_log_says_what_became_of_each_table() {
    let (block, result) = built(&firmware(), MACHINE);
    let names: Vec<[u8; 4]> = listed(&block)
        .iter()
        .map(|table| array_at(table, 0).unwrap())
        .collect();
    assert_eq!(
        names,
        [*b"FACP", *b"APIC", *b"HPET", *b"MCFG", *b"SSDT", *b"WAET"]
    );
    assert!(result.size <= block.len());
    use Verdict::*;
    let expected = [
        (DSDT, Kept),
        (FACS, Kept),
        (FADT, Edited),
        (MADT, Edited),
        (HPET, Kept),
        (MCFG, Kept),
        (SSDT, Kept),
        (WAET, Kept),
        (Signature(*b"DMAR"), Dropped),
    ];
    assert_eq!(result.audit.as_slice(), expected);
    let (block, _) = built(
        &firmware(),
        GposMachine {
            hpet: HpetUse::Hidden,
            ..MACHINE
        },
    );
    assert!(
        listed(&block)
            .iter()
            .all(|table| !table.starts_with(b"HPET"))
    );
}

#[test]
fn the_fadt_has_no_smi_command_and_names_the_copies() {
    let (block, _) = built(&firmware(), MACHINE);
    let fadt = listed(&block)[0];
    assert_eq!(fadt[48..56], [0; 8]);
    assert_eq!(fadt[95], 0);
    assert_eq!(u16_at(fadt, 46), Some(9), "the rest is as it was");
    let dsdt = u64_at(fadt, 140).unwrap();
    assert_eq!(u64::from(u32_at(fadt, 40).unwrap()), dsdt);
    let copy = &block[usize::try_from(dsdt - GPOS_BASE).unwrap()..];
    assert!(copy.starts_with(b"DSDT"));
    let facs = u64::from(u32_at(fadt, 36).unwrap());
    assert_eq!(facs % 64, 0);
    assert!(block[usize::try_from(facs - GPOS_BASE).unwrap()..].starts_with(b"FACS"));
    assert_eq!(
        u64_at(fadt, 132),
        Some(0),
        "a second address that was not there stays away"
    );
}

#[test]
fn the_madt_has_one_processor() {
    let (block, _) = built(&firmware(), MACHINE);
    let madt = listed(&block)[1];
    let mut kinds = vec![];
    let mut entries = &madt[44..];
    while let [kind, length, ..] = *entries {
        kinds.push((kind, entries[3]));
        entries = &entries[usize::from(length)..];
    }
    assert_eq!(kinds, [(0, 3), (1, 0), (2, 0), (2, 9), (4, 0)]);
    assert_eq!(madt[36..44], [0, 0, 0xe0, 0xfe, 1, 0, 0, 0]);
}

#[test]
fn damage_stops_only_if_the_table_matters() {
    let mut unimportant = firmware();
    damage(&mut unimportant, b"SSDT");
    let (block, result) = built(&unimportant, MACHINE);
    assert!(
        listed(&block)
            .iter()
            .all(|table| !table.starts_with(b"SSDT"))
    );
    assert!(result.audit.contains(&(SSDT, Verdict::Damaged)));
    for (name, signature) in [(b"FACP", FADT), (b"DSDT", DSDT)] {
        let mut broken = firmware();
        damage(&mut broken, name);
        let error = FirmwareTables::read(&broken, BASE);
        assert_eq!(error, Err(AcpiError::Damaged(signature)));
    }
    let mut broken = firmware();
    damage(&mut broken, b"APIC");
    let error = AcpiFacts::read(&broken, &broken.tables());
    assert_eq!(error, Err(AcpiError::Damaged(MADT)));
    let mut broken = firmware();
    damage(&mut broken, b"XSDT");
    assert!(matches!(
        FirmwareTables::read(&broken, BASE),
        Err(AcpiError::BadRoot(_))
    ));
}

#[test]
fn an_unknown_processor_and_a_short_buffer_are_refused() {
    let firmware = firmware();
    let tables = firmware.tables();
    let machine = GposMachine {
        boot_apic_id: 7,
        ..MACHINE
    };
    let mut buffer = vec![0; 4096];
    let error = build(&firmware, &tables, machine, GPOS_BASE, &mut buffer);
    assert_eq!(error, Err(AcpiError::NoBootProcessor(7)));
    let error = build(&firmware, &tables, MACHINE, GPOS_BASE, &mut buffer[..300]).unwrap_err();
    assert!(
        format!("{error}").contains("there is room for 300"),
        "{error}"
    );
    let error = build(&firmware, &tables, MACHINE, (1 << 32) - 64, &mut buffer);
    assert!(matches!(error, Err(AcpiError::NoRoom { .. })));
}

/// Everything that is done with firmware, as a boot does it.
fn exercise(memory: &Firmware) {
    let _ = find_rsdp(memory);
    let Ok(tables) = FirmwareTables::read(memory, BASE) else {
        return;
    };
    let _ = AcpiFacts::read(memory, &tables).map_err(|error| format!("{error}"));
    let mut buffer = vec![0; 0x4000];
    for boot_apic_id in [0, 3] {
        let machine = GposMachine {
            boot_apic_id,
            ..MACHINE
        };
        let _ = build(memory, &tables, machine, GPOS_BASE, &mut buffer);
    }
}

proptest! {
    #[test]
    fn no_firmware_can_make_it_panic(
        changes in proptest::collection::vec((0usize..0x800, any::<u8>()), 1..4),
        length in 0usize..0x1000,
        mend: bool,
    ) {
        let mut memory = firmware();
        for (at, value) in changes {
            let at = at % memory.0.len();
            memory.0[at] = value;
        }
        if mend {
            mend_sums(&mut memory);
        }
        memory.0.truncate(length.max(36));
        exercise(&memory);
    }
}

/// Makes the sums right again, so that damage gets past them and into the parsers.
fn mend_sums(memory: &mut Firmware) {
    for at in (64..memory.0.len()).step_by(64) {
        let Some(length) = u32_at(&memory.0, at + 4) else {
            continue;
        };
        let end = at.saturating_add(length as usize);
        let Some(table) = memory.0.get_mut(at..end).filter(|table| table.len() >= 36) else {
            continue;
        };
        table[9] = table[9].wrapping_sub(sum(table));
    }
}
