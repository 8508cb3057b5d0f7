//! A short list without allocation: what one report line can carry of something longer.
//!
//! Serialised as an array. Reading refuses more items than there is room for, so that nothing is
//! lost in silence.

use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// At most `N` items.
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    items: [T; N],
    used: usize,
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// An empty list.
    pub fn new() -> Self {
        Self {
            items: [T::default(); N],
            used: 0,
        }
    }

    /// Adds an item; gives it back if the list is full.
    ///
    /// # Errors
    /// The item, when `N` items are in the list.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let Some(place) = self.items.get_mut(self.used) else {
            return Err(item);
        };
        *place = item;
        self.used += 1;
        Ok(())
    }

    /// Hands `items` to `each` in lists of at most `N`, in order; nothing for no items.
    pub fn for_each_of(items: impl Iterator<Item = T>, mut each: impl FnMut(Self)) {
        let mut list = Self::new();
        for item in items {
            if let Err(item) = list.push(item) {
                each(list);
                list = Self::new();
                // Refused only by a list without room for anything, which loses everything.
                let _ = list.push(item);
            }
        }
        if !list.as_slice().is_empty() {
            each(list);
        }
    }
}

impl<T, const N: usize> List<T, N> {
    /// The items.
    pub fn as_slice(&self) -> &[T] {
        self.items.get(..self.used).unwrap_or_default()
    }
}

impl<T: PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<T: Eq, const N: usize> Eq for List<T, N> {}

impl<T: fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl<T: Serialize, const N: usize> Serialize for List<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de> + Copy + Default, const N: usize> Deserialize<'de> for List<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Copy + Default, const N: usize> Visitor<'de> for Reader<T, N> {
            type Value = List<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {N} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = List::new();
                while let Some(item) = items.next_element()? {
                    if list.push(item).is_err() {
                        return Err(A::Error::invalid_length(N + 1, &self));
                    }
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::List;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn a_full_list_gives_the_item_back() {
        let mut list = List::<u8, 1>::new();
        assert_eq!(list.push(1), Ok(()));
        assert_eq!(list.push(2), Err(2));
        assert_eq!(list.as_slice(), [1]);
    }

    #[test]
    fn more_items_than_there_is_room_for_are_refused() {
        assert!(serde_json::from_str::<List<u8, 2>>("[1,2]").is_ok());
        let error = serde_json::from_str::<List<u8, 2>>("[1,2,3]").unwrap_err();
        assert!(
            std::string::ToString::to_string(&error).contains("at most 2"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn in_pieces_nothing_is_lost(items in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut seen = Vec::new();
            List::<u8, 7>::for_each_of(items.iter().copied(), |list| {
                assert!(!list.as_slice().is_empty());
                seen.extend_from_slice(list.as_slice());
            });
            prop_assert_eq!(seen, items);
        }
    }
}
