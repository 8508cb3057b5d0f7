//! IA32_APIC_BASE: the modes of the APIC and the way from one to the next (APM2 16.9, 16.10).
//!
//! ```text
//!             (1) EN             (2) EN+EXTD
//!  Disabled --------->  XApic  ------------->  X2Apic
//!     ^                   |                      |
//!     +------ (3) --------+--------- (3) --------+
//! ```
//!
//! Every other change raises #GP: EXTD without EN, EXTD from Disabled, and X2Apic back to XApic.
//! Switching off resets the registers (3). The register page cannot move: it is where every PC
//! has it, and a moving one would have to be carved out of the GPOS's memory at run time.

use super::{ApicEffect, GeneralProtection, VirtualApic};

/// Guest-physical address of the register page.
pub const REGISTER_PAGE: u64 = 0xfee0_0000;

const BOOTSTRAP: u64 = 1 << 8;
const EXTENDED: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;

/// How the registers are reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApicMode {
    /// Not at all: the APIC is off.
    Disabled,
    /// Through the register page.
    XApic,
    /// Through MSRs 0x800 to 0x8ff.
    X2Apic,
}

impl VirtualApic {
    /// The value of IA32_APIC_BASE.
    pub(super) const fn base_register(&self) -> u64 {
        let mode = match self.mode {
            ApicMode::Disabled => 0,
            ApicMode::XApic => ENABLED,
            ApicMode::X2Apic => ENABLED | EXTENDED,
        };
        REGISTER_PAGE | BOOTSTRAP | mode
    }

    /// Writes IA32_APIC_BASE. The bootstrap bit is read-only and ignored.
    pub(super) fn set_base_register(
        &mut self,
        value: u64,
    ) -> Result<ApicEffect, GeneralProtection> {
        if value & !(BOOTSTRAP | EXTENDED | ENABLED) != REGISTER_PAGE {
            return Err(GeneralProtection);
        }
        let wanted = match (value & ENABLED != 0, value & EXTENDED != 0) {
            (false, false) => ApicMode::Disabled,
            (true, false) => ApicMode::XApic,
            (true, true) => ApicMode::X2Apic,
            (false, true) => return Err(GeneralProtection),
        };
        match (self.mode, wanted) {
            (from, to) if from == to => return Ok(ApicEffect::None),
            (ApicMode::X2Apic, ApicMode::XApic) | (ApicMode::Disabled, ApicMode::X2Apic) => {
                return Err(GeneralProtection);
            }
            (_, ApicMode::Disabled) => self.reset(),
            _ => {}
        }
        self.mode = wanted;
        Ok(ApicEffect::ModeChanged)
    }
}
