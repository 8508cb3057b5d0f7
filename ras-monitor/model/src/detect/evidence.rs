//! What was seen that led to a verdict, as numbers and in words.
//!
//! The words go into the report and the fault record and are for people who have nothing else
//! left of that kernel; so they name the numbers, not the rule.

use super::tables::Ruin;
use core::fmt;
use darma_abi::units::{GuestVirt, Nanos, Vector};
use darma_policy::devices::power::ResetRoute;

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// These bits were written to the pvpanic port.
    PvPanic(u8),
    /// `panic()` was entered, and nothing else was heard for so long.
    PanicFlag(Nanos),
    /// `panic()` was entered, and then this happened.
    PanicThen(Last),
    /// This happened, in an orderly way.
    Ordered(Last),
    /// This happened, out of nothing.
    Ended(Last),
    /// An interrupt waited, and none was let in.
    Deaf {
        /// How long.
        held: Nanos,
        /// Over how many looks.
        looks: u32,
        /// Which waited.
        waiting: Vector,
        /// RFLAGS.IF: on, when a priority holds the interrupt back.
        interrupts_on: bool,
        /// Where.
        rip: GuestVirt,
    },
    /// Interrupts were taken and nothing else was done.
    Stuck {
        /// How long.
        held: Nanos,
        /// Over how many looks.
        looks: u32,
        /// Where, at the last of them.
        rip: GuestVirt,
    },
    /// The kernel's time stood still.
    Frozen {
        /// How long.
        held: Nanos,
        /// Where.
        rip: GuestVirt,
    },
    /// No interrupt was taken.
    Silent {
        /// How long.
        held: Nanos,
        /// Where.
        rip: GuestVirt,
    },
    /// So many interrupts in a second, most of them this one.
    Interrupts {
        /// In a second.
        rate: u64,
        /// The commonest.
        vector: Option<Vector>,
        /// For how long nothing else was done; zero: the system lives.
        held: Nanos,
    },
    /// So many exits of a kind in a second.
    Exits {
        /// In a second.
        rate: u64,
        /// Which.
        kind: &'static str,
        /// For how long nothing else was done; zero: the system lives.
        held: Nanos,
    },
    /// No user space for so long.
    NotUp(Nanos),
    /// No heartbeat for so long.
    NoBeat(Nanos),
    /// So many oopses since the start.
    Dies(u32),
    /// These bits of `tainted_mask` were set.
    Taint(u64),
    /// An address, a port, a register or a pin that is not the GPOS's, and from where it was tried.
    Foreign(u64, GuestVirt),
    /// The processor's exit code.
    ExitCode(u64),
}

/// The last thing that a kernel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It asked for a reset.
    Reset(ResetRoute),
    /// It halted with interrupts off.
    Halt,
    /// A fault that it could not handle.
    Shutdown(Ruin),
    /// ACPI S5.
    PowerOff,
}

impl Evidence {
    /// The one number that says most, for the fault record: bits, address, count, or nanoseconds.
    pub fn number(&self) -> u64 {
        match *self {
            Self::PvPanic(bits) => u64::from(bits),
            Self::PanicFlag(_)
            | Self::NotUp(_)
            | Self::NoBeat(_)
            | Self::Deaf { .. }
            | Self::Stuck { .. }
            | Self::Frozen { .. }
            | Self::Silent { .. } => self.held().map_or(0, |held| held.0),
            Self::Interrupts { rate, .. } | Self::Exits { rate, .. } => rate,
            Self::Dies(count) => u64::from(count),
            Self::Taint(number) | Self::Foreign(number, _) | Self::ExitCode(number) => number,
            Self::PanicThen(last) | Self::Ordered(last) | Self::Ended(last) => match last {
                Last::Shutdown(ruin) => ruin.number(),
                Last::Reset(_) | Last::Halt | Last::PowerOff => 0,
            },
        }
    }
}

impl Evidence {
    /// How long the condition had held, where it is one that is timed.
    pub const fn held(&self) -> Option<Nanos> {
        match *self {
            Self::PanicFlag(held) | Self::NotUp(held) | Self::NoBeat(held) => Some(held),
            Self::Deaf { held, .. }
            | Self::Stuck { held, .. }
            | Self::Frozen { held, .. }
            | Self::Silent { held, .. } => Some(held),
            Self::Interrupts { held, .. } | Self::Exits { held, .. } if held.0 > 0 => Some(held),
            _ => None,
        }
    }
}

/// What a storm left undone.
struct Undone(Nanos);

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            0 => Ok(()),
            _ => write!(f, ", nothing else for {}", Ms(self.0)),
        }
    }
}

/// Whole milliseconds.
struct Ms(Nanos);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.0 / 1_000_000)
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset(ResetRoute::Keyboard) => "a reset by the keyboard controller",
            Self::Reset(ResetRoute::Cf9) => "a reset by port 0xcf9",
            Self::Reset(ResetRoute::Port92) => "a reset by port 0x92",
            Self::Reset(ResetRoute::Acpi) => "a reset by the ACPI register",
            Self::Halt => "HLT with interrupts off",
            Self::PowerOff => "ACPI S5",
            Self::Shutdown(ruin) => return ruin.fmt(f),
        })
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PvPanic(bits) => write!(f, "pvpanic was told {bits:#x}"),
            Self::PanicFlag(held) => {
                write!(f, "panic() was entered {} ago, no driver told", Ms(held))
            }
            Self::PanicThen(last) => write!(f, "panic() was entered, then {last}"),
            Self::Ordered(last) => write!(f, "{last}, announced in system_state"),
            Self::Ended(last) => last.fmt(f),
            Self::Deaf {
                held,
                looks,
                waiting,
                interrupts_on,
                rip,
            } => {
                let why = if interrupts_on { "held back" } else { "off" };
                let vector = waiting.0;
                write!(
                    f,
                    "interrupts {why} for {} at rip {rip}, vector {vector} waits, {looks} looks",
                    Ms(held)
                )
            }
            Self::Stuck { held, looks, rip } => write!(
                f,
                "one process in the kernel for {}, now at rip {rip}, {looks} looks",
                Ms(held)
            ),
            Self::Frozen { held, rip } => {
                write!(f, "busy, but jiffies stand for {}, rip {rip}", Ms(held))
            }
            Self::Silent { held, rip } => {
                write!(
                    f,
                    "busy, but no interrupt taken for {}, rip {rip}",
                    Ms(held)
                )
            }
            Self::Interrupts { rate, vector, held } => {
                write!(f, "{rate} interrupts in a second")?;
                if let Some(vector) = vector {
                    write!(f, ", mostly vector {}", vector.0)?;
                }
                Undone(held).fmt(f)
            }
            Self::Exits { rate, kind, held } => {
                write!(f, "{rate} exits by {kind} in a second{}", Undone(held))
            }
            Self::NotUp(held) => write!(f, "no user space {} after the start", Ms(held)),
            Self::NoBeat(held) => write!(f, "no heartbeat for {}", Ms(held)),
            Self::Dies(count) => write!(f, "die_counter is {count}"),
            Self::Taint(bits) => write!(f, "tainted_mask gained {bits:#x}"),
            Self::Foreign(at, rip) => write!(f, "tried {at:#x} at rip {rip}"),
            Self::ExitCode(code) => write!(f, "exit code {code:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const RIP: GuestVirt = GuestVirt(0xffff_ffff_8112_3456);

    #[test]
    fn the_words_name_the_numbers() {
        let deaf = Evidence::Deaf {
            held: Nanos(102_999_999),
            looks: 3,
            waiting: Vector(236),
            interrupts_on: false,
            rip: RIP,
        };
        let words = deaf.to_string();
        for part in ["off for 102 ms", "vector 236 waits", "3 looks", "8112"] {
            assert!(words.contains(part), "{words}");
        }
        assert_eq!(deaf.number(), 102_999_999);
        let then = Evidence::PanicThen(Last::Reset(ResetRoute::Cf9)).to_string();
        assert_eq!(then, "panic() was entered, then a reset by port 0xcf9");
    }

    #[test]
    fn the_longest_words_fit_a_line_of_the_report() {
        let longest = Nanos(u64::MAX);
        let rip = GuestVirt(u64::MAX);
        let most = Vector(255);
        for evidence in [
            Evidence::Deaf {
                held: Nanos(10_000_000_000_000),
                looks: u32::MAX,
                waiting: most,
                interrupts_on: true,
                rip,
            },
            Evidence::Stuck {
                held: longest,
                looks: u32::MAX,
                rip,
            },
            Evidence::Frozen { held: longest, rip },
            Evidence::Silent { held: longest, rip },
            Evidence::Interrupts {
                rate: u64::MAX,
                vector: Some(most),
                held: longest,
            },
            Evidence::Foreign(u64::MAX, rip),
            Evidence::PanicThen(Last::Shutdown(Ruin::Pages {
                cr3: u64::MAX,
                unmapped: rip,
            })),
            Evidence::PanicThen(Last::Shutdown(Ruin::Descriptors {
                idt: rip,
                vector: 255,
            })),
            Evidence::Ordered(Last::Shutdown(Ruin::NoHandlers)),
        ] {
            let words = evidence.to_string();
            assert!(words.len() <= 120, "{}: {words}", words.len());
            assert!(words.is_ascii());
        }
    }
}
