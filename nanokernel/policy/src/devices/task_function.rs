//! A function that a task owns: how its interrupt reaches the task, and which of its memory the
//! task's driver may have.
//!
//! The driver gets registers, never the interrupt message: that is programmed here once, for the
//! vector of the task, fixed delivery, this processor. So the memory that holds an MSI-X table is
//! not handed out. Specification: PCI 3.0, 6.2.2 (Command), 6.8.1 (MSI), 6.8.2 (MSI-X).
//!
//! Invariant: every message made here carries a [`HostMessage`] to a task's vector.

use core::fmt;

use darma_abi::units::{HostPhys, Vector};
use heapless::Vec;

use super::functions::{Bar, BarKind, Bdf, FunctionFacts, Header, MsixFacts};
use super::message::HostMessage;
use super::msix::TableWrite;
use super::pci_config::HardwareWrite;
use super::ranges::Span;
use crate::mmio::Width;

/// Offset of the Command register.
pub const COMMAND: u8 = 4;
/// Command: decode ports.
pub const DECODE_PORTS: u16 = 1;
/// Command: decode memory.
pub const DECODE_MEMORY: u16 = 1 << 1;
/// Command: may write to memory by itself, which an interrupt message is as well.
pub const BUS_MASTER: u16 = 1 << 2;
/// Command: no interrupt by wire.
pub const NO_WIRE: u16 = 1 << 10;

/// MSI-X Message Control: on, and every entry masked.
const TABLE_ON: u32 = 0x8000;
const TABLE_MASKED: u32 = 0x4000;
/// Vector Control of an MSI-X entry: masked.
pub const ENTRY_MASKED: u32 = 1;

/// A step of programming a function, which the caller performs in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write configuration space.
    Config(HardwareWrite),
    /// Write the MSI-X table.
    Table(TableWrite),
    /// Write [`ENTRY_MASKED`] to the vector control of entries 1 and above.
    MaskOthers {
        /// Vector control of entry 1.
        first: HostPhys,
        /// How many, 16 bytes apart.
        count: u16,
    },
}

/// Why a driver cannot have the memory or ports behind a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarError {
    /// There is no such base address register, or it decodes the other kind.
    Absent {
        /// The function.
        bdf: Bdf,
        /// The register, 0 to 5.
        bar: u8,
    },
    /// The firmware gave it no address.
    Unplaced {
        /// The function.
        bdf: Bdf,
        /// The register, 0 to 5.
        bar: u8,
    },
    /// The block does not fit.
    TooSmall {
        /// The function.
        bdf: Bdf,
        /// The register, 0 to 5.
        bar: u8,
        /// What it decodes, in bytes.
        size: u64,
        /// What was asked for, in bytes.
        wanted: u64,
    },
    /// Its driver has it already.
    Taken {
        /// The function.
        bdf: Bdf,
        /// The register, 0 to 5.
        bar: u8,
    },
    /// The firmware put it above what the nanokernel maps.
    OutOfReach {
        /// The function.
        bdf: Bdf,
        /// The register, 0 to 5.
        bar: u8,
    },
    /// The block would hold the MSI-X table or its pending bits.
    HoldsMessages {
        /// The function.
        bdf: Bdf,
        /// The register, 0 to 5.
        bar: u8,
    },
}

impl fmt::Display for BarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { bdf, bar } => {
                write!(
                    f,
                    "PCI function {bdf} has no base address register {bar} of this kind"
                )
            }
            Self::Unplaced { bdf, bar } => write!(
                f,
                "the firmware gave base address register {bar} of PCI function {bdf} no address"
            ),
            Self::TooSmall {
                bdf,
                bar,
                size,
                wanted,
            } => write!(
                f,
                "base address register {bar} of PCI function {bdf} decodes {size} bytes, the driver wants {wanted}"
            ),
            Self::Taken { bdf, bar } => write!(
                f,
                "base address register {bar} of PCI function {bdf} was taken before: take it once"
            ),
            Self::OutOfReach { bdf, bar } => write!(
                f,
                "base address register {bar} of PCI function {bdf} lies above the mapped memory: have the firmware place it below 4 GiB"
            ),
            Self::HoldsMessages { bdf, bar } => write!(
                f,
                "the block behind base address register {bar} of PCI function {bdf} holds its MSI-X table: ask for less"
            ),
        }
    }
}

impl FunctionFacts {
    /// Whether the memory of this function holds the whole table.
    pub(super) fn holds(&self, msix: MsixFacts) -> bool {
        let memory = self.bar(msix.table_bar).and_then(|bar| bar.memory());
        memory.is_some_and(|memory| {
            self.msix_table()
                .is_some_and(|table| memory.contains(table))
        })
    }

    fn bar(&self, bar: u8) -> Option<Bar> {
        self.bars.get(usize::from(bar)).copied().flatten()
    }

    fn message_control(&self, at: u8, value: u32) -> Step {
        Step::Config(self.write(at.wrapping_add(2), Width::Two, value))
    }

    /// Takes the function out of the firmware's hands: it decodes nothing, writes nothing, and
    /// interrupts by no way. Nothing for bridges and the chip set, which the machine needs whoever
    /// sees them.
    pub fn take_over(&self) -> Vec<Step, 3> {
        if self.is_chip_set() || self.header != Header::Endpoint {
            return Vec::new();
        }
        let msi = self.capabilities.msi;
        let msix = self.capabilities.msix;
        let off = [
            msi.map(|msi| self.message_control(msi.at, msi.disabled())),
            msix.map(|msix| self.message_control(msix.at, TABLE_MASKED)),
            Some(self.command(NO_WIRE)),
        ];
        off.into_iter().flatten().collect()
    }

    /// Sets the Command register.
    pub fn command(&self, command: u16) -> Step {
        Step::Config(self.write(COMMAND, Width::Two, u32::from(command)))
    }

    /// Sends the function's first message to `message`, and no other anywhere. MSI where there is
    /// MSI, else MSI-X; empty if it has neither. The function may master the bus afterwards, because
    /// a message is a write to memory.
    pub fn send_to(&self, message: HostMessage) -> Vec<Step, 8> {
        let mut steps = Vec::new();
        if let Some(msi) = self.capabilities.msi {
            let put = |offset: u8, width, value| {
                Step::Config(self.write(msi.at.wrapping_add(offset), width, value))
            };
            steps.extend([put(4, Width::Four, message.address())]);
            if msi.is_wide() {
                steps.extend([put(8, Width::Four, 0)]);
            }
            steps.extend([
                put(msi.data_offset(), Width::Two, message.data()),
                self.command(NO_WIRE | BUS_MASTER),
                self.message_control(msi.at, msi.disabled() | 1),
            ]);
        } else if let (Some(msix), Some(table)) = (self.capabilities.msix, self.msix_table()) {
            let put = |offset: u64, value| {
                Step::Table(TableWrite {
                    at: HostPhys(table.first().wrapping_add(offset)),
                    value,
                })
            };
            steps.extend([
                self.command(NO_WIRE | BUS_MASTER | DECODE_MEMORY),
                self.message_control(msix.at, TABLE_ON | TABLE_MASKED),
                put(0, message.address()),
                put(4, 0),
                put(8, message.data()),
                put(12, 0),
                Step::MaskOthers {
                    first: HostPhys(table.first().wrapping_add(28)),
                    count: msix.entries.saturating_sub(1),
                },
                self.message_control(msix.at, TABLE_ON),
            ]);
        }
        steps
    }

    /// The first `bytes` of the memory behind a base address register, for its driver.
    ///
    /// # Errors
    /// [`BarError`].
    pub fn block(&self, bar: u8, bytes: u64) -> Result<HostPhys, BarError> {
        let bdf = self.bdf;
        let found = self
            .bar(bar)
            .filter(|found| found.kind != BarKind::Ports)
            .ok_or(BarError::Absent { bdf, bar })?;
        let memory = found.memory().ok_or(BarError::Unplaced { bdf, bar })?;
        let too_small = BarError::TooSmall {
            bdf,
            bar,
            size: found.size,
            wanted: bytes,
        };
        let block = Span::new(memory.first(), bytes)
            .filter(|block| memory.contains(*block))
            .ok_or(too_small)?;
        let pending = self.capabilities.msix.and_then(|msix| {
            let first = self.bar(msix.pending_bar)?.memory()?.first();
            Span::new(
                first.checked_add(u64::from(msix.pending_offset))?,
                u64::from(msix.entries).div_ceil(64) * 8,
            )
        });
        let messages = [self.msix_table(), pending];
        if messages.iter().flatten().any(|span| span.overlaps(block)) {
            return Err(BarError::HoldsMessages { bdf, bar });
        }
        Ok(HostPhys(block.first()))
    }

    /// The ports behind a base address register: the first one and how many.
    ///
    /// # Errors
    /// [`BarError`].
    pub fn port_range(&self, bar: u8) -> Result<(u16, u16), BarError> {
        let bdf = self.bdf;
        let found = self
            .bar(bar)
            .filter(|found| found.kind == BarKind::Ports)
            .ok_or(BarError::Absent { bdf, bar })?;
        let ports = found.ports().ok_or(BarError::Unplaced { bdf, bar })?;
        let count = ports.last() - ports.first() + 1;
        match (u16::try_from(ports.first()), u16::try_from(count)) {
            (Ok(first), Ok(count)) => Ok((first, count)),
            _ => Err(BarError::Unplaced { bdf, bar }),
        }
    }
}

/// The first vector of the tasks' classes and the last.
const TASK_VECTORS: core::ops::RangeInclusive<u8> = 0xc0..=0xef;

impl HostMessage {
    /// A message to a task; `None` if the vector is no task's.
    pub fn to_task(vector: Vector, host_apic: u8) -> Option<Self> {
        TASK_VECTORS
            .contains(&vector.0)
            .then(|| Self::plain(vector, host_apic))
    }
}
