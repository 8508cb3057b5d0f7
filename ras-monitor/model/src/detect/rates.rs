//! How many interrupts and exits in a second, and of which kind: what a storm is known by.
//!
//! Counted over windows of one second. The vector that stands for a window is the one that most
//! looks found to be the last taken (Boyer and Moore's vote), which costs nothing per interrupt.

use super::evidence::Evidence;
use super::look::Look;
use darma_abi::shared::Cause;
use darma_abi::units::{Nanos, Vector};

/// Length of a window.
const WINDOW: u64 = 1_000_000_000;
/// Interrupts in a second that explain why nothing else is done. A tick is 100 to 1000.
const INTERRUPTS: u64 = 10_000;
/// Exits of one kind in a second that do. Emulating one takes about a microsecond, Linux's part more.
const EXITS: u64 = 50_000;
/// So many times that, and it is recorded of a system that does well with it.
const REMARKABLE: u64 = 4;
/// Kinds that are counted.
const KINDS: usize = 12;

/// What a window brought.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    interrupts: u64,
    vector: Option<Vector>,
    exits: u64,
    kind: &'static str,
}

/// The running window and the last whole one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    begun_at: u64,
    accepted: u64,
    exits: [u64; KINDS],
    candidate: Option<Vector>,
    votes: u32,
    last: Rate,
}

impl Rates {
    pub(super) const NONE: Self = Self {
        begun_at: 0,
        accepted: 0,
        exits: [0; KINDS],
        candidate: None,
        votes: 0,
        last: Rate {
            interrupts: 0,
            vector: None,
            exits: 0,
            kind: "",
        },
    };

    /// Adds a look. True if it ends a window.
    pub(super) fn note(&mut self, look: &Look<'_>) -> bool {
        self.vote(look.last_vector);
        let elapsed = look.at.0.saturating_sub(self.begun_at);
        if elapsed < WINDOW {
            return false;
        }
        let per_second = |count: u64| {
            let scaled = u128::from(count) * u128::from(WINDOW) / u128::from(elapsed);
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        let mut last = Rate {
            interrupts: per_second(look.accepted.saturating_sub(self.accepted)),
            vector: self.candidate,
            ..Rate::default()
        };
        let counts = look.exits.iter().zip(look.kinds).zip(&mut self.exits);
        for ((now, kind), before) in counts {
            let rate = per_second(now.saturating_sub(*before));
            *before = *now;
            if rate > last.exits {
                (last.exits, last.kind) = (rate, kind);
            }
        }
        // The first window began before the first look: it knows no counts to begin with.
        let whole = self.begun_at != 0;
        if whole {
            self.last = last;
        }
        self.begun_at = look.at.0.max(1);
        self.accepted = look.accepted;
        (self.candidate, self.votes) = (None, 0);
        whole
    }

    /// The storm, if the last window was one that explains a standstill of so long.
    pub(super) fn storm(&self, held: Nanos) -> Option<(Cause, Evidence)> {
        self.above(1, held)
    }

    /// The storm, if the last window was one that is worth a record whatever came of it.
    pub(super) fn remarkable(&self) -> Option<(Cause, Evidence)> {
        self.above(REMARKABLE, Nanos(0))
    }

    fn above(&self, factor: u64, held: Nanos) -> Option<(Cause, Evidence)> {
        let Rate {
            interrupts,
            vector,
            exits,
            kind,
        } = self.last;
        if interrupts >= INTERRUPTS * factor {
            return Some((
                Cause::InterruptStorm,
                Evidence::Interrupts {
                    rate: interrupts,
                    vector,
                    held,
                },
            ));
        }
        let evidence = Evidence::Exits {
            rate: exits,
            kind,
            held,
        };
        (exits >= EXITS * factor).then_some((Cause::ExitStorm, evidence))
    }

    fn vote(&mut self, vector: Option<Vector>) {
        if self.votes == 0 {
            self.candidate = vector;
        }
        self.votes = if self.candidate == vector {
            self.votes.saturating_add(1)
        } else {
            self.votes - 1
        };
    }
}
