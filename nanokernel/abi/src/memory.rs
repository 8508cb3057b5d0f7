//! Reading the GPOS's memory: the one interface through which anything follows its addresses.

use crate::units::GuestPhys;

/// Guest-physical memory, as far as it may be read.
///
/// The edge implements it over the partition, so that an address outside reads as "no", whatever
/// its source: a page-table entry, a pointer in a kernel's structure, a register.
pub trait GuestPhysRead {
    /// Fills `out` from `at` upward; false, with `out` in any state, if any byte is not readable.
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool;

    /// The little-endian `u64` at `at`.
    fn read_u64(&self, at: GuestPhys) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }
}
