//! Seeds: one number says which fault, of which class.
//!
//! A fault's seed carries its class in its lowest bits, so that a seed alone can be replayed. It has
//! 52 bits, which every reader of JSON keeps exactly.

use super::classes::{CLASSES, Class};
pub use darma_policy::injection::Chance;

/// Bits for the class: the lowest byte.
const CLASS_BITS: u32 = 8;
/// The most classes.
pub const CLASSES_MAX: usize = 1 << CLASS_BITS;
/// Bits for chance.
const CHANCE_BITS: u32 = 44;

/// A fault: a class and what is drawn for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seed(u64);

impl Seed {
    /// The seed of a fault of the class at that position.
    #[must_use]
    pub fn new(class: usize, chance: u64) -> Self {
        let chance = chance & ((1 << CHANCE_BITS) - 1);
        Self(chance << CLASS_BITS | class as u64)
    }

    /// The seed with that number, if its class exists.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let seed = Self(number);
        (number >> (CHANCE_BITS + CLASS_BITS) == 0 && seed.position() < CLASSES.len())
            .then_some(seed)
    }

    /// The number by which it is known.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The position of its class.
    #[must_use]
    pub fn position(self) -> usize {
        usize::from(self.0.to_le_bytes()[0])
    }

    /// Its class.
    #[must_use]
    pub fn class(self) -> &'static Class {
        // Both constructors are given positions of classes that exist.
        CLASSES.get(self.position()).unwrap_or(&CLASSES[0])
    }

    /// What is drawn for it.
    #[must_use]
    pub const fn chance(self) -> u64 {
        self.0 >> CLASS_BITS
    }
}

/// The faults of a campaign: the classes in turn, so that each has its share, then shuffled, so that
/// none always follows the same other.
#[must_use]
pub fn campaign(seed: u64, count: usize, classes: &[usize]) -> Vec<Seed> {
    let mut chance = Chance::new(seed);
    let mut faults: Vec<Seed> = classes
        .iter()
        .cycle()
        .take(if classes.is_empty() { 0 } else { count })
        .map(|class| Seed::new(*class, chance.draw()))
        .collect();
    for last in (1..faults.len()).rev() {
        let other = usize::try_from(chance.draw() % (last as u64 + 1)).unwrap_or(0);
        faults.swap(last, other);
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{Seed, campaign};
    use crate::faults::classes::CLASSES;
    use proptest::prelude::*;

    #[test]
    fn a_campaign_repeats_by_its_seed_and_gives_every_class_its_share() {
        let all: Vec<usize> = (0..CLASSES.len()).collect();
        let faults = campaign(1, 10 * CLASSES.len(), &all);
        assert_eq!(faults, campaign(1, 10 * CLASSES.len(), &all));
        assert_ne!(faults, campaign(2, 10 * CLASSES.len(), &all));
        for class in all {
            let share = faults
                .iter()
                .filter(|seed| seed.position() == class)
                .count();
            assert_eq!(share, 10);
        }
        assert!(campaign(1, 5, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn a_seed_survives_the_way_through_its_number(class in 0..CLASSES.len(), chance: u64) {
            let seed = Seed::new(class, chance);
            prop_assert!(seed.number() < 1 << 53);
            prop_assert_eq!(Seed::from_number(seed.number()), Some(seed));
            prop_assert_eq!(seed.position(), class);
        }

        #[test]
        fn no_number_makes_a_class_that_there_is_not(number: u64) {
            let known = Seed::from_number(number).is_none_or(|seed| seed.position() < CLASSES.len());
            prop_assert!(known);
        }
    }
}
