//! Priorities and ceilings, and how the local APIC carries them out.
//!
//! ```text
//! class 0xF   0xF0..=0xFF   the timer, spurious and error vectors: above every task
//! class 0xE   0xE0..=0xEF   tasks of Priority::HIGH
//! class 0xD   0xD0..=0xDF   tasks of Priority::MIDDLE
//! class 0xC   0xC0..=0xCF   tasks of Priority::LOW
//! class 0x3..=0xB           device vectors of the GPOS (0x30..=0xBF)
//! class 0x0..=0x2           exceptions, and vectors nobody uses
//! ```
//!
//! A vector's class is its upper four bits; the APIC delivers a fixed interrupt only if its class
//! is above the task priority, which is CR8 (APM2 16.6.4). Hence the whole lock protocol: the
//! ceiling of a resource is the highest class that uses it, and while CR8 holds that class nobody
//! who uses the resource can start. Tasks of one class share a class, not a vector: they queue
//! behind each other and never preempt each other.

use darma_abi::units::Vector;

/// The class above every task: the timer's.
pub const TIMER_CLASS: u8 = 0xf;
/// The local APIC timer's vector: not the first of its class, so that 0xF0 stays free for an
/// inter-processor wake-up, and below 0xFF, the spurious vector.
pub const TIMER_VECTOR: Vector = Vector(0xfe);
/// First device vector that the GPOS may use.
pub const GPOS_FIRST: Vector = Vector(0x30);
/// Last device vector that the GPOS may use.
pub const GPOS_LAST: Vector = Vector(0xbf);

/// Class of [`Priority::LOW`] minus one: what a level is added to.
const CLASS_BELOW_TASKS: u8 = 0xb;

/// The static priority of a task: 1 (lowest) to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Runs before the GPOS and after every other task. The RAS monitor's.
    pub const LOW: Self = Self(1);
    /// Preempts LOW.
    pub const MIDDLE: Self = Self(2);
    /// Preempts every task.
    pub const HIGH: Self = Self(3);
    /// How many priorities there are.
    pub const COUNT: usize = 3;

    /// The priority with this level, 1 to 3; `None` for any other, so that a task table built at
    /// compile time refuses a wrong one.
    pub const fn new(level: u8) -> Option<Self> {
        match level {
            1..=3 => Some(Self(level)),
            _ => None,
        }
    }

    /// The level, 1 to 3.
    pub const fn level(self) -> u8 {
        self.0
    }

    /// The APIC priority class: 0xC to 0xE.
    pub const fn class(self) -> u8 {
        CLASS_BELOW_TASKS + self.0
    }

    /// The vector of task number `slot` of this priority, or `None` past the class's sixteen.
    /// Of two pending tasks of one class the APIC delivers the higher vector first.
    pub const fn vector(self, slot: u8) -> Option<Vector> {
        if slot < 16 {
            Some(Vector(self.class() << 4 | slot))
        } else {
            None
        }
    }

    /// The priority that a vector belongs to, or `None` if it is no task's.
    pub const fn of_vector(vector: Vector) -> Option<Self> {
        Self::new(vector.class().saturating_sub(CLASS_BELOW_TASKS))
    }
}

/// What a lock raises CR8 to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ceiling(u8);

impl Ceiling {
    /// Nothing is held back: the value while the GPOS runs, whose device vectors must arrive too.
    pub const OPEN: Self = Self(0);
    /// Holds back the timer as well: for what timer handler and tasks share. Keep it short.
    pub const TIMER: Self = Self(TIMER_CLASS);

    /// The ceiling of a resource whose highest user is `highest`.
    pub const fn of(highest: Priority) -> Self {
        Self(highest.class())
    }

    /// The ceiling of a resource used by all of these; [`Ceiling::OPEN`] if by nobody.
    pub const fn of_users(users: &[Priority]) -> Self {
        let mut highest = Self::OPEN;
        let mut rest = users;
        while let [first, tail @ ..] = rest {
            if first.class() > highest.0 {
                highest = Self::of(*first);
            }
            rest = tail;
        }
        highest
    }

    /// The value to write to CR8.
    pub const fn cr8(self) -> u64 {
        // `u64::from` is not const; widening cannot lose anything.
        self.0 as u64
    }

    /// The stricter of the two: what CR8 must hold when a lock is taken inside another. The lock
    /// never lowers CR8.
    pub const fn or_stricter(self, other: Self) -> Self {
        if self.0 >= other.0 { self } else { other }
    }

    /// Whether the APIC holds this vector back while CR8 has this value.
    pub const fn holds_back(self, vector: Vector) -> bool {
        vector.class() <= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Priority; 3] = [Priority::LOW, Priority::MIDDLE, Priority::HIGH];

    #[test]
    fn every_task_vector_is_above_every_gpos_vector_and_below_the_timer() {
        for priority in ALL {
            for slot in 0..16 {
                let vector = priority.vector(slot).expect("sixteen per class");
                assert!(vector.class() > GPOS_LAST.class());
                assert!(vector.class() < TIMER_VECTOR.class());
                assert_eq!(Priority::of_vector(vector), Some(priority));
            }
            assert_eq!(priority.vector(16), None);
        }
        assert_eq!(Priority::of_vector(GPOS_LAST), None);
        assert_eq!(Priority::of_vector(TIMER_VECTOR), None);
    }

    #[test]
    fn a_ceiling_holds_back_its_users_and_nobody_above() {
        for user in ALL {
            for other in ALL {
                let vector = other.vector(5).expect("in range");
                assert_eq!(Ceiling::of(user).holds_back(vector), other <= user);
            }
            assert!(!Ceiling::of(user).holds_back(TIMER_VECTOR));
            assert!(Ceiling::of(user).holds_back(GPOS_LAST));
        }
        assert!(Ceiling::TIMER.holds_back(TIMER_VECTOR));
        assert!(!Ceiling::OPEN.holds_back(GPOS_FIRST));
    }

    #[test]
    fn the_ceiling_is_that_of_the_highest_user() {
        assert_eq!(Ceiling::of_users(&[]), Ceiling::OPEN);
        assert_eq!(
            Ceiling::of_users(&[Priority::LOW, Priority::HIGH, Priority::MIDDLE]),
            Ceiling::of(Priority::HIGH)
        );
        assert_eq!(Ceiling::of(Priority::HIGH).cr8(), 0xe);
    }

    #[test]
    fn a_nested_lock_never_lowers_the_ceiling() {
        let high = Ceiling::of(Priority::HIGH);
        let low = Ceiling::of(Priority::LOW);
        assert_eq!(high.or_stricter(low), high);
        assert_eq!(low.or_stricter(high), high);
    }

    #[test]
    fn levels_outside_one_to_three_are_no_priorities() {
        assert_eq!(Priority::new(0), None);
        assert_eq!(Priority::new(4), None);
        assert_eq!(Priority::new(3), Some(Priority::HIGH));
    }
}
