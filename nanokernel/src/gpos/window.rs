//! The memory behind BAR 2 of our shared-memory function: the region that both sides write, and the
//! window through which the GPOS reads, and only reads, one bank of a store.

use super::Gpos;
use darma_abi::shared::{REGION_BYTES, WINDOW_BYTES, WINDOW_OFFSET};
use darma_abi::units::{GuestPhys, HostPhys};
use darma_policy::boot::span::Span;
use darma_svm::nested_paging::{Kind, PoolExhausted};

const PAGE: u64 = 4096;
const PAGES: u64 = WINDOW_BYTES / PAGE;

#[repr(C, align(4096))]
struct ZeroPage([u8; 4096]);

/// What an empty window shows, page after page.
static ZEROS: ZeroPage = ZeroPage([0; 4096]);

impl Gpos {
    /// Shows a piece of a store in the window: a whole bank, 4 KiB aligned; `None` shows zeros. The
    /// span is the nanokernel's, and what lies there is for the GPOS's eyes.
    pub(crate) fn show(&mut self, bank: Option<Span>) {
        let whole = bank.filter(|span| span.size() == WINDOW_BYTES);
        self.devices.window = whole.map(|span| HostPhys(span.base()));
        if let Some(shared) = self.devices.ours.shared() {
            // A pool that is used up leaves the window as it was.
            let _ = self.map_window(GuestPhys(shared.first()));
            self.cpu.flush_translations();
        }
    }

    /// Maps region and window for a BAR 2 at `bar`.
    pub(super) fn map_shared(&mut self, bar: GuestPhys) -> Result<(), PoolExhausted> {
        let region = self.devices.shared;
        self.tables.map(bar, region, REGION_BYTES, Kind::Ram)?;
        let gap = WINDOW_OFFSET - REGION_BYTES;
        self.tables.unmap(GuestPhys(bar.0 + REGION_BYTES), gap)?;
        self.map_window(bar)
    }

    fn map_window(&mut self, bar: GuestPhys) -> Result<(), PoolExhausted> {
        let window = self.devices.window;
        let zeros = HostPhys(ZEROS.0.as_ptr() as u64);
        let at = GuestPhys(bar.0 + WINDOW_OFFSET);
        self.tables.map_read_only(at, PAGES, |page| match window {
            Some(base) => HostPhys(base.0 + page * PAGE),
            None => zeros,
        })
    }

    /// Takes region and window away from where BAR 2 was.
    pub(super) fn unmap_shared(&mut self, bar: GuestPhys) -> Result<(), PoolExhausted> {
        self.tables.unmap(bar, REGION_BYTES)?;
        let at = GuestPhys(bar.0 + WINDOW_OFFSET);
        self.tables.unmap_pages(at, PAGES)
    }

    /// Whether an address lies in the window.
    pub(super) fn is_in_window(&self, at: GuestPhys) -> bool {
        self.devices.ours.shared().is_some_and(|shared| {
            let begin = shared.first().saturating_add(WINDOW_OFFSET);
            (begin..begin.saturating_add(WINDOW_BYTES)).contains(&at.0)
        })
    }
}
