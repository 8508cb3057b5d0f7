//! The I/O APIC as the GPOS sees it, and what the hardware's is told instead (82093AA, 3.2).
//!
//! The guest's redirection entries are kept as it wrote them. Each write is answered with the
//! entry to program physically: fixed delivery of a vector of ours to this processor, with the
//! guest's polarity, trigger and mask. A pin stays masked physically while the guest's entry asks
//! for anything but an ordinary interrupt (NMI, SMI, INIT, ExtINT) or no vector can be had; that is
//! counted. The destination is not looked at: the GPOS has one processor.
//!
//! A level-triggered pin must not hold up the physical APIC until the guest has got round to it:
//!
//! ```text
//!            (1) host interrupt: mask physically, EOI physically,
//!                raise the guest's vector, set remote IRR
//!   open -------------------------------------------------------> in service
//!     ^                                                               |
//!     +---------------------------------------------------------------+
//!       (2) guest's EOI, by the local APIC or the EOI register, or
//!       (3) guest makes the pin edge-triggered: unmask if the guest's entry is
//! ```
//!
//! Invariants: a physical entry carries fixed delivery, this processor, and a vector that
//! [`Routes`] gave, or it is masked; a pin in service is masked physically; in service means
//! remote IRR reads set. A pin that the GPOS does not own is state only: no [`PinProgram`] is ever
//! made for it, because its physical entry is its owner's.

use super::routes::{Routes, Source};
use super::{FIRST_LEGAL_VECTOR, Trigger};
use core::fmt;
use darma_abi::units::Vector;

/// The most pins that one I/O APIC may have here; larger ones show their first pins only.
pub const MAX_PINS: u8 = 64;

const SELECT: u32 = 0x00;
const WINDOW: u32 = 0x10;
const EOI: u32 = 0x40;

const REGISTER_ID: u8 = 0;
const REGISTER_VERSION: u8 = 1;
const REGISTER_ARBITRATION: u8 = 2;
const REGISTER_ENTRIES: u8 = 0x10;

/// The version from which on there is an EOI register.
const VERSION_WITH_EOI: u8 = 0x20;

const VECTOR: u32 = 0xff;
const ACTIVE_LOW: u32 = 1 << 13;
const REMOTE_IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
/// What a guest can set in the lower half: not delivery status, not remote IRR.
const LOWER_WRITABLE: u32 = 0x0001_afff;

/// What the machine has, and what of it is the GPOS's.
#[derive(Clone, Copy, Debug)]
pub struct IoApicConfig {
    /// Its identifier, as ACPI names it.
    pub id: u8,
    /// Low byte of the version register: presented as it is, because it says which ways of ending
    /// a level interrupt there are.
    pub version: u8,
    /// How many pins it has.
    pub pins: u8,
    /// Which of them belong to the GPOS, pin 0 in bit 0.
    pub owned: u64,
    /// The physical APIC identifier of the processor that takes the interrupts.
    pub processor: u8,
}

/// A redirection entry to write to the hardware.
///
/// Write `high` before `low`: the mask is in `low`. `high` is the same at every time for every pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct PinProgram {
    /// Which pin: its registers are 0x10 + 2 * pin and the one after.
    pub pin: u8,
    /// Lower half.
    pub low: u32,
    /// Upper half.
    pub high: u32,
}

/// What to do about a physical interrupt of a pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PinInterrupt {
    /// What to raise in the guest's local APIC; `None` if the guest does not want it now.
    pub deliver: Option<(Vector, Trigger)>,
    /// What to write to the hardware, *before* the physical EOI; only `low` differs.
    pub program: Option<PinProgram>,
}

/// A set of pins; iterate to take them one by one.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PinSet(u64);

impl Iterator for PinSet {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.0 == 0 {
            return None;
        }
        let pin = u8::try_from(self.0.trailing_zeros()).ok()?;
        self.0 &= self.0 - 1;
        Some(pin)
    }
}

impl fmt::Debug for PinSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(*self).finish()
    }
}

/// What a write asks of the hardware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum IoApicAct {
    /// Nothing.
    None,
    /// Write this entry.
    Program(PinProgram),
    /// Pins to write again, each by [`VirtualIoApic::program`]: the guest used the EOI register.
    Unmask(PinSet),
}

/// One pin: the entry as the guest wrote it, and whether its interrupt is in service.
#[derive(Clone, Copy, Debug)]
struct Pin {
    low: u32,
    high: u32,
    /// The vector that the guest was given, while it has not ended it: remote IRR.
    serving: Option<Vector>,
    /// The vector that the hardware is told, or 0: [`Routes`] refused or was never asked.
    host: u8,
}

impl Pin {
    const RESET: Self = Self {
        low: MASKED,
        high: 0,
        serving: None,
        host: 0,
    };

    const fn is_level(self) -> bool {
        self.low & LEVEL != 0
    }

    const fn trigger(self) -> Trigger {
        if self.is_level() {
            Trigger::Level
        } else {
            Trigger::Edge
        }
    }

    const fn is_masked(self) -> bool {
        self.low & MASKED != 0
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "masked to the width of the result"
    )]
    const fn vector(self) -> Vector {
        Vector((self.low & VECTOR) as u8)
    }

    /// True if the entry asks for an ordinary interrupt: fixed or lowest-priority delivery.
    const fn is_ordinary(self) -> bool {
        (self.low >> 8) & 7 <= 1 && self.vector().0 >= FIRST_LEGAL_VECTOR
    }
}

/// The virtual I/O APIC.
#[derive(Clone, Debug)]
pub struct VirtualIoApic {
    config: IoApicConfig,
    id: u8,
    select: u8,
    pins: [Pin; MAX_PINS as usize],
    refused: u32,
}

impl VirtualIoApic {
    /// All pins masked, as after reset.
    pub fn new(config: IoApicConfig) -> Self {
        let config = IoApicConfig {
            pins: config.pins.clamp(1, MAX_PINS),
            ..config
        };
        let pins = [Pin::RESET; MAX_PINS as usize];
        Self {
            config,
            id: config.id & 0xf,
            select: 0,
            pins,
            refused: 0,
        }
    }

    /// Back to the state of [`VirtualIoApic::new`]. The edge then masks every pin by
    /// [`VirtualIoApic::program`].
    pub fn reset(&mut self) {
        *self = Self::new(self.config);
    }

    /// How many pins there are.
    pub const fn pin_count(&self) -> u8 {
        self.config.pins
    }

    /// How many times the guest unmasked a pin that had to stay masked or is not its own. Saturating.
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    /// Reads the 32-bit register at byte `offset` of the page.
    pub fn read(&self, offset: u32) -> u32 {
        match offset {
            SELECT => u32::from(self.select),
            WINDOW => self.read_register(),
            _ => 0,
        }
    }

    /// Writes the 32-bit register at byte `offset` of the page.
    pub fn write(&mut self, offset: u32, value: u32, routes: &mut Routes) -> IoApicAct {
        let byte = low_byte(value);
        match offset {
            SELECT => self.select = byte,
            WINDOW if self.select == REGISTER_ID => self.id = low_byte(value >> 24) & 0xf,
            WINDOW if self.select >= REGISTER_ENTRIES => {
                return self.write_entry(self.select - REGISTER_ENTRIES, value, routes);
            }
            EOI if self.config.version >= VERSION_WITH_EOI => {
                return IoApicAct::Unmask(self.on_guest_eoi(Vector(byte)));
            }
            _ => {}
        }
        IoApicAct::None
    }

    /// The hardware has delivered an interrupt of `pin`: (1).
    ///
    /// An edge is passed on even if the guest has masked the pin meanwhile: it happened before. A
    /// level is not: it will ask again.
    pub fn on_host_interrupt(&mut self, pin: u8) -> PinInterrupt {
        let nothing = PinInterrupt {
            deliver: None,
            program: self.program(pin),
        };
        let owned = self.is_owned(pin);
        let asked = |state: &&mut Pin| owned && state.is_ordinary();
        let Some(state) = self.pin_mut(pin).filter(asked) else {
            return nothing;
        };
        let vector = state.vector();
        if !state.is_level() {
            return PinInterrupt {
                deliver: Some((vector, Trigger::Edge)),
                program: None,
            };
        }
        if state.is_masked() || state.serving.is_some() {
            return nothing;
        }
        state.serving = Some(vector);
        PinInterrupt {
            deliver: Some((vector, Trigger::Level)),
            program: self.program(pin),
        }
    }

    /// The guest has ended `vector`: (2). The pins to write again by [`VirtualIoApic::program`].
    ///
    /// Hardware compares with the entry as it is; here the vector that was delivered counts too, so
    /// that an entry rewritten in between cannot leave its pin dead.
    pub fn on_guest_eoi(&mut self, vector: Vector) -> PinSet {
        let mut ended = 0;
        let count = usize::from(self.config.pins);
        for (pin, state) in self.pins.iter_mut().take(count).enumerate() {
            if let Some(serving) = state.serving
                && (serving == vector || state.vector() == vector)
            {
                state.serving = None;
                ended |= 1 << pin;
            }
        }
        PinSet(ended)
    }

    /// The entry that the hardware must have for `pin` now; `None` if there is no such pin or it is
    /// not the GPOS's.
    pub fn program(&self, pin: u8) -> Option<PinProgram> {
        let state = self.pin(pin).filter(|_| self.is_owned(pin))?;
        let high = u32::from(self.config.processor) << 24;
        let open = state.is_ordinary() && state.host != 0;
        let mask = if open && !state.is_masked() && state.serving.is_none() {
            0
        } else {
            MASKED
        };
        // The vector and trigger stay in a masked entry: the physical EOI is matched by them.
        let low = u32::from(state.host) | state.low & (ACTIVE_LOW | LEVEL) | mask;
        Some(PinProgram { pin, low, high })
    }

    /// The guest's entry of `pin` as it reads it, for the log and the fault record.
    pub fn entry(&self, pin: u8) -> Option<u64> {
        let state = self.pin(pin)?;
        let remote_irr = if state.serving.is_some() {
            REMOTE_IRR
        } else {
            0
        };
        Some(u64::from(state.high) << 32 | u64::from(state.low | remote_irr))
    }

    fn read_register(&self) -> u32 {
        match self.select {
            REGISTER_ID | REGISTER_ARBITRATION => u32::from(self.id) << 24,
            REGISTER_VERSION => {
                u32::from(self.config.version) | u32::from(self.config.pins - 1) << 16
            }
            select => {
                let index = select.checked_sub(REGISTER_ENTRIES);
                let entry = index.and_then(|index| self.entry(index >> 1)).unwrap_or(0);
                if select & 1 == 0 {
                    low_word(entry)
                } else {
                    low_word(entry >> 32)
                }
            }
        }
    }

    fn write_entry(&mut self, index: u8, value: u32, routes: &mut Routes) -> IoApicAct {
        let pin = index >> 1;
        let owned = self.is_owned(pin);
        let Some(state) = self.pin_mut(pin) else {
            return IoApicAct::None;
        };
        if index & 1 == 1 {
            // The destination is never passed on: nothing changes for the hardware.
            state.high = value;
            return IoApicAct::None;
        }
        state.low = value & LOWER_WRITABLE;
        if !state.is_level() {
            state.serving = None;
        }
        // A masked entry asks for nothing yet, so sources never used take no vector.
        if !state.is_masked() {
            let routed = if owned && state.is_ordinary() {
                routes
                    .route(Source::Pin(pin), state.vector(), state.trigger())
                    .ok()
            } else {
                None
            };
            if let Some(host) = routed {
                state.host = host.0;
            } else {
                state.host = 0;
                routes.release(Source::Pin(pin));
                self.refused = self.refused.saturating_add(1);
            }
        }
        self.program(pin)
            .map_or(IoApicAct::None, IoApicAct::Program)
    }

    /// Whether the pin is the GPOS's, and not a real-time task's.
    pub fn is_owned(&self, pin: u8) -> bool {
        self.config.owned.checked_shr(u32::from(pin)).unwrap_or(0) & 1 != 0
    }

    fn pin(&self, pin: u8) -> Option<&Pin> {
        self.pins
            .get(usize::from(pin))
            .filter(|_| pin < self.config.pins)
    }

    fn pin_mut(&mut self, pin: u8) -> Option<&mut Pin> {
        let exists = pin < self.config.pins;
        self.pins.get_mut(usize::from(pin)).filter(|_| exists)
    }
}

/// The low 32 bits.
#[allow(
    clippy::cast_possible_truncation,
    reason = "masked to the width of the result"
)]
const fn low_word(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// The low eight bits.
#[allow(
    clippy::cast_possible_truncation,
    reason = "masked to the width of the result"
)]
const fn low_byte(value: u32) -> u8 {
    (value & 0xff) as u8
}

#[cfg(test)]
#[path = "io_apic_tests.rs"]
mod tests;
