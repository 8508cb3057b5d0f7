//! Reading a kernel's memory by its own addresses: single values, and long tables through a window.
//!
//! Every value is an allegation. Addresses are computed with wrapping arithmetic: one that has left
//! the kernel's half of the address space finds no page there and reads as absent.

use crate::kernel_map::KernelMap;
use crate::memory::{GuestPhysRead, PAGE_BYTES_U64};
use darma_abi::units::GuestVirt;

/// A kernel's memory behind its address map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a, M> {
    pub(crate) memory: &'a M,
    pub(crate) map: KernelMap,
}

impl<M: GuestPhysRead> View<'_, M> {
    pub(crate) fn fill(&self, at: u64, out: &mut [u8]) -> bool {
        self.map.read(self.memory, GuestVirt(at), out)
    }

    pub(crate) fn bytes<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(at, &mut bytes).then_some(bytes)
    }

    pub(crate) fn u64(&self, at: u64) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    pub(crate) fn u32(&self, at: u64) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&self, at: u64) -> Option<i32> {
        self.bytes(at).map(i32::from_le_bytes)
    }
}

/// What a window holds at most, and so the longest piece that can be asked for.
pub(super) const WINDOW: usize = 1024;

/// A piece of a table that is read from its beginning to its end: one read of memory serves many
/// small looks.
#[derive(Clone, Debug)]
pub(super) struct Window {
    at: u64,
    used: usize,
    bytes: [u8; WINDOW],
}

impl Window {
    pub(super) const fn new() -> Self {
        Self {
            at: 0,
            used: 0,
            bytes: [0; WINDOW],
        }
    }

    /// Forgets what it holds: the memory may have changed.
    pub(super) const fn clear(&mut self) {
        self.used = 0;
    }

    /// The `want` bytes at `at`.
    pub(super) fn get<M: GuestPhysRead>(
        &mut self,
        view: &View<'_, M>,
        at: u64,
        want: usize,
    ) -> Option<&[u8]> {
        if !self.holds(at, want) {
            self.refill(view, at)?;
        }
        self.block(at)?.get(..want)
    }

    /// The bytes from `at` on that it holds; none if it has to be filled anew.
    pub(super) fn block(&self, at: u64) -> Option<&[u8]> {
        let start = usize::try_from(at.wrapping_sub(self.at)).ok()?;
        self.bytes
            .get(start..self.used)
            .filter(|block| !block.is_empty())
    }

    /// Reads anew, from `at` on.
    pub(super) fn refill<M: GuestPhysRead>(&mut self, view: &View<'_, M>, at: u64) -> Option<()> {
        self.used = 0;
        self.at = at;
        if view.fill(at, &mut self.bytes) {
            self.used = WINDOW;
            return Some(());
        }
        // Behind the end of a table there may be nothing more to read.
        let in_page = PAGE_BYTES_U64 - at % PAGE_BYTES_U64;
        let room = usize::try_from(in_page).ok()?;
        let rest = self.bytes.get_mut(..room)?;
        self.used = if view.fill(at, rest) {
            room
        } else {
            return None;
        };
        Some(())
    }

    fn holds(&self, at: u64, want: usize) -> bool {
        usize::try_from(at.wrapping_sub(self.at))
            .ok()
            .and_then(|start| start.checked_add(want))
            .is_some_and(|end| end <= self.used)
    }
}

/// How much a step may still do. A unit is in the order of a hundred instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(pub(super) u32);

impl Budget {
    /// Takes the cost of one act; false when nothing is left: the act is not to be done. The last act
    /// may cost more than was left, so that any budget leads on.
    pub(super) const fn spend(&mut self, cost: u32) -> bool {
        let any = self.0 > 0;
        self.charge(cost);
        any
    }

    /// Takes the cost of what is done in any case.
    pub(super) const fn charge(&mut self, cost: u32) {
        self.0 = self.0.saturating_sub(cost);
    }
}
