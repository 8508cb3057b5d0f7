//! What stands on the PCI buses: identity, registers in address space, capabilities.
//!
//! Facts, taken once at start-up by [`super::enumerate`] and not changed afterwards: what the GPOS
//! does to a register is kept beside them ([`super::pci_config`]). Offsets and flags are those of
//! PCI 3.0, chapter 6.

use core::fmt;

use heapless::Vec;

use super::ranges::Span;

// Who has the facts usually also found them.
pub use super::enumerate::{ConfigAccess, TooManyFunctions, enumerate};

/// How many functions are known at most.
pub const MAX_FUNCTIONS: usize = 64;

/// A function's address: bus, device and function number as in mechanism #1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bdf(pub u16);

impl Bdf {
    /// From its parts; `device` is taken modulo 32 and `function` modulo 8.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | ((device & 31) as u16) << 3 | (function & 7) as u16)
    }

    /// The bus number.
    pub const fn bus(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The device (slot) number, 0 to 31.
    pub const fn device(self) -> u8 {
        self.0.to_be_bytes()[1] >> 3
    }

    /// The function number, 0 to 7.
    pub const fn function(self) -> u8 {
        self.0.to_be_bytes()[1] & 7
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}:{:02x}.{}",
            self.bus(),
            self.device(),
            self.function()
        )
    }
}

/// What a base address register decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Ports,
    /// Memory, in one register.
    Memory32,
    /// Memory, in this register and the next.
    Memory64,
}

/// A base address register with what the firmware put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What it decodes.
    pub kind: BarKind,
    /// The read-only low bits: kind and prefetchable.
    pub flags: u32,
    /// Its first address, 0 if the firmware placed none.
    pub address: u64,
    /// Its size in bytes, a power of two.
    pub size: u64,
}

impl Bar {
    /// The memory that it covers, if it is memory and placed.
    pub fn memory(&self) -> Option<Span> {
        (self.kind != BarKind::Ports && self.address != 0)
            .then(|| Span::new(self.address, self.size))
            .flatten()
    }

    /// The ports that it covers, if it is ports and placed.
    pub fn ports(&self) -> Option<Span> {
        (self.kind == BarKind::Ports && self.address != 0)
            .then(|| Span::new(self.address, self.size))
            .flatten()
    }
}

/// The message-signalled interrupt capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiFacts {
    /// Offset in configuration space.
    pub at: u8,
    /// Message Control as found: bit 7 is 64-bit addresses, bit 8 per-vector masking.
    pub control: u16,
}

impl MsiFacts {
    /// Whether the address has an upper half.
    pub const fn is_wide(self) -> bool {
        self.control & 0x80 != 0
    }

    /// Offset of Message Data from the capability.
    pub const fn data_offset(self) -> u8 {
        if self.is_wide() { 12 } else { 8 }
    }
}

/// The MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixFacts {
    /// Offset in configuration space.
    pub at: u8,
    /// How many entries the table has, 1 to 2048.
    pub entries: u16,
    /// The register that the table lies behind, 0 to 5.
    pub table_bar: u8,
    /// The table's offset from that register's address.
    pub table_offset: u32,
    /// The register that the pending bits lie behind.
    pub pending_bar: u8,
    /// The pending bits' offset.
    pub pending_offset: u32,
}

/// Offsets and contents of the capabilities that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Interrupts by message.
    pub msi: Option<MsiFacts>,
    /// Interrupts by a table of messages.
    pub msix: Option<MsixFacts>,
    /// Power management.
    pub power: Option<u8>,
    /// PCI Express.
    pub express: Option<u8>,
    /// Device Control of PCI Express as the firmware left it: payload sizes that have to fit those of
    /// the ports above.
    pub express_control: u16,
    /// How the function resets itself and nothing else, if it does.
    pub function_reset: Option<FunctionReset>,
    /// Virtio's window from configuration space into the function's own memory (Virtio 1.2,
    /// 4.1.4.9): through it the MSI-X table could be written behind our back.
    pub virtio_window: Option<u8>,
}

/// How a function resets itself, without its neighbours. Offsets are those of the capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionReset {
    /// PCI Express, Function Level Reset (PCIe 5.0, 6.6.2).
    Express(u8),
    /// The same for functions of conventional PCI (ECN Advanced Capabilities).
    Advanced(u8),
}

/// What kind of header a function has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Type 0.
    Endpoint,
    /// Type 1, a bridge to another bus.
    Bridge {
        /// The bus behind it.
        secondary: u8,
        /// The highest bus behind it.
        subordinate: u8,
        /// Memory that it forwards.
        memory: Option<Span>,
        /// Prefetchable memory that it forwards.
        prefetchable: Option<Span>,
    },
    /// Anything else.
    Other,
}

/// One function, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Where.
    pub bdf: Bdf,
    /// Whose.
    pub vendor: u16,
    /// What.
    pub device: u16,
    /// Class, subclass and programming interface, 24 bits.
    pub class: u32,
    /// Its header.
    pub header: Header,
    /// Its base address registers, at their own index; the upper half of a 64-bit one is `None`.
    pub bars: [Option<Bar>; 6],
    /// Its expansion ROM.
    pub rom: Option<Bar>,
    /// Its capabilities.
    pub capabilities: Capabilities,
}

impl FunctionFacts {
    /// Everything that the function occupies in memory: registers, ROM, forwarded windows.
    pub fn memory(&self) -> impl Iterator<Item = Span> + '_ {
        let windows = match self.header {
            Header::Bridge {
                memory,
                prefetchable,
                ..
            } => [memory, prefetchable],
            _ => [None, None],
        };
        let bars = self
            .bars
            .iter()
            .chain([&self.rom])
            .flatten()
            .filter_map(Bar::memory);
        bars.chain(windows.into_iter().flatten())
    }

    /// Where the MSI-X table lies by the firmware's placement, if there is one and its register
    /// was placed.
    pub fn msix_table(&self) -> Option<Span> {
        let msix = self.capabilities.msix?;
        let bar = self
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
}

/// The functions of a machine.
pub type Functions = Vec<FunctionFacts, MAX_FUNCTIONS>;
