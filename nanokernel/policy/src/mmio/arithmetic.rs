//! What an arithmetic instruction makes of a value read from a device: the result and the flags.
//!
//! Linux compiles `readl(p) & BIT` into `test [p], BIT` and a read-modify-write into one
//! instruction where it may; these are the operations that such code uses. Flags follow APM3's
//! page of each instruction; a flag that the manual leaves undefined is kept as it was.

use super::registers::Width;

/// An operation between a memory operand and a register or constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Addition.
    Add,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Subtraction.
    Sub,
    /// Bitwise exclusive or.
    Xor,
    /// Subtraction whose result is dropped.
    Cmp,
    /// Bitwise and whose result is dropped.
    Test,
    /// Addition of one that leaves the carry flag alone.
    Inc,
    /// Subtraction of one that leaves the carry flag alone.
    Dec,
    /// Bitwise complement, no flags.
    Not,
    /// Two's complement.
    Neg,
    /// The operand replaces the value, no flags.
    Swap,
    /// The numbered bit into the carry flag.
    BitTest,
    /// The same, and the bit set.
    BitSet,
    /// The same, and the bit cleared.
    BitClear,
    /// The same, and the bit inverted.
    BitFlip,
}

const CARRY: u64 = 1 << 0;
const PARITY: u64 = 1 << 2;
const ADJUST: u64 = 1 << 4;
const ZERO: u64 = 1 << 6;
const SIGN: u64 = 1 << 7;
const OVERFLOW: u64 = 1 << 11;
const STATUS: u64 = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;

fn when(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

fn result_flags(width: Width, result: u64) -> u64 {
    when((result & 0xff).count_ones().is_multiple_of(2), PARITY)
        | when(result == 0, ZERO)
        | when(result & width.sign_bit() != 0, SIGN)
}

fn sum_flags(width: Width, left: u64, right: u64, result: u64) -> u64 {
    result_flags(width, result)
        | when(result < left, CARRY)
        | when((left ^ right ^ result) & 0x10 != 0, ADJUST)
        | when(
            (left ^ result) & (right ^ result) & width.sign_bit() != 0,
            OVERFLOW,
        )
}

fn difference_flags(width: Width, left: u64, right: u64, result: u64) -> u64 {
    result_flags(width, result)
        | when(left < right, CARRY)
        | when((left ^ right ^ result) & 0x10 != 0, ADJUST)
        | when(
            (left ^ right) & (left ^ result) & width.sign_bit() != 0,
            OVERFLOW,
        )
}

impl Operation {
    /// Whether the result goes anywhere, or only the flags do.
    pub(super) const fn keeps_result(self) -> bool {
        !matches!(self, Self::Cmp | Self::Test | Self::BitTest)
    }

    /// The result of `left OPERATION right`, both `width` wide, and the flags after it.
    ///
    /// For [`Cmp`](Self::Cmp), [`Test`](Self::Test) and [`BitTest`](Self::BitTest) the result is
    /// `left` unchanged.
    pub fn apply(self, width: Width, left: u64, right: u64, rflags: u64) -> (u64, u64) {
        let (left, right) = (left & width.mask(), right & width.mask());
        let replace = |changed: u64, flags: u64| (rflags & !changed) | flags;
        let bit = 1u64 << (right & u64::from(width.bits() - 1));
        let after_bit = replace(CARRY, when(left & bit != 0, CARRY));
        match self {
            Self::Add | Self::Inc => {
                let result = left.wrapping_add(right) & width.mask();
                let changed = if self == Self::Inc {
                    STATUS & !CARRY
                } else {
                    STATUS
                };
                (
                    result,
                    replace(changed, sum_flags(width, left, right, result) & changed),
                )
            }
            Self::Sub | Self::Cmp | Self::Dec => {
                let result = left.wrapping_sub(right) & width.mask();
                let changed = if self == Self::Dec {
                    STATUS & !CARRY
                } else {
                    STATUS
                };
                let flags = difference_flags(width, left, right, result) & changed;
                (
                    if self == Self::Cmp { left } else { result },
                    replace(changed, flags),
                )
            }
            Self::Neg => {
                let result = left.wrapping_neg() & width.mask();
                (
                    result,
                    replace(STATUS, difference_flags(width, 0, left, result)),
                )
            }
            Self::Or | Self::And | Self::Xor | Self::Test => {
                let result = match self {
                    Self::Or => left | right,
                    Self::Xor => left ^ right,
                    _ => left & right,
                };
                let flags = replace(STATUS & !ADJUST, result_flags(width, result));
                (if self == Self::Test { left } else { result }, flags)
            }
            Self::Not => (!left & width.mask(), rflags),
            Self::Swap => (right, rflags),
            Self::BitTest => (left, after_bit),
            Self::BitSet => (left | bit, after_bit),
            Self::BitClear => (left & !bit, after_bit),
            Self::BitFlip => (left ^ bit, after_bit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The processor's own answer for the same operation, by the standard library's arithmetic.
    fn overflow_of(left: u8, right: u8, sum: bool) -> (bool, bool) {
        let (signed_left, signed_right) = (left.cast_signed(), right.cast_signed());
        if sum {
            (
                left.overflowing_add(right).1,
                signed_left.overflowing_add(signed_right).1,
            )
        } else {
            (
                left.overflowing_sub(right).1,
                signed_left.overflowing_sub(signed_right).1,
            )
        }
    }

    #[test]
    fn carry_and_overflow_of_every_byte_pair_are_right() {
        for left in 0..=u8::MAX {
            for right in 0..=u8::MAX {
                for (operation, sum) in [(Operation::Add, true), (Operation::Sub, false)] {
                    let (_, flags) =
                        operation.apply(Width::One, u64::from(left), u64::from(right), 0);
                    let (carry, overflow) = overflow_of(left, right, sum);
                    assert_eq!(flags & CARRY != 0, carry);
                    assert_eq!(flags & OVERFLOW != 0, overflow);
                }
            }
        }
    }

    #[test]
    fn parity_counts_the_low_byte_only() {
        assert_eq!(
            Operation::Or.apply(Width::Four, 0x100, 0x3, 0).1 & PARITY,
            PARITY
        );
        assert_eq!(
            Operation::Or.apply(Width::Four, 0x300, 0x1, 0).1 & PARITY,
            0
        );
        assert_eq!(
            Operation::And.apply(Width::Four, 0x300, 0x1, 0).1 & (PARITY | ZERO),
            PARITY | ZERO
        );
    }

    #[test]
    fn increment_leaves_the_carry_flag_alone() {
        let (result, flags) = Operation::Inc.apply(Width::Four, 0xffff_ffff, 1, CARRY);
        assert_eq!((result, flags & (CARRY | ZERO)), (0, CARRY | ZERO));
        let (_, flags) = Operation::Dec.apply(Width::Four, 0, 1, 0);
        assert_eq!(flags & CARRY, 0);
    }

    #[test]
    fn a_bit_test_takes_the_bit_number_modulo_the_width() {
        let (result, flags) = Operation::BitSet.apply(Width::Four, 0, 35, CARRY);
        assert_eq!((result, flags & CARRY), (8, 0));
        assert_eq!(Operation::BitTest.apply(Width::Four, 8, 35, 0), (8, CARRY));
    }
}
