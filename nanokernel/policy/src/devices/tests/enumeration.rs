//! What enumeration finds, and what it does not believe.

use super::*;

#[test]
fn enumeration_finds_functions_registers_capabilities_and_buses() {
    let mut machine = Machine::q35();
    let before = machine.0.clone();
    let functions = machine.functions();
    assert_eq!(machine.0, before, "sizing leaves every register as it was");
    let all: Vec<Bdf> = functions.iter().map(|function| function.bdf).collect();
    assert_eq!(
        all,
        [HOST_BRIDGE, DISK, CARD, BRIDGE, CONTROL, ISA, AHCI, BEHIND]
    );
    let disk = facts(&functions, DISK);
    assert_eq!(disk.bars[0].unwrap().ports(), Span::new(0xc000, 0x80));
    assert_eq!(
        disk.bars[1].unwrap().memory(),
        Span::new(0xfebd_1000, 0x1000)
    );
    assert_eq!(
        disk.bars[4].unwrap().memory(),
        Span::new(0x8_0000_0000, 0x4000)
    );
    assert_eq!(disk.bars[5], None);
    let msix = disk.capabilities.msix.unwrap();
    assert_eq!(
        (msix.entries, msix.table_bar, msix.pending_offset),
        (2, 1, 0x800)
    );
    assert_eq!(disk.capabilities.virtio_window, Some(0x84));
    assert_eq!(facts(&functions, CARD).rom.unwrap().size, 0x4_0000);
    let Header::Bridge {
        secondary,
        memory,
        prefetchable,
        ..
    } = facts(&functions, BRIDGE).header
    else {
        panic!("a bridge");
    };
    assert_eq!(
        (secondary, memory),
        (1, Span::between(0xfe80_0000, 0xfe9f_ffff))
    );
    assert_eq!(prefetchable, None, "a closed window forwards nothing");
}

#[test]
fn a_function_that_answers_everywhere_fills_the_table_and_no_more() {
    struct Everywhere;
    impl ConfigAccess for Everywhere {
        fn read32(&mut self, at: Bdf, offset: u8) -> u32 {
            // Every function is a many-function bridge to its own bus and every chain a circle.
            if offset == 0x0c {
                0x0081_0000
            } else {
                u32::from(at.bus()) << 8 | 0x5010
            }
        }
        fn write32(&mut self, _: Bdf, _: u8, _: u32) {}
    }
    assert!(enumerate(&mut Everywhere).is_err());
}
