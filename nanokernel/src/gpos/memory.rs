//! The GPOS's memory as the nanokernel may touch it: every address is an allegation until it is
//! found to lie wholly in the GPOS's RAM.

use darma_abi::units::{GuestPhys, HostPhys};
use darma_machine::memory;
use darma_policy::boot::memory_plan::MemoryPlan;
use darma_policy::boot::span::Span;
use darma_policy::mmio::{CodeAddress, GuestPhysRead};
use darma_ras_model::dump::PageSource;
use heapless::Vec;

/// Most separate ranges of RAM that the GPOS can have.
const MAX_RANGES: usize = 16;

/// A page that lies wholly in the GPOS's RAM: only [`GuestMemory::page_of`] makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RamPage(GuestPhys);

/// The ranges of RAM that are the GPOS's.
#[derive(Clone, Debug)]
pub(crate) struct GuestMemory {
    ranges: Vec<Span, MAX_RANGES>,
}

impl GuestMemory {
    /// The GPOS's RAM by the plan; ranges past the first sixteen are not looked into.
    pub(crate) fn new(plan: &MemoryPlan) -> Self {
        Self {
            ranges: plan.gpos_ram().take(MAX_RANGES).collect(),
        }
    }

    /// The ranges, ascending.
    pub(crate) fn ranges(&self) -> &[Span] {
        &self.ranges
    }

    fn holds(&self, at: GuestPhys, len: usize) -> bool {
        u64::try_from(len)
            .ok()
            .and_then(|len| Span::new(at.0, len))
            .is_some_and(|wanted| self.ranges.iter().any(|range| range.contains(wanted)))
    }

    /// The page around `at`, if it lies wholly in the GPOS's RAM.
    pub(crate) fn page_of(&self, at: GuestPhys) -> Option<RamPage> {
        const PAGE: u64 = 4096;
        let base = GuestPhys(at.0 & !(PAGE - 1));
        self.holds(base, 4096).then_some(RamPage(base))
    }

    /// The two bytes at an address; of the last byte of a page, the two before its end.
    #[inline]
    pub(crate) fn pair(&self, at: &CodeAddress<RamPage>) -> [u8; 2] {
        const LAST_PAIR: u64 = 4094;
        let from = at.page.0.0 + at.offset.min(LAST_PAIR);
        let mut pair = [0; 2];
        // SAFETY: GPOS-RAM: the page was found to be the GPOS's when it was made, the plan never
        // changes, and both bytes lie in it.
        unsafe { memory::read(HostPhys(from), &mut pair) };
        pair
    }

    /// Copies `data` into the GPOS's memory; false if it would not lie wholly there.
    pub(crate) fn write(&self, at: GuestPhys, data: &[u8]) -> bool {
        if !self.holds(at, data.len()) {
            return false;
        }
        // SAFETY: GPOS-RAM: the plan gave this range to the GPOS alone, so nothing of the image
        // lies there and no reference to it exists.
        unsafe { memory::write(HostPhys(at.0), data) };
        true
    }
}

impl GuestPhysRead for GuestMemory {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        if !self.holds(at, out.len()) {
            return false;
        }
        // SAFETY: GPOS-RAM, as in `write`; a copy, so a concurrent change is only an odd value.
        unsafe { memory::read(HostPhys(at.0), out) };
        true
    }
}

impl PageSource for GuestMemory {
    fn uniform(&self, at: GuestPhys) -> Option<u64> {
        const WORDS: usize = 512;
        if !self.holds(at, 8 * WORDS) {
            return None;
        }
        // SAFETY: GPOS-RAM, as in `write`: it is only read, and nothing is concluded from it but how
        // the page is kept.
        unsafe { memory::uniform(HostPhys(at.0), WORDS) }
    }
}
