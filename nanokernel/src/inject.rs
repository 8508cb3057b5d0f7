//! The fault injector: spoils the GPOS's processor or memory at a moment that was ordered.
//!
//! Test equipment, compiled only with the feature `inject`. It runs in the main loop between two
//! entries of the guest, which the tasks' interrupts make at least once per millisecond; Linux has no
//! part in it and cannot see it coming. The moment is reported as a mark, as the test module does.

use crate::gpos::Gpos;
use crate::report;
use darma_abi::memory::GuestPhysRead;
use darma_abi::report::Event as Report;
use darma_abi::shared::Mark;
use darma_abi::units::{Cycles, GuestPhys};
use darma_machine::time;
use darma_policy::injection::{Act, Chance, Injection, REGISTERS};
use darma_rtos::time_scale;

/// An invalid opcode: the exception that finds no table.
const UNDEFINED_INSTRUCTION: u8 = 6;

/// What is to happen in this start of the GPOS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered {
    due: Cycles,
    injection: Injection,
    boot: u32,
}

impl Ordered {
    /// The order for this start, which begins now.
    pub(crate) fn for_boot(command_line: &[u8], boot: u32) -> Option<Self> {
        let injection = Injection::for_boot(command_line, boot)?;
        let due = Cycles(time::now().0 + time_scale().cycles(injection.after).0);
        Some(Self {
            due,
            injection,
            boot,
        })
    }
}

impl Gpos {
    /// Does what is due.
    pub(crate) fn strike(&mut self) {
        let Some(ordered) = self.ordered.filter(|ordered| time::now() >= ordered.due) else {
            return;
        };
        self.ordered = None;
        report::emit(&Report::Mark {
            mark: Mark::CrashImminent,
            boot: ordered.boot,
            at_ns: time_scale().nanos(time::now()).0,
        });
        let (flips, mut chance) = ordered.injection.flips();
        match ordered.injection.act {
            Act::Die => {
                self.cpu.lose_interrupt_table();
                self.cpu.inject_exception(UNDEFINED_INSTRUCTION, None);
            }
            Act::Registers => {
                for _ in 0..flips {
                    let [register, bit, ..] = chance.draw().to_le_bytes();
                    self.cpu.flip(register % REGISTERS, bit % 64);
                }
            }
            Act::Memory => {
                for _ in 0..flips {
                    self.flip_memory(&mut chance);
                }
            }
        }
    }

    /// Flips a bit of a byte drawn from all of the GPOS's RAM.
    fn flip_memory(&mut self, chance: &mut Chance) {
        let all: u64 = self.memory.ranges().iter().map(|range| range.size()).sum();
        let mut left = chance.draw() % all.max(1);
        for range in self.memory.ranges() {
            if left < range.size() {
                let at = GuestPhys(range.base() + left);
                let mut byte = [0];
                if self.memory.read(at, &mut byte) {
                    byte[0] ^= 1 << (chance.draw() % 8);
                    self.memory.write(at, &byte);
                }
                return;
            }
            left -= range.size();
        }
    }
}
