//! Cores: made of a dead kernel's memory, and files that claim to be some.

use std::io::Cursor;

use super::input::read_flat;
use darma_abi::units::GuestPhys;
use darma_ras_model::dump::{Contents, Origin};
use darma_ras_model::fault_record::Registers;
use darma_vmcore::check::check;
use darma_vmcore::{Pages, write_pages};

const PAGE: usize = 4096;

/// The bytes as memory from address 0 on, with VMCOREINFO's text behind a note's head in page 0. A page that
/// begins with 0xEE is lost.
struct Memory<'a>(&'a [u8]);

impl Pages for Memory<'_> {
    fn total(&self) -> u64 {
        u64::try_from(self.0.len() / PAGE).expect("small")
    }

    fn address(&self, page: u64) -> Option<GuestPhys> {
        (page < self.total()).then_some(GuestPhys(page * 4096))
    }

    fn page_at(&self, at: GuestPhys) -> Option<u64> {
        Some(at.0 / 4096).filter(|page| *page < self.total())
    }

    fn read(&self, page: u64, out: &mut [u8; PAGE]) -> Contents {
        let there = read_flat(self.0, page * 4096, out);
        if !there || out[0] == 0xee {
            out.fill(0);
            Contents::Lost
        } else if out.iter().all(|byte| *byte == 0) {
            Contents::Zero
        } else {
            Contents::Saved
        }
    }
}

/// What is written of any memory passes the check; what the check says of any file, it says.
pub fn vmcore(bytes: &[u8]) {
    // A file's error is as good as its findings here.
    let _ = check(&mut Cursor::new(bytes));
    let memory = Memory(bytes);
    let text = bytes.iter().skip(24).take_while(|byte| **byte != 0);
    let origin = Origin {
        vmcoreinfo: 24,
        vmcoreinfo_bytes: text.take(PAGE - 24).count().try_into().expect("small"),
        ..Origin::default()
    };
    let mut file = Vec::new();
    match write_pages(&memory, Some(&Registers::default()), &origin, &mut file) {
        Ok(summary) => {
            let findings = check(&mut Cursor::new(&file)).expect("what is written is sound");
            assert_eq!(findings.is_partial, summary.is_partial());
            assert_eq!(findings.has_vmcoreinfo, summary.has_vmcoreinfo);
        }
        Err(error) => assert!(nothing_is_left(&memory), "{error}"),
    }
}

/// Whether there is no page to write.
fn nothing_is_left(memory: &Memory<'_>) -> bool {
    let mut page = [0; PAGE];
    (0..memory.total()).all(|number| memory.read(number, &mut page) == Contents::Lost)
}
