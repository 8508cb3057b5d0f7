//! Reads a real kernel's memory: the first bytes of guest memory from address 0 in a raw file,
//! named by the environment variable `DARMA_MEMORY_IMAGE` (QEMU's monitor writes one:
//! `pmemsave 0 0x10000000 "FILE"`). Without the variable there is nothing to do, and it says so.
//! `DARMA_EXPECT_IN_LOG` may name a text that the log's tail must hold.

use darma_abi::units::GuestPhys;
use darma_ras_model::GuestMemory;
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::printk::{Log, panic_message};
use darma_ras_model::vmcoreinfo::{Scan, Scanner, TEXT_MAX};

struct Image(Vec<u8>);

impl GuestMemory for Image {
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
    let Some(path) = std::env::var_os("DARMA_MEMORY_IMAGE") else {
        eprintln!("skipped: DARMA_MEMORY_IMAGE names no memory image");
        return;
    };
    let image = Image(std::fs::read(path).expect("the image is readable"));
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
