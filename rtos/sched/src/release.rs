//! When a periodic task is released.
//!
//! Releases lie on a fixed grid `first + k * period`: the next one is computed from the last
//! release, never from the time of the interrupt, so lateness does not accumulate into drift. When
//! the task (or the machine) was away for whole periods, those releases are *skipped*, each one
//! counted: running them in a burst would make every later release late as well.

use darma_abi::units::Cycles;

/// One release of a periodic task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The point on the grid that the task should have started at: lateness counts from here.
    pub at: Cycles,
    /// Releases after `at` that had passed too when it was served; they are never run.
    pub skipped: u64,
    /// The next release: what to arm the timer for.
    pub next: Cycles,
}

/// The release grid of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periodic {
    period: u64,
    next: u64,
}

impl Periodic {
    /// A grid that starts at `first`, in cycles. A period of zero is taken as one cycle.
    pub const fn new(first: Cycles, period: Cycles) -> Self {
        Self {
            period: if period.0 == 0 { 1 } else { period.0 },
            next: first.0,
        }
    }

    /// The release to wait for.
    pub const fn next(&self) -> Cycles {
        Cycles(self.next)
    }

    /// The distance between two releases.
    pub const fn period(&self) -> Cycles {
        Cycles(self.period)
    }

    /// Takes the release that is due at `now`, or `None` if it is not yet time. One addition in
    /// the usual case; one division when releases were skipped.
    #[inline]
    pub fn take(&mut self, now: Cycles) -> Option<Release> {
        let at = self.next;
        let late = now.0.checked_sub(at)?;
        let (skipped, distance) = if late < self.period {
            (0, self.period)
        } else {
            self.skip(late)
        };
        // Saturation parks the task at the end of time, centuries away.
        self.next = at.saturating_add(distance);
        Some(Release {
            at: Cycles(at),
            skipped,
            next: Cycles(self.next),
        })
    }

    /// How many releases lie within `late`, and how far on the first after them lies.
    #[cold]
    const fn skip(&self, late: u64) -> (u64, u64) {
        let skipped = late / self.period;
        (
            skipped,
            self.period.saturating_mul(skipped.saturating_add(1)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_released_early() {
        let mut task = Periodic::new(Cycles(100), Cycles(10));
        assert_eq!(task.take(Cycles(99)), None);
        assert_eq!(
            task.take(Cycles(100)),
            Some(Release {
                at: Cycles(100),
                skipped: 0,
                next: Cycles(110)
            })
        );
    }

    #[test]
    fn whole_periods_that_passed_are_skipped_and_counted() {
        let mut task = Periodic::new(Cycles(100), Cycles(10));
        // 100 is served at 135: 110, 120 and 130 are gone, 140 is next.
        assert_eq!(
            task.take(Cycles(135)),
            Some(Release {
                at: Cycles(100),
                skipped: 3,
                next: Cycles(140)
            })
        );
    }

    #[test]
    fn the_end_of_time_does_not_wrap() {
        let mut task = Periodic::new(Cycles(u64::MAX - 1), Cycles(100));
        assert!(task.take(Cycles(u64::MAX)).is_some());
        assert_eq!(task.next(), Cycles(u64::MAX));
    }

    proptest! {
        #[test]
        fn releases_and_skips_together_are_the_grid(
            first in 0u64..1_000_000,
            period in 1u64..100_000,
            delays in prop::collection::vec(0u64..400_000, 1..100),
        ) {
            let mut task = Periodic::new(Cycles(first), Cycles(period));
            let mut served = 0u64;
            for delay in delays {
                let now = Cycles(task.next().0 + delay);
                let release = task.take(now).expect("due");
                prop_assert_eq!(release.at.0, first + served * period);
                served += 1 + release.skipped;
                prop_assert_eq!(release.next.0, first + served * period);
                prop_assert!(release.next > now);
                prop_assert!(release.next.0 - now.0 <= period);
            }
        }
    }
}
