//! A set of interrupt vectors: the shape of IRR, ISR and TMR (APM2 16.6.3).
//!
//! Four 64-bit words, because the one question asked at every exit is "which is the highest?", and
//! that is one count of leading zeros per word.

use super::registers::{low_byte, low_word};
use darma_abi::units::Vector;

/// Up to 256 vectors, each present or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct VectorSet([u64; 4]);

impl VectorSet {
    /// No vector.
    pub(super) const EMPTY: Self = Self([0; 4]);

    /// Adds `vector`.
    pub(super) fn insert(&mut self, vector: Vector) {
        if let Some(word) = self.0.get_mut(usize::from(vector.0 >> 6)) {
            *word |= bit(vector);
        }
    }

    /// Takes `vector` out; true if it was in.
    pub(super) fn remove(&mut self, vector: Vector) -> bool {
        match self.0.get_mut(usize::from(vector.0 >> 6)) {
            Some(word) => {
                let was_in = *word & bit(vector) != 0;
                *word &= !bit(vector);
                was_in
            }
            None => false,
        }
    }

    /// True if `vector` is in.
    pub(super) fn contains(&self, vector: Vector) -> bool {
        self.0
            .get(usize::from(vector.0 >> 6))
            .is_some_and(|word| word & bit(vector) != 0)
    }

    /// The highest vector in the set: the one of highest priority.
    pub(super) fn highest(&self) -> Option<Vector> {
        let mut top: u8 = 255;
        for word in self.0.iter().rev() {
            if *word != 0 {
                return Some(Vector(top - low_byte(word.leading_zeros())));
            }
            top = top.wrapping_sub(64);
        }
        None
    }

    /// The 32-bit register number `index` (0 to 7) of the eight that show this set; 0 beyond.
    pub(super) fn register(&self, index: u32) -> u32 {
        let word = self
            .0
            .get(usize::from(low_byte(index >> 1)))
            .copied()
            .unwrap_or(0);
        low_word(word >> ((index & 1) * 32))
    }

    /// The set as four words, vector 0 in bit 0 of the first.
    pub(super) const fn words(&self) -> [u64; 4] {
        self.0
    }
}

const fn bit(vector: Vector) -> u64 {
    1 << (vector.0 & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_set_has_no_highest_vector() {
        assert_eq!(VectorSet::default().highest(), None);
    }

    #[test]
    fn the_registers_show_the_vectors_in_order() {
        let mut set = VectorSet::default();
        set.insert(Vector(0x31));
        set.insert(Vector(0xff));
        assert_eq!(set.register(1), 1 << 17);
        assert_eq!(set.register(7), 1 << 31);
        assert_eq!(set.register(8), 0);
        assert_eq!(set.register(u32::MAX), 0);
    }

    proptest! {
        #[test]
        fn the_highest_is_the_maximum(vectors in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut set = VectorSet::default();
            for v in &vectors {
                set.insert(Vector(*v));
            }
            prop_assert_eq!(set.highest(), vectors.iter().max().map(|v| Vector(*v)));
            for v in &vectors {
                let was_in = set.contains(Vector(*v));
                prop_assert_eq!(set.remove(Vector(*v)), was_in);
                prop_assert!(!set.remove(Vector(*v)));
            }
            prop_assert_eq!(set.highest(), None);
        }
    }
}
