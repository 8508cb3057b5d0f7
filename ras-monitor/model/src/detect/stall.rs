//! The kernel holds the processor and does nothing that a living system does.
//!
//! | what stands still, between two looks | for | cause |
//! |---|---|---|
//! | an interrupt waits, none is taken | `watch.hard-lockup` | hard lockup; in an NMI's handler: NMI hang |
//! | busy, and the kernel's time does not move | `watch.soft-lockup` | no tick |
//! | busy in the kernel, no change of process | `watch.soft-lockup` | storm if one rages, else soft lockup |
//! | busy, no interrupt taken; all that is known of an unknown kernel | 30 s | no progress |
//!
//! What a living system does in between, and what is said in its favour:
//!
//! * A kernel that prints with interrupts off (a backtrace of every task, over a slow serial line) moves
//!   its log. That counts as life, for ten limits at most.
//! * A process may compute in the kernel for seconds if nobody else wants to run; Linux itself sees to
//!   it that somebody does, about once a second. A kernel on its way up owes nobody anything yet. Both
//!   have ten times as long.
//! * Before its scheduler has run once, and before its time has moved once, a kernel has neither.

use super::evidence::Evidence;
use super::look::{Held, Look};
use super::rates::Rates;
use super::vitals::Vitals;
use darma_abi::shared::Cause;
use darma_abi::units::Nanos;
use darma_policy::boot::config::Watch;

/// An emulated kernel of which nothing is known unpacks itself for seconds without an interrupt.
const UNKNOWN: Nanos = Nanos(30_000_000_000);

/// What the last look saw.
#[derive(Clone, Copy, Debug)]
struct Before {
    accepted: u64,
    halts: u64,
    waited: bool,
    vitals: Vitals,
}

/// What stands still, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    before: Option<Before>,
    deaf: Held,
    frozen: Held,
    stuck: Held,
    silent: Held,
    scheduler_lives: bool,
    time_moves: bool,
}

impl Stall {
    pub(super) const NONE: Self = Self {
        before: None,
        deaf: Held::NOT,
        frozen: Held::NOT,
        stuck: Held::NOT,
        silent: Held::NOT,
        scheduler_lives: false,
        time_moves: false,
    };

    /// It should be looked at more often.
    pub(super) const fn is_suspicious(&self) -> bool {
        self.deaf.begun()
    }

    /// Adds a look; `gap` is the time that it can be charged with.
    pub(super) fn note(&mut self, look: &Look<'_>, gap: Nanos) {
        let waits = !look.idle && look.waiting.is_some();
        let now = Before {
            accepted: look.accepted,
            halts: look.halts,
            waited: waits,
            vitals: look.vitals,
        };
        let Some(before) = self.before.replace(now) else {
            return;
        };
        let quiet = look.accepted == before.accepted;
        let busy = !look.idle && look.halts == before.halts;
        let prints = changed(look.vitals.log, before.vitals.log) == Some(true);
        let booting = look.vitals.is_booting();

        self.deaf.note(waits && before.waited && quiet, prints, gap);
        self.silent.note(busy && quiet, false, gap);

        let ticks = changed(look.vitals.jiffies, before.vitals.jiffies);
        self.time_moves |= ticks == Some(true);
        self.frozen.note(
            self.time_moves && busy && ticks == Some(false),
            booting || prints,
            gap,
        );

        let switched = changed(look.vitals.switches, before.vitals.switches);
        self.scheduler_lives |= switched == Some(true);
        let alone = look.vitals.runnable.is_some_and(|count| count <= 1);
        self.stuck.note(
            self.scheduler_lives && busy && !look.in_user_mode && switched == Some(false),
            booting || prints || alone,
            gap,
        );
    }

    /// What has stood still for too long.
    pub(super) fn verdict(
        &self,
        look: &Look<'_>,
        limits: &Watch,
        rates: &Rates,
    ) -> Option<(Cause, Evidence)> {
        let rip = look.rip;
        if let (true, Some(waiting)) = (self.deaf.reaches(limits.hard_lockup), look.waiting) {
            let cause = if look.in_nmi {
                Cause::NmiHang
            } else {
                Cause::HardLockup
            };
            let evidence = Evidence::Deaf {
                held: self.deaf.total(),
                looks: self.deaf.looks(),
                waiting,
                interrupts_on: look.interrupts_on,
                rip,
            };
            return Some((cause, evidence));
        }
        if self.frozen.reaches(limits.soft_lockup) {
            let held = self.frozen.total();
            return Some((Cause::NoTick, Evidence::Frozen { held, rip }));
        }
        if self.stuck.reaches(limits.soft_lockup) {
            let held = self.stuck.total();
            let stuck = Evidence::Stuck {
                held,
                looks: self.stuck.looks(),
                rip,
            };
            return rates.storm(held).or(Some((Cause::SoftLockup, stuck)));
        }
        let held = self.silent.total();
        self.silent
            .reaches(Some(UNKNOWN))
            .then_some((Cause::NoProgress, Evidence::Silent { held, rip }))
    }
}

/// Whether a sign differs from the last look's, if both looks had it.
fn changed(now: Option<u64>, before: Option<u64>) -> Option<bool> {
    Some(now? != before?)
}
