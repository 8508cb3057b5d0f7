//! One event, and its two words in a ring.
//!
//! ```text
//!   word 0   63                                                     0
//!            time-stamp counter
//!   word 1   63                    32 31                 8 7         0
//!            argument                 tag: sequence        kind
//! ```
//! The tag is the low 24 bits of the event's sequence number. It stands where the ring's counter, which
//! steps by 256, already has it: a shift less in every record. A slot whose tag is not the expected
//! one was never written, was overwritten, or belongs to a writer that was interrupted half-way: a
//! reader skips it. Two events with the same tag are 2^24 events apart, which the reader excludes
//! by the ring's limits.

use darma_abi::units::Cycles;

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $code:literal, $name:literal;)+) => {
        /// What happened. The codes are stable: a report carries them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$meta])* $kind = $code,)+
        }

        impl Kind {
            /// Every kind, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The number that stands for it in a ring and in a report.
            #[inline(always)]
            pub const fn code(self) -> u8 {
                match self { $(Self::$kind => $code,)+ }
            }

            /// Its name in a timeline.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The kind with this code, if there is one.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$kind),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// The GPOS is entered: what follows is its time. Argument 0.
    GuestEnter = 1, "guest entered";
    /// The GPOS was left. Argument: the exit's kind.
    GuestExit = 2, "guest left";
    /// The timer's handler begins. Argument 0.
    TimerBegin = 3, "timer handler begins";
    /// The timer's handler ends. Argument 0.
    TimerEnd = 4, "timer handler ends";
    /// A task is released by the timer. Either at the moment when it is due, or inside the timer's
    /// handler when its vector has been made pending. Argument: the task.
    Release = 5, "release";
    /// A task's first instruction. Argument: the task.
    TaskBegin = 6, "task begins";
    /// A task has returned. Argument: the task.
    TaskEnd = 7, "task ends";
    /// A task was stopped by a fault. Argument: the task.
    TaskFault = 8, "task stopped by a fault";
    /// The handler of a device's interrupt begins. Argument: the vector.
    DeviceInterrupt = 9, "device handler begins";
    /// It ends. Argument: the vector.
    DeviceEnd = 10, "device handler ends";
    /// A stretch with interrupts off begins. Argument: the section.
    SectionBegin = 11, "section begins";
    /// It ends. Argument: the section.
    SectionEnd = 12, "section ends";
    /// The emulation of an exit begins. Argument: the exit's kind.
    EmulateBegin = 13, "emulation begins";
    /// It ends. Argument: the exit's kind.
    EmulateEnd = 14, "emulation ends";
    /// CR8 is raised. Argument: the ceiling.
    Lock = 15, "lock";
    /// CR8 is put back. Argument: the ceiling that was held.
    Unlock = 16, "unlock";
    /// A step of loading the GPOS begins. Argument: the step.
    LoadStep = 17, "load step";
    /// A step of capturing the GPOS begins. Argument: the step.
    CaptureStep = 18, "capture step";
    /// Anything that is worth a point in the timeline and takes no time of its own.
    Mark = 19, "mark";
    /// A task is released by something else than the timer. Argument: the task.
    Pend = 20, "pended";
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Cycles,
    /// What.
    pub kind: Kind,
    /// Of what: see [`Kind`].
    pub argument: u32,
}

/// Where the tag stands in word 1.
pub(crate) const TAG_SHIFT: u32 = 8;
const ARGUMENT_SHIFT: u32 = 32;
const TAG: u64 = 0xffff_ff00;

/// Word 1 of a slot. `counter` is the sequence number, shifted to the tag's place.
#[inline(always)]
pub(crate) const fn pack(counter: u64, kind: Kind, argument: u32) -> u64 {
    // A sum of 32 bits, because one instruction adds and cuts: the counter's low byte is zero.
    #[allow(clippy::cast_possible_truncation, reason = "what the tag leaves out")]
    let low = (counter as u32).wrapping_add(kind.code() as u32);
    ((argument as u64) << ARGUMENT_SHIFT) | low as u64
}

/// What a slot's two words say, if they are those of this counter.
pub(crate) fn unpack(at: u64, word: u64, counter: u64) -> Option<Event> {
    if word & TAG != counter & TAG {
        return None;
    }
    let [code, _, _, _, a, b, c, d] = word.to_le_bytes();
    Some(Event {
        at: Cycles(at),
        kind: Kind::from_code(code)?,
        argument: u32::from_le_bytes([a, b, c, d]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_survives_the_way_through_its_code() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), Some(*kind));
        }
        assert_eq!(Kind::from_code(0), None);
    }

    proptest! {
        #[test]
        fn a_slot_gives_back_what_was_packed_and_only_under_its_own_number(
            at: u64, sequence in 0u64..1 << 56, argument: u32, which in 0..Kind::ALL.len(), lap in 1u64..1000,
        ) {
            let event = Event { at: Cycles(at), kind: Kind::ALL[which], argument };
            let counter = sequence << TAG_SHIFT;
            let word = pack(counter, event.kind, argument);
            prop_assert_eq!(unpack(at, word, counter), Some(event));
            let later = counter.wrapping_add((lap * 16) << TAG_SHIFT);
            prop_assert_eq!(unpack(at, word, later), None);
        }

        #[test]
        fn any_two_words_are_an_event_or_none(at: u64, word: u64, sequence in 0u64..1 << 56) {
            let counter = sequence << TAG_SHIFT;
            if let Some(event) = unpack(at, word, counter) {
                prop_assert_eq!(pack(counter, event.kind, event.argument), word);
            }
        }
    }
}
