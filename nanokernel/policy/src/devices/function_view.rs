//! One function as the GPOS sees it: which of its registers pass, wait, are translated or ignored.
//!
//! The rules stand in [`super::pci_config`], which finds the function of an access and owns these;
//! this is their application to the registers of a type 0 or type 1 header and the message
//! interrupt capability (PCI 3.0, 6.2.5 and 6.8.1).

use heapless::Vec;

use crate::interrupts::routes::Source;
use crate::mmio::Width;

use super::functions::{Bar, BarKind, FunctionFacts, Header, MsiFacts};
use super::message::{GuestMessage, Processor, VectorAllocator, translate};
use super::pci_config::{BarMoved, HardwareWrite, Why, WriteAct};
use super::ranges::{AddressRules, Span};
use super::virtual_pci::VirtualPci;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Gpos,
    Nanokernel,
}

/// The ROM's place among the address registers.
pub(super) const ROM: usize = 6;

pub(super) struct Function {
    pub(super) facts: FunctionFacts,
    pub(super) owner: Owner,
    /// What the GPOS last wrote to each address register; the hardware's value at start-up.
    written: [u32; 7],
    /// Bit per register: what was written is not in the hardware.
    pending: u8,
    /// Where each register's memory or ports are, in the hardware.
    address: [u64; 7],
    msi: GuestMessage,
    /// Whether the GPOS enabled its message.
    msi_wanted: bool,
}

pub(super) struct Access {
    pub(super) index: u8,
    pub(super) offset: u8,
    pub(super) width: Width,
    pub(super) value: u32,
}

impl Access {
    /// `old` with the accessed bytes replaced.
    fn merge(&self, old: u32) -> u32 {
        let shift = 8 * u32::from(self.offset & 3);
        let mask = width_mask(self.width) << shift;
        (old & !mask) | ((self.value << shift) & mask)
    }
}

/// What an address register may not be moved over.
pub(super) struct Surroundings<'a> {
    pub(super) rules: &'a AddressRules,
    pub(super) ours: &'a VirtualPci,
    /// The pages of the other functions' MSI-X tables. Were two tables to share a page, the one that
    /// moves on would leave the other unguarded.
    pub(super) tables: &'a [Span],
}

pub(super) enum Seen {
    Shadow(u32),
    Hardware { keep: u32 },
}

pub(super) const fn width_mask(width: Width) -> u32 {
    match width {
        Width::One => 0xff,
        Width::Two => 0xffff,
        Width::Four | Width::Eight => u32::MAX,
    }
}

/// The two halves of a 64-bit address.
fn halves(address: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}

impl MsiFacts {
    /// Message Control with the message off and one vector.
    pub(super) fn disabled(self) -> u32 {
        u32::from(self.control & !0x71)
    }
}

impl FunctionFacts {
    pub(super) fn write(&self, offset: u8, width: Width, value: u32) -> HardwareWrite {
        HardwareWrite {
            bdf: self.bdf,
            offset,
            width,
            value,
        }
    }

    /// Whether it belongs to the machine rather than being a device: bridges other than PCI ones.
    pub(super) fn is_chip_set(&self) -> bool {
        self.class >> 16 == 6 && !matches!(self.header, Header::Bridge { .. })
    }

    /// Intel's routing of PCI pins to the legacy controller, at the same place in all its bridges.
    fn is_legacy_routing(&self, offset: u8) -> bool {
        self.vendor == 0x8086
            && self.class >> 8 == 0x0601
            && matches!(offset, 0x60..=0x63 | 0x68..=0x6b)
    }

    /// The address register at `offset`, by its place in [`Function::written`].
    fn address_slot(&self, offset: u8) -> Option<usize> {
        match (self.header, offset) {
            (Header::Endpoint, 0x10..=0x27) | (Header::Bridge { .. }, 0x10..=0x17) => {
                Some(usize::from((offset - 0x10) / 4))
            }
            (Header::Endpoint, 0x30..=0x33) | (Header::Bridge { .. }, 0x38..=0x3b) => Some(ROM),
            _ => None,
        }
    }

    fn address_offset(&self, slot: usize) -> u8 {
        match (slot, self.header) {
            (ROM, Header::Bridge { .. }) => 0x38,
            (ROM, _) => 0x30,
            _ => u8::try_from(0x10 + 4 * slot).unwrap_or(0),
        }
    }
}

impl Function {
    pub(super) fn new(facts: FunctionFacts, owner: Owner) -> Self {
        let (mut written, mut address) = ([0; 7], [0; 7]);
        for (slot, bar) in facts.bars.iter().chain([&facts.rom]).enumerate() {
            let Some(bar) = bar else { continue };
            let (low, high) = halves(bar.address);
            if let Some(place) = address.get_mut(slot) {
                *place = bar.address;
            }
            if let Some(place) = written.get_mut(slot) {
                *place = low | bar.flags;
            }
            if bar.kind == BarKind::Memory64
                && let Some(place) = written.get_mut(slot + 1)
            {
                *place = high;
            }
        }
        let msi = GuestMessage::default();
        Self {
            facts,
            owner,
            written,
            pending: 0,
            address,
            msi,
            msi_wanted: false,
        }
    }

    /// The register that `slot` is (half of), with its own slot.
    pub(super) fn register(&self, slot: usize) -> Option<(usize, Bar)> {
        let at = |slot: usize| match slot {
            ROM => self.facts.rom,
            _ => self.facts.bars.get(slot).copied().flatten(),
        };
        let upper_half = || {
            let below = slot.checked_sub(1)?;
            let bar = at(below).filter(|bar| bar.kind == BarKind::Memory64 && slot < ROM)?;
            Some((below, bar))
        };
        at(slot).map(|bar| (slot, bar)).or_else(upper_half)
    }

    fn word(&self, slot: usize) -> u32 {
        self.written.get(slot).copied().unwrap_or(0)
    }

    pub(super) fn read(&self, offset: u8) -> Seen {
        let all = Seen::Hardware { keep: u32::MAX };
        if let Some(slot) = self.facts.address_slot(offset) {
            let Some((first, bar)) = self.register(slot) else {
                return all;
            };
            if self.pending & (1 << slot) == 0 {
                return all;
            }
            let (low, high) = halves(!(bar.size - 1));
            return Seen::Shadow(match () {
                () if slot != first => self.word(slot) & high,
                () if slot == ROM => self.word(slot) & (low | 1),
                () => (self.word(slot) & low) | bar.flags,
            });
        }
        let Some(msi) = self.facts.capabilities.msi else {
            return all;
        };
        match offset.checked_sub(msi.at) {
            Some(0) => Seen::Hardware { keep: !0x007e_0000 },
            Some(4) => Seen::Shadow(self.msi.address),
            Some(8) if msi.is_wide() => Seen::Shadow(self.msi.address_upper),
            Some(relative) if relative == msi.data_offset() => Seen::Shadow(self.msi.data),
            _ => all,
        }
    }

    pub(super) fn write(
        &mut self,
        access: &Access,
        around: &Surroundings<'_>,
        processor: Processor,
        vectors: &mut impl VectorAllocator,
        refused: &mut u32,
    ) -> WriteAct {
        let facts = self.facts;
        let offset = access.offset;
        if facts.is_chip_set() && !facts.is_legacy_routing(offset) || facts.header == Header::Other
        {
            return WriteAct::Ignored(Why::FirmwareOwned);
        }
        if let Some(slot) = facts.address_slot(offset) {
            return self.write_address(access, slot, around);
        }
        if let Header::Bridge { .. } = facts.header {
            match offset {
                0x18..=0x33 => return WriteAct::Ignored(Why::FirmwareOwned),
                0x3c..=0x3f if access.merge(0) & 0x0040_0000 != 0 => {
                    return WriteAct::Ignored(Why::Reset);
                }
                _ => {}
            }
        }
        if let Some(window) = facts.capabilities.virtio_window
            && (window..window.saturating_add(20)).contains(&offset)
        {
            return WriteAct::Ignored(Why::FirmwareOwned);
        }
        if let Some(msi) = facts.capabilities.msi
            && let Some(relative) = (offset & 0xfc).checked_sub(msi.at)
            && relative <= msi.data_offset()
        {
            return self.write_msi(access, msi, relative, processor, vectors, refused);
        }
        hardware([facts.write(offset, access.width, access.value)], None)
    }

    /// The hardware's registers as the GPOS wrote the one at `first`.
    pub(super) fn hardware(&self, first: usize) -> impl Iterator<Item = HardwareWrite> + use<> {
        let write = |slot: usize| {
            self.facts.write(
                self.facts.address_offset(slot),
                Width::Four,
                self.word(slot),
            )
        };
        let is_wide = self
            .register(first)
            .is_some_and(|(at, bar)| at == first && bar.kind == BarKind::Memory64);
        let is_first = self.register(first).is_some_and(|(at, _)| at == first);
        let low = is_first.then(|| write(first));
        let high = is_wide.then(|| write(first + 1));
        low.into_iter().chain(high)
    }

    fn write_address(
        &mut self,
        access: &Access,
        slot: usize,
        around: &Surroundings<'_>,
    ) -> WriteAct {
        let Some((first, bar)) = self.register(slot) else {
            return WriteAct::Ignored(Why::Absent);
        };
        let merged = access.merge(self.word(slot));
        if let Some(word) = self.written.get_mut(slot) {
            // Flags are read-only; only the ROM's enable bit is the GPOS's.
            *word = match () {
                () if slot != first => merged,
                () if slot == ROM => merged & 0xffff_f801,
                () if bar.kind == BarKind::Ports => (merged & !3) | bar.flags,
                () => (merged & !0xf) | bar.flags,
            };
        }
        self.pending |= 1 << slot;
        // All ones asks for the size. Waiting also keeps half-written 64-bit addresses away.
        let wanted = (merged != u32::MAX)
            .then(|| self.wanted(first, bar))
            .flatten();
        let allowed = wanted.filter(|span| match bar.kind {
            BarKind::Ports => around.rules.allows_ports(*span),
            _ => {
                around.rules.allows_memory(*span)
                    && !around.ours.occupies(*span)
                    && self.keeps_table_guarded(first, *span, around.tables)
            }
        });
        let Some(span) = allowed else {
            return WriteAct::Done;
        };
        self.pending &= !(1 << first);
        if bar.kind == BarKind::Memory64 {
            self.pending &= !(2 << first);
        }
        let from = self
            .address
            .get_mut(first)
            .map_or(0, |at| core::mem::replace(at, span.first()));
        let moved = (bar.kind != BarKind::Ports && from != span.first()).then(|| BarMoved {
            function: access.index,
            bar: u8::try_from(first).unwrap_or(u8::MAX),
            from,
            to: span.first(),
        });
        hardware(self.hardware(first), moved)
    }

    /// Where its memory is now, with the windows of a bridge.
    pub(super) fn memory(&self) -> impl Iterator<Item = Span> + '_ {
        let windows = match self.facts.header {
            Header::Bridge {
                memory,
                prefetchable,
                ..
            } => [memory, prefetchable],
            _ => [None, None],
        };
        let bars = (0..=ROM).filter_map(|slot| {
            let (first, bar) = self.register(slot)?;
            let address = *self.address.get(slot).filter(|address| **address != 0)?;
            (first == slot && bar.kind != BarKind::Ports).then(|| Span::new(address, bar.size))?
        });
        windows.into_iter().flatten().chain(bars)
    }

    /// The pages that its MSI-X table is on now.
    pub(super) fn table(&self) -> Option<Span> {
        let msix = self.facts.capabilities.msix?;
        let address = self.address.get(usize::from(msix.table_bar))?;
        (*address != 0).then(|| msix.pages(*address))?
    }

    /// Whether no unguarded table comes about when the register at `first` moves to `place`. Its
    /// register stays where it is if the firmware did not place it, for then it is not guarded, or
    /// if the firmware put two tables on one page.
    fn keeps_table_guarded(&self, first: usize, place: Span, others: &[Span]) -> bool {
        let msix = self.facts.capabilities.msix;
        let Some(msix) = msix.filter(|msix| usize::from(msix.table_bar) == first) else {
            return true;
        };
        let alone = |pages: Span| !others.iter().any(|other| other.overlaps(pages));
        self.table().is_some_and(alone) && msix.pages(place.first()).is_some_and(alone)
    }

    /// What the register at `first` would decode if its written value were in the hardware.
    fn wanted(&self, first: usize, bar: Bar) -> Option<Span> {
        let low = u64::from(self.word(first));
        let address = match bar.kind {
            BarKind::Ports => low & 0xffff,
            BarKind::Memory32 => low,
            BarKind::Memory64 => low | u64::from(self.word(first + 1)) << 32,
        };
        Span::new(address & !(bar.size - 1), bar.size)
    }

    fn write_msi(
        &mut self,
        access: &Access,
        msi: MsiFacts,
        relative: u8,
        processor: Processor,
        vectors: &mut impl VectorAllocator,
        refused: &mut u32,
    ) -> WriteAct {
        let facts = self.facts;
        match relative {
            0 => {
                let control = u32::from(self.msi_wanted) << 16;
                self.msi_wanted = access.merge(control) & 0x0001_0000 != 0;
            }
            4 => self.msi.address = access.merge(self.msi.address) & !3,
            8 if msi.is_wide() => self.msi.address_upper = access.merge(self.msi.address_upper),
            _ => self.msi.data = access.merge(self.msi.data) & 0xffff,
        }
        let off = facts.write(msi.at + 2, Width::Two, msi.disabled());
        if !self.msi_wanted {
            return hardware([off], None);
        }
        let source = Source::Msi {
            function: access.index,
            entry: 0,
        };
        match translate(source, self.msi, processor, vectors) {
            Ok(message) => {
                let upper = msi
                    .is_wide()
                    .then(|| facts.write(msi.at + 8, Width::Four, 0));
                let address = facts.write(msi.at + 4, Width::Four, message.address());
                let data = facts.write(msi.at + msi.data_offset(), Width::Two, message.data());
                let on = facts.write(msi.at + 2, Width::Two, msi.disabled() | 1);
                hardware([address].into_iter().chain(upper).chain([data, on]), None)
            }
            Err(_) => {
                *refused = refused.saturating_add(1);
                hardware([off], None)
            }
        }
    }
}

fn hardware(writes: impl IntoIterator<Item = HardwareWrite>, moved: Option<BarMoved>) -> WriteAct {
    let mut act = Vec::new();
    for write in writes {
        if act.push(write).is_err() {
            break;
        }
    }
    WriteAct::Hardware { writes: act, moved }
}
