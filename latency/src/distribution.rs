//! How the samples of a row are spread.
//!
//! Quantiles come from an HDR histogram with three digits, so below 2048 ns every value has a bucket
//! of its own. The extremes are kept exactly beside it: a maximum is a promise, not an estimate.

use hdrhistogram::Histogram;

/// An hour. What is longer counts as that long, and only the maximum tells the truth.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Samples by value, nanoseconds.
#[derive(Clone, Debug)]
pub struct Distribution {
    histogram: Histogram<u64>,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Distribution {
    fn eq(&self, other: &Self) -> bool {
        (self.min_ns, self.max_ns) == (other.min_ns, other.max_ns)
            && self.histogram == other.histogram
    }
}

impl Distribution {
    /// No samples.
    ///
    /// # Panics
    /// Never: the bounds are sound.
    #[must_use]
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("sound bounds");
        Self {
            histogram,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }

    /// Samples as pairs of a value in nanoseconds and how often it was seen.
    pub fn of(pairs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut distribution = Self::new();
        for (value_ns, count) in pairs {
            distribution.add(value_ns, count);
        }
        distribution
    }

    /// Adds `count` samples of one value.
    pub fn add(&mut self, value_ns: u64, count: u64) {
        if count == 0 {
            return;
        }
        self.histogram.saturating_record_n(value_ns, count);
        self.min_ns = self.min_ns.min(value_ns);
        self.max_ns = self.max_ns.max(value_ns);
    }

    /// Adds all samples of another.
    pub fn merge(&mut self, other: &Self) {
        for (value_ns, count) in other.counts() {
            self.histogram.saturating_record_n(value_ns, count);
        }
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Puts the exact extremes in the place of the buckets' edges, when the samples came as buckets.
    pub fn set_extremes(&mut self, min_ns: u64, max_ns: u64) {
        if !self.is_empty() {
            (self.min_ns, self.max_ns) = (min_ns, max_ns);
        }
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.histogram.len()
    }

    /// The least, exact; 0 without samples.
    #[must_use]
    pub fn min_ns(&self) -> u64 {
        if self.is_empty() { 0 } else { self.min_ns }
    }

    /// The greatest, exact.
    #[must_use]
    pub const fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The mean, at the buckets' resolution.
    #[must_use]
    pub fn mean_ns(&self) -> f64 {
        self.histogram.mean()
    }

    /// The standard deviation, at the buckets' resolution.
    #[must_use]
    pub fn deviation_ns(&self) -> f64 {
        self.histogram.stdev()
    }

    /// The value that this part of the samples (0 to 1) does not exceed: never below the truth of
    /// what was added, at most 0.1 % above it.
    #[must_use]
    pub fn quantile_ns(&self, part: f64) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let value = self.histogram.value_at_quantile(part);
        value.clamp(self.min_ns, self.max_ns.max(self.min_ns))
    }

    /// Steps towards 100 % that halve the distance to it every `ticks`: the part, the value that it
    /// does not exceed, the samples since the step before.
    pub fn steps(&self, ticks: u32) -> impl Iterator<Item = (f64, u64, u64)> + '_ {
        let most = self.max_ns;
        let steps = self.histogram.iter_quantiles(ticks.max(1));
        let steps = steps.map(move |step| {
            let value = step.value_iterated_to().min(most);
            let count = step.count_since_last_iteration();
            (step.quantile_iterated_to(), value, count)
        });
        steps.take(if self.is_empty() { 0 } else { usize::MAX })
    }

    /// Values and their counts, rising; those that were never seen are left out.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram
            .iter_recorded()
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::Distribution;
    use proptest::prelude::*;

    #[test]
    fn no_samples_are_all_zero() {
        let none = Distribution::of([(5, 0)]);
        assert!(none.is_empty());
        assert_eq!(
            (none.min_ns(), none.max_ns(), none.quantile_ns(0.5)),
            (0, 0, 0)
        );
    }

    #[test]
    fn the_extremes_are_exact_however_long_they_are() {
        for longest in [123_456_789, u64::MAX] {
            let few = Distribution::of([(3, 1), (longest, 1)]);
            assert_eq!((few.min_ns(), few.max_ns()), (3, longest));
        }
        let few = Distribution::of([(3, 1), (123_456_789, 1)]);
        assert_eq!(few.quantile_ns(1.0), 123_456_789);
    }

    proptest! {
        #[test]
        fn a_quantile_is_never_below_the_truth_and_at_most_one_in_a_thousand_above(
            values in prop::collection::vec(1u64..10_000_000, 1..80), part in 0.0f64..=1.0,
        ) {
            let distribution = Distribution::of(values.iter().map(|value| (*value, 1)));
            let mut sorted = values;
            sorted.sort_unstable();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let rank = ((part * sorted.len() as f64).ceil() as usize).max(1);
            // The crate rounds the part in its favour by the last bit, so one rank less is right too.
            let truth = [sorted[rank.saturating_sub(2)], sorted[rank - 1]];
            let found = distribution.quantile_ns(part);
            prop_assert!(truth.iter().any(|truth| found >= *truth && found - truth <= truth / 1000 + 1));
        }

        #[test]
        fn merging_equals_adding_everything_to_one(
            left in prop::collection::vec((1u64..1_000_000, 1u64..5), 0..30),
            right in prop::collection::vec((1u64..1_000_000, 1u64..5), 0..30),
        ) {
            let mut merged = Distribution::of(left.iter().copied());
            merged.merge(&Distribution::of(right.iter().copied()));
            prop_assert_eq!(merged, Distribution::of(left.into_iter().chain(right)));
        }
    }
}
