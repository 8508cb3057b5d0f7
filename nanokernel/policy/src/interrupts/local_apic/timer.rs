//! The timer of the virtual local APIC: one-shot, periodic and TSC-deadline (APM2 16.4.1, 16.13).
//!
//! The virtual bus runs at the frequency of the time-stamp counter: one tick of the undivided timer
//! is one cycle. A bus of a round frequency was rejected: it needs a fixed-point ratio in both
//! directions, and rounding is what makes a timer fire early. This way every conversion is a
//! shift, because the divider is a power of two, and the GPOS calibrates the bus like any other.
//!
//! ```text
//!            (1) initial count, or TSC deadline, not zero
//!   idle ---------------------------------------------------> armed(deadline)
//!    ^  (2) zero written, or mode changed to or from deadline     |   |  ^
//!    +------------------------------------------------------------+   |  | (4) periodic: the next
//!    +----------------------------------------------------------------+  |     deadline after now
//!       (3) deadline reached, one-shot or TSC-deadline: fires            +--- fires
//! ```
//!
//! Invariants: the timer never fires before its deadline. Periods that went by unseen count as one
//! expiry, found by division and not by a loop, and stay on the grid of the first.
//! All [`Cycles`] here are the guest's time-stamp counter.

use darma_abi::units::Cycles;

/// What the two mode bits of the timer's vector-table entry select.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimerMode {
    /// Counts down once.
    OneShot,
    /// Reloads the initial count at each expiry.
    Periodic,
    /// Expires when the time-stamp counter reaches a value.
    TscDeadline,
    /// The reserved fourth encoding: the timer stands still.
    Reserved,
}

impl TimerMode {
    /// The mode in bits 17 and 18 of a timer entry.
    pub(super) const fn of_entry(entry: u32) -> Self {
        match (entry >> 17) & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Reserved,
        }
    }

    const fn counts_down(self) -> bool {
        matches!(self, Self::OneShot | Self::Periodic)
    }
}

/// The timer without its vector-table entry, of which it knows only the mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    mode: TimerMode,
    divide: u32,
    initial: u32,
    deadline: Option<Cycles>,
    minimum_period: Cycles,
}

impl Timer {
    /// An idle timer. A periodic timer runs no faster than `minimum_period`, whatever the guest
    /// asks: each period costs an exit, and a shorter one would leave the guest no time to run.
    pub(super) const fn new(minimum_period: Cycles) -> Self {
        Self {
            mode: TimerMode::OneShot,
            divide: 0,
            initial: 0,
            deadline: None,
            minimum_period,
        }
    }

    /// The point of the next expiry.
    pub(super) const fn deadline(&self) -> Option<Cycles> {
        self.deadline
    }

    /// The initial count register.
    pub(super) const fn initial(&self) -> u32 {
        self.initial
    }

    /// The divide configuration register.
    pub(super) const fn divide(&self) -> u32 {
        self.divide
    }

    /// The value of the TSC-deadline register: the armed deadline, or zero.
    pub(super) fn tsc_deadline(&self) -> u64 {
        match (self.mode, self.deadline) {
            (TimerMode::TscDeadline, Some(deadline)) => deadline.0,
            _ => 0,
        }
    }

    /// Follows a write of the timer's vector-table entry. Transition (2) when TSC-deadline mode is
    /// entered or left; a change between the counting modes leaves the count running.
    pub(super) fn set_mode(&mut self, mode: TimerMode) {
        if mode != self.mode && !(mode.counts_down() && self.mode.counts_down()) {
            self.deadline = None;
            self.initial = 0;
        }
        self.mode = mode;
    }

    /// Writes the initial count: transitions (1) and (2). Ignored in TSC-deadline mode.
    pub(super) fn set_initial(&mut self, count: u32, now: Cycles) {
        if !self.mode.counts_down() {
            return;
        }
        self.initial = count;
        self.deadline = self.after(count, now);
    }

    /// Writes the divide configuration; what is left of a running count goes on at the new rate.
    pub(super) fn set_divide(&mut self, divide: u32, now: Cycles) {
        let left = self.current(now);
        self.divide = divide & 0b1011;
        if self.mode.counts_down() && self.deadline.is_some() {
            self.deadline = self.after(left, now);
        }
    }

    /// Writes the TSC-deadline register: transitions (1) and (2). Ignored in the counting modes.
    pub(super) fn set_tsc_deadline(&mut self, value: u64) {
        if self.mode == TimerMode::TscDeadline {
            self.deadline = if value == 0 {
                None
            } else {
                Some(Cycles(value))
            };
        }
    }

    /// The current count register: zero when idle and in TSC-deadline mode.
    pub(super) fn current(&self, now: Cycles) -> u32 {
        let Some(deadline) = self.deadline.filter(|_| self.mode.counts_down()) else {
            return 0;
        };
        let left = if deadline > now || self.mode == TimerMode::OneShot {
            deadline.0.saturating_sub(now.0)
        } else {
            let period = self.period();
            period - (now.0 - deadline.0) % period
        };
        // Rounded up: the count reaches zero at the deadline and not before.
        let ticks = left.saturating_add((1 << self.shift()) - 1) >> self.shift();
        u32::try_from(ticks).unwrap_or(u32::MAX).min(self.initial)
    }

    /// Fires the timer if its deadline has come: transitions (3) and (4). True if it fired.
    pub(super) fn expire(&mut self, now: Cycles) -> bool {
        let Some(deadline) = self.deadline.filter(|deadline| *deadline <= now) else {
            return false;
        };
        self.deadline = if self.mode == TimerMode::Periodic {
            let period = self.period();
            let late = now.0 - deadline.0;
            now.0.checked_add(period - late % period).map(Cycles)
        } else {
            None
        };
        true
    }

    /// The length of a period in cycles: never zero.
    fn period(&self) -> u64 {
        (u64::from(self.initial) << self.shift())
            .max(self.minimum_period.0)
            .max(1)
    }

    fn after(&self, count: u32, now: Cycles) -> Option<Cycles> {
        if count == 0 {
            return None;
        }
        let mut wait = u64::from(count) << self.shift();
        if self.mode == TimerMode::Periodic && count == self.initial {
            wait = self.period();
        }
        Some(Cycles(now.0.saturating_add(wait)))
    }

    /// The divider as a power of two: bits 0, 1 and 3 of the register, 0b111 meaning "by one".
    const fn shift(&self) -> u32 {
        (((self.divide & 3) | ((self.divide >> 1) & 4)) + 1) & 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counting(mode: TimerMode) -> Timer {
        let mut timer = Timer::new(Cycles(100));
        timer.set_mode(mode);
        timer.set_divide(0b1011, Cycles(0));
        timer
    }

    #[test]
    fn a_one_shot_fires_once_at_its_deadline() {
        let mut timer = counting(TimerMode::OneShot);
        timer.set_initial(1000, Cycles(50));
        assert!(!timer.expire(Cycles(1049)));
        assert!(timer.expire(Cycles(1050)));
        assert!(!timer.expire(Cycles(5000)));
        assert_eq!(timer.current(Cycles(5000)), 0);
    }

    #[test]
    fn every_divider_has_its_own_rate() {
        let dividers = [
            (0, 2),
            (1, 4),
            (2, 8),
            (3, 16),
            (8, 32),
            (9, 64),
            (10, 128),
            (11, 1),
        ];
        for (register, factor) in dividers {
            let mut timer = Timer::new(Cycles(1));
            timer.set_divide(register, Cycles(0));
            timer.set_initial(10, Cycles(0));
            assert_eq!(timer.deadline(), Some(Cycles(10 * factor)));
        }
    }

    #[test]
    fn a_periodic_timer_stays_on_its_grid_however_late_it_is_seen() {
        let mut timer = counting(TimerMode::Periodic);
        timer.set_initial(1000, Cycles(0));
        assert!(timer.expire(Cycles(1_000_000_000_500)));
        assert_eq!(timer.deadline(), Some(Cycles(1_000_000_001_000)));
        assert!(!timer.expire(Cycles(1_000_000_000_501)));
    }

    #[test]
    fn a_period_is_never_shorter_than_the_minimum() {
        let mut timer = counting(TimerMode::Periodic);
        timer.set_initial(1, Cycles(0));
        assert_eq!(timer.deadline(), Some(Cycles(100)));
        assert!(timer.expire(Cycles(100)));
        assert_eq!(timer.deadline(), Some(Cycles(200)));
        assert_eq!(timer.current(Cycles(150)), 1);
    }

    #[test]
    fn entering_or_leaving_deadline_mode_disarms() {
        let mut timer = counting(TimerMode::OneShot);
        timer.set_initial(1000, Cycles(0));
        timer.set_mode(TimerMode::TscDeadline);
        assert_eq!(timer.deadline(), None);
        timer.set_tsc_deadline(77);
        assert_eq!(timer.tsc_deadline(), 77);
        timer.set_mode(TimerMode::Periodic);
        assert_eq!(timer.deadline(), None);
        assert_eq!(timer.tsc_deadline(), 0);
    }

    #[test]
    fn the_registers_of_the_other_modes_are_dead() {
        let mut timer = counting(TimerMode::OneShot);
        timer.set_tsc_deadline(5);
        assert_eq!(timer.deadline(), None);
        timer.set_mode(TimerMode::TscDeadline);
        timer.set_initial(5, Cycles(0));
        assert_eq!(timer.deadline(), None);
        assert_eq!(timer.current(Cycles(0)), 0);
    }

    #[test]
    fn a_new_divider_stretches_what_is_left() {
        let mut timer = counting(TimerMode::OneShot);
        timer.set_initial(1000, Cycles(0));
        timer.set_divide(0, Cycles(400));
        assert_eq!(timer.current(Cycles(400)), 600);
        assert_eq!(timer.deadline(), Some(Cycles(400 + 1200)));
    }

    proptest! {
        #[test]
        fn a_count_never_fires_early_and_reads_down_to_zero(
            count in 1..=u32::MAX, divide in any::<u32>(), start in 0..u64::MAX / 2, early in any::<u64>()
        ) {
            let mut timer = Timer::new(Cycles(20_000));
            timer.set_divide(divide, Cycles(start));
            timer.set_initial(count, Cycles(start));
            prop_assert_eq!(timer.current(Cycles(start)), count);
            let wait = timer.deadline().unwrap().0 - start;
            prop_assert!(wait >= u64::from(count));
            let before = start + early % wait;
            prop_assert!(timer.current(Cycles(before)) > 0);
            prop_assert!(!timer.expire(Cycles(before)));
            prop_assert!(timer.expire(Cycles(start + wait)));
        }

        #[test]
        fn the_next_period_is_after_now_and_on_the_grid(
            count in 1..=u32::MAX, start in 0..u64::MAX / 4, late in 0..u64::MAX / 4
        ) {
            let mut timer = Timer::new(Cycles(20_000));
            timer.set_mode(TimerMode::Periodic);
            timer.set_initial(count, Cycles(start));
            let first = timer.deadline().unwrap().0;
            let period = first - start;
            prop_assert!(timer.expire(Cycles(first + late)));
            let next = timer.deadline().unwrap().0;
            prop_assert!(next > first + late && next <= first + late + period);
            prop_assert_eq!((next - first) % period, 0);
        }
    }
}
