//! Absolute deadlines, and which of them comes next.
//!
//! A slot per timer, at most 32: a scan of so few words beats a heap in code and in worst case, and
//! has no shapes to go wrong. The earliest slot is remembered, so asking for it, which happens on
//! every exit of the GPOS, reads two words; the scan is paid when a timer is armed or expires.
//!
//! Slot numbers are the tie-break: of two equal deadlines the lower slot comes first, so whoever
//! hands out slots gives the more urgent task the lower one.

use darma_abi::units::Cycles;

/// Marks a slot that waits for nothing. As a deadline it lies centuries away.
const DISARMED: u64 = u64::MAX;

/// An expired timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which timer.
    pub slot: usize,
    /// What it had been armed for.
    pub deadline: Cycles,
}

/// `N` timers, each armed for one absolute point in cycles or disarmed.
#[derive(Clone, Debug)]
pub struct TimerQueue<const N: usize> {
    deadlines: [u64; N],
    earliest: usize,
    earliest_deadline: u64,
}

impl<const N: usize> Default for TimerQueue<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> TimerQueue<N> {
    /// All disarmed. More than 32 slots do not compile.
    pub const fn new() -> Self {
        const {
            assert!(
                N <= 32,
                "a scan of more than 32 slots is no longer the right structure"
            )
        };
        Self {
            deadlines: [DISARMED; N],
            earliest: 0,
            earliest_deadline: DISARMED,
        }
    }

    /// Arms a slot, replacing what it waited for. Returns whether the earliest deadline changed,
    /// which is when the hardware must be set anew. A slot that does not exist is ignored.
    pub fn arm(&mut self, slot: usize, deadline: Cycles) -> bool {
        let before = self.earliest_deadline;
        if let Some(entry) = self.deadlines.get_mut(slot) {
            *entry = deadline.0;
            self.rescan();
        }
        self.earliest_deadline != before
    }

    /// Disarms a slot. Returns whether the earliest deadline changed.
    pub fn cancel(&mut self, slot: usize) -> bool {
        self.arm(slot, Cycles(DISARMED))
    }

    /// The earliest deadline, if any slot is armed.
    #[inline]
    pub const fn next(&self) -> Option<Cycles> {
        if self.earliest_deadline == DISARMED {
            None
        } else {
            Some(Cycles(self.earliest_deadline))
        }
    }

    /// Takes and disarms the earliest slot if its time has come. Called until it says `None`, it
    /// returns at most `N` times for one `now`, unless the caller arms slots in the past between.
    pub fn pop_due(&mut self, now: Cycles) -> Option<Due> {
        if self.earliest_deadline > now.0 || self.earliest_deadline == DISARMED {
            return None;
        }
        let due = Due {
            slot: self.earliest,
            deadline: Cycles(self.earliest_deadline),
        };
        if let Some(entry) = self.deadlines.get_mut(self.earliest) {
            *entry = DISARMED;
        }
        self.rescan();
        Some(due)
    }

    fn rescan(&mut self) {
        self.earliest = 0;
        self.earliest_deadline = DISARMED;
        for (slot, deadline) in self.deadlines.iter().enumerate() {
            if *deadline < self.earliest_deadline {
                self.earliest = slot;
                self.earliest_deadline = *deadline;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn timers_expire_in_the_order_of_their_deadlines() {
        let mut queue = TimerQueue::<4>::new();
        queue.arm(0, Cycles(30));
        queue.arm(1, Cycles(10));
        queue.arm(2, Cycles(20));
        assert_eq!(queue.next(), Some(Cycles(10)));
        assert_eq!(
            queue.pop_due(Cycles(25)),
            Some(Due {
                slot: 1,
                deadline: Cycles(10)
            })
        );
        assert_eq!(
            queue.pop_due(Cycles(25)),
            Some(Due {
                slot: 2,
                deadline: Cycles(20)
            })
        );
        assert_eq!(queue.pop_due(Cycles(25)), None);
    }

    #[test]
    fn of_equal_deadlines_the_lower_slot_comes_first() {
        let mut queue = TimerQueue::<3>::new();
        queue.arm(2, Cycles(7));
        queue.arm(0, Cycles(7));
        assert_eq!(queue.pop_due(Cycles(7)).map(|due| due.slot), Some(0));
        assert_eq!(queue.pop_due(Cycles(7)).map(|due| due.slot), Some(2));
    }

    #[test]
    fn arming_tells_whether_the_hardware_must_be_set_anew() {
        let mut queue = TimerQueue::<2>::new();
        assert!(queue.arm(0, Cycles(50)));
        assert!(!queue.arm(1, Cycles(60)));
        assert!(queue.arm(1, Cycles(40)));
        assert!(queue.cancel(1));
        assert!(!queue.cancel(1));
        assert!(!queue.arm(9, Cycles(1)), "no such slot");
        assert_eq!(queue.next(), Some(Cycles(50)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(usize, u64),
        Cancel(usize),
        Pop(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..8, 0u64..100).prop_map(|(slot, at)| Step::Arm(slot, at)),
            (0usize..8).prop_map(Step::Cancel),
            (0u64..100).prop_map(Step::Pop),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = TimerQueue::<8>::new();
            let mut model = BTreeMap::<usize, u64>::new();
            for step in steps {
                match step {
                    Step::Arm(slot, at) => { queue.arm(slot, Cycles(at)); model.insert(slot, at); }
                    Step::Cancel(slot) => { queue.cancel(slot); model.remove(&slot); }
                    Step::Pop(now) => {
                        let first = model.iter().map(|(s, d)| (*d, *s)).min();
                        let expected = first.filter(|(deadline, _)| *deadline <= now);
                        let got = queue.pop_due(Cycles(now)).map(|due| (due.deadline.0, due.slot));
                        prop_assert_eq!(got, expected);
                        if let Some((_, slot)) = expected { model.remove(&slot); }
                    }
                }
                prop_assert_eq!(queue.next().map(|d| d.0), model.values().copied().min());
            }
        }
    }
}
