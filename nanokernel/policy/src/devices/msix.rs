//! MSI-X tables of the GPOS's functions (PCI 3.0, 6.8.2).
//!
//! The pages that hold a table are not mapped into the GPOS, so each access arrives here. The
//! GPOS's own message is kept in a shadow entry and read back from there; the hardware's entry
//! holds the translated message, or stays masked: by the GPOS's wish, or because its message is
//! refused ([`super::message`]). Whatever else shares such a page (pending bits, registers) passes.
//!
//! Bounded: [`MAX_ENTRIES`] shadow entries in all. Tables are larger than what drivers use, so an
//! entry beyond the pool reads as masked and cannot be unmasked, and is counted at start-up.
//! Invariant: an unmasked hardware entry was written by [`MsixTables::write`] from a
//! [`HostMessage`](super::message::HostMessage), masked while it changed. No two tables share a page
//! after a move ([`super::pci_config`] refuses it), so a page that a table leaves has no other.

use darma_abi::units::{GuestPhys, HostPhys};
use heapless::Vec;

use crate::interrupts::routes::Source;
use crate::mmio::Width;

use super::functions::{FunctionFacts, MsixFacts};
use super::message::{GuestMessage, Processor, VectorAllocator, translate};
use super::pci_config::BarMoved;
use super::ranges::Span;

/// Shadow entries of all tables together.
pub const MAX_ENTRIES: usize = 128;
/// Tables.
pub const MAX_TABLES: usize = 16;

const ENTRY_BYTES: u64 = 16;
const MASKED: u32 = 1;

/// A 32-bit write to device memory that the caller performs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableWrite {
    /// Where.
    pub at: HostPhys,
    /// What.
    pub value: u32,
}

/// How a read of a trapped page is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsixRead {
    /// With this value.
    Value(u64),
    /// With the hardware's, read at the same address and width.
    Pass,
}

/// What a write to a trapped page leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MsixAct {
    /// The write itself: it is outside the table.
    Pass,
    /// These writes, in this order; often none.
    Writes(Vec<TableWrite, 5>),
}

#[derive(Clone, Copy)]
struct Entry {
    message: GuestMessage,
    control: u32,
}

struct Table {
    function: u8,
    bar: u8,
    /// From the register's address.
    offset: u64,
    place: Span,
    /// Where the firmware had put it.
    home: Span,
    /// Where its entries begin in the pool, and how many have a place there.
    first: usize,
    backed: usize,
}

/// The tables of every function of the GPOS.
#[derive(Default)]
pub struct MsixTables {
    tables: Vec<Table, MAX_TABLES>,
    pool: Vec<Entry, MAX_ENTRIES>,
    unbacked: u32,
    refused: u32,
}

/// More functions with a table than [`MAX_TABLES`], or a table outside its register's memory: the
/// function of this index cannot be given to the GPOS safely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnguardedTable(pub u8);

impl core::fmt::Display for UnguardedTable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "the MSI-X table of PCI function #{} cannot be guarded: hide it",
            self.0
        )
    }
}

impl MsixTables {
    /// Shadows of the tables of `owned`, as [`PciConfig::owned`](super::pci_config::PciConfig::owned)
    /// gives them, all masked.
    ///
    /// # Errors
    /// [`UnguardedTable`].
    pub fn new<'a>(
        owned: impl Iterator<Item = (u8, &'a FunctionFacts)>,
    ) -> Result<Self, UnguardedTable> {
        let mut found = Self::default();
        for (function, facts) in owned {
            let Some(msix) = facts.capabilities.msix else {
                continue;
            };
            let bar = facts
                .bars
                .get(usize::from(msix.table_bar))
                .copied()
                .flatten();
            // A register that decodes nothing holds no table either.
            let Some(memory) = bar.and_then(|bar| bar.memory()) else {
                continue;
            };
            let place = facts
                .msix_table()
                .filter(|place| memory.contains(*place))
                .ok_or(UnguardedTable(function))?;
            let first = found.pool.len();
            for _ in 0..msix.entries {
                if found.pool.push(Entry::RESET).is_err() {
                    found.unbacked = found.unbacked.saturating_add(1);
                }
            }
            let backed = found.pool.len() - first;
            let offset = u64::from(msix.table_offset);
            let table = Table {
                function,
                bar: msix.table_bar,
                offset,
                place,
                home: place,
                first,
                backed,
            };
            found
                .tables
                .push(table)
                .map_err(|_| UnguardedTable(function))?;
        }
        Ok(found)
    }

    /// How many entries have no shadow and so stay masked.
    pub const fn unbacked(&self) -> u32 {
        self.unbacked
    }

    /// How many messages were refused. Saturating.
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    /// The 4 KiB pages that nested paging must leave unmapped, one span per table.
    pub fn trapped(&self) -> impl Iterator<Item = Span> + '_ {
        self.tables.iter().filter_map(|table| pages(table.place))
    }

    /// Masks every entry in the hardware, for start-up and after each end of the GPOS. The
    /// functions must decode memory.
    pub fn mask_all(&self) -> impl Iterator<Item = TableWrite> + '_ {
        self.tables.iter().flat_map(|table| {
            let controls = (table.place.first()..=table.place.last())
                .skip(12)
                .step_by(16);
            controls.map(|at| TableWrite {
                at: HostPhys(at),
                value: MASKED,
            })
        })
    }

    /// Follows a table whose register moved; returns its old and new pages, if there is one. The
    /// caller unmaps the new before it performs the move, and maps the old after.
    pub fn bar_moved(&mut self, moved: &BarMoved) -> Option<(Span, Span)> {
        let mut tables = self.tables.iter_mut();
        let table =
            tables.find(|table| table.function == moved.function && table.bar == moved.bar)?;
        let length = table.place.last() - table.place.first() + 1;
        let place = Span::new(moved.to.checked_add(table.offset)?, length)?;
        let from = core::mem::replace(&mut table.place, place);
        Some((pages(from)?, pages(place)?))
    }

    /// Back to the state of [`new`](Self::new), for the next start of the GPOS, whose registers are
    /// put back too. Returns the old and new pages of each table that had been moved: the caller maps
    /// all the old ones, then unmaps all the new, and then [masks](Self::mask_all).
    pub fn reset(&mut self) -> Vec<(Span, Span), MAX_TABLES> {
        for entry in &mut self.pool {
            *entry = Entry::RESET;
        }
        let moved = self.tables.iter_mut().filter_map(|table| {
            let from = core::mem::replace(&mut table.place, table.home);
            (from != table.home).then(|| Some((pages(from)?, pages(table.home)?)))?
        });
        moved.collect()
    }

    /// A trapped read: `None` if no table's page is there.
    pub fn read(&self, at: GuestPhys, width: Width) -> Option<MsixRead> {
        let Some((table, offset)) = self.locate(at) else {
            return self.is_trapped(at).then_some(MsixRead::Pass);
        };
        let dword = |offset: u64| {
            let entry = self.pool.get(table.slot(offset)?)?;
            Some(match offset % ENTRY_BYTES / 4 {
                0 => entry.message.address,
                1 => entry.message.address_upper,
                2 => entry.message.data,
                _ => entry.control,
            })
        };
        // Without a shadow: masked and otherwise zero.
        let absent = |offset: u64| {
            if offset % ENTRY_BYTES / 4 == 3 {
                MASKED
            } else {
                0
            }
        };
        let low = offset & !3;
        let word = |at: u64| u64::from(dword(at).unwrap_or_else(|| absent(at)));
        let both = word(low) | word(low.saturating_add(4)) << 32;
        Some(MsixRead::Value((both >> (8 * (offset & 3))) & width.mask()))
    }

    /// A trapped write: `None` if no table's page is there. Writes that are not of a whole,
    /// aligned dword or qword are ignored, as the specification leaves them undefined.
    pub fn write(
        &mut self,
        at: GuestPhys,
        width: Width,
        value: u64,
        processor: Processor,
        vectors: &mut impl VectorAllocator,
    ) -> Option<MsixAct> {
        let Some((table, offset)) = self.locate(at) else {
            return self.is_trapped(at).then_some(MsixAct::Pass);
        };
        let nothing = Some(MsixAct::Writes(Vec::new()));
        let is_whole = width >= Width::Four && offset.is_multiple_of(u64::from(width.bytes()));
        let slot = table.slot(offset).filter(|_| is_whole);
        let (function, number) = (table.function, u16::try_from(offset / ENTRY_BYTES).ok()?);
        let base = table.place.first() + (offset & !(ENTRY_BYTES - 1));
        let Some(entry) = slot.and_then(|slot| self.pool.get_mut(slot)) else {
            return nothing;
        };
        entry.set(offset, value);
        if width == Width::Eight {
            entry.set(offset + 4, value >> 32);
        }
        let write = |offset, value| TableWrite {
            at: HostPhys(base + offset),
            value,
        };
        let mask = write(12, MASKED);
        let mut writes = Vec::new();
        if entry.control & MASKED != 0 {
            // Address and data of a masked entry wait in the shadow.
            let touches_control = offset % ENTRY_BYTES + u64::from(width.bytes()) > 12;
            writes.extend(touches_control.then_some(mask));
            return Some(MsixAct::Writes(writes));
        }
        let source = Source::Msi {
            function,
            entry: number,
        };
        match translate(source, entry.message, processor, vectors) {
            Ok(message) => writes.extend([
                mask,
                write(0, message.address()),
                write(4, 0),
                write(8, message.data()),
                write(12, 0),
            ]),
            Err(_) => {
                self.refused = self.refused.saturating_add(1);
                writes.extend([mask]);
            }
        }
        Some(MsixAct::Writes(writes))
    }

    /// The table at an address and the offset in it.
    fn locate(&self, at: GuestPhys) -> Option<(&Table, u64)> {
        let table = self.tables.iter().find(|table| table.place.has(at.0))?;
        Some((table, at.0 - table.place.first()))
    }

    fn is_trapped(&self, at: GuestPhys) -> bool {
        self.trapped().any(|pages| pages.has(at.0))
    }
}

impl Table {
    /// The place in the pool of the entry at `offset` of the table.
    fn slot(&self, offset: u64) -> Option<usize> {
        let number = usize::try_from(offset / ENTRY_BYTES).ok()?;
        (number < self.backed).then(|| self.first + number)
    }
}

impl Entry {
    const RESET: Self = Self {
        message: GuestMessage {
            address: 0,
            address_upper: 0,
            data: 0,
        },
        control: MASKED,
    };

    fn set(&mut self, offset: u64, value: u64) {
        let value = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
        match offset % ENTRY_BYTES / 4 {
            0 => self.message.address = value & !3,
            1 => self.message.address_upper = value,
            2 => self.message.data = value,
            _ => self.control = value & MASKED,
        }
    }
}

impl MsixFacts {
    /// The pages of the table when its register is at `address`.
    pub(super) fn pages(&self, address: u64) -> Option<Span> {
        let first = address.checked_add(u64::from(self.table_offset))?;
        pages(Span::new(first, u64::from(self.entries) * ENTRY_BYTES)?)
    }
}

/// The whole pages that `span` touches.
fn pages(span: Span) -> Option<Span> {
    Span::between(span.first() & !0xfff, span.last() | 0xfff)
}
