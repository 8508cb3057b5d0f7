//! Stores seen through a window that behaves as the nanokernel's does.

use super::*;
use darma_abi::memory::GuestPhysRead;
use darma_abi::shared::BAR2_BYTES;
use darma_abi::units::GuestPhys;
use darma_ras_model::dump::{
    Compressor, Contents, DumpStore, Geometry, Origin, PageSource, Progress,
};
use darma_ras_model::fault_record::FaultStore;
use std::cell::RefCell;

/// Both stores, and what is shown of them.
struct Machine {
    header: RegionHeader,
    faults: Vec<u64>,
    dumps: Vec<u8>,
    shown: RefCell<Vec<Bank>>,
}

impl Machine {
    fn new() -> Self {
        let mut faults = vec![0u64; 2 << 17];
        let mut store = FaultStore::new(faults.as_mut_bytes(), software).expect("room");
        store.open().expect("a slot").0.set_line("it broke");
        store.seal().expect("opened");
        let mut dumps = vec![0; 6 << 20];
        dump(&mut dumps, 1);
        dump(&mut dumps, 2);
        Self {
            header: RegionHeader {
                fault_store_bytes: 2 << 20,
                dump_store_bytes: 6 << 20,
                ..RegionHeader::CURRENT
            },
            faults,
            dumps,
            shown: RefCell::new(Vec::new()),
        }
    }
}

/// Pages that tell their numbers and do not compress.
struct Noise;

impl GuestPhysRead for Noise {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let mut state = at.0 | 1;
        for byte in out {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            [*byte, ..] = state.to_be_bytes();
        }
        true
    }
}

impl PageSource for Noise {}

fn dump(bytes: &mut [u8], fault: u64) {
    let geometry = Geometry::new(&[GuestPhys(0)..GuestPhys(600 * 4096)]).expect("one range");
    let mut store = DumpStore::open(bytes, 2, geometry, software).expect("room");
    let mut writer = store.begin(Origin {
        fault,
        ..Origin::default()
    });
    while writer.classify(&Noise) == Progress::More {}
    let mut compressor = Compressor::new();
    while writer.save(&Noise, &mut compressor) == Progress::More {}
    assert!(!writer.finish().counts.is_partial());
}

impl WindowAccess for &Machine {
    fn ring(&self, bell: Doorbell) {
        let (offset, value) = bell.encode();
        if let Some(Doorbell::Window(bank)) = Doorbell::decode(offset, value) {
            self.shown.borrow_mut().push(bank);
        }
    }

    fn load(&self, offset: usize, out: &mut [u8]) -> bool {
        let window = usize::try_from(WINDOW_OFFSET).expect("small");
        if u64::try_from(offset + out.len()).expect("small") > BAR2_BYTES {
            return false;
        }
        if offset < window {
            out.copy_from_slice(&self.header.as_bytes()[offset..][..out.len()]);
            return true;
        }
        let bank = *self.shown.borrow().last().expect("a bank was chosen first");
        let store = match bank.store.expect("a store") {
            Store::Faults => self.faults.as_bytes(),
            Store::Dumps => &self.dumps,
        };
        let at = usize::try_from(bank.offset()).expect("small") + offset - window;
        out.copy_from_slice(&store[at..][..out.len()]);
        true
    }
}

#[test]
fn records_are_read_through_the_window() {
    let machine = Machine::new();
    let window = Window::open(&machine).expect("there");
    let copy = window.faults().expect("readable");
    let reader = copy.reader().expect("whole");
    let record = reader.faults.get(1).expect("recorded");
    assert_eq!(record.line_text(), Some("it broke"));
    assert_eq!(machine.shown.borrow().len(), 1, "one bank");
}

#[test]
fn dumps_are_read_through_the_window_newest_first_and_over_its_edges() {
    let machine = Machine::new();
    let window = Window::open(&machine).expect("there");
    let dumps = window.dumps().expect("a store");
    let faults: Vec<u64> = dumps.iter().map(|dump| dump.origin().fault).collect();
    assert_eq!(faults, [2, 1]);
    for dump in dumps {
        let mut pages = 0;
        dump.pages(|address, contents, bytes| {
            let mut expected = [0; 4096];
            Noise.read(address, &mut expected);
            assert!(contents == Contents::Saved && *bytes == expected);
            pages += 1;
            true
        });
        assert_eq!(pages, 600);
    }
}

#[test]
fn what_is_not_in_a_store_is_not_read() {
    let machine = Machine::new();
    let window = Window::open(&machine).expect("there");
    let mut out = [0; 16];
    assert!(window.read(Store::Dumps, (6 << 20) - 16, &mut out));
    assert!(!window.read(Store::Dumps, (6 << 20) - 15, &mut out));
    assert!(!window.read(Store::Faults, u64::MAX, &mut out));
}

#[test]
fn a_nanokernel_without_stores_has_no_window() {
    let mut machine = Machine::new();
    machine.header = RegionHeader::CURRENT;
    assert!(matches!(Window::open(&machine), Err(Error::NoWindow)));
}
