//! The GPOS's view of PCI configuration space, through ports 0xCF8 and 0xCFC (PCI 3.0, 3.2.2.3.2).
//!
//! The GPOS drives its functions itself, so most accesses pass. What does not:
//!
//! - hidden functions are absent: all ones, writes ignored. Linux looks at function 0 first, so
//!   hiding function 0 of a device hides the device;
//! - base address registers reach the hardware only when the whole address is allowed by the
//!   [`AddressRules`]. Until then the GPOS reads back what it wrote, which is also how it learns a
//!   register's size: the all-ones value never reaches the hardware;
//! - a register that holds an MSI-X table moves only to where no other table is, and only if the
//!   firmware had placed it; our own functions move only to where no device is. Otherwise a table
//!   could come to lie on a page that is mapped;
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

use crate::mmio::Width;

use super::function_view::{Access, Function, Owner, Seen, Surroundings, width_mask};
use super::functions::{Bar, Bdf, FunctionFacts, Functions, MAX_FUNCTIONS};
use super::message::{Processor, VectorAllocator};
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
    /// Index of the function, as in [`Source::Msi`](crate::interrupts::routes::Source::Msi).
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

/// The configuration space that the GPOS sees.
pub struct PciConfig {
    pub(super) functions: Vec<Function, MAX_FUNCTIONS>,
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

    /// Answers a read of one of the eight ports.
    pub fn read(&self, port: u16, width: Width, ours: &VirtualPci) -> ReadAct {
        let absent = ReadAct::Value(width_mask(width));
        if port == ADDRESS_PORT && width == Width::Four {
            return ReadAct::Value(self.latch);
        }
        match self.target(port, width) {
            Some((bdf, offset)) => self.read_register(bdf, offset, width, ours),
            None => absent,
        }
    }

    /// Whether the GPOS sees a function there.
    pub fn shows(&self, bdf: Bdf, ours: &VirtualPci) -> bool {
        ours.bdfs().any(|own| own == bdf) || self.owned().any(|(_, facts)| facts.bdf == bdf)
    }

    /// Answers a read of a register, by whatever way it is addressed. `offset` is a multiple of
    /// the width, which is at most four bytes.
    pub fn read_register(&self, bdf: Bdf, offset: u8, width: Width, ours: &VirtualPci) -> ReadAct {
        let absent = ReadAct::Value(width_mask(width));
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
        match self.target(port, width) {
            Some((bdf, offset)) => self.write_register(bdf, offset, width, value, ours, vectors),
            None => WriteAct::Ignored(Why::Absent),
        }
    }

    /// Decides on a write to a register, addressed as for [`Self::read_register`].
    pub fn write_register(
        &mut self,
        bdf: Bdf,
        offset: u8,
        width: Width,
        value: u32,
        ours: &mut VirtualPci,
        vectors: &mut impl VectorAllocator,
    ) -> WriteAct {
        let value = value & width_mask(width);
        if ours.bdfs().any(|own| own == bdf)
            && let Some(effect) =
                ours.config_write(bdf, offset, width, value, &self.rules_beside_devices())
        {
            return WriteAct::Virtual(effect);
        }
        let tables: Vec<Span, MAX_FUNCTIONS> = (self.functions.iter())
            .filter(|function| function.owner == Owner::Gpos && function.facts.bdf != bdf)
            .filter_map(Function::table)
            .collect();
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
            &Surroundings {
                rules: &self.rules,
                ours,
                tables: &tables,
            },
            self.processor,
            vectors,
            &mut self.refused_messages,
        )
    }

    /// What our own functions may be moved to: nowhere over a device, whose pages may be guarded.
    fn rules_beside_devices(&self) -> AddressRules {
        let mut rules = self.rules.clone();
        let devices = self.functions.iter().flat_map(Function::memory);
        for span in devices {
            // As in `new`: what finds no room in the list closes the windows.
            if rules.protected_memory.push(span).is_err() {
                rules.memory_windows.clear();
            }
        }
        rules
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
