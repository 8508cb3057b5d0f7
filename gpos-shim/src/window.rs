//! Fault records and dumps, read through the window of the shared function.
//!
//! The window shows one bank at a time; which one, the doorbell says, and the nanokernel has changed it
//! when the write is over. Only one reader can use it at a time, so a [`Window`] borrows the connection
//! for itself; a second process would move the bank under the first one's eyes, and both would
//! find checksums that do not fit.

use std::cell::Cell;

use darma_abi::shared::{
    Bank, Doorbell, LAYOUT_VERSION, MAGIC, RegionHeader, RegionRead, Store, WINDOW_BYTES,
    WINDOW_OFFSET,
};
use darma_ras_model::crc32c::software;
use darma_ras_model::dump::{DumpError, DumpReader, Label, StoreRead};
use darma_ras_model::fault_record::FaultReader;
use zerocopy::{FromZeros, IntoBytes};

use crate::error::Error;
use crate::hardware::Bar;

/// What the window needs of the connection: so it can be tested without one.
pub trait WindowAccess {
    /// Writes a doorbell register.
    fn ring(&self, bell: Doorbell);
    /// Fills `out` from an offset in BAR 2 on; false if that is not all there.
    fn load(&self, offset: usize, out: &mut [u8]) -> bool;
}

/// The doorbell's BAR and the one with region and window.
#[derive(Clone, Copy, Debug)]
pub struct Bars<'c> {
    /// BAR 0.
    pub doorbell: &'c Bar,
    /// BAR 2.
    pub region: &'c Bar,
}

impl WindowAccess for Bars<'_> {
    fn ring(&self, bell: Doorbell) {
        let (offset, value) = bell.encode();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.doorbell.store_u32(offset, value);
    }

    fn load(&self, offset: usize, out: &mut [u8]) -> bool {
        self.region.load(offset, out)
    }
}

/// The stores behind the window.
#[derive(Debug)]
pub struct Window<A> {
    access: A,
    faults_bytes: u64,
    dumps_bytes: u64,
    shown: Cell<Option<Bank>>,
}

impl<A: WindowAccess> Window<A> {
    /// Reads the stores' sizes from the region's header.
    ///
    /// # Errors
    /// [`Error::NoWindow`]: the nanokernel has none.
    pub fn open(access: A) -> Result<Self, Error> {
        let mut header = RegionHeader::new_zeroed();
        let read = access.load(0, header.as_mut_bytes());
        let known = header.magic == MAGIC && header.layout_version == LAYOUT_VERSION;
        if !read || !known || header.fault_store_bytes == 0 {
            return Err(Error::NoWindow);
        }
        Ok(Self {
            access,
            faults_bytes: header.fault_store_bytes,
            dumps_bytes: header.dump_store_bytes,
            shown: Cell::new(None),
        })
    }

    /// Size of a store, bytes.
    pub const fn bytes(&self, store: Store) -> u64 {
        match store {
            Store::Faults => self.faults_bytes,
            Store::Dumps => self.dumps_bytes,
        }
    }

    /// Fills `out` from byte `at` of a store on; false if that is not all there.
    pub fn read(&self, store: Store, at: u64, out: &mut [u8]) -> bool {
        let length = u64::try_from(out.len()).unwrap_or(u64::MAX);
        if at
            .checked_add(length)
            .is_none_or(|end| end > self.bytes(store))
        {
            return false;
        }
        let mut at = at;
        let mut rest = out;
        while !rest.is_empty() {
            let Some(bank) = Bank::holding(store, at) else {
                return false;
            };
            if self.shown.replace(Some(bank)) != Some(bank) {
                self.access.ring(Doorbell::Window(bank));
            }
            let inside = at - bank.offset();
            let left = usize::try_from(WINDOW_BYTES - inside).unwrap_or(usize::MAX);
            let taken = left.min(rest.len());
            let (piece, others) = rest.split_at_mut(taken);
            let offset = usize::try_from(WINDOW_OFFSET + inside).unwrap_or(usize::MAX);
            if !self.access.load(offset, piece) {
                return false;
            }
            rest = others;
            at += u64::try_from(taken).unwrap_or(0);
        }
        true
    }

    /// A copy of the fault store, to be read at leisure.
    ///
    /// # Errors
    /// [`Error::NoWindow`]: the memory behind the window cannot be read.
    pub fn faults(&self) -> Result<FaultCopy, Error> {
        let words = usize::try_from(self.faults_bytes / 8).unwrap_or(0);
        let mut copy = vec![0u64; words];
        if self.read(Store::Faults, 0, copy.as_mut_bytes()) {
            Ok(FaultCopy(copy))
        } else {
            Err(Error::NoWindow)
        }
    }

    /// The dumps that are whole, newest first. A slot that is being changed at this moment may be
    /// missing; asking again finds it.
    ///
    /// # Errors
    /// There is no dump store, or it is of another version.
    pub fn dumps(&self) -> Result<Vec<DumpReader<Dumps<'_, A>>>, DumpError> {
        let slots = Label::read(&Dumps(self), software)?.slots;
        let mut found: Vec<_> = (0..slots)
            .filter_map(|slot| DumpReader::open(Dumps(self), slot, software).ok())
            .collect();
        found.sort_by_key(|dump| std::cmp::Reverse(dump.version()));
        Ok(found)
    }
}

/// The dump store as the dump's reader wants it.
#[derive(Debug)]
pub struct Dumps<'w, A>(&'w Window<A>);

impl<A: WindowAccess> StoreRead for Dumps<'_, A> {
    fn read(&self, at: u64, out: &mut [u8]) -> bool {
        self.0.read(Store::Dumps, at, out)
    }
}

/// A copy of the fault store.
#[derive(Debug)]
pub struct FaultCopy(Vec<u64>);

impl FaultCopy {
    /// Its records; `None` if it was damaged as a whole.
    pub fn reader(&self) -> Option<FaultReader<'_>> {
        FaultReader::new(self.0.as_bytes(), software)
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
