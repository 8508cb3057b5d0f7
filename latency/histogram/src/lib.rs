#![no_std]
#![forbid(unsafe_code)]
//! Log-linear latency histogram with fixed memory.
//!
//! Every real-time task carries one per phase, and recording is part of the path whose length the
//! histogram measures. So [`Histogram::record`] does the same few integer instructions for every
//! value: no loop, no float, no division, no allocation.
//!
//! The scale: the values 0 to 255 ns have a bucket each; above that each power of two is cut into
//! 128 equal buckets. A bucket is therefore at most 1/128 (0.79 %) as wide as the values in it.
//! The scale ends at 2^32 ns (4.29 s); what is longer is counted in the last bucket, and the exact
//! maximum still tells its length. 3328 buckets of four bytes: 13 KiB and a few words.
//!
//! A percentile is reported as the *upper* edge of its bucket: the figure is never better than the
//! truth, and at most 0.79 % worse.
//!
//! Invariants: `min`, `max`, `sum` and `count` are exact (the last two until they saturate); the
//! bucket counters stop at their maximum instead of wrapping. Concurrency: none here. The owner
//! records with `&mut`; a reader on another priority copies under the ceiling lock or accepts a
//! snapshot of its own making.

mod scale;

pub use scale::{BUCKETS, Bucket, RANGE_END_NS};

/// Percentile arguments are counted in parts of this many: 100 000 parts are 100 %.
pub const WHOLE: u32 = 100_000;
/// The median, in parts of [`WHOLE`].
pub const P50: u32 = 50_000;
/// 99 %, in parts of [`WHOLE`].
pub const P99: u32 = 99_000;
/// 99.9 %, in parts of [`WHOLE`].
pub const P999: u32 = 99_900;

/// The histogram. 13 KiB: it belongs in a static, never on a real-time stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u32; BUCKETS],
    count: u64,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
}

/// The figures that reports print, all in nanoseconds; all zero when there are no samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many values were recorded.
    pub samples: u64,
    /// The smallest value, exact.
    pub min_ns: u64,
    /// Upper edge of the median's bucket.
    pub p50_ns: u64,
    /// Upper edge of the 99th percentile's bucket.
    pub p99_ns: u64,
    /// Upper edge of the 99.9th percentile's bucket.
    pub p999_ns: u64,
    /// The largest value, exact.
    pub max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram, usable in a static.
    pub const fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            count: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }

    /// Records one value in nanoseconds. Constant time.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.count = self.count.saturating_add(1);
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        // `index_of` is below BUCKETS for every value, so the bound check never takes its branch.
        if let Some(slot) = self.counts.get_mut(scale::index_of(ns)) {
            *slot = slot.saturating_add(1);
        }
    }

    /// How many values were recorded.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values in nanoseconds, exact until it saturates.
    pub const fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The smallest value, exact; `None` when empty.
    pub const fn min_ns(&self) -> Option<u64> {
        if self.count == 0 {
            None
        } else {
            Some(self.min_ns)
        }
    }

    /// The largest value, exact; `None` when empty.
    pub const fn max_ns(&self) -> Option<u64> {
        if self.count == 0 {
            None
        } else {
            Some(self.max_ns)
        }
    }

    /// The mean, rounded down; `None` when empty.
    pub const fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count)
    }

    /// The value that `parts` of [`WHOLE`] of the samples do not exceed, never below the truth and
    /// at most 1/128 above it (within the range). `None` when empty. More than the whole means the
    /// maximum. Walks the buckets: for reports, not for a real-time path.
    pub fn percentile(&self, parts: u32) -> Option<u64> {
        let max = self.max_ns()?;
        let rank = rank_of(self.count, parts);
        let mut seen = 0u64;
        for bucket in self.iter() {
            seen = seen.saturating_add(u64::from(bucket.count));
            if seen >= rank {
                // The last bucket also holds what is beyond the scale: only the maximum bounds it.
                let edge = if bucket.high_ns >= RANGE_END_NS - 1 {
                    max
                } else {
                    bucket.high_ns
                };
                return Some(edge.clamp(self.min_ns, max));
            }
        }
        Some(max)
    }

    /// The figures that reports print.
    pub fn summary(&self) -> Summary {
        Summary {
            samples: self.count,
            min_ns: self.min_ns().unwrap_or(0),
            p50_ns: self.percentile(P50).unwrap_or(0),
            p99_ns: self.percentile(P99).unwrap_or(0),
            p999_ns: self.percentile(P999).unwrap_or(0),
            max_ns: self.max_ns().unwrap_or(0),
        }
    }

    /// Adds everything that `other` holds, as if its values had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count = self.count.saturating_add(other.count);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // Filled in place: assigning `new()` would build 13 KiB on the stack first.
        self.counts.fill(0);
        self.count = 0;
        self.sum_ns = 0;
        self.min_ns = u64::MAX;
        self.max_ns = 0;
    }

    /// The buckets that hold something, in rising order, for export and drawing.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count != 0)
            .map(|(index, count)| Bucket::at(index, *count))
    }
}

/// The rank, counted from one, of the sample that `parts` of [`WHOLE`] point at: the ceiling of
/// `count * parts / WHOLE`, split so that no product exceeds 64 bits.
fn rank_of(count: u64, parts: u32) -> u64 {
    let whole = u64::from(WHOLE);
    let parts = u64::from(parts).min(whole);
    let rank = (count / whole) * parts + ((count % whole) * parts).div_ceil(whole);
    rank.max(1)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn filled(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    /// The definition: the smallest sample with at least `parts` of the samples at or below it.
    fn true_percentile(values: &[u64], parts: u32) -> u64 {
        let mut sorted = Vec::from(values);
        sorted.sort_unstable();
        let wanted = u128::from(parts) * u128::try_from(sorted.len()).expect("small");
        let rank = usize::try_from(wanted.div_ceil(u128::from(WHOLE)).max(1)).expect("small");
        sorted[rank - 1]
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        let empty = Histogram::new();
        assert_eq!(empty.min_ns(), None);
        assert_eq!(empty.max_ns(), None);
        assert_eq!(empty.mean_ns(), None);
        assert_eq!(empty.percentile(P50), None);
        assert_eq!(empty.summary(), Summary::default());
    }

    #[test]
    fn it_fits_in_sixteen_kibibytes() {
        assert!(size_of::<Histogram>() <= 16 * 1024);
    }

    #[test]
    fn it_can_be_built_at_compile_time() {
        static READY: Histogram = Histogram::new();
        assert_eq!(READY.count(), 0);
    }

    #[test]
    fn one_late_sample_in_a_thousand_shows_only_above_p999() {
        let mut histogram = filled(&[100; 999]);
        histogram.record(50_000);
        let summary = histogram.summary();
        assert_eq!(
            (summary.p50_ns, summary.p99_ns, summary.p999_ns),
            (100, 100, 100)
        );
        assert_eq!(summary.max_ns, 50_000);
    }

    #[test]
    fn values_beyond_the_scale_are_counted_and_the_maximum_stays_exact() {
        let histogram = filled(&[10, u64::MAX]);
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.max_ns(), Some(u64::MAX));
        assert_eq!(histogram.percentile(WHOLE), Some(u64::MAX));
        assert_eq!(histogram.percentile(u32::MAX), Some(u64::MAX));
        assert_eq!(histogram.sum_ns(), u64::MAX);
    }

    #[test]
    fn a_bucket_counter_stops_at_its_maximum() {
        let mut histogram = filled(&[7]);
        histogram.counts[7] = u32::MAX;
        histogram.record(7);
        assert_eq!(histogram.counts[7], u32::MAX);
        let twin = histogram.clone();
        histogram.merge(&twin);
        assert_eq!(histogram.counts[7], u32::MAX);
    }

    #[test]
    fn ranks_do_not_overflow() {
        assert_eq!(rank_of(u64::MAX, WHOLE), u64::MAX);
        assert_eq!(rank_of(1, 0), 1);
        assert_eq!(rank_of(1000, P999), 999);
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut histogram = filled(&[1, 2, 3_000_000]);
        histogram.clear();
        assert_eq!(histogram, Histogram::new());
    }

    fn latency() -> impl Strategy<Value = u64> {
        // Every octave alike, so that the long values are not all there is.
        (0u32..32, any::<u32>()).prop_map(|(shift, bits)| u64::from(bits >> shift))
    }

    proptest! {
        #[test]
        fn a_percentile_is_never_below_the_truth_and_at_most_one_percent_above(
            values in prop::collection::vec(latency(), 1..200),
            parts in 0..=WHOLE,
        ) {
            let reported = filled(&values).percentile(parts).expect("not empty");
            let truth = true_percentile(&values, parts);
            prop_assert!(reported >= truth);
            prop_assert!((reported - truth) * 100 <= truth);
        }

        #[test]
        fn the_exact_figures_are_exact(values in prop::collection::vec(latency(), 1..200)) {
            let histogram = filled(&values);
            prop_assert_eq!(histogram.min_ns(), values.iter().copied().min());
            prop_assert_eq!(histogram.max_ns(), values.iter().copied().max());
            prop_assert_eq!(histogram.sum_ns(), values.iter().sum::<u64>());
            prop_assert_eq!(histogram.iter().map(|b| u64::from(b.count)).sum::<u64>(),
                            u64::try_from(values.len()).expect("small"));
        }

        #[test]
        fn merging_equals_recording_everything_in_one(
            left in prop::collection::vec(latency(), 0..100),
            right in prop::collection::vec(latency(), 0..100),
        ) {
            let mut merged = filled(&left);
            merged.merge(&filled(&right));
            let mut all = left;
            all.extend(right);
            prop_assert_eq!(merged, filled(&all));
        }
    }
}
