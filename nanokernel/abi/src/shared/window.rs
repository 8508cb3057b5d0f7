//! The window: how Linux's user space reads what the nanokernel keeps of failures.
//!
//! ```text
//! BAR2  +0       shared region, 1 MiB
//!       +1 MiB   nothing: all ones
//!       +2 MiB   window, 2 MiB: one bank of one store, read only
//! BAR0  +16      WINDOW: which bank; the change is complete when the write is
//! ```
//! A store is seen in banks of the window's size. What lies in the window is the store's own memory, not a
//! copy: it changes when the nanokernel changes it, so a reader trusts checksums and nothing else. A
//! bank past the store's end, the word 0, and the window before it was ever set show zeros; a word that
//! names a store that does not exist changes nothing; writes to the window do nothing. At each start of the GPOS the window is empty again, so a reader that
//! died with its kernel holds nothing back.

/// Size of BAR2, bytes: a power of two, as a BAR must be.
pub const BAR2_BYTES: u64 = 4 << 20;
/// Where the window begins in BAR2, bytes.
pub const WINDOW_OFFSET: u64 = 2 << 20;
/// Its size, and a bank's, bytes.
pub const WINDOW_BYTES: u64 = 2 << 20;
/// The bits of the register that number the bank.
const BANK_BITS: u32 = 28;

const _: () = {
    assert!(super::REGION_BYTES <= WINDOW_OFFSET);
    assert!(WINDOW_OFFSET + WINDOW_BYTES == BAR2_BYTES);
    assert!(BAR2_BYTES.is_power_of_two());
};

/// What can be looked at through the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Store {
    /// The fault records.
    Faults = 1,
    /// The memory dumps.
    Dumps = 2,
}

/// One bank of a store; of no store, bank 0: zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bank {
    /// Whose.
    pub store: Option<Store>,
    /// Which, from 0.
    pub number: u32,
}

impl Bank {
    /// The bank that a word in the register names; `None` if it names a store that does not exist.
    pub const fn decode(word: u32) -> Option<Self> {
        let store = match word >> BANK_BITS {
            1 => Some(Store::Faults),
            2 => Some(Store::Dumps),
            0 if word == 0 => None,
            _ => return None,
        };
        Some(Self {
            store,
            number: word & ((1 << BANK_BITS) - 1),
        })
    }

    /// The word for this bank.
    pub const fn encode(self) -> u32 {
        match self.store {
            Some(store) => (store as u32) << BANK_BITS | self.number & ((1 << BANK_BITS) - 1),
            None => 0,
        }
    }

    /// Where the bank begins in its store, in bytes.
    pub const fn offset(self) -> u64 {
        self.number as u64 * WINDOW_BYTES
    }

    /// The bank of a store in which this byte lies; `None` past the last that has a number.
    pub fn holding(store: Store, at: u64) -> Option<Self> {
        let number = u32::try_from(at / WINDOW_BYTES).ok()?;
        (number < 1 << BANK_BITS).then_some(Self {
            store: Some(store),
            number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_of_no_store_names_no_memory() {
        assert_eq!(Bank::decode(0).map(|bank| bank.store), Some(None));
        assert_eq!((Bank::decode(1), Bank::decode(u32::MAX)), (None, None));
        assert_eq!(Bank::holding(Store::Dumps, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn the_bank_of_a_byte_holds_it_and_survives_the_register(at in 0u64..1 << 40, dumps: bool) {
            let store = if dumps { Store::Dumps } else { Store::Faults };
            let bank = Bank::holding(store, at).expect("numbered");
            prop_assert!((bank.offset()..bank.offset() + WINDOW_BYTES).contains(&at));
            prop_assert_eq!(Bank::decode(bank.encode()), Some(bank));
        }
    }
}
