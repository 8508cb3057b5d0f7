//! Reload the GPOS once more, or give up?
//!
//! A GPOS that reached user space before it failed has shown that its image works: it is reloaded
//! at once, however often. One that keeps failing on the way up is a crash loop: each further try
//! waits twice as long as the one before, and after a limit it is held down until somebody decides
//! (the RTOS runs on all the while).

use darma_abi::units::Nanos;

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row on the way up after which the GPOS is held down.
    pub failed_boots_max: u32,
    /// The wait before the second try; it doubles from there.
    pub first_wait: Nanos,
    /// The longest wait.
    pub longest_wait: Nanos,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failed_boots_max: 5,
            first_wait: Nanos(1_000_000_000),
            longest_wait: Nanos(60_000_000_000),
        }
    }
}

/// What to do with a failed GPOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Reload it after this wait.
    Reload {
        /// From the end of the capture; zero in the usual case.
        wait: Nanos,
    },
    /// Leave it stopped.
    HeldDown,
}

/// What the GPOS has been through since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    failed_boots: u32,
    failures: u64,
}

impl History {
    /// None so far.
    pub const fn new() -> Self {
        Self {
            failed_boots: 0,
            failures: 0,
        }
    }

    /// All failures since the machine started.
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// The GPOS reported its user space: the image works.
    pub const fn reached_user_space(&mut self) {
        self.failed_boots = 0;
    }

    /// Somebody decided that a GPOS held down is to be tried again.
    pub const fn released(&mut self) {
        self.failed_boots = 0;
    }

    /// Notes one more failure and says what to do about it.
    pub fn next_step(&mut self, policy: &Policy) -> NextStep {
        self.failures = self.failures.saturating_add(1);
        self.failed_boots = self.failed_boots.saturating_add(1);
        if self.failed_boots > policy.failed_boots_max {
            return NextStep::HeldDown;
        }
        // The first failure after user space was up costs no wait.
        let wait = match self.failed_boots.checked_sub(2) {
            None => 0,
            Some(doublings) => {
                let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
                policy
                    .first_wait
                    .0
                    .saturating_mul(factor)
                    .min(policy.longest_wait.0)
            }
        };
        NextStep::Reload { wait: Nanos(wait) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: NextStep = NextStep::Reload { wait: Nanos(0) };

    #[test]
    fn a_system_that_comes_up_is_reloaded_at_once_however_often() {
        let mut history = History::new();
        for _ in 0..100 {
            history.reached_user_space();
            assert_eq!(history.next_step(&Policy::default()), AT_ONCE);
        }
        assert_eq!(history.failures(), 100);
    }

    #[test]
    fn a_crash_loop_is_slowed_and_then_broken() {
        let policy = Policy {
            failed_boots_max: 5,
            first_wait: Nanos(10),
            longest_wait: Nanos(25),
        };
        let mut history = History::new();
        let mut waits = [0; 5];
        for wait in &mut waits {
            let NextStep::Reload { wait: next } = history.next_step(&policy) else {
                panic!("held down too early")
            };
            *wait = next.0;
        }
        assert_eq!(waits, [0, 10, 20, 25, 25]);
        assert_eq!(history.next_step(&policy), NextStep::HeldDown);
        history.released();
        assert_eq!(history.next_step(&policy), AT_ONCE);
    }
}
