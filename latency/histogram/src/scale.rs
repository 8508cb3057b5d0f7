//! Where a value falls on the log-linear scale, and which values a bucket holds.
//!
//! With `OCTAVE` = 128 buckets per power of two, the shift that brings a value into 128..=255
//! numbers its octave; the shifted value is its place within it. Values under 256 need no shift,
//! so index and value are the same there. `or`-ing 128 in before the bit scan makes the small
//! values take the same path as the large ones.

/// log2 of the buckets per power of two.
const OCTAVE_BITS: u32 = 7;
/// The first bit of a value that needs no shift.
const OCTAVE: u32 = 1 << OCTAVE_BITS;
/// Largest shift: it brings the top of the 32-bit range down to 128..=255.
const LAST_SHIFT: u32 = 32 - OCTAVE_BITS - 1;
/// How many buckets there are.
pub const BUCKETS: usize = widen(LAST_SHIFT * OCTAVE + 2 * OCTAVE);
/// The first value, in nanoseconds, that is off the scale and counted in the last bucket.
pub const RANGE_END_NS: u64 = 1 << 32;

/// One bucket of the scale: the values from `low_ns` to `high_ns`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Smallest value that falls here.
    pub low_ns: u64,
    /// Largest value that falls here (the last bucket also takes everything longer).
    pub high_ns: u64,
    /// How many values fell here.
    pub count: u32,
}

/// The bucket of a value. Always below [`BUCKETS`].
#[inline]
pub(crate) fn index_of(ns: u64) -> usize {
    let value = u32::try_from(ns).unwrap_or(u32::MAX);
    let shift = LAST_SHIFT - (value | OCTAVE).leading_zeros();
    widen((shift << OCTAVE_BITS) + (value >> shift))
}

impl Bucket {
    /// The bucket with this index. An index past the scale gives an empty range at its end.
    pub(crate) fn at(index: usize, count: u32) -> Self {
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        let octave = u64::from(OCTAVE);
        let shift = (index / octave)
            .saturating_sub(1)
            .min(u64::from(LAST_SHIFT));
        let place = index.saturating_sub(shift * octave).min(2 * octave);
        let low_ns = place << shift;
        Self {
            low_ns,
            high_ns: low_ns + (1 << shift) - 1,
            count,
        }
    }
}

/// `u32` to `usize`: lossless on every target this builds for (32 bits and wider).
#[allow(
    clippy::cast_possible_truncation,
    reason = "usize has at least 32 bits here"
)]
const fn widen(value: u32) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_scale_covers_more_than_a_second_without_gap_or_overlap() {
        let mut next = 0;
        for index in 0..BUCKETS {
            let bucket = Bucket::at(index, 0);
            assert_eq!(bucket.low_ns, next, "bucket {index}");
            assert_eq!(index_of(bucket.low_ns), index);
            assert_eq!(index_of(bucket.high_ns), index);
            next = bucket.high_ns + 1;
        }
        assert_eq!(next, RANGE_END_NS);
    }

    #[test]
    fn the_longest_value_falls_in_the_last_bucket() {
        assert_eq!(index_of(u64::MAX), BUCKETS - 1);
        assert_eq!(index_of(RANGE_END_NS - 1), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_bucket_is_at_most_one_percent_wide(value in any::<u32>()) {
            let bucket = Bucket::at(index_of(u64::from(value)), 0);
            prop_assert!(bucket.low_ns <= u64::from(value) && u64::from(value) <= bucket.high_ns);
            prop_assert!((bucket.high_ns - bucket.low_ns) * 100 <= bucket.low_ns);
        }
    }
}
