//! Our own functions on the GPOS's bus 0: the panic notifier and the shared-memory device.
//!
//! Both carry identities that stock drivers or plain sysfs know: `pvpanic-pci` (1b36:0011), whose
//! register reports kernel panics, and inter-VM shared memory (1af4:1110), whose BAR 0 holds
//! doorbell registers and whose BAR 2 is memory. They have no interrupt and no capability.
//!
//! BARs are at least a page, so that a trapped page holds nothing else. Their first places are found
//! by [`AddressRules::place`] before the GPOS starts, as a firmware would; the GPOS may move them.
//! Register pages are simply not mapped; the shared memory is, so moving it is an effect for the
//! caller. Invariant: the address of [`VirtualEffect::SharedMoved`] is allowed by the rules and
//! overlaps no other of our registers; a register that was moved elsewhere answers nowhere.

use darma_abi::units::GuestPhys;
use heapless::Vec;

use crate::mmio::Width;

use super::functions::{Bdf, FunctionFacts};
use super::ranges::{AddressRules, Span};
use super::virtual_function::{Role, VirtualBar, VirtualFunction};

/// Size of a page of trapped registers, in bytes.
const REGISTER_PAGE: u64 = 0x1000;
/// Panicked, and crash kernel loaded: the events that the notifier takes.
pub const PANIC_EVENTS: u8 = 3;
/// The lowest device number given to our functions: above where boards have theirs.
const FIRST_SLOT: u8 = 0x10;

/// What an access to one of our functions asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtualEffect {
    /// Nothing.
    Nothing,
    /// The GPOS's kernel reports a panic: bit 0 plainly, bit 1 with a crash kernel of its own.
    PanicEvent {
        /// The bits of [`PANIC_EVENTS`] that were written.
        bits: u8,
    },
    /// A doorbell register is written.
    Doorbell {
        /// Offset in BAR 0, a multiple of four.
        offset: u64,
        /// The value.
        value: u32,
    },
    /// A page of trapped registers is elsewhere now.
    RegistersMoved {
        /// Where it was: an ordinary page of the memory hole again.
        from: Span,
        /// Where it is: to be left unmapped.
        to: Span,
    },
    /// The shared memory is to be seen elsewhere in guest-physical memory.
    SharedMoved {
        /// Where it was.
        from: GuestPhys,
        /// Where it shall be.
        to: GuestPhys,
    },
}

/// Our functions.
pub struct VirtualPci {
    functions: Vec<VirtualFunction, 2>,
    /// The functions as they were placed.
    home: Vec<VirtualFunction, 2>,
}

/// Why our functions could not be put on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// Bus 0 has not two free device numbers.
    Slots,
    /// The root bus's memory below 4 GiB has no room for this many bytes.
    Memory(u64),
}

impl core::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Slots => write!(
                f,
                "PCI bus 0 has no two free device numbers for our functions"
            ),
            Self::Memory(bytes) => {
                write!(
                    f,
                    "no {bytes:#x} bytes free in PCI memory below 4 GiB: reduce shared.size"
                )
            }
        }
    }
}

impl VirtualPci {
    /// No functions of ours.
    pub const fn none() -> Self {
        Self {
            functions: Vec::new(),
            home: Vec::new(),
        }
    }

    /// Puts both functions on bus 0, into device numbers and memory that `functions` leave free.
    /// `shared_bytes` is the shared memory's size, a power of two of at least a page.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn place(
        functions: &[FunctionFacts],
        rules: &AddressRules,
        shared_bytes: u64,
    ) -> Result<Self, NoRoom> {
        let mut slots = (FIRST_SLOT..32).filter(|device| {
            !functions
                .iter()
                .any(|function| function.bdf.bus() == 0 && function.bdf.device() == *device)
        });
        let mut occupied: Vec<Span, 512> = Vec::new();
        for span in functions.iter().flat_map(FunctionFacts::memory) {
            occupied
                .push(span)
                .map_err(|_| NoRoom::Memory(shared_bytes))?;
        }
        let mut room = |size: u64| {
            let place = rules
                .place(size, &occupied)
                .filter(|_| size >= REGISTER_PAGE)
                .ok_or(NoRoom::Memory(size))?;
            occupied.push(place).map_err(|_| NoRoom::Memory(size))?;
            Ok(place)
        };
        let mut bar = |index, role, size, flags| {
            let place: Span = room(size)?;
            Ok(VirtualBar {
                index,
                role,
                size,
                flags,
                written: place.first(),
                place,
            })
        };
        // The largest first: it is the hardest to align.
        let shared = bar(2, Role::Shared, shared_bytes, 0xc)?;
        let doorbell = bar(0, Role::Doorbell, REGISTER_PAGE, 0)?;
        let panic = bar(0, Role::Panic, REGISTER_PAGE, 0)?;
        let mut slot = || {
            slots
                .next()
                .map(|device| Bdf::new(0, device, 0))
                .ok_or(NoRoom::Slots)
        };
        let mut function = |id, class_and_revision, bars: &[VirtualBar]| {
            Ok(VirtualFunction {
                bdf: slot()?,
                id,
                class_and_revision,
                // Memory decoding on, as a firmware leaves it.
                command: 2,
                line: 0,
                bars: bars.iter().copied().collect(),
            })
        };
        let pvpanic = function(0x0011_1b36, 0x0880_0001, &[panic])?;
        let ivshmem = function(0x1110_1af4, 0x0500_0001, &[doorbell, shared])?;
        let functions: Vec<_, 2> = [pvpanic, ivshmem].into_iter().collect();
        Ok(Self {
            home: functions.clone(),
            functions,
        })
    }

    /// Puts our functions back to how they were placed, for the GPOS's next start. Returns the
    /// memory that they leave, which is an ordinary part of the hole again; where they are then is
    /// for [`Self::trapped`] and [`Self::shared`] to say.
    pub fn reset(&mut self) -> Vec<Span, 3> {
        let mut left = Vec::new();
        for (function, home) in self.functions.iter_mut().zip(&self.home) {
            let moved = function.bars.iter().zip(&home.bars);
            left.extend(
                moved
                    .filter(|(bar, home)| bar.place != home.place)
                    .map(|(bar, _)| bar.place),
            );
            *function = home.clone();
        }
        left
    }

    /// Where our functions are, for the boot log.
    pub fn bdfs(&self) -> impl Iterator<Item = Bdf> + '_ {
        self.functions.iter().map(|function| function.bdf)
    }

    /// Where the shared memory is mapped now.
    pub fn shared(&self) -> Option<Span> {
        let mut bars = self.functions.iter().flat_map(|function| &function.bars);
        bars.find(|bar| bar.role == Role::Shared)
            .map(|bar| bar.place)
    }

    /// Pages of registers, which nested paging must leave unmapped wherever they are.
    pub fn trapped(&self) -> impl Iterator<Item = Span> + '_ {
        let bars = self.functions.iter().flat_map(|function| &function.bars);
        bars.filter(|bar| bar.role != Role::Shared)
            .map(|bar| bar.place)
    }

    /// Whether `span` overlaps any register or memory of ours.
    pub fn occupies(&self, span: Span) -> bool {
        let mut bars = self.functions.iter().flat_map(|function| &function.bars);
        bars.any(|bar| bar.place.overlaps(span))
    }

    /// The dword at `offset` (a multiple of four) if `bdf` is one of ours.
    pub fn config_read(&self, bdf: Bdf, offset: u8) -> Option<u32> {
        self.functions
            .iter()
            .find(|function| function.bdf == bdf)
            .map(|f| f.read(offset))
    }

    /// A write to configuration space: `None` if `bdf` is none of ours.
    pub fn config_write(
        &mut self,
        bdf: Bdf,
        offset: u8,
        width: Width,
        value: u32,
        rules: &AddressRules,
    ) -> Option<VirtualEffect> {
        let position = self
            .functions
            .iter()
            .position(|function| function.bdf == bdf)?;
        let function = self.functions.get_mut(position)?;
        let dword = offset & 0xfc;
        let shift = 8 * u32::from(offset & 3);
        let mask = u32::try_from(width.mask() & 0xffff_ffff).unwrap_or(u32::MAX) << shift;
        let merged = (function.read(dword) & !mask) | ((value << shift) & mask);
        match dword {
            // Memory decoding, bus mastering (kept for show) and interrupts off.
            0x04 => function.command = merged & 0x0406,
            0x3c => function.line = merged & 0xff,
            0x10..=0x27 => {
                let index = (dword - 0x10) / 4;
                let (number, moved) = function.write_bar(index, merged)?;
                return Some(self.relocate(position, number, moved, rules));
            }
            _ => {}
        }
        Some(VirtualEffect::Nothing)
    }

    /// Moves a register to `wanted` if that is allowed and free of our own others.
    fn relocate(
        &mut self,
        function: usize,
        bar: usize,
        wanted: Option<Span>,
        rules: &AddressRules,
    ) -> VirtualEffect {
        let others_free = |wanted: Span| {
            let bars = self.functions.iter().enumerate().flat_map(|(f, function)| {
                function
                    .bars
                    .iter()
                    .enumerate()
                    .map(move |(b, bar)| (f, b, bar))
            });
            !bars
                .filter(|(f, b, _)| (*f, *b) != (function, bar))
                .any(|(_, _, bar)| bar.place.overlaps(wanted))
        };
        let allowed = wanted.filter(|span| rules.allows_memory(*span) && others_free(*span));
        let target = self
            .functions
            .get_mut(function)
            .and_then(|f| f.bars.get_mut(bar));
        let (Some(span), Some(bar)) = (allowed, target) else {
            return VirtualEffect::Nothing;
        };
        let from = core::mem::replace(&mut bar.place, span);
        match bar.role {
            _ if from == span => VirtualEffect::Nothing,
            Role::Shared => VirtualEffect::SharedMoved {
                from: GuestPhys(from.first()),
                to: GuestPhys(span.first()),
            },
            Role::Panic | Role::Doorbell => VirtualEffect::RegistersMoved { from, to: span },
        }
    }

    fn find(&self, at: GuestPhys) -> Option<(Role, u64)> {
        let mut bars = self.functions.iter().flat_map(|function| &function.bars);
        let bar = bars.find(|bar| bar.place.has(at.0) && bar.role != Role::Shared)?;
        Some((bar.role, at.0 - bar.place.first()))
    }

    /// A trapped read: `None` if no register page of ours is there.
    pub fn mmio_read(&self, at: GuestPhys, width: Width) -> Option<u64> {
        let (role, offset) = self.find(at)?;
        let value = match (role, offset) {
            (Role::Panic, 0) => u64::from(PANIC_EVENTS),
            _ => 0,
        };
        Some(value & width.mask())
    }

    /// A trapped write: `None` if no register page of ours is there.
    pub fn mmio_write(&self, at: GuestPhys, width: Width, value: u64) -> Option<VirtualEffect> {
        let (role, offset) = self.find(at)?;
        let [low, ..] = value.to_le_bytes();
        Some(match (role, offset, width) {
            (Role::Panic, 0, _) if low & PANIC_EVENTS != 0 => VirtualEffect::PanicEvent {
                bits: low & PANIC_EVENTS,
            },
            (Role::Doorbell, offset, Width::Four) if offset.is_multiple_of(4) => {
                let value = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
                VirtualEffect::Doorbell { offset, value }
            }
            _ => VirtualEffect::Nothing,
        })
    }
}

impl VirtualFunction {
    /// Notes what is written to register `index`: which BAR that is, and what it would cover.
    /// `Some((_, None))` for the size question. An index without a BAR gives an index that is out
    /// of range, so that nothing moves.
    fn write_bar(&mut self, index: u8, value: u32) -> Option<(usize, Option<Span>)> {
        let found = self
            .bars
            .iter_mut()
            .enumerate()
            .find(|(_, bar)| bar.read(index).is_some());
        let Some((number, bar)) = found else {
            return Some((usize::MAX, None));
        };
        let value = u64::from(value);
        bar.written = if index == bar.index {
            (bar.written & !0xffff_ffff) | (value & !0xf)
        } else {
            (bar.written & 0xffff_ffff) | value << 32
        };
        let wanted = Span::new(bar.written & !(bar.size - 1), bar.size);
        Some((number, wanted.filter(|_| value != 0xffff_ffff)))
    }
}
