//! The recovery ladder: what the GPOS is started from next, after which wait, or whether it is left down.
//!
//! ```text
//!              limit starts failed      limit starts failed     limit starts failed
//!   Trial ────────────────────► First ────────────────────► Rescue ───────────────► held down
//!     │ user space up             ▲ ▲ ▲        (no rescue image: held down)            │
//!     └───────────────────────────┘ │ └── ordered restart of Rescue ── Rescue          │
//!                                   └──────────────── somebody says: try again ────────┘
//! ```
//! A start that reached user space has shown that its image works: whatever fails later, it is reloaded
//! at once, however often. A start that failed on the way up counts. Each further failed start waits
//! twice as long as the one before, and when as many as the limit failed within the window, the
//! ladder goes one rung down. Counting within a window, and not since ever, keeps a machine with a rare
//! failure at each start (once a week, say) from ending on the last rung after a few months.
//!
//! Pure: time is an argument. Rejected: counting every failure. A GPOS that comes up and is killed
//! once an hour by its workload is doing what it can, and the rescue image would do less.

use darma_abi::units::Nanos;

/// The most failed starts that are counted, and so the highest limit.
pub const LIMIT_MAX: u32 = 32;
const KEPT: usize = LIMIT_MAX as usize;

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failed starts within the window after which the ladder goes one rung down, 1 to
    /// [`LIMIT_MAX`]; `None` for never.
    pub limit: Option<u32>,
    /// How long a failed start counts; `None` for ever.
    pub window: Option<Nanos>,
    /// The wait after the second failed start; it doubles from there. After the first there is none.
    pub first_wait: Nanos,
    /// The longest wait.
    pub longest_wait: Nanos,
    /// Whether there is a rescue image to go to.
    pub rescue: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            limit: Some(5),
            window: Some(Nanos(3_600_000_000_000)),
            first_wait: Nanos(1_000_000_000),
            longest_wait: Nanos(60_000_000_000),
            rescue: false,
        }
    }
}

/// What the GPOS is started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// An image that was staged and has not reached user space yet.
    Trial,
    /// The image in use.
    First,
    /// The rescue system of the image.
    Rescue,
}

/// What to do with a GPOS that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Start it.
    Start {
        /// From what.
        from: Rung,
        /// After this wait, from the end of the capture; zero in the usual case.
        wait: Nanos,
    },
    /// Leave it stopped until somebody decides.
    HeldDown,
}

/// What the GPOS has been through since the machine started.
#[derive(Clone, Debug)]
pub struct History {
    rung: Rung,
    /// The running start reached user space.
    came_up: bool,
    /// When starts failed on this rung: the newest, in a ring. `seen` of them ever.
    failed_at: [Nanos; KEPT],
    seen: usize,
    failures: u64,
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// Nothing so far.
    pub const fn new() -> Self {
        Self {
            rung: Rung::First,
            came_up: false,
            failed_at: [Nanos(0); KEPT],
            seen: 0,
            failures: 0,
        }
    }

    /// All failures since the machine started.
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// What the GPOS is started from at present.
    pub const fn rung(&self) -> Rung {
        self.rung
    }

    /// How many starts of this rung failed within the window that ends `now`.
    pub fn failed_starts(&self, now: Nanos, policy: &Policy) -> u32 {
        let kept = self.failed_at.iter().take(self.seen);
        let counts = |at: &&Nanos| {
            policy
                .window
                .is_none_or(|window| now.0.saturating_sub(at.0) <= window.0)
        };
        u32::try_from(kept.filter(counts).count()).unwrap_or(LIMIT_MAX)
    }

    /// The GPOS reported its user space: the image works. True if that ends a trial, whose image is
    /// the one in use from now on.
    pub const fn reached_user_space(&mut self) -> bool {
        self.came_up = true;
        self.seen = 0;
        let accepted = matches!(self.rung, Rung::Trial);
        if accepted {
            self.rung = Rung::First;
        }
        accepted
    }

    /// A staged image is started from now on, until it is accepted or fails too often.
    pub const fn begin_trial(&mut self) {
        self.move_to(Rung::Trial);
    }

    /// Somebody decided that the GPOS is to be tried again, from `rung`.
    pub const fn released(&mut self, rung: Rung) {
        self.move_to(rung);
    }

    /// The GPOS restarted itself in an orderly way: no failure, so nothing is counted and nothing
    /// waited for. Out of the rescue system this leads back to the image that it was to repair.
    pub const fn restarted(&mut self) -> NextStep {
        self.came_up = false;
        if matches!(self.rung, Rung::Rescue) {
            self.move_to(Rung::First);
        }
        NextStep::Start {
            from: self.rung,
            wait: Nanos(0),
        }
    }

    /// Notes a failure at `now` and says what to do about it.
    pub fn failed(&mut self, now: Nanos, policy: &Policy) -> NextStep {
        self.failures = self.failures.saturating_add(1);
        if core::mem::replace(&mut self.came_up, false) {
            return NextStep::Start {
                from: self.rung,
                wait: Nanos(0),
            };
        }
        self.note(now);
        let count = self.failed_starts(now, policy);
        if policy.limit.is_none_or(|limit| count < limit) {
            return NextStep::Start {
                from: self.rung,
                wait: wait_after(count, policy),
            };
        }
        self.one_down(policy)
    }

    /// What the running rung starts from cannot be loaded at all: no use in trying it again.
    pub const fn unusable(&mut self, policy: &Policy) -> NextStep {
        self.failures = self.failures.saturating_add(1);
        self.one_down(policy)
    }

    const fn one_down(&mut self, policy: &Policy) -> NextStep {
        match self.rung {
            Rung::Trial => self.move_to(Rung::First),
            Rung::First if policy.rescue => self.move_to(Rung::Rescue),
            Rung::First | Rung::Rescue => return NextStep::HeldDown,
        }
        NextStep::Start {
            from: self.rung,
            wait: Nanos(0),
        }
    }

    const fn move_to(&mut self, rung: Rung) {
        self.rung = rung;
        self.came_up = false;
        self.seen = 0;
    }

    /// Adds a failed start; the oldest gives way when the ring is full.
    fn note(&mut self, now: Nanos) {
        if self.seen >= KEPT {
            self.failed_at.rotate_left(1);
            self.seen = KEPT - 1;
        }
        if let Some(place) = self.failed_at.get_mut(self.seen) {
            *place = now;
        }
        self.seen += 1;
    }
}

/// The wait after the `count`th failed start.
fn wait_after(count: u32, policy: &Policy) -> Nanos {
    // The first failed start may be anything: it costs no wait.
    let Some(doublings) = count.checked_sub(2) else {
        return Nanos(0);
    };
    let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
    let wait = policy.first_wait.0.saturating_mul(factor);
    Nanos(wait.min(policy.longest_wait.0))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const POLICY: Policy = Policy {
        limit: Some(3),
        window: Some(Nanos(1000)),
        first_wait: Nanos(10),
        longest_wait: Nanos(25),
        rescue: true,
    };

    fn start(from: Rung, wait: u64) -> NextStep {
        NextStep::Start {
            from,
            wait: Nanos(wait),
        }
    }

    #[test]
    fn a_system_that_comes_up_is_reloaded_at_once_however_often() {
        let mut history = History::new();
        for second in 0..100 {
            history.reached_user_space();
            let step = history.failed(Nanos(second), &POLICY);
            assert_eq!(step, start(Rung::First, 0));
        }
        assert_eq!(history.failures(), 100);
    }

    #[test]
    fn a_crash_loop_is_slowed_and_then_broken() {
        let policy = Policy {
            limit: Some(6),
            rescue: false,
            ..POLICY
        };
        let mut history = History::new();
        let steps: Vec<_> = (0..6)
            .map(|at| history.failed(Nanos(at), &policy))
            .collect();
        let waits = [0, 10, 20, 25, 25].map(|wait| start(Rung::First, wait));
        assert_eq!(steps[..5], waits);
        assert_eq!(steps[5], NextStep::HeldDown);
        history.released(Rung::First);
        assert_eq!(history.failed(Nanos(7), &policy), start(Rung::First, 0));
    }

    #[test]
    fn each_rung_has_its_own_count_and_the_last_one_is_the_end() {
        let mut history = History::new();
        history.begin_trial();
        let mut fail = || history.failed(Nanos(5), &POLICY);
        let seen: Vec<_> = (0..9).map(|_| fail()).collect();
        let from = |rung| [start(rung, 0), start(rung, 10)];
        assert_eq!(seen[..2], from(Rung::Trial));
        assert_eq!(seen[2], start(Rung::First, 0));
        assert_eq!(seen[3..5], from(Rung::First));
        assert_eq!(seen[5], start(Rung::Rescue, 0));
        assert_eq!(seen[6..8], from(Rung::Rescue));
        assert_eq!(seen[8], NextStep::HeldDown);
    }

    #[test]
    fn an_image_that_cannot_be_loaded_is_left_at_once() {
        let mut history = History::new();
        assert_eq!(history.unusable(&POLICY), start(Rung::Rescue, 0));
        assert_eq!(history.unusable(&POLICY), NextStep::HeldDown);
    }

    #[test]
    fn failures_that_are_far_apart_never_lead_down() {
        let mut history = History::new();
        for at in 0..50 {
            let step = history.failed(Nanos(at * 600), &POLICY);
            assert!(matches!(
                step,
                NextStep::Start {
                    from: Rung::First,
                    ..
                }
            ));
        }
    }

    #[test]
    fn a_trial_is_over_when_user_space_is_up() {
        let mut history = History::new();
        history.begin_trial();
        history.failed(Nanos(0), &POLICY);
        assert!(history.reached_user_space());
        assert!(!history.reached_user_space());
        assert_eq!(history.failed(Nanos(1), &POLICY), start(Rung::First, 0));
    }

    #[test]
    fn an_ordered_restart_counts_nothing_and_leads_out_of_the_rescue_system() {
        let mut history = History::new();
        for at in 0..100 {
            assert_eq!(history.restarted(), start(Rung::First, 0));
            assert_eq!(history.failed_starts(Nanos(at), &POLICY), 0);
        }
        history.released(Rung::Rescue);
        history.reached_user_space();
        assert_eq!(history.failed(Nanos(0), &POLICY), start(Rung::Rescue, 0));
        assert_eq!(history.restarted(), start(Rung::First, 0));
    }

    #[test]
    fn without_a_limit_it_is_tried_for_ever() {
        let policy = Policy {
            limit: None,
            window: None,
            ..POLICY
        };
        let mut history = History::new();
        for at in 0..1000 {
            let step = history.failed(Nanos(at), &policy);
            assert_ne!(step, NextStep::HeldDown);
        }
        assert_eq!(history.failed(Nanos(9), &policy), start(Rung::First, 25));
    }

    proptest! {
        /// However failures, starts and times fall: the ladder is left only downwards without help,
        /// a wait never exceeds the longest, and held down means that as many as the limit failed
        /// within the window.
        #[test]
        fn the_ladder_only_leads_down(
            steps in proptest::collection::vec((0u64..500, any::<bool>()), 0..200),
            limit in 1..LIMIT_MAX + 1, window in proptest::option::of(0u64..5000), rescue: bool,
        ) {
            let policy = Policy { limit: Some(limit), window: window.map(Nanos), rescue, ..POLICY };
            let mut history = History::new();
            let (mut now, mut lowest) = (0, 1);
            let depth = |rung| match rung { Rung::Trial => 0, Rung::First => 1, Rung::Rescue => 2 };
            for (pause, comes_up) in steps {
                now += pause;
                if comes_up {
                    history.reached_user_space();
                }
                match history.failed(Nanos(now), &policy) {
                    NextStep::Start { from, wait } => {
                        prop_assert!(wait.0 <= policy.longest_wait.0 && depth(from) >= lowest);
                        prop_assert!(rescue || from != Rung::Rescue);
                        lowest = depth(from);
                    }
                    NextStep::HeldDown => {
                        prop_assert!(!comes_up);
                        prop_assert!(history.failed_starts(Nanos(now), &policy) >= limit);
                        break;
                    }
                }
            }
        }
    }
}
