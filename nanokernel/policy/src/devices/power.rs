//! Port writes by which the GPOS would reset, switch off or stall the whole machine.
//!
//! A GPOS that resets itself ends itself, not the machine: each route is recognised before the
//! write happens, which also tells how it meant to go. Covered: ACPI sleep (ACPI 6.4, 4.8.3.2), the
//! ACPI reset register (4.8.3.6), the chip set's reset control at 0xCF9, the fast reset of port
//! 0x92, and the keyboard controller, both by pulsing its reset line and by writing its output port
//! (command 0xD1), which is why one command is remembered. Address line 20 must not be gated
//! either, because the gate stands before all of memory, the nanokernel's too; and the firmware's
//! management mode is not the GPOS's to call.
//!
//! A write may be wider than a register: every byte is looked at, at its own port.

use crate::mmio::Width;

/// Where the machine's power registers are, from its ACPI tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerFacts {
    /// PM1a control block.
    pub pm1a_control: Option<u16>,
    /// PM1b control block, on the few machines that have one.
    pub pm1b_control: Option<u16>,
    /// SLP_TYPa and SLP_TYPb of soft-off, if the tables say them.
    pub soft_off: Option<(u8, u8)>,
    /// The reset register, if it is a port, with its value.
    pub reset: Option<(u16, u8)>,
}

/// How the GPOS reset itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetRoute {
    /// The keyboard controller.
    Keyboard,
    /// Port 0xCF9.
    Cf9,
    /// Port 0x92.
    Port92,
    /// The ACPI reset register.
    Acpi,
}

/// What a port write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAct {
    /// Nothing here: perform it.
    Pass,
    /// The GPOS ends itself by powering off. The write is not performed.
    PowerOff,
    /// It asks for another sleep state, which the tables do not offer. Not performed, logged.
    Sleep {
        /// SLP_TYP, 0 to 7.
        kind: u8,
    },
    /// The GPOS resets itself. Not performed.
    SelfReset {
        /// How.
        route: ResetRoute,
    },
    /// It would harm the machine. Not performed, logged.
    Refused,
}

const KEYBOARD_DATA: u16 = 0x60;
const KEYBOARD_COMMAND: u16 = 0x64;
const SYSTEM_CONTROL: u16 = 0x92;
const MANAGEMENT_COMMAND: u16 = 0xb2;
const RESET_CONTROL: u16 = 0xcf9;

const RESET_LINE: u8 = 1;
const ADDRESS_LINE_20: u8 = 2;

/// The power registers that the GPOS believes it writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct PowerPorts {
    facts: PowerFacts,
    /// The keyboard controller was told that its output port comes next.
    output_port_next: bool,
}

impl PowerPorts {
    /// The registers that `facts` say, and the fixed ones of every PC.
    pub const fn new(facts: PowerFacts) -> Self {
        Self {
            facts,
            output_port_next: false,
        }
    }

    /// The ports whose writes must be intercepted. Reads of them pass.
    pub fn intercepted(&self) -> impl Iterator<Item = u16> {
        let PowerFacts {
            pm1a_control,
            pm1b_control,
            reset,
            ..
        } = self.facts;
        let blocks = pm1a_control.into_iter().chain(pm1b_control);
        [
            KEYBOARD_DATA,
            KEYBOARD_COMMAND,
            SYSTEM_CONTROL,
            MANAGEMENT_COMMAND,
            RESET_CONTROL,
        ]
        .into_iter()
        .chain(blocks.flat_map(|port| [port, port.saturating_add(1)]))
        .chain(reset.map(|(port, _)| port))
    }

    /// What writing `value` to `port` means. If several bytes mean something, the first does.
    pub fn classify(&mut self, port: u16, width: Width, value: u32) -> PowerAct {
        // A dword at 0xCF8 selects a configuration address; the reset control is not touched.
        if port == super::pci_config::ADDRESS_PORT && width == Width::Four {
            return PowerAct::Pass;
        }
        let mut act = PowerAct::Pass;
        for (lane, byte) in (0u16..)
            .zip(value.to_le_bytes())
            .take(usize::from(width.bytes()))
        {
            let Some(at) = port.checked_add(lane) else {
                break;
            };
            let meaning = self.byte(at, byte);
            if act == PowerAct::Pass {
                act = meaning;
            }
        }
        act
    }

    fn byte(&mut self, port: u16, value: u8) -> PowerAct {
        let reset = |route| PowerAct::SelfReset { route };
        if self.facts.reset == Some((port, value)) {
            return reset(ResetRoute::Acpi);
        }
        for (block, soft_off) in [
            (self.facts.pm1a_control, self.facts.soft_off.map(|(a, _)| a)),
            (self.facts.pm1b_control, self.facts.soft_off.map(|(_, b)| b)),
        ] {
            // SLP_EN is bit 13 and SLP_TYP bits 10 to 12 of the block.
            if block.and_then(|block| block.checked_add(1)) == Some(port) && value & 0x20 != 0 {
                let kind = (value >> 2) & 7;
                // Without the tables' word, sleep means soft-off: the GPOS is offered no other.
                return if soft_off.is_none_or(|off| off == kind) {
                    PowerAct::PowerOff
                } else {
                    PowerAct::Sleep { kind }
                };
            }
        }
        match port {
            RESET_CONTROL if value & 4 != 0 => reset(ResetRoute::Cf9),
            MANAGEMENT_COMMAND => PowerAct::Refused,
            SYSTEM_CONTROL if value & RESET_LINE != 0 => reset(ResetRoute::Port92),
            SYSTEM_CONTROL if value & ADDRESS_LINE_20 == 0 => PowerAct::Refused,
            KEYBOARD_COMMAND => self.keyboard_command(value),
            KEYBOARD_DATA if core::mem::take(&mut self.output_port_next) => {
                if value & RESET_LINE == 0 {
                    reset(ResetRoute::Keyboard)
                } else if value & ADDRESS_LINE_20 == 0 {
                    PowerAct::Refused
                } else {
                    PowerAct::Pass
                }
            }
            _ => PowerAct::Pass,
        }
    }

    fn keyboard_command(&mut self, command: u8) -> PowerAct {
        self.output_port_next = command == 0xd1;
        match command {
            // Pulses the lines whose bits are low; bit 0 is the processor's reset.
            0xf0..=0xff if command & RESET_LINE == 0 => PowerAct::SelfReset {
                route: ResetRoute::Keyboard,
            },
            // Disable address line 20, a common extension.
            0xdd => PowerAct::Refused,
            _ => PowerAct::Pass,
        }
    }
}
