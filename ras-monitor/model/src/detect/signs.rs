//! What the kernel says of its own failures: panics and oopses, without a driver that tells.
//!
//! A panic is given time to print: what it says last is worth more than a fast verdict, and where a
//! driver tells (pvpanic), that comes after the printing as well and decides at once.

use super::evidence::Evidence;
use super::look::Held;
use super::vitals::{TAINT_DIE, TAINT_SOFT_LOCKUP, TAINT_WARN, Vitals};
use darma_abi::shared::Cause;
use darma_abi::units::Nanos;

/// A panic that has said nothing for so long has nothing more to say.
const LAST_WORDS: Nanos = Nanos(200_000_000);

/// The signs, as far as they have been told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signs {
    panicking: Held,
    left_alone: bool,
    log: Option<u64>,
    dies: u32,
    dies_known: bool,
    taint: u64,
    told_dies: u32,
    told_taint: u64,
}

impl Signs {
    pub(super) const NONE: Self = Self {
        panicking: Held::NOT,
        left_alone: false,
        log: None,
        dies: 0,
        dies_known: false,
        taint: 0,
        told_dies: 0,
        told_taint: 0,
    };

    pub(super) const fn is_suspicious(&self) -> bool {
        self.panicking.begun()
    }

    /// A crash kernel of its own takes over from the panic, whose flag stays set in the old one's memory.
    pub(super) const fn leave_alone(&mut self) {
        self.left_alone = true;
    }

    /// Adds a look's signs. Both counts begin at zero in every kernel, so what is not zero at the
    /// first look happened before it, and is news.
    pub(super) fn note(&mut self, vitals: &Vitals, gap: Nanos) {
        let prints = vitals.log != self.log;
        self.log = vitals.log;
        let panicking = vitals.is_panicking() && !self.left_alone;
        self.panicking.note(panicking, prints, gap);
        self.dies_known |= vitals.dies.is_some();
        self.dies = vitals.dies.unwrap_or(self.dies);
        self.taint |= vitals.taint.unwrap_or(0);
    }

    /// For how long it has been panicking, once that is over.
    pub(super) fn panicked(&self) -> Option<Nanos> {
        self.panicking
            .reaches(Some(LAST_WORDS))
            .then(|| self.panicking.total())
    }

    /// One thing that was not told yet. A panic tells the oops that it came from itself.
    pub(super) fn told(&mut self) -> Option<(Cause, Evidence)> {
        if self.panicking.begun() {
            return None;
        }
        if self.dies != self.told_dies {
            self.told_dies = self.dies;
            self.told_taint |= TAINT_DIE;
            return Some((Cause::Oops, Evidence::Dies(self.dies)));
        }
        let news = self.taint & !self.told_taint;
        for (bit, cause) in [
            (TAINT_DIE, Cause::Oops),
            (TAINT_SOFT_LOCKUP, Cause::ReportedLockup),
            (TAINT_WARN, Cause::KernelWarning),
        ] {
            if news & bit != 0 {
                self.told_taint |= bit;
                if bit != TAINT_DIE || !self.dies_known {
                    return Some((cause, Evidence::Taint(bit)));
                }
            }
        }
        None
    }
}
