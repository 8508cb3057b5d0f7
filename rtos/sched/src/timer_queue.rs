//! Absolute deadlines, and which of them comes next.
//!
//! Expiries run in the timer's interrupt, ahead of the task that they release, so every instruction
//! here is latency. Only the *armed* timers are kept, usually three of many slots, in a fixed array
//! sorted with the nearest **last**: taking the nearest moves nothing, and arming moves only what is
//! nearer than the new deadline, which for the task with the shortest period is next to nothing.
//! Rejected: a scan over all slots, which costs several times as much when few are armed, and a heap,
//! whose shape gains nothing at this size.
//!
//! Worst case: an operation looks at each armed timer twice, so at `2 * N` entries.
//!
//! Slot numbers are the tie-break: of two equal deadlines the lower slot comes first, so whoever
//! hands out slots gives the more urgent task the lower one.
//!
//! Invariants: `entries[..armed]` descends strictly by (deadline, slot); a slot stands in it once,
//! exactly when its bit in `slots` is set; no deadline in it is [`DISARMED`].

use darma_abi::units::Cycles;

/// Arming for this point, which lies centuries away, disarms.
const DISARMED: u64 = u64::MAX;

/// An expired timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which timer.
    pub slot: usize,
    /// What it had been armed for.
    pub deadline: Cycles,
}

/// An armed timer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: u64,
    slot: usize,
}

impl Entry {
    const VACANT: Self = Self::new(0, DISARMED);

    #[inline]
    const fn new(slot: usize, deadline: u64) -> Self {
        Self { deadline, slot }
    }

    #[inline]
    const fn is_before(&self, other: &Self) -> bool {
        self.deadline < other.deadline
            || (self.deadline == other.deadline && self.slot < other.slot)
    }
}

/// `N` timers, each armed for one absolute point in cycles or disarmed.
#[derive(Clone, Debug)]
pub struct TimerQueue<const N: usize> {
    armed: usize,
    slots: u32,
    entries: [Entry; N],
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
                "with more than 32 slots moving entries is no longer cheap, and `slots` is too short"
            )
        };
        Self {
            armed: 0,
            slots: 0,
            entries: [Entry::VACANT; N],
        }
    }

    /// Arms a slot, replacing what it waited for. Returns whether the earliest deadline changed,
    /// which is when the hardware must be set anew. A slot that does not exist is ignored.
    #[inline]
    pub fn arm(&mut self, slot: usize, deadline: Cycles) -> bool {
        if slot >= N {
            return false;
        }
        if self.slots & Self::bit(slot) != 0 {
            return self.change(slot, deadline.0);
        }
        if deadline.0 == DISARMED {
            return false;
        }
        let first = deadline.0 < self.earliest();
        let free = self.armed;
        self.armed = free + 1;
        self.slots |= Self::bit(slot);
        self.settle(free, Entry::new(slot, deadline.0));
        first
    }

    /// Disarms a slot. Returns whether the earliest deadline changed.
    #[inline]
    pub fn cancel(&mut self, slot: usize) -> bool {
        self.arm(slot, Cycles(DISARMED))
    }

    /// The earliest deadline, if any slot is armed.
    #[inline]
    pub const fn next(&self) -> Option<Cycles> {
        match self.earliest() {
            DISARMED => None,
            deadline => Some(Cycles(deadline)),
        }
    }

    /// Takes and disarms the earliest slot if its time has come. Called until it says `None`, it
    /// returns at most `N` times for one `now`, unless the caller arms slots in the past between.
    #[inline]
    pub fn pop_due(&mut self, now: Cycles) -> Option<Due> {
        let last = self.armed.wrapping_sub(1);
        let first = self.entries.get(last)?;
        if first.deadline > now.0 {
            return None;
        }
        self.armed = last;
        self.slots &= !Self::bit(first.slot);
        Some(Due {
            slot: first.slot,
            deadline: Cycles(first.deadline),
        })
    }

    #[inline]
    const fn bit(slot: usize) -> u32 {
        // Slots are below 32; the mask is for the compiler.
        1 << (slot & 31)
    }

    /// The earliest deadline, [`DISARMED`] if there is none: then the index wraps past the end.
    #[inline]
    const fn earliest(&self) -> u64 {
        let last = self.armed.wrapping_sub(1);
        if last < N {
            self.entries[last].deadline
        } else {
            DISARMED
        }
    }

    /// Moves the entry of an armed slot, or takes it out; returns what [`Self::arm`] does. Out of
    /// line: in the interrupt's path a slot is armed only after it expired.
    #[inline(never)]
    fn change(&mut self, slot: usize, deadline: u64) -> bool {
        let before = self.earliest();
        let armed = self.entries.get(..self.armed).unwrap_or_default();
        let Some(mut at) = armed.iter().rposition(|entry| entry.slot == slot) else {
            return false;
        };
        let new = Entry::new(slot, deadline);
        // What the new deadline overtakes moves down by one; disarming closes the gap.
        for next in at + 1..self.armed {
            match self.entries.get(next) {
                Some(&nearer) if deadline == DISARMED || new.is_before(&nearer) => {
                    self.set(at, nearer);
                    at = next;
                }
                _ => break,
            }
        }
        if deadline == DISARMED {
            self.slots &= !Self::bit(slot);
            self.armed = at;
        } else {
            self.settle(at, new);
        }
        self.earliest() != before
    }

    /// Puts an entry in at `at`, which is free, or farther: what is nearer than it moves up by one.
    #[inline(always)]
    fn settle(&mut self, mut at: usize, new: Entry) {
        while let Some(&farther) = self.entries.get(at.wrapping_sub(1)) {
            if new.is_before(&farther) {
                break;
            }
            self.set(at, farther);
            at -= 1;
        }
        self.set(at, new);
    }

    /// A place past the last is ignored; by the invariants there is never a call for one.
    #[inline]
    fn set(&mut self, at: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
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

    #[test]
    fn every_slot_may_be_armed_at_once() {
        let mut queue = TimerQueue::<32>::new();
        for slot in 0..32 {
            queue.arm(slot, Cycles(u64::MAX - 1));
        }
        for slot in 0..32 {
            queue.arm(slot, Cycles(7));
        }
        for slot in 0..32 {
            assert_eq!(queue.pop_due(Cycles(7)).map(|due| due.slot), Some(slot));
        }
        assert_eq!(queue.pop_due(Cycles(u64::MAX)), None);
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
