//! The fault injector's orders: what to spoil in which start of the GPOS, and when.
//!
//! Test equipment. The nanokernel performs it only when it is built with the feature `inject`, for the
//! image of the fault campaign; no other image contains a caller. Orders come as a word of the GPOS's
//! command line, `darma.inject=BOOT:ACT:MICROSECONDS:SEED,...` (the seed hexadecimal), because the
//! campaign writes one per machine; what is drawn for an order comes from its seed alone.

use darma_abi::units::Nanos;

/// What the word begins with.
const WORD: &[u8] = b"darma.inject=";
/// The most bits that one order flips: 2 to the power of this.
const LOG2_FLIPS_MAX: u64 = 6;
/// Registers that can be flipped: 16 general ones, RIP, RFLAGS, CR0, CR3, CR4.
pub const REGISTERS: u8 = 21;

/// What is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The interrupt descriptor table is lost at an exception: a triple fault.
    Die,
    /// Bits of the processor's registers.
    Registers,
    /// Bits of the GPOS's memory.
    Memory,
}

/// An order for one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    /// What.
    pub act: Act,
    /// When, counted from the GPOS's first instruction.
    pub after: Nanos,
    /// What chance begins with.
    pub seed: u64,
}

impl Injection {
    /// The order for start number `boot` in a command line. What cannot be read is no order.
    ///
    /// By hand, byte by byte: the standard library's text functions are the start's, and are discarded
    /// with it before the first GPOS is entered.
    #[must_use]
    pub fn for_boot(command_line: &[u8], boot: u32) -> Option<Self> {
        let mut rest = command_line;
        while !rest.starts_with(WORD) {
            rest = rest.get(1..)?;
        }
        rest = rest.get(WORD.len()..)?;
        while !rest.is_empty() {
            let order = field(&mut rest, b',');
            if let Some((found, order)) = read(order)
                && found == u64::from(boot)
            {
                return Some(order);
            }
        }
        None
    }

    /// How many bits are flipped: a power of two, drawn first.
    #[must_use]
    pub fn flips(&self) -> (u64, Chance) {
        let mut chance = Chance::new(self.seed);
        (1 << (chance.draw() % (LOG2_FLIPS_MAX + 1)), chance)
    }
}

/// Reads one order and the start that it is for.
fn read(mut order: &[u8]) -> Option<(u64, Injection)> {
    let boot = number(field(&mut order, b':'), 10)?;
    let act = match field(&mut order, b':') {
        b"die" => Act::Die,
        b"registers" => Act::Registers,
        b"memory" => Act::Memory,
        _ => return None,
    };
    let micros = number(field(&mut order, b':'), 10)?;
    let seed = number(order, 16)?;
    Some((
        boot,
        Injection {
            act,
            after: Nanos(micros.saturating_mul(1000)),
            seed,
        },
    ))
}

/// Takes what stands before `mark`, a blank or the end off the front, and the mark with it.
fn field<'a>(rest: &mut &'a [u8], mark: u8) -> &'a [u8] {
    let mut length = 0;
    while let Some(byte) = rest.get(length) {
        if *byte == mark {
            let (before, after) = rest.split_at(length);
            *rest = after.get(1..).unwrap_or(&[]);
            return before;
        }
        if *byte == b' ' {
            break;
        }
        length += 1;
    }
    let before = rest.get(..length).unwrap_or(&[]);
    *rest = &[];
    before
}

/// A number of that base, in digits and small letters.
fn number(digits: &[u8], base: u64) -> Option<u64> {
    let mut value: u64 = 0;
    for digit in digits {
        let worth = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        let worth = u64::from(worth);
        if worth >= base {
            return None;
        }
        value = value.checked_mul(base)?.checked_add(worth)?;
    }
    (!digits.is_empty()).then_some(value)
}

/// A sequence of numbers by a seed: splitmix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence that begins with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::{Act, Chance, Injection};
    use darma_abi::units::Nanos;

    #[test]
    fn each_start_has_its_own_order_or_none() {
        let line = b"console=ttyS0 darma.inject=3:die:1500:ff,5:memory:0:1 quiet";
        let order = Injection {
            act: Act::Die,
            after: Nanos(1_500_000),
            seed: 0xff,
        };
        assert_eq!(Injection::for_boot(line, 3), Some(order));
        assert_eq!(
            Injection::for_boot(line, 5).map(|one| one.act),
            Some(Act::Memory)
        );
        assert_eq!(Injection::for_boot(line, 4), None);
        assert_eq!(Injection::for_boot(b"quiet", 1), None);
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        // First output of splitmix64 for seed 0, from its reference implementation's test vector.
        assert_eq!(Chance::new(0).draw(), 0xe220_a839_7b1d_cdaf);
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_makes_it_panic(line: Vec<u8>, boot: u32) {
            let mut word = b"darma.inject=".to_vec();
            word.extend(line);
            let order = Injection::for_boot(&word, boot);
            proptest::prop_assert!(order.is_none_or(|one| one.flips().0 <= 64));
        }
    }
}
