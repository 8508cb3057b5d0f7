//! The nanokernel's side: what to store where, in which order.
//!
//! Concurrency: one writer. The nanokernel may be interrupted by a task in the middle of a
//! publication; the GPOS cannot run meanwhile on the same core, and on another core it sees the odd
//! sequence and waits. The stores themselves are the edge's, behind [`RegionStore`].

use core::mem::{offset_of, size_of};

use zerocopy::IntoBytes;

use super::layout::{RegionHeader, STATUS_OFFSET, StatusBlock, StatusBody};

/// Stores into the shared region.
///
/// The implementation makes each call's stores volatile and keeps them in program order, so that
/// neither compiler nor processor moves a body's store across the sequence's (stores are not
/// reordered with stores on x86, APM2 7.1). Offsets are always inside [`super::REGION_BYTES`].
pub trait RegionStore {
    /// Stores `value` at `offset`, a multiple of 4, in one access.
    fn store_u32(&mut self, offset: usize, value: u32);
    /// Stores `bytes` from `offset` on, in any number of accesses.
    fn store(&mut self, offset: usize, bytes: &[u8]);
}

/// The one writer of the status block.
#[derive(Debug, Default)]
pub struct StatusWriter {
    sequence: u32,
    /// Sizes of fault store and dump store, bytes.
    stores: (u64, u64),
}

impl StatusWriter {
    /// A writer whose first publication has the sequence 2.
    pub const fn new() -> Self {
        Self {
            sequence: 0,
            stores: (0, 0),
        }
    }

    /// The same for a machine with a fault store and a dump store of these sizes, bytes.
    pub const fn with_stores(faults: u64, dumps: u64) -> Self {
        Self {
            sequence: 0,
            stores: (faults, dumps),
        }
    }

    /// Writes the header and an all-zero status block: at each start of the GPOS, since the last
    /// one could write here what it liked.
    pub fn initialise(&mut self, region: &mut (impl RegionStore + ?Sized)) {
        let header = RegionHeader {
            fault_store_bytes: self.stores.0,
            dump_store_bytes: self.stores.1,
            ..RegionHeader::CURRENT
        };
        region.store(0, header.as_bytes());
        self.publish(&StatusBody::zeroed(), region);
    }

    /// Puts `body` in place under the sequence lock.
    pub fn publish(&mut self, body: &StatusBody, region: &mut (impl RegionStore + ?Sized)) {
        let at = STATUS_OFFSET + offset_of!(StatusBlock, sequence);
        region.store_u32(at, self.begin());
        region.store(
            STATUS_OFFSET + offset_of!(StatusBlock, body),
            body.as_bytes(),
        );
        region.store_u32(at, self.end());
    }

    /// The odd value to store before the body.
    pub const fn begin(&mut self) -> u32 {
        self.sequence |= 1;
        self.sequence
    }

    /// The even value to store after the body.
    pub const fn end(&mut self) -> u32 {
        self.sequence = (self.sequence | 1).wrapping_add(1);
        self.sequence
    }
}

/// Ordinary memory, for tests and for composing an image of the region.
impl RegionStore for [u8] {
    fn store_u32(&mut self, offset: usize, value: u32) {
        self.store(offset, &value.to_le_bytes());
    }

    fn store(&mut self, offset: usize, bytes: &[u8]) {
        let range = offset..offset.saturating_add(bytes.len());
        if let Some(to) = self.get_mut(range) {
            to.copy_from_slice(bytes);
        }
    }
}

const _: () =
    assert!(size_of::<StatusBody>() + offset_of!(StatusBlock, body) == size_of::<StatusBlock>());
