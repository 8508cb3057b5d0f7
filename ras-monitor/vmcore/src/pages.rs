//! The pages of a dump by number, and the same as memory by address.

use std::cell::RefCell;

use darma_abi::units::GuestPhys;
use darma_ras_model::GuestPhysRead;
use darma_ras_model::dump::{CHUNK_PAGES, Contents, DumpReader, StoreRead};
use darma_ras_model::memory::{PAGE_BYTES, PAGE_BYTES_U64};

/// Pages, numbered from the lowest address up.
pub trait Pages {
    /// How many there are.
    fn total(&self) -> u64;
    /// Where one lies; `None` past the last.
    fn address(&self, page: u64) -> Option<GuestPhys>;
    /// Which one is around `at`; `None` where there is none.
    fn page_at(&self, at: GuestPhys) -> Option<u64>;
    /// Fills `out` with one, with zeros if it is lost.
    fn read(&self, page: u64, out: &mut [u8; PAGE_BYTES]) -> Contents;
}

/// A dump whose damaged chunks are taken for lost.
pub struct Checked<'d, S> {
    dump: &'d DumpReader<S>,
    damaged: Vec<bool>,
}

impl<'d, S: StoreRead> Checked<'d, S> {
    /// Compares every chunk with its checksum.
    pub fn new(dump: &'d DumpReader<S>) -> Self {
        let damaged = (0..dump.chunks())
            .map(|chunk| dump.check_chunk(chunk).is_err())
            .collect();
        Self { dump, damaged }
    }

    /// How many chunks do not fit their checksums.
    #[must_use]
    pub fn damaged_chunks(&self) -> u64 {
        self.damaged.iter().map(|damaged| u64::from(*damaged)).sum()
    }
}

impl<S: StoreRead> Pages for Checked<'_, S> {
    fn total(&self) -> u64 {
        self.dump.geometry().total_pages()
    }

    fn address(&self, page: u64) -> Option<GuestPhys> {
        self.dump.geometry().address(page)
    }

    fn page_at(&self, at: GuestPhys) -> Option<u64> {
        self.dump.geometry().page_at(at)
    }

    fn read(&self, page: u64, out: &mut [u8; PAGE_BYTES]) -> Contents {
        let contents = self
            .dump
            .page(page, out)
            .map_or(Contents::Lost, |(_, contents)| contents);
        let damaged = usize::try_from(page / CHUNK_PAGES)
            .ok()
            .and_then(|chunk| self.damaged.get(chunk))
            .is_none_or(|damaged| *damaged);
        if contents == Contents::Saved && damaged {
            out.fill(0);
            return Contents::Lost;
        }
        contents
    }
}

/// Pages as memory: what is lost cannot be read. Keeps the page that was asked for last, because page
/// tables and symbol tables are read word by word.
pub struct Memory<'p, P> {
    pages: &'p P,
    last: RefCell<(Option<u64>, Box<[u8; PAGE_BYTES]>)>,
}

impl<'p, P: Pages> Memory<'p, P> {
    /// The memory that these pages are.
    pub fn new(pages: &'p P) -> Self {
        Self {
            pages,
            last: RefCell::new((None, Box::new([0; PAGE_BYTES]))),
        }
    }

    fn read_in_page(&self, at: GuestPhys, out: &mut [u8]) -> Option<()> {
        let page = self.pages.page_at(at)?;
        let mut last = self.last.borrow_mut();
        let (number, bytes) = &mut *last;
        if *number != Some(page) {
            *number = None;
            if self.pages.read(page, bytes) == Contents::Lost {
                return None;
            }
            *number = Some(page);
        }
        let offset = usize::try_from(at.0 % PAGE_BYTES_U64).ok()?;
        let found = bytes.get(offset..)?.get(..out.len())?;
        out.copy_from_slice(found);
        Some(())
    }
}

impl<P: Pages> GuestPhysRead for Memory<'_, P> {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        let mut at = at.0;
        let mut rest = out;
        while !rest.is_empty() {
            let room = PAGE_BYTES_U64 - at % PAGE_BYTES_U64;
            let take = usize::try_from(room).map_or(rest.len(), |room| room.min(rest.len()));
            let (piece, tail) = rest.split_at_mut(take);
            if self.read_in_page(GuestPhys(at), piece).is_none() {
                return false;
            }
            rest = tail;
            // A page further than the last of all is covered by nothing.
            at = at.saturating_add(room);
        }
        true
    }
}
