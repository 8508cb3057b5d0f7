//! Dumps written and read back, whole, cut short and damaged.

extern crate std;
use super::*;
use crate::crc32c::software;
use proptest::prelude::*;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

const ORIGIN: Origin = Origin {
    fault: 7,
    taken_at_ns: 5,
    cr3: 0x1000,
    vmcoreinfo: 0x18e_0018,
    vmcoreinfo_bytes: 99,
};

fn geometry(pages: u64) -> Geometry {
    // A gap of 16 pages after the third page.
    let low = GuestPhys(0)..GuestPhys(3 * 4096);
    let high = GuestPhys(19 * 4096)..GuestPhys((16 + pages) * 4096);
    Geometry::new(&[low, high]).expect("in order")
}

/// The page that a test writes: zero, or filled with this byte.
fn page(fill: u8) -> Box<[u8; PAGE_BYTES]> {
    Box::new([fill; PAGE_BYTES])
}

fn dump(store: &mut [u8], fills: &[Option<u8>]) -> (Counts, u64) {
    dump_with(store, fills, software)
}

fn dump_with(store: &mut [u8], fills: &[Option<u8>], crc32c: Crc32c) -> (Counts, u64) {
    let total = u64::try_from(fills.len()).expect("few");
    let mut writer =
        DumpWriter::start(store, geometry(total), ORIGIN, crc32c).expect("room for the index");
    for fill in fills {
        assert!(writer.next_address().is_some());
        writer.page(fill.map(page).as_deref());
    }
    assert_eq!(writer.next_address(), None);
    writer.finish()
}

fn store_for(fills: &[Option<u8>], data_pages: usize) -> Vec<u8> {
    let total = u64::try_from(fills.len()).expect("few");
    let overhead = usize::try_from(geometry(total).overhead_bytes()).expect("small");
    vec![0xee; overhead + data_pages * PAGE_BYTES]
}

#[test]
fn pages_come_back_at_their_addresses_and_zeros_take_no_room() {
    let fills = [Some(1), Some(0), Some(2), Some(3), None];
    let mut store = store_for(&fills, 3);
    let (counts, bytes) = dump(&mut store, &fills);
    assert_eq!(
        counts,
        Counts {
            total: 5,
            saved: 3,
            zero: 1,
            lost: 1
        }
    );
    assert_eq!(bytes, u64::try_from(store.len()).expect("small"));
    let reader = DumpReader::open(&store, software).expect("whole");
    assert_eq!(reader.origin(), ORIGIN);
    let addresses: Vec<u64> = reader
        .pages()
        .map(|(address, _)| address.0 / 4096)
        .collect();
    assert_eq!(addresses, [0, 1, 2, 19, 20]);
    let pages: Vec<Page<'_>> = reader.pages().map(|(_, page)| page).collect();
    assert_eq!(pages[0], Page::Saved(&page(1)));
    assert_eq!(pages[1], Page::Zero);
    assert_eq!(pages[3], Page::Saved(&page(3)));
    assert_eq!(pages[4], Page::Lost);
}

#[test]
fn a_store_that_is_too_small_gives_a_partial_dump_that_says_so() {
    let fills = [Some(1), Some(2), Some(0), Some(3)];
    let mut store = store_for(&fills, 2);
    let (counts, _) = dump(&mut store, &fills);
    assert_eq!(
        counts,
        Counts {
            total: 4,
            saved: 2,
            zero: 1,
            lost: 1
        }
    );
    assert!(counts.is_partial());
    let reader = DumpReader::open(&store, software).expect("readable");
    assert_eq!(reader.page(3).map(|(_, page)| page), Some(Page::Lost));
}

#[test]
fn a_dump_that_was_cut_off_is_none() {
    let mut store = store_for(&[Some(1); 4], 4);
    dump(&mut store, &[Some(1); 4]);
    let mut writer = DumpWriter::start(&mut store, geometry(4), ORIGIN, software).expect("room");
    writer.page(Some(&page(9)));
    assert_eq!(
        DumpReader::open(&store, software).map(|_| ()),
        Err(DumpError::NoHeader)
    );
}

#[test]
fn finishing_early_loses_the_rest() {
    let mut store = store_for(&[Some(1); 200], 1);
    let mut writer = DumpWriter::start(&mut store, geometry(200), ORIGIN, software).expect("room");
    writer.page(Some(&page(9)));
    let (counts, _) = writer.finish();
    assert_eq!(
        counts,
        Counts {
            total: 200,
            saved: 1,
            zero: 0,
            lost: 199
        }
    );
    assert!(DumpReader::open(&store, software).is_ok());
}

#[test]
fn a_torn_first_header_does_no_harm() {
    let mut store = store_for(&[Some(1); 4], 4);
    dump(&mut store, &[Some(1); 4]);
    store[60] ^= 1;
    assert!(DumpReader::open(&store, software).is_ok());
    store[PAGE_BYTES + 60] ^= 1;
    assert_eq!(
        DumpReader::open(&store, software).map(|_| ()),
        Err(DumpError::NoHeader)
    );
}

#[test]
fn damaged_data_is_found_in_its_chunk() {
    let fills = [Some(5); 130];
    let mut store = store_for(&fills, 130);
    dump(&mut store, &fills);
    let last = store.len() - 1;
    store[last] ^= 0x40;
    let reader = DumpReader::open(&store, software).expect("index is whole");
    let checks: Vec<_> = (0..reader.chunks())
        .map(|chunk| reader.check_chunk(chunk))
        .collect();
    assert_eq!(checks, [Ok(()), Ok(()), Err(DumpError::ChunkDamaged(2))]);
}

#[test]
fn memory_that_overlaps_is_refused() {
    let low = GuestPhys(0)..GuestPhys(0x5000);
    let again = GuestPhys(0x4000)..GuestPhys(0x6000);
    let overlapping = Geometry::new(&[low.clone(), again]).map(|_| ());
    assert_eq!(overlapping, Err(GeometryError::NotInOrder));
    let endless = Geometry::new(&[GuestPhys(0)..GuestPhys(u64::MAX)]).map(|_| ());
    assert_eq!(endless, Err(GeometryError::NotInOrder));
    let parts = Geometry::new(&[GuestPhys(0x800)..GuestPhys(0x2fff)]).expect("one page");
    assert_eq!(parts.total_pages(), 1);
    assert_eq!(parts.address(0), Some(GuestPhys(0x1000)));
}

#[test]
fn a_store_without_room_for_the_index_is_refused() {
    let mut store = vec![0; 2 * PAGE_BYTES];
    assert!(DumpWriter::start(&mut store, geometry(8), ORIGIN, software).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_written_is_read(fills in prop::collection::vec(prop::option::of(0u8..4), 4..150)) {
        let mut store = store_for(&fills, fills.len());
        let (counts, _) = dump(&mut store, &fills);
        prop_assert_eq!(counts.saved + counts.zero + counts.lost, counts.total);
        let reader = DumpReader::open(&store, software).expect("whole");
        for chunk in 0..reader.chunks() {
            prop_assert_eq!(reader.check_chunk(chunk), Ok(()));
        }
        prop_assert_eq!(reader.pages().count(), fills.len());
        for ((_, read), fill) in reader.pages().zip(&fills) {
            match (read, fill) {
                (Page::Saved(bytes), Some(fill)) => prop_assert!(bytes.iter().all(|b| b == fill)),
                (Page::Zero, Some(0)) | (Page::Lost, None) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn damaged_bookkeeping_is_read_without_harm(
        damage in prop::collection::vec((0usize..3 * PAGE_BYTES, any::<u8>()), 1..20),
        length in 0usize..4 * PAGE_BYTES,
    ) {
        // With a checksum that always fits, the damage gets through to the code behind it.
        for crc32c in [software, |_: u32, _: &[u8]| 0u32] {
            let mut store = store_for(&[Some(1); 70], 70);
            dump_with(&mut store, &[Some(1); 70], crc32c);
            for (at, value) in &damage {
                store[*at] = *value;
            }
            for store in [&store[..], &store[..length]] {
                if let Ok(reader) = DumpReader::open(store, crc32c) {
                    let _ = reader.check_chunk(0);
                    let _ = reader.pages().take(100).count();
                }
            }
        }
    }
}
