//! Records written, read back, grouped, damaged, and taken over by the next start.

extern crate std;
use super::*;
use crate::crc32c::software;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// Eight-byte aligned memory.
fn memory(bytes: usize) -> Vec<u64> {
    vec![0; bytes / 8]
}

fn store(memory: &mut [u64]) -> FaultStore<'_> {
    FaultStore::new(memory.as_mut_bytes(), software).expect("room")
}

fn reader(memory: &[u64]) -> FaultReader<'_> {
    FaultReader::new(memory.as_bytes(), software).expect("a table")
}

fn write(store: &mut FaultStore<'_>, cause: u32, fingerprint: u64) -> u64 {
    let (record, minidump) = store.open().expect("room");
    (record.cause, record.fingerprint) = (cause, fingerprint);
    record.set_release("6.1.0-test");
    record.set_line("sysrq triggered crash");
    record.backtrace[..4].copy_from_slice(b"die\n");
    record.backtrace_bytes = 4;
    minidump.log[..5].copy_from_slice(b"hello");
    minidump.log_bytes = 5;
    store.seal().expect("opened")
}

fn numbers<T: Record>(ring: RingReader<'_, T>) -> Vec<u64> {
    let mut all: Vec<u64> = ring.records().map(|(sequence, _)| sequence).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_sealed_record_is_read_back() {
    let mut memory = memory(128 << 10);
    assert_eq!(write(&mut store(&mut memory), 2, 0), 1);
    let reader = reader(&memory);
    let record = reader.faults.get(1).expect("there");
    assert_eq!((record.cause, record.occurrence), (2, 0));
    assert_eq!(record.release_text(), Some("6.1.0-test"));
    assert_eq!(record.line_text(), Some("sysrq triggered crash"));
    assert_eq!(record.evidence_words(), None);
    assert_eq!(record.backtrace_text(), b"die\n");
    assert_eq!(reader.minidumps.get(1).expect("there").log_text(), b"hello");
    assert!(reader.faults.get(2).is_none());
}

#[test]
fn a_mebibyte_keeps_256_records_and_drops_minidumps_first() {
    let mut memory = memory(1 << 20);
    let mut store = store(&mut memory);
    for cause in 1..=300 {
        write(&mut store, cause, 0);
    }
    assert!(store.faults.slots() >= 256, "{}", store.faults.slots());
    let reader = reader(&memory);
    let (records, minidumps) = (numbers(reader.faults), numbers(reader.minidumps));
    assert!(records.len() >= 256 && records.last() == Some(&300));
    assert!(records.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert!((20..40).contains(&minidumps.len()) && minidumps.last() == Some(&300));
    assert_eq!(reader.faults.damaged(), 0);
}

#[test]
fn a_new_store_goes_on_behind_the_old_records_and_counts_the_start() {
    let mut memory = memory(128 << 10);
    write(&mut store(&mut memory), 1, 0);
    let mut next = store(&mut memory);
    assert_eq!(next.generation(), 2);
    assert_eq!(write(&mut next, 2, 0), 2);
    assert_eq!(numbers(reader(&memory).faults), [1, 2]);
    assert_eq!(numbers(reader(&memory).minidumps), [1, 2]);
}

#[test]
fn a_store_of_another_size_or_of_noise_is_begun_anew() {
    let mut memory = memory(256 << 10);
    write(&mut store(&mut memory), 1, 0);
    let half = memory.len() / 2;
    let smaller = store(&mut memory[..half]);
    assert_eq!(
        (smaller.generation(), smaller.faults.next_sequence()),
        (1, 1)
    );
    memory.fill(0x5a5a_5a5a_5a5a_5a5a);
    assert!(FaultReader::new(memory.as_bytes(), software).is_none());
    assert_eq!(store(&mut memory).generation(), 1);
    assert_eq!(reader(&memory).faults.damaged(), 0);
}

#[test]
fn failures_of_one_origin_are_counted_as_one_group() {
    let mut memory = memory(64 << 10);
    let mut store = store(&mut memory);
    let slots = u64::try_from(store.faults.slots()).expect("few");
    for turn in 0..2 * slots {
        write(&mut store, 1, if turn % 4 == 0 { 77 } else { 55 });
    }
    write(&mut store, 1, 0);
    let mut groups: Vec<Group> = reader(&memory).groups().collect();
    groups.sort_by_key(|group| group.fingerprint);
    let [fives, sevens] = groups[..] else {
        panic!("{groups:?}")
    };
    assert_eq!((fives.fingerprint, sevens.fingerprint), (55, 77));
    assert_eq!(u64::from(fives.count + sevens.count), 2 * slots);
}

#[test]
fn an_opened_slot_is_void_until_it_is_sealed_and_no_damage() {
    let mut memory = memory(64 << 10);
    let mut store = store(&mut memory);
    write(&mut store, 3, 0);
    assert!(store.open().is_some());
    let reader = reader(&memory);
    assert_eq!(
        (reader.faults.records().count(), reader.faults.damaged()),
        (1, 0)
    );
}

#[test]
fn the_timeline_keeps_its_newest_points() {
    let mut memory = memory(64 << 10);
    let mut store = store(&mut memory);
    for at in 0..100 {
        store.note(at, EventKind::Boot, 1, 0);
    }
    let events = reader(&memory).events;
    let last = events.get(100).expect("the newest");
    assert_eq!(
        (last.at_ns, EventKind::from_code(last.kind)),
        (99, Some(EventKind::Boot))
    );
    assert_eq!(EventKind::from_code(0), None);
}

#[test]
fn text_is_cut_between_characters() {
    let mut memory = memory(64 << 10);
    let mut store = store(&mut memory);
    let (record, _) = store.open().expect("room");
    record.set_line(&"ä".repeat(200));
    assert_eq!(record.line_text().map(str::len), Some(LINE_BYTES));
    record.set_release(&("a".to_owned() + &"ä".repeat(40)));
    assert_eq!(record.release_text().map(str::len), Some(63));
}

#[test]
fn memory_too_small_is_no_store() {
    assert!(FaultStore::new(memory(32 << 10).as_mut_bytes(), software).is_none());
    assert!(Ring::<FaultRecord>::new(&mut [0; 64], software).is_none());
}

use std::borrow::ToOwned;

proptest! {
    #[test]
    fn one_flipped_bit_voids_the_record_and_is_counted(
        at in 0usize..FaultRecord::SLOT_BYTES, bit in 0u8..8,
    ) {
        // The header's last four bytes are reserved and not covered.
        prop_assume!(!(28..32).contains(&at));
        let mut memory = memory(256 << 10);
        let mut store = store(&mut memory);
        // Number 1 goes to slot 1.
        write(&mut store, 4, 0);
        write(&mut store, 5, 0);
        memory.as_mut_bytes()[regions::TABLE_BYTES + FaultRecord::SLOT_BYTES + at] ^= 1 << bit;
        let reader = reader(&memory);
        prop_assert_eq!(numbers(reader.faults), [2]);
        prop_assert_eq!(reader.faults.damaged(), 1);
        prop_assert_eq!(numbers(reader.minidumps), [1, 2]);
    }

    #[test]
    fn any_bytes_are_read_and_taken_over_without_harm(
        noise in prop::collection::vec((0usize..8192, any::<u64>()), 0..50),
    ) {
        for crc32c in [software, |_: u32, _: &[u8]| 0u32] {
            let mut memory = memory(64 << 10);
            for cause in 1..4 {
                write(&mut FaultStore::new(memory.as_mut_bytes(), crc32c).expect("room"), cause, 7);
            }
            for (at, value) in &noise {
                memory[*at] = *value;
            }
            if let Some(reader) = FaultReader::new(memory.as_bytes(), crc32c) {
                for (_, record) in reader.faults.records() {
                    let _ = (record.backtrace_text(), record.line_text(), record.release_text());
                }
                for (_, minidump) in reader.minidumps.records() {
                    let _ = (minidump.log_text(), minidump.stack_bytes(), minidump.log_str());
                }
                let _ = (reader.groups().count(), reader.events.damaged());
            }
            let mut store = FaultStore::new(memory.as_mut_bytes(), crc32c).expect("room");
            let number = store.faults.next_sequence();
            prop_assert_eq!(write(&mut store, 9, 7), number);
        }
    }
}
