//! A ring built by hand, whole and ruined in every way that proptest finds.

extern crate std;
use super::*;
use crate::memory::testing::Flat;
use proptest::prelude::*;
use std::string::String;
use std::vec;
use std::vec::Vec;

const INFO: &[u8] = b"SYMBOL(prb)=ffffffff80001000\nSYMBOL(_stext)=ffffffff80000000\n\
SYMBOL(init_top_pgt)=ffffffff80000000\nNUMBER(phys_base)=0\n\
OFFSET(printk_ringbuffer.desc_ring)=0\nOFFSET(printk_ringbuffer.text_data_ring)=48\n\
OFFSET(prb_desc_ring.count_bits)=0\nOFFSET(prb_desc_ring.descs)=8\n\
OFFSET(prb_desc_ring.infos)=16\nOFFSET(prb_desc_ring.head_id)=24\n\
OFFSET(prb_desc_ring.tail_id)=32\nSIZE(prb_desc)=24\nOFFSET(prb_desc.state_var)=0\n\
OFFSET(prb_desc.text_blk_lpos)=8\nOFFSET(prb_data_blk_lpos.begin)=0\n\
OFFSET(prb_data_blk_lpos.next)=8\nSIZE(printk_info)=88\nOFFSET(printk_info.seq)=0\n\
OFFSET(printk_info.ts_nsec)=8\nOFFSET(printk_info.text_len)=16\n\
OFFSET(prb_data_ring.size_bits)=0\nOFFSET(prb_data_ring.data)=8\n\
OFFSET(atomic_long_t.counter)=0\n";

const RING: usize = 0x2000;
const DESCRIPTORS: usize = 0x3000;
const INFOS: usize = 0x4000;
const TEXT: usize = 0x5000;
const TEXT_BYTES: usize = 256;
const COUNT: u64 = 8;
const FIRST_ID: u64 = ID_MASK - 2; // so that ids overflow in the test as they do in the kernel
const ADDRESS: u64 = 0xffff_ffff_8000_0000;

fn usize_of(value: u64) -> usize {
    usize::try_from(value).expect("small")
}

fn address_of(offset: usize) -> u64 {
    ADDRESS + u64::try_from(offset).expect("small")
}

/// A kernel's memory with these lines in its log, one second apart, as the kernel would store them.
fn kernel_with(lines: &[&str]) -> Flat {
    let mut memory = Flat(vec![0; 0x6000]);
    memory.put_u64(0x1000, address_of(RING));
    memory.put_u64(RING, 3); // count_bits
    memory.put_u64(RING + 8, address_of(DESCRIPTORS));
    memory.put_u64(RING + 16, address_of(INFOS));
    memory.put_u64(RING + 48, 8); // size_bits
    memory.put_u64(RING + 56, address_of(TEXT));
    let text_size = u64::try_from(TEXT_BYTES).expect("small");
    let mut position = 0u64.wrapping_sub(text_size);
    let mut id = FIRST_ID;
    for (sequence, line) in (0u64..).zip(lines) {
        let length = u64::try_from(line.len()).expect("short");
        let block = (8 + length).next_multiple_of(8);
        let begin = position;
        let in_ring = begin % text_size;
        // Like get_next_lpos(): what would touch the end goes to the start of the next wrap.
        let offset = if in_ring + block >= text_size {
            position = begin.wrapping_sub(in_ring).wrapping_add(text_size + block);
            0
        } else {
            position = begin.wrapping_add(block);
            in_ring
        };
        memory.put_u64(TEXT + usize_of(offset), id);
        memory.put(TEXT + usize_of(offset) + 8, line.as_bytes());
        let index = usize_of(id % COUNT);
        memory.put_u64(DESCRIPTORS + index * 24, id | FINALIZED << 62);
        memory.put_u64(DESCRIPTORS + index * 24 + 8, begin);
        memory.put_u64(DESCRIPTORS + index * 24 + 16, position);
        memory.put_u64(INFOS + index * 88, sequence);
        memory.put_u64(INFOS + index * 88 + 8, sequence * 1_000_000_000 + 42_000);
        memory.put_u64(INFOS + index * 88 + 16, length | 0xa3 << 24);
        memory.put_u64(RING + 24, id); // head
        memory.put_u64(RING + 32, FIRST_ID); // tail
        id = id.wrapping_add(1) & ID_MASK;
    }
    memory
}

fn map() -> KernelMap {
    KernelMap::new(&VmcoreInfo::new(INFO)).expect("complete")
}

fn tail_of(memory: &Flat, room: usize) -> (String, Tail) {
    let map = map();
    let log = Log::open(memory, &map, &VmcoreInfo::new(INFO)).expect("opens");
    let mut out = vec![0; room];
    let tail = log.tail(&mut out);
    out.truncate(tail.bytes);
    (String::from_utf8(out).expect("ASCII"), tail)
}

#[test]
fn the_newest_lines_come_out_in_order_with_their_times() {
    let (text, tail) = tail_of(&kernel_with(&["first", "second", "third", "fourth"]), 4096);
    assert_eq!(
        text,
        "[    0.000042] first\n[    1.000042] second\n[    2.000042] third\n[    3.000042] fourth\n"
    );
    assert_eq!((tail.records, tail.is_partial()), (4, false));
}

#[test]
fn what_does_not_fit_is_left_out_at_the_old_end() {
    let (text, tail) = tail_of(&kernel_with(&["first", "second", "third"]), 48);
    assert_eq!(text, "[    1.000042] second\n[    2.000042] third\n");
    assert_eq!(tail.records, 2);
    assert_eq!(tail_of(&kernel_with(&["first"]), 5).0, "");
}

#[test]
fn a_text_that_wrapped_to_the_start_of_the_ring_is_read_there() {
    let long = "x".repeat(100);
    let longer = "y".repeat(60);
    let memory = kernel_with(&[&long, &long, &longer]);
    assert_eq!(&memory.0[TEXT + 8..TEXT + 11], b"yyy");
    let (text, _) = tail_of(&memory, 4096);
    assert!(text.ends_with(&std::format!("{longer}\n")));
}

#[test]
fn a_record_tells_level_and_facility() {
    let memory = kernel_with(&["only"]);
    let map = map();
    let log = Log::open(&memory, &map, &VmcoreInfo::new(INFO)).expect("opens");
    let record = log.record(0, &mut [0; 16]).expect("readable");
    assert_eq!((record.level, record.facility, record.bytes), (5, 0, 4));
}

#[test]
fn a_record_still_being_written_is_counted_as_lost() {
    let mut memory = kernel_with(&["first", "second", "third"]);
    let index = usize_of((FIRST_ID + 1) % COUNT);
    memory.put_u64(DESCRIPTORS + index * 24, FIRST_ID + 1);
    let (text, tail) = tail_of(&memory, 4096);
    assert_eq!(text, "[    0.000042] first\n[    2.000042] third\n");
    assert_eq!((tail.records, tail.lost, tail.is_partial()), (2, 1, true));
}

#[test]
fn terminal_escapes_do_not_get_through() {
    assert_eq!(
        tail_of(&kernel_with(&["a\x1b[2Jb\u{7f}"]), 99).0,
        "[    0.000042] a?[2Jb?\n"
    );
}

#[test]
fn a_kernel_without_the_ring_is_named_as_such() {
    let memory = kernel_with(&[]);
    let old = b"SYMBOL(log_buf)=ffffffff80001000\n";
    let opened = Log::open(&memory, &map(), &VmcoreInfo::new(old)).map(|_| ());
    assert_eq!(opened, Err(LogError::Missing("atomic_long_t.counter")));
}

#[test]
fn a_ring_of_impossible_size_is_refused() {
    let mut memory = kernel_with(&["x"]);
    memory.put_u64(RING, 60);
    let opened = Log::open(&memory, &map(), &VmcoreInfo::new(INFO)).map(|_| ());
    assert_eq!(opened, Err(LogError::Implausible));
}

#[test]
fn the_reason_of_a_panic_is_found_in_the_lines() {
    let lines = b"[ 1.0] BUG\n[ 2.0] Kernel panic - not syncing: Fatal exception\n\
        [ 2.1] ---[ end Kernel panic - not syncing: Fatal exception ]---\n";
    assert_eq!(panic_message(lines), Some(&b"Fatal exception"[..]));
    assert_eq!(panic_message(b"all is well\n"), None);
}

proptest! {
    #[test]
    fn ruined_memory_is_read_without_harm(
        damage in prop::collection::vec((0x1000usize..0x5200, any::<u64>()), 0..40),
        room in 0usize..600,
    ) {
        let mut memory = kernel_with(&["first", "second", "third", "fourth"]);
        for (at, value) in damage {
            memory.put_u64(at, value);
        }
        let map = map();
        if let Ok(log) = Log::open(&memory, &map, &VmcoreInfo::new(INFO)) {
            let mut out = vec![0; room];
            let tail = log.tail(&mut out);
            prop_assert!(tail.bytes <= room);
            let text = Vec::from(&out[..tail.bytes]);
            prop_assert!(text.iter().all(|b| matches!(b, b'\n' | b'\t' | b' '..=b'~')));
        }
    }
}
