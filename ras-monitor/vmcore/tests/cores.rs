//! Cores of dumps: whole, partial, damaged; read back as a tool would.

use std::io::Cursor;

use darma_abi::units::GuestPhys;
use darma_ras_model::GuestPhysRead;
use darma_ras_model::dump::{
    Compressor, DumpReader, DumpStore, Geometry, NoteKind, NotesWriter, Origin, PageSource,
    Progress,
};
use darma_ras_model::fault_record::Registers;
use darma_vmcore::check::check;
use darma_vmcore::elf::{FileHeader, LOAD, ProgramHeader};
use darma_vmcore::{Error, Summary, crc32c, write};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

const PAGE: usize = 4096;
/// Pages of the test's memory; there is a gap of 16 pages behind the page of this number.
const PAGES: usize = 0x180;
const GAP_AT: usize = 0x100;
const GAP: usize = 16;
/// Where the test's kernel has its note, its tables and its text.
const NOTE: u64 = 0x4_0018;
const TEXT: u64 = 0x2_0000;
const BASE: u64 = 0xffff_8ca2_0000_0000;

const INFO: &[u8] = b"OSRELEASE=6.1.0-test\nBUILD-ID=00ff\nSYMBOL(init_top_pgt)=ffffffff81010000\n\
    SYMBOL(_stext)=ffffffff81020000\nNUMBER(phys_base)=-16777216\nNUMBER(pgtable_l5_enabled)=0\n\
    KERNELOFFSET=0\n";

/// Memory from address 0 with a gap, some pages of which cannot be read.
struct Linux {
    bytes: Vec<u8>,
    unreadable: Vec<u64>,
}

impl Linux {
    /// Page tables at 0x10000: the direct map at `BASE` with 2 MiB pages, the image with 4 KiB pages.
    fn new() -> Self {
        let mut linux = Self {
            bytes: vec![0; PAGES * PAGE],
            unreadable: Vec::new(),
        };
        let index = |at: u64, level: u64| (at >> (12 + 9 * (level - 1))) & 511;
        linux.put(0x1_0000 + index(BASE, 4) * 8, 0x1_1003);
        linux.put(0x1_1000 + index(BASE, 3) * 8, 0x1_2003);
        linux.put(0x1_2000, 0x83);
        let image = 0xffff_ffff_8102_0000;
        linux.put(0x1_0000 + index(image, 4) * 8, 0x1_3003);
        linux.put(0x1_3000 + index(image, 3) * 8, 0x1_4003);
        linux.put(0x1_4000 + index(image, 2) * 8, 0x83);
        let at = usize::try_from(NOTE).expect("small");
        linux.bytes[at..at + INFO.len()].copy_from_slice(INFO);
        linux.put(TEXT, 0x1234);
        linux.put(0x17_0000, 0x5678);
        linux
    }

    fn put(&mut self, at: u64, value: u64) {
        let at = usize::try_from(at).expect("small");
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn geometry() -> Geometry {
        let at = |page: usize| GuestPhys(u64::try_from(page * PAGE).expect("small"));
        Geometry::new(&[at(0)..at(GAP_AT), at(GAP_AT + GAP)..at(PAGES + GAP)]).expect("in order")
    }

    /// The store with a dump of it.
    fn dump(&self, store_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![0; store_bytes];
        let mut store =
            DumpStore::open(&mut bytes, 2, Self::geometry(), crc32c).expect("room enough");
        let mut writer = store.begin(Origin {
            fault: 7,
            taken_at_ns: 5,
            cr3: 0x1_0000,
            vmcoreinfo: NOTE,
            vmcoreinfo_bytes: INFO.len().try_into().expect("small"),
        });
        while writer.classify(self) == Progress::More {}
        let registers = Registers {
            rip: 0xffff_ffff_8102_0123,
            ..Registers::default()
        };
        let mut room = vec![0; 1024];
        let mut notes = NotesWriter::new(&mut room);
        assert!(notes.add(NoteKind::Registers, registers.as_bytes()));
        let used = notes.used();
        assert!(writer.set_notes(&room[..used]));
        let mut compressor = Compressor::new();
        while writer.save(self, &mut compressor) == Progress::More {}
        writer.finish();
        bytes
    }
}

impl GuestPhysRead for Linux {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let page = Self::geometry().page_at(at);
        let Some(page) = page.filter(|page| !self.unreadable.contains(page)) else {
            return false;
        };
        let start = usize::try_from(page).expect("small") * PAGE
            + usize::try_from(at.0).expect("small") % PAGE;
        out.copy_from_slice(&self.bytes[start..start + out.len()]);
        true
    }
}

impl PageSource for Linux {}

const ROOM: usize = 4 << 20;

fn core(store: &[u8]) -> Result<(Summary, Vec<u8>), Error> {
    let dump = DumpReader::open(store, 0, crc32c)?;
    let mut file = Vec::new();
    let summary = write(&dump, &mut file)?;
    Ok((summary, file))
}

fn headers(file: &[u8]) -> Vec<ProgramHeader> {
    let (header, rest) = FileHeader::read_from_prefix(file).expect("a header");
    assert!(header.is_core());
    rest.chunks_exact(56)
        .take(header.program_header_count.into())
        .map(|bytes| ProgramHeader::read_from_bytes(bytes).expect("whole"))
        .collect()
}

/// The word at an address, as a tool would find it: the first segment around it decides.
fn word(file: &[u8], at: u64, address: impl Fn(&ProgramHeader) -> u64) -> Option<u64> {
    let headers = headers(file);
    let segment = headers.iter().find(|one| {
        one.kind == LOAD && (address(one)..address(one) + one.memory_bytes).contains(&at)
    })?;
    let inside = at - address(segment);
    if inside >= segment.file_bytes {
        return Some(0);
    }
    let at = usize::try_from(segment.offset + inside).expect("small");
    Some(u64::from_le_bytes(
        *file[at..].first_chunk().expect("in the file"),
    ))
}

const fn physical(segment: &ProgramHeader) -> u64 {
    segment.physical_address
}

const fn virtually(segment: &ProgramHeader) -> u64 {
    segment.virtual_address
}

#[test]
fn memory_is_found_by_its_physical_address_and_by_both_virtual_ones() {
    let (summary, file) = core(&Linux::new().dump(ROOM)).expect("a core");
    assert_eq!(summary.fault, 7);
    assert_eq!(summary.release.as_deref(), Some("6.1.0-test"));
    assert_eq!(summary.build_id.as_deref(), Some("00ff"));
    assert_eq!(summary.direct_map, Some(BASE));
    assert!(!summary.is_partial() && summary.has_registers && summary.has_vmcoreinfo);
    assert_eq!(usize::try_from(summary.bytes).expect("small"), file.len());
    for (at, value) in [(TEXT, 0x1234), (0x17_0000 + 0x1_0000, 0x5678), (0x8000, 0)] {
        assert_eq!(word(&file, at, physical), Some(value), "{at:#x}");
        assert_eq!(word(&file, BASE + at, virtually), Some(value), "{at:#x}");
    }
    assert_eq!(word(&file, 0xffff_ffff_8102_0000, virtually), Some(0x1234));
    assert_eq!(
        word(&file, 0, virtually),
        None,
        "a null pointer leads nowhere"
    );
    assert_eq!(
        word(&file, 0x10_8000, physical),
        None,
        "the gap is in no segment"
    );
    let findings = check(&mut Cursor::new(&file)).expect("sound");
    assert!(findings.has_registers && findings.has_vmcoreinfo && !findings.is_partial);
    assert_eq!(
        findings.memory_bytes,
        u64::try_from(PAGES * PAGE).expect("small")
    );
}

#[test]
fn zeros_take_no_room_in_the_file() {
    let (summary, file) = core(&Linux::new().dump(ROOM)).expect("a core");
    assert!(summary.zero_pages > 300, "{summary:?}");
    assert!(file.len() < 100 * PAGE, "{} bytes", file.len());
}

#[test]
fn an_unreadable_page_is_in_no_segment_and_the_core_says_that_it_is_partial() {
    let mut linux = Linux::new();
    linux.unreadable.push(TEXT / 4096);
    let (summary, file) = core(&linux.dump(ROOM)).expect("a core");
    assert_eq!(summary.lost_pages, 1);
    assert_eq!(word(&file, TEXT, physical), None);
    assert_eq!(word(&file, 0xffff_ffff_8102_0000, virtually), None);
    assert!(check(&mut Cursor::new(&file)).expect("sound").is_partial);
}

#[test]
fn ruined_page_tables_cost_the_virtual_addresses_and_nothing_else() {
    let mut linux = Linux::new();
    linux.put(0x1_0000 + 0x119 * 8, 0);
    for entry in 256..512 {
        linux.put(0x1_0000 + entry * 8, 0);
    }
    let (summary, file) = core(&linux.dump(ROOM)).expect("a core");
    assert_eq!(summary.direct_map, None);
    assert!(summary.has_vmcoreinfo);
    assert_eq!(word(&file, TEXT, physical), Some(0x1234));
}

#[test]
fn a_dump_without_vmcoreinfo_makes_a_core_for_crash() {
    let mut linux = Linux::new();
    let at = usize::try_from(NOTE).expect("small");
    linux.bytes[at] = b'X';
    let (summary, file) = core(&linux.dump(ROOM)).expect("a core");
    assert!(!summary.has_vmcoreinfo && summary.has_registers);
    assert_eq!(summary.release, None);
    assert!(check(&mut Cursor::new(&file)).is_ok());
}

#[test]
fn data_that_does_not_fit_its_checksum_is_lost() {
    let mut store = Linux::new().dump(ROOM);
    let marker = 0x1234_u64.to_le_bytes();
    let found = store
        .as_chunks::<8>()
        .0
        .iter()
        .position(|word| *word == marker);
    let at = found.expect("the page is stored as it was") * 8;
    store[at] ^= 1;
    let (summary, file) = core(&store).expect("a core");
    assert_eq!(summary.damaged_chunks, 1);
    assert!(summary.is_partial());
    assert_eq!(word(&file, TEXT, physical), None);
}

#[test]
fn what_is_no_core_is_told_from_one() {
    let (_, file) = core(&Linux::new().dump(ROOM)).expect("a core");
    let cut = &file[..file.len() - 1];
    let refused = check(&mut Cursor::new(cut)).expect_err("cut");
    assert!(refused.to_string().contains("beyond the file's end"));
    let mut aligned = file.clone();
    aligned[64 + 56 + 48 + 1] = 0x10;
    let refused = check(&mut Cursor::new(&aligned)).expect_err("aligned");
    assert!(refused.to_string().contains("alignment"), "{refused}");
    assert!(check(&mut Cursor::new(b"\x7fELF")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_store_gives_an_error_or_a_sound_core(
        damage in prop::collection::vec((0usize..160 << 10, any::<u8>()), 1..60),
    ) {
        let mut store = Linux::new().dump(ROOM);
        for (at, value) in damage {
            store[at] = value;
        }
        if let Ok((summary, file)) = core(&store) {
            let findings = check(&mut Cursor::new(&file));
            prop_assert!(findings.is_ok(), "{:?}", findings);
            prop_assert_eq!(findings.unwrap().is_partial, summary.is_partial());
        }
    }

    #[test]
    fn no_memory_content_leads_astray(
        words in prop::collection::vec((0u64..0x4_2000 / 8, any::<u64>(), any::<bool>()), 1..400),
        unreadable in prop::collection::vec(0u64..0x50, 0..20),
    ) {
        let mut linux = Linux::new();
        for (at, value, table) in words {
            linux.put(at * 8, if table { value & 0x1_ffff | 3 } else { value });
        }
        linux.unreadable = unreadable;
        let (_, file) = core(&linux.dump(ROOM)).expect("a core");
        prop_assert!(check(&mut Cursor::new(&file)).is_ok());
    }

    #[test]
    fn no_file_content_leads_the_check_astray(
        damage in prop::collection::vec((0usize..0x1000, any::<u8>()), 1..40),
        length in 0usize..0x3000,
    ) {
        let (_, mut file) = core(&Linux::new().dump(ROOM)).expect("a core");
        for (at, value) in damage {
            file[at] = value;
        }
        let _ = check(&mut Cursor::new(&file));
        file.truncate(length);
        let _ = check(&mut Cursor::new(&file));
    }
}
