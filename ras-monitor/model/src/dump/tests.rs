//! Dumps written, packed and read back: whole, cut short, damaged, one after another.

extern crate std;
use super::*;
use crate::crc32c::software;
use crate::memory::{GuestPhysRead, PAGE_BYTES_U64};
use darma_abi::units::GuestPhys;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const ORIGIN: Origin = Origin {
    fault: 7,
    taken_at_ns: 5,
    cr3: 0x1000,
    vmcoreinfo: 0x18e_0018,
    vmcoreinfo_bytes: 99,
};

/// What a page of the test's memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    Zero,
    Word(u64),
    /// Compresses well.
    Text(u8),
    /// Does not compress.
    Noise(u64),
    Unreadable,
}

use Fill::{Noise, Text, Unreadable, Word, Zero};

fn bytes_of(fill: Fill) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    let (words, _) = page.as_chunks_mut::<8>();
    let mut state = if let Noise(seed) = fill { seed | 1 } else { 1 };
    for (index, word) in words.iter_mut().enumerate() {
        let value = match fill {
            Zero | Unreadable => 0,
            Word(word) => word,
            Text(letter) => u64::from(letter) << (index % 5) | 0x20,
            Noise(_) => {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            }
        };
        *word = value.to_le_bytes();
    }
    page
}

/// Memory with a gap of 16 pages after the third.
#[derive(Clone, Debug)]
struct Memory(Vec<Fill>);

impl Memory {
    fn geometry(&self) -> Geometry {
        let pages = u64::try_from(self.0.len()).expect("few");
        let low = GuestPhys(0)..GuestPhys(3 * 4096);
        let high = GuestPhys(19 * 4096)..GuestPhys((16 + pages) * 4096);
        Geometry::new(&[low, high]).expect("in order")
    }

    fn overhead(&self, slots: u32) -> usize {
        let huge = StoreLayout::new(1 << 40, slots, &self.geometry(), software).expect("room");
        usize::try_from((1 << 40) - huge.arena_bytes).expect("small")
    }

    /// A store with room for this much data.
    fn store(&self, slots: u32, data: usize) -> Vec<u8> {
        vec![0xee; self.overhead(slots) + data]
    }
}

impl GuestPhysRead for Memory {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let page = self.geometry().page_at(at);
        let fill = page.and_then(|page| self.0.get(usize::try_from(page).ok()?));
        let Some(fill) = fill.filter(|fill| **fill != Unreadable) else {
            return false;
        };
        let offset = usize::try_from(at.0 % PAGE_BYTES_U64).expect("small");
        out.copy_from_slice(&bytes_of(*fill)[offset..][..out.len()]);
        true
    }
}

impl PageSource for Memory {}

fn capture(store: &mut DumpStore<'_>, memory: &Memory, marks: &[(PageKind, u64)]) -> Finished {
    let mut writer = store.begin(ORIGIN);
    while writer.classify(memory) == Progress::More {}
    for (kind, frame) in marks {
        writer.mark(*kind, GuestPhys(frame * 4096));
    }
    let mut room = [0; 64];
    let mut notes = NotesWriter::new(&mut room);
    assert!(notes.add(NoteKind::Configuration, b"dump.slots = 2"));
    let used = notes.used();
    assert!(writer.set_notes(&room[..used]));
    let mut packer = Compressor::new();
    while writer.save(memory, &mut packer) == Progress::More {}
    assert_eq!(writer.next_address(), None);
    writer.finish()
}

fn open<'s>(bytes: &'s mut [u8], slots: u32, memory: &Memory) -> DumpStore<'s> {
    DumpStore::open(bytes, slots, memory.geometry(), software).expect("room for the bookkeeping")
}

fn pack(store: &mut DumpStore<'_>) -> usize {
    let (mut packer, mut compressor) = (Packer::new(), Compressor::new());
    let mut steps = 0;
    while packer.step(store, &mut compressor) == Packing::Worked {
        steps += 1;
    }
    steps
}

/// Compares a slot's dump with the memory it was made from. Returns the lost pages.
fn compare(store: &[u8], slot: u32, memory: &Memory) -> u64 {
    let reader = DumpReader::open(store, slot, software).expect("whole");
    for chunk in 0..reader.chunks() {
        assert_eq!(reader.check_chunk(chunk), Ok(()), "chunk {chunk}");
    }
    let (mut lost, mut page) = (0, 0);
    reader.pages(|address, contents, bytes| {
        let number = u64::try_from(page).expect("few");
        assert_eq!(Some(address), memory.geometry().address(number));
        match (contents, memory.0[page]) {
            (Contents::Lost, _) => lost += 1,
            (Contents::Zero, Zero) => {}
            (Contents::Saved, fill) => assert!(*bytes == bytes_of(fill), "page {page}"),
            other => panic!("{other:?}"),
        }
        page += 1;
        true
    });
    assert_eq!(page, memory.0.len());
    let counts = reader.counts();
    assert_eq!(counts.lost, lost);
    assert_eq!(counts.saved + counts.zero + counts.lost, counts.total);
    lost
}

#[test]
fn pages_come_back_at_their_addresses_and_only_mixed_ones_take_room() {
    let memory = Memory(vec![Noise(1), Zero, Word(0x6b6b), Text(3), Unreadable]);
    let mut bytes = memory.store(2, 1 << 20);
    let mut store = open(&mut bytes, 2, &memory);
    let finished = capture(&mut store, &memory, &[]);
    let counts = Counts {
        total: 5,
        saved: 3,
        zero: 1,
        lost: 1,
    };
    assert_eq!((finished.counts, finished.sequence), (counts, 1));
    assert_eq!(finished.data_bytes, 2 * 4096 + 8 + 3 * 2);
    assert_eq!(compare(&bytes, finished.slot, &memory), 1);
    let reader = DumpReader::open(&bytes[..], 0, software).expect("whole");
    assert_eq!(reader.origin(), ORIGIN);
    let mut addresses = vec![];
    reader.pages(|address, _, _| {
        addresses.push(address.0 / 4096);
        true
    });
    assert_eq!(addresses, [0, 1, 2, 19, 20]);
}

#[test]
fn notes_come_with_the_dump() {
    let memory = Memory(vec![Text(1); 5]);
    let mut bytes = memory.store(1, 1 << 20);
    capture(&mut open(&mut bytes, 1, &memory), &memory, &[]);
    let reader = DumpReader::open(&bytes[..], 0, software).expect("whole");
    let mut room = [0; NOTES_BYTES];
    let notes = reader.notes(&mut room).expect("whole");
    let note = notes.find(NoteKind::Configuration).expect("there");
    assert_eq!(note.bytes, b"dump.slots = 2");
    bytes[PAGE_BYTES * 3 + 9] ^= 1;
    let reader = DumpReader::open(&bytes[..], 0, software).expect("whole");
    assert_eq!(
        reader.notes(&mut room).map(|_| ()),
        Err(DumpError::NotesDamaged)
    );
}

#[test]
fn packing_makes_a_dump_small_and_changes_nothing_in_it() {
    let memory = Memory(
        (0..200)
            .map(|n| if n % 3 == 0 { Noise(n) } else { Text(7) })
            .collect(),
    );
    let mut bytes = memory.store(2, 2 << 20);
    let mut store = open(&mut bytes, 2, &memory);
    let raw = capture(&mut store, &memory, &[]).data_bytes;
    let before = store.reader(0).expect("whole").version();
    assert_eq!(pack(&mut store), 200 + 4, "a step per page, one per chunk");
    let reader = store.reader(0).expect("whole");
    assert!(reader.is_packed() && reader.version() != before);
    assert!(
        reader.data_bytes() < raw / 2,
        "{} of {raw}",
        reader.data_bytes()
    );
    assert_eq!(pack(&mut store), 0, "once is enough");
    assert_eq!(compare(&bytes, 0, &memory), 0);
}

#[test]
fn a_dump_is_whole_between_any_two_steps_of_packing() {
    let memory = Memory(
        (0..130)
            .map(|n| if n % 9 == 0 { Noise(n) } else { Text(5) })
            .collect(),
    );
    let mut bytes = memory.store(2, 1 << 20);
    let (mut packer, mut compressor) = (Packer::new(), Compressor::new());
    capture(&mut open(&mut bytes, 2, &memory), &memory, &[]);
    while packer.step(&mut open(&mut bytes, 2, &memory), &mut compressor) == Packing::Worked {
        assert_eq!(compare(&bytes, 0, &memory), 0);
    }
}

#[test]
fn what_would_not_fit_raw_is_packed_at_once() {
    let memory = Memory(vec![Text(9); 300]);
    let mut bytes = memory.store(1, 600 << 10);
    let finished = capture(&mut open(&mut bytes, 1, &memory), &memory, &[]);
    assert!(!finished.counts.is_partial() && finished.data_bytes < 600 << 10);
    assert_eq!(compare(&bytes, 0, &memory), 0);
}

#[test]
fn a_store_that_is_too_small_gives_a_partial_dump_that_says_what_is_missing() {
    let memory = Memory((0..300).map(Noise).collect());
    let mut bytes = memory.store(1, 410 << 10);
    let mut store = open(&mut bytes, 1, &memory);
    let last: Vec<_> = (300..310).map(|frame| (PageKind::Tables, frame)).collect();
    let all: Vec<_> = (19..310).map(|frame| (PageKind::Kernel, frame)).collect();
    let finished = capture(&mut store, &memory, &[last, all].concat());
    assert!(finished.counts.is_partial() && finished.counts.saved > 90);
    let [tables, _, _, _, kernel] = finished.kinds;
    assert_eq!(
        tables,
        KindCount {
            found: 10,
            assured: 10
        }
    );
    assert!(
        kernel.found == 281 && kernel.assured < 281 && kernel.assured > 80,
        "{kernel:?}"
    );
    let reader = DumpReader::open(&bytes[..], 0, software).expect("readable");
    let mut out = [0; PAGE_BYTES];
    for frame in 300..310 {
        let page = memory
            .geometry()
            .page_at(GuestPhys(frame * 4096))
            .expect("covered");
        let (_, contents) = reader.page(page, &mut out).expect("covered");
        assert_eq!(contents, Contents::Saved, "the last pages went first");
    }
    assert_eq!(reader.kinds(), finished.kinds);
    compare(&bytes, 0, &memory);
}

#[test]
fn a_dump_that_was_cut_off_is_none_and_costs_only_the_oldest() {
    let memory = Memory(vec![Text(1); 100]);
    let mut bytes = memory.store(2, 4 << 20);
    let mut store = open(&mut bytes, 2, &memory);
    capture(&mut store, &memory, &[]);
    capture(&mut store, &memory, &[]);
    let mut writer = store.begin(ORIGIN);
    while writer.classify(&memory) == Progress::More {}
    writer.save(&memory, &mut Compressor::new());
    let store = open(&mut bytes, 2, &memory);
    assert_eq!(store.dumps().collect::<Vec<_>>(), [(1, 2)]);
    let reader = DumpReader::open(&bytes[..], 0, software);
    assert_eq!(reader.map(|_| ()), Err(DumpError::NoHeader));
    assert_eq!(compare(&bytes, 1, &memory), 0);
}

#[test]
fn finishing_early_loses_the_rest() {
    let memory = Memory(vec![Text(1); 200]);
    let mut bytes = memory.store(1, 1 << 20);
    let mut store = open(&mut bytes, 1, &memory);
    let mut writer = store.begin(ORIGIN);
    while writer.classify(&memory) == Progress::More {}
    writer.save(&memory, &mut Compressor::new());
    let counts = writer.finish().counts;
    assert_eq!((counts.saved, counts.lost), (1, 199));
    assert_eq!(compare(&bytes, 0, &memory), 199);
}

#[test]
fn many_dumps_go_round_the_ring_and_the_last_ones_stay() {
    let memories: Vec<Memory> = (0..24u64)
        .map(|turn| {
            let noisy = 5 + turn * 37 % 90;
            let page = |n| {
                if n < noisy {
                    Noise(turn * 1000 + n)
                } else {
                    Text(7)
                }
            };
            Memory((0..150).map(page).collect())
        })
        .collect();
    let mut bytes = memories[0].store(3, 1500 << 10);
    for (turn, memory) in memories.iter().enumerate() {
        let mut store = open(&mut bytes, 3, memory);
        let newest = store.newest_slot();
        let finished = capture(&mut store, memory, &[]);
        assert!(!finished.counts.is_partial(), "turn {turn}: {finished:?}");
        if turn % 3 != 2 {
            pack(&mut store);
        }
        let kept: Vec<_> = store.dumps().collect();
        assert!(newest.is_none_or(|slot| kept.iter().any(|(kept, _)| *kept == slot)));
        for (slot, sequence) in kept {
            let of = usize::try_from(sequence - 1).expect("few");
            assert_eq!(compare(store.bytes, slot, &memories[of]), 0, "turn {turn}");
        }
    }
}

#[test]
fn a_dump_never_takes_the_room_of_all_others() {
    let memory = Memory((0..400).map(Noise).collect());
    let mut bytes = memory.store(2, 1 << 20);
    let mut store = open(&mut bytes, 2, &memory);
    for turn in 0..6 {
        let finished = capture(&mut store, &memory, &[]);
        assert!(finished.counts.saved > 45, "turn {turn}: {finished:?}");
        assert_eq!(store.dumps().count(), if turn == 0 { 1 } else { 2 });
    }
    compare(&bytes, 0, &memory);
    compare(&bytes, 1, &memory);
}

#[test]
fn a_torn_first_header_does_no_harm() {
    let memory = Memory(vec![Text(1); 4]);
    let mut bytes = memory.store(1, 1 << 20);
    capture(&mut open(&mut bytes, 1, &memory), &memory, &[]);
    bytes[PAGE_BYTES + 60] ^= 1;
    assert_eq!(compare(&bytes, 0, &memory), 0);
    bytes[2 * PAGE_BYTES + 60] ^= 1;
    let reader = DumpReader::open(&bytes[..], 0, software);
    assert_eq!(reader.map(|_| ()), Err(DumpError::NoHeader));
}

#[test]
fn damaged_data_is_found_in_its_chunk_and_left_alone_by_packing() {
    let memory = Memory(vec![Text(5); 190]);
    let mut bytes = memory.store(1, 2 << 20);
    let mut store = open(&mut bytes, 1, &memory);
    capture(&mut store, &memory, &[]);
    let entry = store.entry(0, 1).expect("there");
    let at = usize::try_from(store.layout.arena + u64::from(entry.place) * 8).expect("small");
    bytes[at + 100] ^= 0x40;
    for _ in 0..2 {
        let reader = DumpReader::open(&bytes[..], 0, software).expect("index is whole");
        let checks: Vec<_> = (0..reader.chunks())
            .map(|chunk| reader.check_chunk(chunk))
            .collect();
        assert_eq!(checks, [Ok(()), Err(DumpError::ChunkDamaged(1)), Ok(())]);
        pack(&mut open(&mut bytes, 1, &memory));
    }
}

#[test]
fn a_store_of_another_machine_is_begun_anew() {
    let memory = Memory(vec![Text(1); 100]);
    let mut bytes = memory.store(2, 1 << 20);
    capture(&mut open(&mut bytes, 2, &memory), &memory, &[]);
    assert_eq!(open(&mut bytes, 2, &memory).dumps().count(), 1, "adopted");
    let other = Memory(vec![Text(1); 101]);
    assert_eq!(open(&mut bytes, 2, &other).dumps().count(), 0);
    capture(&mut open(&mut bytes, 2, &other), &other, &[]);
    assert_eq!(open(&mut bytes, 3, &other).dumps().count(), 0);
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
    assert_eq!(parts.page_at(GuestPhys(0x1fff)), Some(0));
    assert_eq!(parts.page_at(GuestPhys(0x2000)), None);
}

#[test]
fn a_store_without_room_for_the_bookkeeping_is_refused() {
    let memory = Memory(vec![Zero; 8]);
    let mut bytes = vec![0; memory.overhead(1)];
    assert!(DumpStore::open(&mut bytes, 1, memory.geometry(), software).is_none());
}

fn any_fill() -> impl Strategy<Value = Fill> {
    prop_oneof![
        2 => Just(Zero),
        1 => (1u64..4).prop_map(Word),
        3 => (1u8..9).prop_map(Text),
        3 => (1u64..99).prop_map(Noise),
        1 => Just(Unreadable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_was_written_is_read_whatever_the_room(
        first in prop::collection::vec(any_fill(), 150),
        second in prop::collection::vec(any_fill(), 150),
        room in (300usize << 10)..(1 << 20), slots in 1u32..4, cut in 0usize..200,
        marks in prop::collection::vec((0usize..KINDS, 0u64..170), 0..40),
    ) {
        let marks: Vec<_> = marks.iter().map(|(kind, at)| (PageKind::ALL[*kind], *at)).collect();
        let (first, second) = (Memory(first), Memory(second));
        let mut bytes = first.store(slots, room);
        let mut store = open(&mut bytes, slots, &first);
        for (memory, turn) in [(&first, 0), (&second, 1), (&first, 2)] {
            let before = store.newest_slot();
            let finished = capture(&mut store, memory, &marks);
            compare(store.bytes, finished.slot, memory);
            if let (Some(slot), true) = (before, slots > 1) {
                compare(store.bytes, slot, if turn == 1 { &first } else { &second });
            }
            let (mut packer, mut compressor) = (Packer::new(), Compressor::new());
            for _ in 0..cut {
                packer.step(&mut store, &mut compressor);
            }
            compare(store.bytes, finished.slot, memory);
        }
    }

    #[test]
    fn damaged_bookkeeping_is_read_packed_and_overwritten_without_harm(
        damage in prop::collection::vec((0usize..15 * PAGE_BYTES, any::<u8>()), 1..20),
        length in 0usize..9 * PAGE_BYTES,
    ) {
        // With a checksum that always fits, the damage gets through to the code behind it.
        for crc32c in [software, |_: u32, _: &[u8]| 0u32] {
            let memory = Memory(vec![Text(1); 70]);
            let mut bytes = memory.store(1, 300 << 10);
            let mut store = DumpStore::open(&mut bytes, 1, memory.geometry(), crc32c).expect("room");
            capture(&mut store, &memory, &[]);
            for (at, value) in &damage {
                bytes[*at] = *value;
            }
            for store in [&bytes[..], &bytes[..length]] {
                if let Ok(reader) = DumpReader::open(store, 0, crc32c) {
                    let _ = reader.check_chunk(0);
                    let mut pages = 0;
                    reader.pages(|_, _, _| { pages += 1; pages < 100 });
                    let _ = reader.notes(&mut [0; NOTES_BYTES]).map(|notes| notes.count());
                }
            }
            let mut store = DumpStore::open(&mut bytes, 1, memory.geometry(), crc32c).expect("room");
            pack(&mut store);
            capture(&mut store, &memory, &[]);
        }
    }
}
