//! Nested page tables: what of the machine the GPOS can reach (APM2 15.25).
//!
//! Nothing is mapped until it is asked for. The largest page that alignment allows is used; a
//! later unmapping of a part splits it. The tables come from a fixed pool inside the image, which
//! the GPOS cannot reach, so it can never edit them.

use darma_abi::units::{GuestPhys, HostPhys};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
/// Nested tables are walked as user accesses (APM2 15.25.5).
const USER: u64 = 1 << 2;
const CACHE_DISABLE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PAGE: u64 = 4096;

/// How a range may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ordinary memory.
    Ram,
    /// Device registers, uncached.
    Device,
}

/// The pool of tables is used up: the layout needs more splits than were provided for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolExhausted;

/// A set of nested page tables with room for `N` tables of 4 KiB.
#[repr(C, align(4096))]
pub struct NestedTables<const N: usize> {
    tables: [[u64; 512]; N],
    /// Tables in use besides the root. All zero when empty, so that the pool costs no image bytes.
    allocated: usize,
}

impl<const N: usize> NestedTables<N> {
    /// Empty tables: the guest reaches nothing.
    pub const fn new() -> Self {
        Self {
            tables: [[0; 512]; N],
            allocated: 0,
        }
    }

    /// Physical address of the root, for the control block.
    pub fn root(&self) -> HostPhys {
        HostPhys(self.tables.as_ptr() as u64)
    }

    /// Tables in use, of the `N` in the pool.
    pub fn used(&self) -> usize {
        self.allocated + 1
    }

    /// Maps `len` bytes at `guest` to `host`. All three are multiples of 4 KiB.
    ///
    /// # Errors
    /// [`PoolExhausted`]; what was mapped before the failure stays.
    pub fn map(
        &mut self,
        guest: GuestPhys,
        host: HostPhys,
        len: u64,
        kind: Kind,
    ) -> Result<(), PoolExhausted> {
        let bits = PRESENT
            | WRITABLE
            | USER
            | if kind == Kind::Device {
                CACHE_DISABLE
            } else {
                0
            };
        self.set(guest.0, len, Some((host.0, bits)))
    }

    /// Lets the guest read, and only read, `pages` pages at `guest`: page `n` is at `target(n)`. They
    /// are mapped one by one, so that another choice of targets later needs no further table.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn map_read_only(
        &mut self,
        guest: GuestPhys,
        pages: u64,
        target: impl Fn(u64) -> HostPhys,
    ) -> Result<(), PoolExhausted> {
        for page in 0..pages {
            let entry = target(page).0 | PRESENT | USER;
            self.set_entry(guest.0 + page * PAGE, 0, entry)?;
        }
        Ok(())
    }

    /// Takes them away again; the table that they needed stays for the next time.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn unmap_pages(&mut self, guest: GuestPhys, pages: u64) -> Result<(), PoolExhausted> {
        for page in 0..pages {
            self.set_entry(guest.0 + page * PAGE, 0, 0)?;
        }
        Ok(())
    }

    /// Takes `len` bytes at `guest` away from the guest.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub fn unmap(&mut self, guest: GuestPhys, len: u64) -> Result<(), PoolExhausted> {
        self.set(guest.0, len, None)
    }

    fn set(
        &mut self,
        guest: u64,
        len: u64,
        target: Option<(u64, u64)>,
    ) -> Result<(), PoolExhausted> {
        let mut done = 0;
        while done < len {
            let at = guest + done;
            let aligned = |size: u64| {
                at.is_multiple_of(size)
                    && len - done >= size
                    && target.is_none_or(|(host, _)| (host + done) % size == 0)
            };
            let level = if aligned(1 << 30) {
                2
            } else if aligned(2 << 20) {
                1
            } else {
                0
            };
            let size = PAGE << (9 * level);
            let entry = target.map_or(0, |(host, bits)| {
                (host + done) | bits | if level > 0 { LARGE } else { 0 }
            });
            self.set_entry(at, level, entry)?;
            done += size;
        }
        Ok(())
    }

    /// Writes one leaf entry at `level` (0: 4 KiB, 1: 2 MiB, 2: 1 GiB), making or splitting the
    /// tables above it.
    fn set_entry(&mut self, at: u64, level: u32, entry: u64) -> Result<(), PoolExhausted> {
        let mut table = 0;
        for above in (level + 1..=3).rev() {
            let index = index(at, above);
            let current = self.tables[table][index];
            table = if current & PRESENT == 0 {
                let fresh = self.allocate()?;
                self.tables[table][index] = self.address(fresh) | PRESENT | WRITABLE | USER;
                fresh
            } else if current & LARGE != 0 {
                let fresh = self.allocate()?;
                let step = PAGE << (9 * (above - 1));
                let keep = if above - 1 > 0 {
                    current & !ADDRESS
                } else {
                    current & !ADDRESS & !LARGE
                };
                let base = current & ADDRESS;
                for (slot, number) in self.tables[fresh].iter_mut().zip(0u64..) {
                    *slot = (base + number * step) | keep;
                }
                self.tables[table][index] = self.address(fresh) | PRESENT | WRITABLE | USER;
                fresh
            } else {
                self.number(current & ADDRESS)
            };
        }
        self.tables[table][index(at, level)] = entry;
        Ok(())
    }

    fn allocate(&mut self) -> Result<usize, PoolExhausted> {
        if self.used() == N {
            return Err(PoolExhausted);
        }
        self.allocated += 1;
        Ok(self.allocated)
    }

    fn address(&self, table: usize) -> u64 {
        self.tables[table].as_ptr() as u64
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "the pool is smaller than 4 GiB"
    )]
    fn number(&self, address: u64) -> usize {
        ((address - self.root().0) / PAGE) as usize
    }
}

impl<const N: usize> Default for NestedTables<N> {
    fn default() -> Self {
        Self::new()
    }
}

fn index(at: u64, level: u32) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "nine bits")]
    let index = (at >> (12 + 9 * level) & 0x1ff) as usize;
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    fn walk<const N: usize>(tables: &NestedTables<N>, at: u64) -> Option<u64> {
        let mut table = 0;
        for level in (0..=3).rev() {
            let entry = tables.tables[table][index(at, level)];
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || entry & LARGE != 0 {
                let size = PAGE << (9 * level);
                return Some((entry & ADDRESS & !(size - 1)) | (at & (size - 1)));
            }
            table = tables.number(entry & ADDRESS);
        }
        None
    }

    #[test]
    fn an_identity_map_with_a_hole_reaches_all_but_the_hole() {
        let mut tables = Box::new(NestedTables::<16>::new());
        tables
            .map(GuestPhys(0), HostPhys(0), 4 << 30, Kind::Ram)
            .unwrap();
        tables.unmap(GuestPhys(0xfee0_0000), 0x1000).unwrap();
        assert_eq!(walk(&tables, 0xfee0_0123), None);
        assert_eq!(walk(&tables, 0xfee0_1000), Some(0xfee0_1000));
        assert_eq!(walk(&tables, 0xfedf_ffff), Some(0xfedf_ffff));
        assert_eq!(walk(&tables, 0x1234_5678), Some(0x1234_5678));
        assert_eq!(walk(&tables, 4 << 30), None);
    }

    #[test]
    fn a_small_pool_says_so() {
        let mut tables = Box::new(NestedTables::<2>::new());
        assert_eq!(
            tables.map(GuestPhys(0), HostPhys(0), 0x1000, Kind::Ram),
            Err(PoolExhausted)
        );
    }

    #[test]
    fn a_range_may_be_mapped_elsewhere() {
        let mut tables = Box::new(NestedTables::<8>::new());
        tables
            .map(
                GuestPhys(0xf000_0000),
                HostPhys(0x1020_0000),
                4 << 20,
                Kind::Ram,
            )
            .unwrap();
        assert_eq!(walk(&tables, 0xf030_0042), Some(0x1050_0042));
    }

    #[test]
    fn a_window_may_show_other_pages_without_further_tables() {
        let mut tables = Box::new(NestedTables::<8>::new());
        let guest = GuestPhys(0xf020_0000);
        let show = |tables: &mut NestedTables<8>, host: u64| {
            let target = |page| HostPhys(host + page * PAGE);
            tables.map_read_only(guest, 512, target).unwrap();
        };
        show(&mut tables, 0x1000_0000);
        let used = tables.used();
        for turn in 0..20 {
            show(&mut tables, turn << 21);
            assert_eq!(walk(&tables, 0xf020_1042), Some((turn << 21) + 0x1042));
            tables.unmap_pages(guest, 512).unwrap();
            assert_eq!(walk(&tables, 0xf020_1042), None);
        }
        assert_eq!(tables.used(), used);
        let entry = tables
            .tables
            .as_flattened()
            .iter()
            .find(|entry| **entry & !7 == 0x1000_0000);
        assert_eq!(entry, None);
    }
}
