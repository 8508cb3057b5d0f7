//! The GPOS's view of PCI configuration space, through ports 0xCF8 and 0xCFC (PCI 3.0, 3.2.2.3.2).
//!
//! The GPOS drives its functions itself, so most accesses pass. What does not:
//!
//! - hidden functions are absent: all ones, writes ignored. Linux looks at function 0 first, so
//!   hiding function 0 of a device hides the device;
//! - base address registers reach the hardware only when the whole address is allowed by the
//!   [`AddressRules`]. Until then the GPOS reads back what it wrote, which is also how it learns a
//!   register's size: the all-ones value never reaches the hardware;
//! - the message interrupt capability is translated ([`super::message`]); several messages are not
//!   offered, because they must be consecutive vectors;
//! - bridges keep the firmware's bus numbers and windows: they decide which function answers an
//!   address, hidden ones included. Secondary bus reset, which would reset hidden functions, is
//!   ignored too;
//! - the chip set's own functions (host bridge, ISA bridge, power management) are read-only but for
//!   the interrupt routing of the legacy controller: their registers move the memory map and the
//!   power-management ports;
//! - virtio's window into the function's memory is read-only: it leads to the MSI-X table.
//!
//! Invariants: every [`HardwareWrite`] is to a function of the GPOS; a base address in it is allowed
//! by the rules; a message in it is a [`HostMessage`](super::message::HostMessage).

use core::fmt;

use heapless::Vec;

use crate::interrupts::routes::Source;
use crate::mmio::Width;

use super::functions::{
    Bar, BarKind, Bdf, FunctionFacts, Functions, Header, MAX_FUNCTIONS, MsiFacts, MsixFacts,
};
use super::message::{GuestMessage, Processor, VectorAllocator, translate};
use super::ranges::{AddressRules, Span};
use super::virtual_pci::{VirtualEffect, VirtualPci};

/// The address port.
pub const ADDRESS_PORT: u16 = 0xcf8;
/// The first data port.
pub const DATA_PORT: u16 = 0xcfc;

/// A write to a function's configuration space that the caller performs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardwareWrite {
    /// The function.
    pub bdf: Bdf,
    /// Offset in configuration space, aligned to the width.
    pub offset: u8,
    /// One, two or four bytes.
    pub width: Width,
    /// The value.
    pub value: u32,
}

/// A function's memory moves. The caller maps and unmaps what depends on it (MSI-X table pages)
/// before it performs the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarMoved {
    /// Index of the function, as in [`Source::Msi`].
    pub function: u8,
    /// Index of the register.
    pub bar: u8,
    /// Address before.
    pub from: u64,
    /// Address after.
    pub to: u64,
}

/// How a read is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAct {
    /// With this value.
    Value(u32),
    /// With what the hardware says, of which the bits outside `keep` are cleared.
    Hardware {
        /// The function.
        bdf: Bdf,
        /// Offset, aligned to the width.
        offset: u8,
        /// One, two or four bytes.
        width: Width,
        /// The bits that the GPOS sees.
        keep: u32,
    },
}

/// What a write leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteAct {
    /// Nothing more.
    Done,
    /// It is not let through.
    Ignored(Why),
    /// These writes, in this order, after the move.
    Hardware {
        /// The writes.
        writes: Vec<HardwareWrite, 4>,
        /// A change of the memory map.
        moved: Option<BarMoved>,
    },
    /// An effect of one of our own functions.
    Virtual(VirtualEffect),
}

/// Why a write is not let through. The caller counts and logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no such function, register or port width.
    Absent,
    /// The firmware's setting stays.
    FirmwareOwned,
    /// It would reset functions that are not the GPOS's.
    Reset,
}

/// Why the view could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentFunction(pub Bdf);

impl fmt::Display for AbsentFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gpos.hide names PCI function {}, which this machine does not have",
            self.0
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Gpos,
    Nanokernel,
}

/// The ROM's place among the address registers.
const ROM: usize = 6;

struct Function {
    facts: FunctionFacts,
    owner: Owner,
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

/// The configuration space that the GPOS sees.
pub struct PciConfig {
    functions: Vec<Function, MAX_FUNCTIONS>,
    rules: AddressRules,
    processor: Processor,
    latch: u32,
    refused_messages: u32,
}

impl PciConfig {
    /// The view of `functions` without `hidden`, whose memory and ports become protected.
    ///
    /// # Errors
    /// [`AbsentFunction`] for the first hidden one that is not there.
    pub fn new(
        functions: &Functions,
        hidden: &[Bdf],
        mut rules: AddressRules,
        processor: Processor,
    ) -> Result<Self, AbsentFunction> {
        for bdf in hidden {
            let function = functions
                .iter()
                .find(|function| function.bdf == *bdf)
                .ok_or(AbsentFunction(*bdf))?;
            // A full list only makes the rules of later spans looser, so a span that finds no room
            // closes the windows altogether.
            for span in function.memory() {
                if rules.protected_memory.push(span).is_err() {
                    rules.memory_windows.clear();
                }
            }
            for span in function.bars.iter().flatten().filter_map(Bar::ports) {
                if rules.protected_ports.push(span).is_err() {
                    rules.memory_windows.clear();
                    rules.protected_ports.clear();
                    rules.protected_ports.extend(Span::new(0, 0x1_0000));
                }
            }
        }
        let states = functions.iter().map(|facts| {
            let is_hidden = hidden.contains(&facts.bdf);
            Function::new(
                *facts,
                if is_hidden {
                    Owner::Nanokernel
                } else {
                    Owner::Gpos
                },
            )
        });
        let functions = states.collect();
        Ok(Self {
            functions,
            rules,
            processor,
            latch: 0,
            refused_messages: 0,
        })
    }

    /// The functions of the GPOS with their indices.
    pub fn owned(&self) -> impl Iterator<Item = (u8, &FunctionFacts)> {
        (0u8..)
            .zip(&self.functions)
            .filter(|(_, function)| function.owner == Owner::Gpos)
            .map(|(index, function)| (index, &function.facts))
    }

    /// What the GPOS's devices may be moved to.
    pub const fn rules(&self) -> &AddressRules {
        &self.rules
    }

    /// How many messages were refused. Saturating.
    pub const fn refused_messages(&self) -> u32 {
        self.refused_messages
    }

    /// Forgets what the GPOS wrote, for its next start. The hardware is put back by
    /// [`quiesce`](Self::quiesce), a reset if there is one, and [`restore`](Self::restore).
    pub fn reset(&mut self) {
        self.latch = 0;
        for function in &mut self.functions {
            *function = Function::new(function.facts, function.owner);
        }
    }

    /// Stops a function of the GPOS: no interrupt, no DMA. Empty for an index that is not its.
    pub fn quiesce(&self, index: u8) -> Vec<HardwareWrite, 4> {
        let mut writes = Vec::new();
        if let Some(facts) = self.owned_facts(index)
            && facts.header == Header::Endpoint
            && !facts.is_chip_set()
        {
            let write = |offset, value: u32| facts.write(offset, Width::Two, value);
            let msi = facts
                .capabilities
                .msi
                .map(|msi| write(msi.at + 2, msi.disabled()));
            let msix = facts
                .capabilities
                .msix
                .map(|msix| write(msix.at + 2, 0x4000));
            // Interrupt pin off, bus mastering off, decoding as it is needed for a reset.
            writes.extend([write(4, 0x0403)].into_iter().chain(msi).chain(msix));
        }
        writes
    }

    /// Puts a function of the GPOS back where the firmware had it, after its reset.
    pub fn restore(&self, index: u8) -> Vec<HardwareWrite, 9> {
        let mut writes = Vec::new();
        let Some(function) = self.functions.get(usize::from(index)) else {
            return writes;
        };
        let facts = &function.facts;
        if function.owner == Owner::Gpos && facts.header == Header::Endpoint && !facts.is_chip_set()
        {
            let fresh = Function::new(*facts, Owner::Gpos);
            writes.extend([facts.write(4, Width::Two, 0x0400)]);
            for slot in 0..=ROM {
                if fresh.register(slot).is_some() {
                    writes.extend(fresh.hardware(slot));
                }
            }
            writes.extend([facts.write(4, Width::Two, 0x0003)]);
        }
        writes
    }

    /// Answers a read of one of the eight ports.
    pub fn read(&self, port: u16, width: Width, ours: &VirtualPci) -> ReadAct {
        let absent = ReadAct::Value(width_mask(width));
        if port == ADDRESS_PORT && width == Width::Four {
            return ReadAct::Value(self.latch);
        }
        let Some((bdf, offset)) = self.target(port, width) else {
            return absent;
        };
        let part =
            |dword: u32| ReadAct::Value((dword >> (8 * u32::from(offset & 3))) & width_mask(width));
        if let Some(dword) = ours.config_read(bdf, offset & 0xfc) {
            return part(dword);
        }
        match self
            .functions
            .iter()
            .find(|function| function.facts.bdf == bdf)
        {
            Some(function) if function.owner == Owner::Gpos => match function.read(offset & 0xfc) {
                Seen::Shadow(dword) => part(dword),
                Seen::Hardware { keep } => {
                    let keep = (keep >> (8 * u32::from(offset & 3))) & width_mask(width);
                    ReadAct::Hardware {
                        bdf,
                        offset,
                        width,
                        keep,
                    }
                }
            },
            _ => absent,
        }
    }

    /// Decides on a write to one of the eight ports.
    pub fn write(
        &mut self,
        port: u16,
        width: Width,
        value: u32,
        ours: &mut VirtualPci,
        vectors: &mut impl VectorAllocator,
    ) -> WriteAct {
        if port == ADDRESS_PORT && width == Width::Four {
            // Bits 1 and 0 read as zero.
            self.latch = value & !3;
            return WriteAct::Done;
        }
        let Some((bdf, offset)) = self.target(port, width) else {
            return WriteAct::Ignored(Why::Absent);
        };
        let value = value & width_mask(width);
        if let Some(effect) = ours.config_write(bdf, offset, width, value, &self.rules) {
            return WriteAct::Virtual(effect);
        }
        let found = (0u8..)
            .zip(&mut self.functions)
            .find(|(_, function)| function.facts.bdf == bdf && function.owner == Owner::Gpos);
        let Some((index, function)) = found else {
            return WriteAct::Ignored(Why::Absent);
        };
        let access = Access {
            index,
            offset,
            width,
            value,
        };
        function.write(
            &access,
            &self.rules,
            self.processor,
            vectors,
            &mut self.refused_messages,
            ours,
        )
    }

    fn owned_facts(&self, index: u8) -> Option<&FunctionFacts> {
        let function = self.functions.get(usize::from(index))?;
        (function.owner == Owner::Gpos).then_some(&function.facts)
    }

    /// The function and offset that a data port stands for now.
    fn target(&self, port: u16, width: Width) -> Option<(Bdf, u8)> {
        let lane = u8::try_from(port.checked_sub(DATA_PORT)?)
            .ok()
            .filter(|lane| *lane < 4)?;
        // Enable bit set; reserved bits (an extended register number on some hosts) clear.
        let is_plain = self.latch & 0xff00_0000 == 0x8000_0000;
        let fits = width <= Width::Four && lane % width.bytes() == 0;
        let [register, low, high, _] = self.latch.to_le_bytes();
        (is_plain && fits).then_some((Bdf(u16::from_le_bytes([low, high])), register | lane))
    }
}

struct Access {
    index: u8,
    offset: u8,
    width: Width,
    value: u32,
}

impl Access {
    /// `old` with the accessed bytes replaced.
    fn merge(&self, old: u32) -> u32 {
        let shift = 8 * u32::from(self.offset & 3);
        let mask = width_mask(self.width) << shift;
        (old & !mask) | ((self.value << shift) & mask)
    }
}

enum Seen {
    Shadow(u32),
    Hardware { keep: u32 },
}

const fn width_mask(width: Width) -> u32 {
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
    fn disabled(self) -> u32 {
        u32::from(self.control & !0x71)
    }
}

impl FunctionFacts {
    fn write(&self, offset: u8, width: Width, value: u32) -> HardwareWrite {
        HardwareWrite {
            bdf: self.bdf,
            offset,
            width,
            value,
        }
    }

    /// Whether it belongs to the machine rather than being a device: bridges other than PCI ones.
    fn is_chip_set(&self) -> bool {
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
    fn new(facts: FunctionFacts, owner: Owner) -> Self {
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
    fn register(&self, slot: usize) -> Option<(usize, Bar)> {
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

    fn read(&self, offset: u8) -> Seen {
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

    fn write(
        &mut self,
        access: &Access,
        rules: &AddressRules,
        processor: Processor,
        vectors: &mut impl VectorAllocator,
        refused: &mut u32,
        ours: &VirtualPci,
    ) -> WriteAct {
        let facts = self.facts;
        let offset = access.offset;
        if facts.is_chip_set() && !facts.is_legacy_routing(offset) || facts.header == Header::Other
        {
            return WriteAct::Ignored(Why::FirmwareOwned);
        }
        if let Some(slot) = facts.address_slot(offset) {
            return self.write_address(access, slot, rules, ours);
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
    fn hardware(&self, first: usize) -> impl Iterator<Item = HardwareWrite> + use<> {
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
        rules: &AddressRules,
        ours: &VirtualPci,
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
            BarKind::Ports => rules.allows_ports(*span),
            _ => rules.allows_memory(*span) && !ours.occupies(*span),
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

/// Where the table of an MSI-X capability lies, by the firmware's placement.
pub fn table_span(facts: &FunctionFacts, msix: &MsixFacts) -> Option<Span> {
    let bar = facts
        .bars
        .get(usize::from(msix.table_bar))
        .copied()
        .flatten()?;
    let first = bar
        .memory()?
        .first()
        .checked_add(u64::from(msix.table_offset))?;
    Span::new(first, u64::from(msix.entries) * 16)
}
