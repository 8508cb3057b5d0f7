//! Reads a real kernel's memory: the first bytes of guest memory from address 0 in a raw file,
//! named by the environment variable `DARMA_MEMORY_IMAGE` (QEMU's monitor writes one:
//! `pmemsave 0 0x10000000 "FILE"`). Without the variable there is nothing to do, and it says so.
//! `DARMA_EXPECT_IN_LOG` may name a text that the log's tail must hold, `DARMA_CR3` (hexadecimal,
//! no prefix) the CR3 at the failure.

#![allow(
    clippy::cast_possible_truncation,
    reason = "file offsets on a 64-bit host"
)]

use darma_abi::units::GuestPhys;
use darma_ras_model::GuestPhysRead;
use darma_ras_model::crc32c::software;
use darma_ras_model::dump::{
    Compressor, Contents, DumpStore, Geometry, Origin, Packer, Packing, PageSource, Progress,
};
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::printk::{Log, panic_message};
use darma_ras_model::vmcoreinfo::{Scan, Scanner, TEXT_MAX};

/// What the kernel under test left: its memory, if an image is named.
fn image() -> Option<Image> {
    let Some(path) = std::env::var_os("DARMA_MEMORY_IMAGE") else {
        eprintln!("skipped: DARMA_MEMORY_IMAGE names no memory image");
        return None;
    };
    Some(Image(std::fs::read(path).expect("the image is readable")))
}

struct Image(Vec<u8>);

impl GuestPhysRead for Image {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let start = usize::try_from(at.0).ok();
        let bytes = start.and_then(|start| self.0.get(start..start.checked_add(out.len())?));
        bytes.is_some_and(|bytes| {
            out.copy_from_slice(bytes);
            true
        })
    }
}

#[test]
fn a_real_kernels_last_words_are_read_from_its_memory() {
    let Some(image) = image() else { return };
    let end = GuestPhys(image.0.len() as u64);
    let mut scanner = Scanner::new(GuestPhys(0)..end);
    let mut slices = 0;
    let note = loop {
        slices += 1;
        match scanner.step(&image, 256) {
            Scan::Found(note) => break note,
            Scan::More => {}
            Scan::Done => panic!("no VMCOREINFO"),
        }
    };
    let mut buffer = [0; TEXT_MAX];
    let info = note.read(&image, &mut buffer).expect("the note is whole");
    println!(
        "note at {:?} after {slices} slices, release {:?}",
        note,
        info.release()
    );
    let map = KernelMap::new(&info).expect("the map is complete");
    let root = info.symbol("init_top_pgt").expect("named");
    let root = map.translate(&image, root).expect("in the image");
    assert!(
        map.is_mapped_by(&image, root.0),
        "tables and linear map agree"
    );

    if let Ok(cr3) = std::env::var("DARMA_CR3") {
        let cr3 = u64::from_str_radix(&cr3, 16).expect("hexadecimal");
        assert!(
            map.is_mapped_by(&image, cr3),
            "the process that panicked runs this kernel"
        );
    }

    let log = Log::open(&image, &map, &info).expect("the log opens");
    let mut out = [0; 8192];
    let tail = log.tail(&mut out);
    let text = std::str::from_utf8(&out[..tail.bytes]).expect("ASCII");
    println!("{tail:?}\n{text}");
    println!(
        "reason: {:?}",
        panic_message(text.as_bytes()).map(String::from_utf8_lossy)
    );
    assert!(tail.records > 10 && !tail.is_partial());
    if let Ok(expected) = std::env::var("DARMA_EXPECT_IN_LOG") {
        assert!(text.contains(&expected), "{expected:?} is not in the log");
    }
}

impl PageSource for Image {}

#[test]
fn a_real_kernels_memory_survives_the_dump() {
    let Some(image) = image() else { return };
    let end = GuestPhys(image.0.len() as u64);
    let geometry = Geometry::new(&[GuestPhys(0)..end]).expect("one range");
    let mut bytes = vec![0; image.0.len() + image.0.len() / 16 + (1 << 20)];
    let mut store = DumpStore::open(&mut bytes, 1, geometry, software).expect("room");
    let mut writer = store.begin(Origin::default());
    while writer.classify(&image) == Progress::More {}
    assert!(!writer.is_tight());
    let mut compressor = Compressor::new();
    while writer.save(&image, &mut compressor) == Progress::More {}
    let finished = writer.finish();
    println!("raw: {finished:?}");
    assert_eq!(finished.counts.lost, 0);
    let mut packer = Packer::new();
    while packer.step(&mut store, &mut compressor) == Packing::Worked {}
    let reader = store.reader(0).expect("whole");
    println!("packed: {} bytes", reader.data_bytes());
    for chunk in 0..reader.chunks() {
        assert_eq!(reader.check_chunk(chunk), Ok(()));
    }
    reader.pages(|address, contents, bytes| {
        let original = &image.0[address.0 as usize..][..4096];
        assert!(
            bytes == original && contents != Contents::Lost,
            "{address:?}"
        );
        true
    });
}
