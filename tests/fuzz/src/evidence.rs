//! What is read after a failure: the dead kernel's memory, and our own stores, perhaps damaged.

use std::hint::black_box;

use super::input::{Input, read_flat};
use darma_abi::units::{GuestPhys, GuestVirt};
use darma_ras_model::GuestPhysRead;
use darma_ras_model::crc32c::{Crc32c, software};
use darma_ras_model::dump::{
    Compressor, DumpReader, DumpStore, Geometry, NOTES_BYTES, Origin, Packer, Packing, PageSource,
    Progress,
};
use darma_ras_model::fault_record::{FaultReader, FaultRecord, FaultStore, Record, regions};
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::printk::{Log, panic_message};
use darma_ras_model::vmcoreinfo::{Scan, Scanner, TEXT_MAX, VmcoreInfo};
use zerocopy::IntoBytes;

/// Guest memory from address 0 on.
struct Memory<'a>(&'a [u8]);

impl GuestPhysRead for Memory<'_> {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        read_flat(self.0, at.0, out)
    }
}

/// A checksum that fits when a field is zero: behind a real one a fuzzer would never come.
fn no_checksum(_: u32, _: &[u8]) -> u32 {
    0
}

const CHECKSUMS: [Crc32c; 2] = [software, no_checksum];

/// The note's finder and reader, on the bytes as memory; the look-ups, on the bytes as text too.
pub fn vmcoreinfo(bytes: &[u8]) {
    let memory = Memory(bytes);
    let end = u64::try_from(bytes.len()).expect("an address");
    let mut scanner = Scanner::new(GuestPhys(0)..GuestPhys(end.next_multiple_of(4096)));
    let mut buffer = [0; TEXT_MAX];
    // A slice of one page each: it ends after as many steps as there are pages.
    for _ in 0..=end.div_ceil(4096) {
        match scanner.step(&memory, 1) {
            Scan::Found(note) => {
                assert_eq!(note.header().0 + 24, note.text.0);
                if let Some(info) = note.read(&memory, &mut buffer) {
                    look_up(&info, &memory);
                }
            }
            Scan::More => {}
            Scan::Done => break,
        }
    }
    assert_eq!(scanner.step(&memory, 1), Scan::Done);
    look_up(&VmcoreInfo::new(bytes), &memory);
}

fn look_up(info: &VmcoreInfo<'_>, memory: &Memory<'_>) {
    black_box((info.release(), info.kernel_offset(), info.length("a")));
    let Some(map) = KernelMap::new(info) else {
        return;
    };
    black_box(map.is_mapped_by(memory, 0));
    black_box(map.translate(memory, GuestVirt(0xffff_8880_0000_1234)));
    read_log(memory, &map, info);
}

/// The kernel log, in memory whose VMCOREINFO is this: as small a ring as there can be.
pub fn printk(bytes: &[u8]) {
    const INFO: &[u8] = b"SYMBOL(prb)=ffffffff80000000\nSYMBOL(_stext)=ffffffff80000000\n\
        SYMBOL(init_top_pgt)=ffffffff80000000\nNUMBER(phys_base)=0\n\
        OFFSET(printk_ringbuffer.desc_ring)=0\nOFFSET(printk_ringbuffer.text_data_ring)=40\n\
        OFFSET(prb_desc_ring.count_bits)=0\nOFFSET(prb_desc_ring.descs)=8\n\
        OFFSET(prb_desc_ring.infos)=16\nOFFSET(prb_desc_ring.head_id)=24\n\
        OFFSET(prb_desc_ring.tail_id)=32\nSIZE(prb_desc)=24\nOFFSET(prb_desc.state_var)=0\n\
        OFFSET(prb_desc.text_blk_lpos)=8\nOFFSET(prb_data_blk_lpos.begin)=0\n\
        OFFSET(prb_data_blk_lpos.next)=8\nSIZE(printk_info)=24\nOFFSET(printk_info.seq)=0\n\
        OFFSET(printk_info.ts_nsec)=8\nOFFSET(printk_info.text_len)=16\n\
        OFFSET(prb_data_ring.size_bits)=0\nOFFSET(prb_data_ring.data)=8\n\
        OFFSET(atomic_long_t.counter)=0\n";
    let info = VmcoreInfo::new(INFO);
    let map = KernelMap::new(&info).expect("complete");
    read_log(&Memory(bytes), &map, &info);
    black_box(panic_message(bytes));
}

fn read_log(memory: &Memory<'_>, map: &KernelMap, info: &VmcoreInfo<'_>) {
    let Ok(log) = Log::open(memory, map, info) else {
        return;
    };
    for room in [0, 40, 4096] {
        let mut out = vec![0; room];
        let tail = log.tail(&mut out);
        let text = &out[..tail.bytes];
        assert!(
            text.iter()
                .all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~'))
        );
        assert!(text.is_empty() || text.ends_with(b"\n"));
        black_box(panic_message(text));
    }
}

/// The dump's reader, on the bytes as the store, and as a store with the padding left out: 72 bytes of
/// label, 440 of header, then index and arena. Then whoever takes such a store over, packs and writes.
pub fn dump(bytes: &[u8]) {
    let (label, rest) = bytes.split_at(bytes.len().min(72));
    let (header, rest) = rest.split_at(rest.len().min(440));
    let (index, arena) = rest.split_at(rest.len().min(64));
    let mut store = vec![0; STORE_BYTES];
    store[..label.len()].copy_from_slice(label);
    store[0x1000..][..header.len()].copy_from_slice(header);
    store[0x7000..][..index.len()].copy_from_slice(index);
    let room = &mut store[ARENA..];
    let taken = arena.len().min(room.len());
    room[..taken].copy_from_slice(&arena[..taken]);
    for crc32c in CHECKSUMS {
        read_dump(bytes, crc32c);
        read_dump(&store, crc32c);
        let mut store = store.clone();
        take_over(&mut store, crc32c);
    }
}

/// A store with one slot for 70 pages: label, slot of eight pages, a page of bit maps, the work area.
const ARENA: usize = 0x9000 + 0x41000;
const STORE_BYTES: usize = ARENA + 0x20000;

fn read_dump(store: &[u8], crc32c: Crc32c) {
    let Ok(reader) = DumpReader::open(store, 0, crc32c) else {
        return;
    };
    black_box((reader.counts(), reader.origin(), reader.version()));
    let _ = black_box(reader.notes(&mut [0; NOTES_BYTES]).map(Iterator::count));
    let mut out = [0; 4096];
    let last = reader.geometry().total_pages().min(1000);
    for chunk in 0..=reader.chunks().min(20) {
        let _ = black_box(reader.check_chunk(chunk));
    }
    assert!(reader.check_chunk(u64::MAX).is_err() && reader.page(u64::MAX, &mut out).is_none());
    let (mut pages, mut above) = (0, None);
    reader.pages(|address, _, _| {
        assert!(above.is_none_or(|last| last < address.0), "out of order");
        above = Some(address.0);
        pages += 1;
        pages < last
    });
    assert_eq!(pages, last);
}

/// Memory of 70 pages, each of one word.
struct Words;

impl GuestPhysRead for Words {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        out.fill(at.0.to_le_bytes()[1]);
        at.0 < 70 * 4096
    }
}

impl PageSource for Words {}

fn take_over(store: &mut [u8], crc32c: Crc32c) {
    let geometry = Geometry::new(&[GuestPhys(0)..GuestPhys(70 * 4096)]).expect("one range");
    let mut store = DumpStore::open(store, 1, geometry, crc32c).expect("room");
    let mut compressor = Compressor::new();
    let mut packer = Packer::new();
    let mut steps = 0;
    while packer.step(&mut store, &mut compressor) == Packing::Worked {
        steps += 1;
        assert!(steps < 1000, "packing ends");
    }
    let mut writer = store.begin(Origin::default());
    while writer.classify(&Words) == Progress::More {}
    while writer.save(&Words, &mut compressor) == Progress::More {}
    let finished = writer.finish();
    assert_eq!(finished.counts.lost, 0);
    assert!(store.reader(finished.slot).is_some());
}

/// The fault store: the bytes as the memory itself; and a memory of which the input gives the table
/// and the first 64 bytes of three slots, header and the body's first fields.
pub fn fault_store(bytes: &[u8]) {
    const BYTES: usize = regions::LEAST_BYTES;
    for crc32c in CHECKSUMS {
        let mut memory = vec![0u64; BYTES / 8];
        let length = bytes.len().min(BYTES);
        memory.as_mut_bytes()[..length].copy_from_slice(&bytes[..length]);
        read_faults(memory.as_bytes(), crc32c);
        write_faults(memory.as_mut_bytes(), crc32c);

        let mut input = Input(bytes);
        for slot in 0..3 {
            let at = regions::TABLE_BYTES + slot * FaultRecord::SLOT_BYTES;
            for word in memory.as_mut_bytes()[at..][..64].chunks_exact_mut(8) {
                word.copy_from_slice(&input.quad().to_le_bytes());
            }
        }
        read_faults(memory.as_bytes(), crc32c);
        write_faults(memory.as_mut_bytes(), crc32c);
    }
}

fn read_faults(memory: &[u8], crc32c: Crc32c) {
    let Some(reader) = FaultReader::new(memory, crc32c) else {
        return;
    };
    for (_, record) in reader.faults.records() {
        black_box((record.backtrace_text(), record.release_text()));
        black_box((record.line_text(), record.evidence_words()));
        black_box(record.detected_at());
    }
    for (_, minidump) in reader.minidumps.records() {
        black_box((minidump.log_text(), minidump.stack_bytes()));
    }
    black_box((reader.groups().count(), reader.faults.damaged()));
    black_box((reader.events.records().count(), reader.generation));
}

fn write_faults(memory: &mut [u8], crc32c: Crc32c) {
    let mut store = FaultStore::new(memory, crc32c).expect("room and alignment");
    for _ in 0..4 {
        let next = store.faults.next_sequence();
        let (record, minidump) = store.open().expect("a slot");
        (record.backtrace_bytes, record.fingerprint) = (u32::MAX, 7);
        minidump.log_bytes = u32::MAX;
        assert_eq!(store.seal(), Some(next));
        let record = store.faults.reader().get(next).expect("just written");
        assert_eq!(record.backtrace_text().len(), record.backtrace.len());
        assert!(record.occurrence > 0);
    }
}
