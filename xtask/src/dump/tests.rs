//! Memory files with stores, without stores, and with what only looks like one.

use std::fs;
use std::path::PathBuf;

use darma_abi::codes::Cause;
use darma_abi::units::GuestPhys;
use darma_ras_model::GuestPhysRead;
use darma_ras_model::dump::{
    Compressor, DumpStore, Geometry, Origin, PageSource, Progress, STORE_MAGIC,
};
use darma_ras_model::fault_record::FaultStore;
use darma_vmcore::{check, crc32c};
use zerocopy::IntoBytes;

use super::list::Listing;
use super::{MachineMemory, get, source};
use crate::paths;

const MIB: usize = 1 << 20;
const PAGE_BYTES: u64 = 4096;

/// A file below the cache, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let folder = paths::cache().join("test-dumps");
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{name}-{}", std::process::id()));
        fs::write(&file, bytes).expect("room");
        Self(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Each page holds its own address.
struct Numbers;

impl GuestPhysRead for Numbers {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let page = at.0 / PAGE_BYTES * PAGE_BYTES;
        for (byte, word) in out.iter_mut().zip(page.to_le_bytes().into_iter().cycle()) {
            *byte = word;
        }
        true
    }
}

impl PageSource for Numbers {}

/// 8 MiB of memory: Linux's, a dump store at 4 MiB, a fault store at 6 MiB; two failures.
fn memory() -> Vec<u8> {
    // Words, for the fault store has to be aligned.
    let mut words = vec![0_u64; 8 * MIB / 8];
    let bytes = words.as_mut_bytes();
    let (rest, faults) = bytes.split_at_mut(6 * MIB);
    let mut faults = FaultStore::new(faults, crc32c).expect("room");
    let geometry = Geometry::new(&[GuestPhys(0)..GuestPhys(64 * PAGE_BYTES)]).expect("one range");
    let mut dumps = DumpStore::open(&mut rest[4 * MIB..], 2, geometry, crc32c).expect("room");
    for boot in 1..3 {
        let (record, _) = faults.open().expect("room");
        record.cause = Cause::Panic.code();
        record.boot = boot;
        record.set_line("sysrq triggered crash");
        record.set_release("6.1.0-test");
        let fault = faults.seal().expect("opened");
        let mut writer = dumps.begin(Origin {
            fault,
            taken_at_ns: boot * 1_000_000,
            ..Origin::default()
        });
        let mut compressor = Compressor::new();
        while writer.classify(&Numbers) == Progress::More {}
        while writer.save(&Numbers, &mut compressor) == Progress::More {}
        writer.finish();
    }
    // What Linux holds is none of ours, whatever it looks like.
    rest[2 * MIB..][..8].copy_from_slice(&STORE_MAGIC.to_le_bytes());
    words.as_bytes().to_vec()
}

#[test]
fn the_dumps_of_a_memory_are_listed_with_what_their_records_say() {
    let file = Scratch::new("list", &memory());
    let memory = MachineMemory::read(&file.0).expect("readable");
    let listing = Listing::of(&memory, &file.0).expect("a store");
    let faults: Vec<_> = listing.dumps.iter().map(|entry| entry.fault).collect();
    assert_eq!(faults, [1, 2]);
    let text = listing.text();
    assert!(
        text.contains("panic") && text.contains("sysrq triggered crash"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&listing.json().expect("JSON")).expect("JSON");
    assert_eq!(json["schema"], 1);
    assert_eq!(json["dumps"][1]["boot"], 2);
    assert_eq!(json["dumps"][1]["kernel"], "6.1.0-test");
    assert_eq!(json["dumps"][1]["partial"], false);
}

#[test]
fn the_newest_dump_is_taken_unless_a_failure_is_named() {
    let file = Scratch::new("get", &memory());
    let memory = MachineMemory::read(&file.0).expect("readable");
    let core = Scratch::new("get-core", b"");
    for (asked, found) in [(None, 2), (Some(1), 1)] {
        let summary = get(&memory, asked, &core.0).expect("a core");
        assert_eq!(summary.fault, found);
        assert!(check::check(&mut fs::File::open(&core.0).expect("there")).is_ok());
    }
    let missing = get(&memory, Some(9), &core.0).expect_err("no such dump");
    assert!(missing.to_string().contains("dumps of 1, 2"), "{missing}");
}

#[test]
fn memory_without_a_store_says_so() {
    let file = Scratch::new("none", &vec![0; 4 * MIB]);
    let memory = MachineMemory::read(&file.0).expect("readable");
    assert!(memory.faults().is_none());
    let refused = Listing::of(&memory, &file.0).expect_err("no store");
    assert!(refused.to_string().contains("no dump store"), "{refused}");
}

#[test]
fn a_source_that_is_not_there_is_named_with_the_way_to_one() {
    let refused = source(Some("no-such-run".as_ref())).expect_err("absent");
    assert!(
        refused.to_string().contains("no-such-run") && refused.to_string().contains("--keep-dumps"),
        "{refused}"
    );
}
