//! What is read after a failure: the dead kernel's memory, and our own stores, perhaps damaged.

use std::hint::black_box;

use super::input::{Input, read_flat};
use darma_abi::units::{GuestPhys, GuestVirt};
use darma_ras_model::GuestPhysRead;
use darma_ras_model::crc32c::{Crc32c, software};
use darma_ras_model::dump::DumpReader;
use darma_ras_model::fault_record::{FaultStore, SLOT_BYTES, read};
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::printk::{Log, panic_message};
use darma_ras_model::vmcoreinfo::{Scan, Scanner, TEXT_MAX, VmcoreInfo};

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

/// The dump's reader, on the bytes as the store, and as a store with the padding left out: 384
/// bytes of header, then index and data.
pub fn dump(bytes: &[u8]) {
    let (header, index) = bytes.split_at(bytes.len().min(384));
    let mut store = vec![0; (0x2000 + index.len()).next_multiple_of(4096) + 0x1000];
    store[..header.len()].copy_from_slice(header);
    store[0x2000..][..index.len()].copy_from_slice(index);
    for crc32c in CHECKSUMS {
        read_dump(bytes, crc32c);
        read_dump(&store, crc32c);
    }
}

fn read_dump(store: &[u8], crc32c: Crc32c) {
    let Ok(reader) = DumpReader::open(store, crc32c) else {
        return;
    };
    assert!(reader.bytes().len() <= store.len());
    black_box((reader.counts(), reader.origin()));
    for chunk in 0..=reader.chunks() {
        let _ = black_box(reader.check_chunk(chunk));
    }
    assert!(reader.check_chunk(u64::MAX).is_err() && reader.page(u64::MAX).is_none());
    let total = reader.geometry().total_pages();
    let mut pages = 0;
    let mut above = None;
    for (address, _) in reader.pages() {
        assert!(above.is_none_or(|last| last < address.0), "out of order");
        above = Some(address.0);
        pages += 1;
    }
    assert_eq!(pages, total);
}

/// The fault store: three slots, of each of which the input gives the first 64 bytes (header and
/// the body's first fields) and the length of the log; and the bytes as the region itself.
pub fn fault_store(bytes: &[u8]) {
    for crc32c in CHECKSUMS {
        for (_, record) in read(bytes, crc32c) {
            black_box((record.log_text(), record.release_text()));
        }
        let mut input = Input(bytes);
        let mut memory = vec![0; 3 * SLOT_BYTES + 8];
        let aligned = memory.as_ptr().align_offset(8);
        let region = &mut memory[aligned..][..3 * SLOT_BYTES];
        for slot in region.chunks_exact_mut(SLOT_BYTES) {
            for word in slot[..64].chunks_exact_mut(8) {
                word.copy_from_slice(&input.quad().to_le_bytes());
            }
            slot[32 + 656..][..4].copy_from_slice(&input.word().to_le_bytes());
        }
        write_faults(region, crc32c);
    }
}

fn write_faults(region: &mut [u8], crc32c: Crc32c) {
    let mut store = FaultStore::new(region, crc32c).expect("room and alignment");
    for (_, record) in store.records() {
        black_box((
            record.log_text(),
            record.release_text(),
            record.detected_at(),
        ));
    }
    for _ in 0..4 {
        let next = store.next_sequence();
        store.open().expect("a slot").log_bytes = u32::MAX;
        assert_eq!(store.seal(), Some(next));
        let record = store.get(next).expect("just written");
        assert_eq!(record.log_text().len(), record.log.len());
    }
}
