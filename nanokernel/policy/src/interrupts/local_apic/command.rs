//! The interrupt command register: messages between processors, of which there is one (APM2 16.5).
//!
//! What is addressed to this processor arrives; what is addressed to another vanishes, as it does
//! on a bus without such a processor, and is counted. INIT and start-up messages to oneself would
//! stop the only processor the GPOS has, and SMI would enter firmware: ignored and counted.

use super::registers::{ERROR_SENT_VECTOR, low_byte, low_word};
use super::{ApicEffect, ApicMode, FIRST_LEGAL_VECTOR, Trigger, VirtualApic};
use darma_abi::units::Vector;

const DELIVERY_FIXED: u32 = 0;
const DELIVERY_LOWEST: u32 = 1;
const DELIVERY_NMI: u32 = 4;

/// The bits of the lower half that a guest can set: the delivery status always reads idle.
const LOWER_WRITABLE: u32 = 0x000c_cfff;

impl VirtualApic {
    /// Sends the message in the command register, after its lower half was written.
    pub(super) fn send(&mut self, upper: u32, lower: u32) -> ApicEffect {
        let lower = lower & LOWER_WRITABLE;
        self.command = u64::from(upper) << 32 | u64::from(lower);
        let reaches_self = match (lower >> 18) & 3 {
            0 => self.is_addressed(upper, lower & (1 << 11) != 0),
            1 | 2 => true,
            _ => false,
        };
        if !reaches_self {
            self.counters.absent_target = self.counters.absent_target.saturating_add(1);
            return ApicEffect::None;
        }
        match (lower >> 8) & 7 {
            DELIVERY_FIXED | DELIVERY_LOWEST => self.send_to_self(low_byte(lower)),
            DELIVERY_NMI => ApicEffect::NmiSelf,
            _ => {
                self.counters.ignored_control = self.counters.ignored_control.saturating_add(1);
                ApicEffect::None
            }
        }
    }

    /// The SELF_IPI register of x2APIC mode, and the tail of [`VirtualApic::send`].
    pub(super) fn send_to_self(&mut self, vector: u8) -> ApicEffect {
        if vector < FIRST_LEGAL_VECTOR {
            self.report_error(ERROR_SENT_VECTOR);
        } else {
            self.raise(Vector(vector), Trigger::Edge);
        }
        ApicEffect::None
    }

    /// True if a destination field means processor 0 (APM2 16.6.1 and 16.14).
    fn is_addressed(&self, upper: u32, logical: bool) -> bool {
        if self.mode == ApicMode::X2Apic {
            let own = self.logical_id();
            return upper == u32::MAX
                || if logical {
                    upper >> 16 == own >> 16 && upper & own & 0xffff != 0
                } else {
                    upper == 0
                };
        }
        let target = upper >> 24;
        let own = self.logical_id() >> 24;
        target == 0xff
            || if !logical {
                target == 0
            } else if self.format >> 28 == 0xf {
                target & own != 0
            } else {
                target >> 4 == own >> 4 && target & own & 0xf != 0
            }
    }

    /// The logical destination register: in x2APIC mode it follows from the identifier, 0.
    pub(super) const fn logical_id(&self) -> u32 {
        match self.mode {
            ApicMode::X2Apic => 1,
            _ => self.logical,
        }
    }

    /// The upper half of the command register.
    pub(super) const fn command_upper(&self) -> u32 {
        low_word(self.command >> 32)
    }
}
