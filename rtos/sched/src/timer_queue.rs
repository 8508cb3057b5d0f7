//! Absolute deadlines, and which of them comes next.
//!
//! Expiries run in the timer's interrupt, ahead of the task that they release, so every instruction
//! here is latency. Only the *armed* timers are kept, in a fixed array sorted with the nearest
//! **last**: taking the nearest moves nothing. What a task's own next release costs is paid when the
//! task is done ([`TimerQueue::insert`]), by whoever has time then. Rejected: a scan over all slots, which
//! costs several times as much when few are armed, and a heap, whose shape gains nothing at this size.
//!
//! Worst case: an operation looks at each armed timer twice, so at [`CAPACITY`] entries twice.
//!
//! Deadlines and slots are two arrays of 256 places, indexed by a byte: no bound check, no mask, no
//! shift stands in the interrupt's path.
//!
//! Slot numbers are the tie-break: of two equal deadlines the lower slot comes first.
//!
//! Invariants: place 0 is a sentinel whose deadline never comes; places `1..=armed` descend by
//! (deadline, slot); a slot stands in them at most once.

use darma_abi::units::Cycles;

/// Arming for this point, which lies centuries away, disarms.
const DISARMED: u64 = u64::MAX;
/// Most timers that are armed at one time: few enough that moving them all is cheap.
pub const CAPACITY: u8 = 31;
const PLACES: usize = 256;

/// Timers by slot number, each armed for one absolute point in cycles or disarmed.
#[derive(Clone, Debug)]
pub struct TimerQueue {
    armed: u8,
    slots: [u8; PLACES],
    deadlines: [u64; PLACES],
}

impl Default for TimerQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl TimerQueue {
    /// All disarmed.
    pub const fn new() -> Self {
        Self {
            armed: 0,
            slots: [u8::MAX; PLACES],
            deadlines: [DISARMED; PLACES],
        }
    }

    /// Arms a slot, replacing what it waited for. Returns whether the earliest deadline changed,
    /// which is when the hardware must be set anew. The thirty-second armed slot is ignored.
    #[inline(never)]
    pub fn arm(&mut self, slot: u8, deadline: Cycles) -> bool {
        let before = self.next();
        self.remove(slot);
        self.insert(slot, deadline);
        self.next() != before
    }

    /// Arms a slot that is not armed. The thirty-second armed slot is ignored.
    #[inline]
    pub fn insert(&mut self, slot: u8, deadline: Cycles) {
        if deadline.0 == DISARMED || self.armed >= CAPACITY {
            return;
        }
        self.armed += 1;
        let mut at = self.armed;
        // What is nearer than it moves up by one.
        while at > 1 && !self.is_after(at - 1, deadline.0, slot) {
            self.copy(at - 1, at);
            at -= 1;
        }
        self.slots[usize::from(at)] = slot;
        self.deadlines[usize::from(at)] = deadline.0;
    }

    /// Disarms a slot. Returns whether the earliest deadline changed.
    #[inline]
    pub fn cancel(&mut self, slot: u8) -> bool {
        let before = self.next();
        self.remove(slot);
        self.next() != before
    }

    /// The earliest deadline; [`Cycles`] of `u64::MAX` if nothing is armed.
    #[inline(always)]
    pub const fn next(&self) -> Cycles {
        Cycles(self.deadlines[self.armed as usize])
    }

    /// Takes and disarms the earliest slot if its time has come. The end of the clock, `u64::MAX`
    /// cycles, is no time.
    #[inline(always)]
    pub fn pop_due(&mut self, now: Cycles) -> Option<u8> {
        if self.next() > now {
            return None;
        }
        let slot = self.slots[usize::from(self.armed)];
        // Never below zero: the sentinel's time does not come.
        self.armed = self.armed.wrapping_sub(1);
        Some(slot)
    }

    #[inline(always)]
    fn is_after(&self, at: u8, deadline: u64, slot: u8) -> bool {
        let (other, other_slot) = (self.deadlines[usize::from(at)], self.slots[usize::from(at)]);
        other > deadline || (other == deadline && other_slot > slot)
    }

    #[inline(always)]
    fn copy(&mut self, from: u8, to: u8) {
        self.slots[usize::from(to)] = self.slots[usize::from(from)];
        self.deadlines[usize::from(to)] = self.deadlines[usize::from(from)];
    }

    fn remove(&mut self, slot: u8) {
        let Some(at) = (1..=self.armed).find(|at| self.slots[usize::from(*at)] == slot) else {
            return;
        };
        for place in at..self.armed {
            self.copy(place + 1, place);
        }
        self.armed -= 1;
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
        let mut queue = TimerQueue::new();
        queue.arm(0, Cycles(30));
        queue.arm(1, Cycles(10));
        queue.arm(2, Cycles(20));
        assert_eq!(queue.next(), Cycles(10));
        assert_eq!(queue.pop_due(Cycles(25)), Some(1));
        assert_eq!(queue.pop_due(Cycles(25)), Some(2));
        assert_eq!(queue.pop_due(Cycles(25)), None);
    }

    #[test]
    fn of_equal_deadlines_the_lower_slot_comes_first() {
        let mut queue = TimerQueue::new();
        queue.arm(2, Cycles(7));
        queue.arm(0, Cycles(7));
        assert_eq!(queue.pop_due(Cycles(7)), Some(0));
        assert_eq!(queue.pop_due(Cycles(7)), Some(2));
    }

    #[test]
    fn arming_tells_whether_the_hardware_must_be_set_anew() {
        let mut queue = TimerQueue::new();
        assert!(queue.arm(0, Cycles(50)));
        assert!(!queue.arm(1, Cycles(60)));
        assert!(queue.arm(1, Cycles(40)));
        assert!(queue.cancel(1));
        assert!(!queue.cancel(1));
        assert_eq!(queue.next(), Cycles(50));
    }

    #[test]
    fn as_many_as_there_is_room_for_may_be_armed_at_once_and_no_more() {
        let mut queue = TimerQueue::new();
        for slot in 0..31 {
            queue.arm(slot, Cycles(u64::MAX - 1));
        }
        for slot in 0..32 {
            queue.arm(slot, Cycles(7));
        }
        for slot in 0..31 {
            assert_eq!(queue.pop_due(Cycles(7)), Some(slot));
        }
        assert_eq!(queue.pop_due(Cycles(u64::MAX - 1)), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u8, u64),
        Cancel(u8),
        Pop(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..8, 0u64..100).prop_map(|(slot, at)| Step::Arm(slot, at)),
            (0u8..8).prop_map(Step::Cancel),
            (0u64..100).prop_map(Step::Pop),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = TimerQueue::new();
            let mut model = BTreeMap::<u8, u64>::new();
            for step in steps {
                let before = model.values().copied().min();
                match step {
                    Step::Arm(slot, at) => {
                        let changed = queue.arm(slot, Cycles(at));
                        model.insert(slot, at);
                        prop_assert_eq!(changed, model.values().copied().min() != before);
                    }
                    Step::Cancel(slot) => {
                        let changed = queue.cancel(slot);
                        model.remove(&slot);
                        prop_assert_eq!(changed, model.values().copied().min() != before);
                    }
                    Step::Pop(now) => {
                        let first = model.iter().map(|(s, d)| (*d, *s)).min();
                        let expected = first.filter(|(deadline, _)| *deadline <= now);
                        let got = queue.pop_due(Cycles(now));
                        prop_assert_eq!(got, expected.map(|(_, slot)| slot));
                        if let Some((_, slot)) = expected { model.remove(&slot); }
                    }
                }
                let next = model.values().copied().min().unwrap_or(u64::MAX);
                prop_assert_eq!(queue.next(), Cycles(next));
            }
        }
    }
}
