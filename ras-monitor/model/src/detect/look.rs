//! A look at the running GPOS: what the monitor samples, and how long a silence has lasted.
//!
//! Looks are samples. Between two of them nothing is known but what counters say, so the detectors
//! rest on counters that did *not* move wherever they can, and a sampled state counts for the time
//! between two looks only if both looks saw it. A look that comes late (a debugger held the
//! machine, the clock jumped) proves nothing about the time in between, so the time that one
//! look can add is capped; and a GPOS that was not entered at all, because tasks took the
//! processor, is charged nothing.

use super::vitals::Vitals;
use darma_abi::units::{GuestVirt, Nanos, Vector};

/// One sample of the GPOS.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// When.
    pub at: Nanos,
    /// Where it runs.
    pub rip: GuestVirt,
    /// It runs user code (CPL 3).
    pub in_user_mode: bool,
    /// It sits in HLT with interrupts on.
    pub idle: bool,
    /// RFLAGS.IF.
    pub interrupts_on: bool,
    /// The handler of a non-maskable interrupt has not returned yet.
    pub in_nmi: bool,
    /// The most urgent interrupt that waits for it.
    pub waiting: Option<Vector>,
    /// Interrupts that it has taken so far.
    pub accepted: u64,
    /// The last of them.
    pub last_vector: Option<Vector>,
    /// How often it was entered so far.
    pub entries: u64,
    /// How often it has gone to sleep so far.
    pub halts: u64,
    /// Exits so far that the host had to emulate, by kind.
    pub exits: &'a [u64],
    /// The names of these kinds.
    pub kinds: &'static [&'static str],
    /// What the kernel says of itself.
    pub vitals: Vitals,
}

/// How long a condition has held, in time that the GPOS can be charged with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    time: u64,
    total: u64,
    looks: u32,
}

/// An excuse holds so many limits long, and no longer.
const PATIENCE: u64 = 10;

impl Held {
    pub(super) const NOT: Self = Self {
        time: 0,
        total: 0,
        looks: 0,
    };

    /// The condition held for `gap` more, if `holds`. A gap with an excuse (the kernel prints, nobody
    /// else wants to run) sets the time back, but for ten limits at most.
    pub(super) fn note(&mut self, holds: bool, excused: bool, gap: Nanos) {
        if !holds {
            *self = Self::NOT;
            return;
        }
        self.looks = self.looks.saturating_add(1);
        self.total = self.total.saturating_add(gap.0);
        self.time = if excused {
            0
        } else {
            self.time.saturating_add(gap.0)
        };
    }

    /// It has held for `limit`.
    pub(super) fn reaches(&self, limit: Option<Nanos>) -> bool {
        limit.is_some_and(|limit| {
            self.time >= limit.0 || self.total >= limit.0.saturating_mul(PATIENCE)
        })
    }

    /// It holds at all.
    pub(super) const fn begun(&self) -> bool {
        self.looks > 0
    }

    /// For how long, excuses included.
    pub(super) const fn total(&self) -> Nanos {
        Nanos(self.total)
    }

    /// Over how many looks.
    pub(super) const fn looks(&self) -> u32 {
        self.looks
    }
}
