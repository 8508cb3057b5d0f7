//! The register file, reached through the page (xAPIC) or MSRs (x2APIC) (APM2 16.3.2, 16.11).
//!
//! Both ways number the same registers: offset / 16 in the page is the MSR's number above 0x800. So
//! there is one decoder, and what differs (identifier, command register, errors for what does not
//! exist) is settled before it. End of interrupt and the TSC deadline, the two writes that an
//! idle Linux makes thousands of times a second, come first.
//!
//! A register that does not exist reads zero and ignores writes in the page, and raises #GP as an
//! MSR. Reserved bits of an existing MSR's lower half are dropped rather than refused: kernels
//! write back what they read, and a refusal would tell them nothing that they could act on.

use super::timer::TimerMode;
use super::{
    ApicEffect, ApicMode, GeneralProtection, LVT_MASKED, Lvt, MSR_APIC_BASE, MSR_TSC_DEADLINE,
    VirtualApic,
};
use darma_abi::units::Cycles;

/// ESR: this processor tried to send a vector below 16.
pub(super) const ERROR_SENT_VECTOR: u32 = 1 << 5;
/// ESR: this processor was to receive a vector below 16.
pub(super) const ERROR_RECEIVED_VECTOR: u32 = 1 << 6;
/// SVR: the APIC is software-enabled.
pub(super) const SVR_ENABLED: u32 = 1 << 8;

/// Six vector-table entries and the version of every integrated APIC; no extended space, no
/// suppression of EOI messages.
const VERSION: u32 = 0x0005_0014;

const ID: u32 = 0x02;
const VERSION_REGISTER: u32 = 0x03;
const TPR: u32 = 0x08;
const PPR: u32 = 0x0a;
const EOI: u32 = 0x0b;
const LDR: u32 = 0x0d;
const DFR: u32 = 0x0e;
const SVR: u32 = 0x0f;
const ESR: u32 = 0x28;
const ICR_LOWER: u32 = 0x30;
const ICR_UPPER: u32 = 0x31;
const LVT_FIRST: u32 = 0x32;
const LVT_LAST: u32 = 0x37;
const INITIAL_COUNT: u32 = 0x38;
const CURRENT_COUNT: u32 = 0x39;
const DIVIDE: u32 = 0x3e;
const SELF_IPI: u32 = 0x3f;

const X2APIC_FIRST: u32 = 0x800;
const X2APIC_LAST: u32 = 0x8ff;

impl VirtualApic {
    /// Reads the register at byte `offset` of the page. Zero unless the page is in use.
    pub fn read_mmio(&self, offset: u32, now: Cycles) -> u32 {
        if self.mode != ApicMode::XApic || offset & 0xf != 0 {
            return 0;
        }
        match offset >> 4 {
            DFR => self.format,
            ICR_UPPER => self.command_upper(),
            register => self.read(register, now).unwrap_or(0),
        }
    }

    /// Writes the register at byte `offset` of the page.
    pub fn write_mmio(&mut self, offset: u32, value: u32, now: Cycles) -> ApicEffect {
        if self.mode != ApicMode::XApic || offset & 0xf != 0 {
            return ApicEffect::None;
        }
        match offset >> 4 {
            DFR => self.format = value | 0x0fff_ffff,
            LDR => self.logical = value & 0xff00_0000,
            ICR_UPPER => {
                self.command = u64::from(value & 0xff00_0000) << 32 | (self.command & 0xffff_ffff);
            }
            ICR_LOWER => return self.send(self.command_upper(), value),
            register => return self.write(register, value, now).unwrap_or(ApicEffect::None),
        }
        ApicEffect::None
    }

    /// Reads an APIC MSR: [`X2APIC_MSRS`](super::X2APIC_MSRS), IA32_APIC_BASE, IA32_TSC_DEADLINE.
    ///
    /// # Errors
    /// #GP for any other MSR, a write-only one, and the x2APIC's outside of its mode.
    pub fn read_msr(&self, msr: u32, now: Cycles) -> Result<u64, GeneralProtection> {
        match msr {
            MSR_TSC_DEADLINE => Ok(self.timer.tsc_deadline()),
            MSR_APIC_BASE => Ok(self.base_register()),
            X2APIC_FIRST..=X2APIC_LAST if self.mode == ApicMode::X2Apic => {
                match msr - X2APIC_FIRST {
                    ICR_LOWER => Ok(self.command),
                    EOI => Err(GeneralProtection),
                    register => self
                        .read(register, now)
                        .map(u64::from)
                        .ok_or(GeneralProtection),
                }
            }
            _ => Err(GeneralProtection),
        }
    }

    /// Writes an APIC MSR.
    ///
    /// # Errors
    /// #GP for any other MSR, a read-only one, the x2APIC's outside of its mode, a value wider than
    /// its register, and a change of mode that [`ApicMode`] does not know.
    pub fn write_msr(
        &mut self,
        msr: u32,
        value: u64,
        now: Cycles,
    ) -> Result<ApicEffect, GeneralProtection> {
        match msr {
            MSR_TSC_DEADLINE => {
                self.timer.set_tsc_deadline(value);
                self.advance(now);
                Ok(ApicEffect::TimerChanged)
            }
            MSR_APIC_BASE => self.set_base_register(value),
            X2APIC_FIRST..=X2APIC_LAST if self.mode == ApicMode::X2Apic => {
                let register = msr - X2APIC_FIRST;
                let narrow = low_word(value);
                match register {
                    EOI if value == 0 => Ok(self.end_of_interrupt()),
                    ICR_LOWER => Ok(self.send(low_word(value >> 32), narrow)),
                    _ if u64::from(narrow) != value => Err(GeneralProtection),
                    SELF_IPI => Ok(self.send_to_self(low_byte(narrow))),
                    EOI | ESR if value != 0 => Err(GeneralProtection),
                    _ => self.write(register, narrow, now).ok_or(GeneralProtection),
                }
            }
            _ => Err(GeneralProtection),
        }
    }

    /// Reads what both modes share; `None` if there is no such register.
    fn read(&self, register: u32, now: Cycles) -> Option<u32> {
        Some(match register {
            ID => 0,
            VERSION_REGISTER => VERSION,
            TPR => u32::from(self.tpr),
            PPR => u32::from(self.ppr()),
            EOI => 0,
            LDR => self.logical_id(),
            SVR => self.spurious,
            0x10..=0x17 => self.isr.register(register & 7),
            0x18..=0x1f => self.tmr.register(register & 7),
            0x20..=0x27 => self.irr.register(register & 7),
            ESR => self.errors_shown,
            ICR_LOWER => low_word(self.command),
            LVT_FIRST..=LVT_LAST => self.lvt.get(lvt_index(register)).copied()?,
            INITIAL_COUNT => self.timer.initial(),
            CURRENT_COUNT => self.timer.current(now),
            DIVIDE => self.timer.divide(),
            _ => return None,
        })
    }

    /// Writes what both modes share; `None` if there is no such register or it is read-only.
    fn write(&mut self, register: u32, value: u32, now: Cycles) -> Option<ApicEffect> {
        match register {
            EOI => return Some(self.end_of_interrupt()),
            TPR => self.tpr = low_byte(value),
            SVR => return Some(self.set_spurious(value, now)),
            ESR => {
                self.errors_shown = self.errors_seen;
                self.errors_seen = 0;
            }
            LVT_FIRST..=LVT_LAST => return self.set_lvt(lvt_index(register), value, now),
            INITIAL_COUNT => {
                self.advance(now);
                self.timer.set_initial(value, now);
                return Some(ApicEffect::TimerChanged);
            }
            DIVIDE => {
                self.advance(now);
                self.timer.set_divide(value, now);
                return Some(ApicEffect::TimerChanged);
            }
            _ => return None,
        }
        Some(ApicEffect::None)
    }

    /// Writes SVR. Switching off masks the whole vector table, and only the guest unmasks it again.
    fn set_spurious(&mut self, value: u32, now: Cycles) -> ApicEffect {
        self.advance(now);
        self.spurious = value & (SVR_ENABLED | 0xff);
        if self.software_enabled() {
            return ApicEffect::None;
        }
        for entry in &mut self.lvt {
            *entry |= LVT_MASKED;
        }
        ApicEffect::TimerChanged
    }

    /// Writes a vector-table entry, masked for as long as the APIC is software-disabled.
    fn set_lvt(&mut self, index: usize, value: u32, now: Cycles) -> Option<ApicEffect> {
        let is_timer = index == Lvt::Timer as usize;
        if is_timer {
            // An expiry that is due belongs to the entry as it was.
            self.advance(now);
        }
        let masked = if self.software_enabled() {
            0
        } else {
            LVT_MASKED
        };
        let entry = self.lvt.get_mut(index)?;
        *entry = value & lvt_writable(index) | masked;
        if !is_timer {
            return Some(ApicEffect::None);
        }
        let mode = TimerMode::of_entry(*entry);
        self.timer.set_mode(mode);
        Some(ApicEffect::TimerChanged)
    }
}

/// The bits that entry `index` of the vector table has: vector and mask everywhere, the mode of
/// the timer, the delivery mode of all others but the error entry, polarity and trigger of the
/// two pins. Delivery status and remote IRR always read zero: nothing is ever under way.
const fn lvt_writable(index: usize) -> u32 {
    const VECTOR_AND_MASK: u32 = 0x0001_00ff;
    match index {
        0 => VECTOR_AND_MASK | 3 << 17,
        1 | 2 => VECTOR_AND_MASK | 7 << 8,
        3 | 4 => VECTOR_AND_MASK | 7 << 8 | 1 << 13 | 1 << 15,
        _ => VECTOR_AND_MASK,
    }
}

/// The place of a vector-table register in the table.
const fn lvt_index(register: u32) -> usize {
    (register.wrapping_sub(LVT_FIRST) & 7) as usize
}

/// The low 32 bits.
#[allow(
    clippy::cast_possible_truncation,
    reason = "masked to the width of the result"
)]
pub(super) const fn low_word(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// The low eight bits.
#[allow(
    clippy::cast_possible_truncation,
    reason = "masked to the width of the result"
)]
pub(super) const fn low_byte(value: u32) -> u8 {
    (value & 0xff) as u8
}
