//! The axes: logarithms of times and counts, and the nines of a percentile.
//!
//! Positions are drawn, not computed with: everything here may be a float.

use crate::quantity::duration;

/// A logarithmic axis between two values, over a length in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Log {
    /// From `low` at pixel `from` to `high` at pixel `to`.
    pub(super) fn new((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        let high = if high > low { high } else { low * 10.0 };
        Self {
            low,
            high,
            from,
            to,
        }
    }

    /// The pixel of a value; values outside stand at the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let part = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        self.from + (self.to - self.from) * part.min(1.0)
    }

    /// The value at a part of the axis, 0 to 1.
    pub(super) fn value(&self, part: f64) -> f64 {
        self.low * (self.high / self.low).powf(part)
    }

    /// The powers of ten on the axis.
    pub(super) fn decades(&self) -> Vec<f64> {
        steps(self, &[1.0])
    }

    /// Marks with labels: as fine as gives no more than `most`, at least the powers of ten.
    pub(super) fn marks(&self, most: usize) -> Vec<f64> {
        let every: &[f64] = &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];
        let finer = [every, &[1.0, 2.0, 5.0]].map(|of_decade| steps(self, of_decade));
        let fits = finer.into_iter().find(|marks| marks.len() <= most);
        fits.unwrap_or_else(|| self.decades())
    }
}

fn steps(axis: &Log, of_decade: &[f64]) -> Vec<f64> {
    let mut found = Vec::new();
    let mut decade = 10_f64.powf(axis.low.log10().floor());
    while decade <= axis.high * 1.000_001 {
        for step in of_decade {
            let value = decade * step;
            if value >= axis.low * 0.999_999 && value <= axis.high * 1.000_001 {
                found.push(value);
            }
        }
        decade *= 10.0;
    }
    found
}

/// The range of an axis that holds all of these values, widened to a round number (1, 2 or 5 times a
/// power of ten) on both sides.
pub(super) fn round_range(values: impl IntoIterator<Item = u64>) -> Option<(f64, f64)> {
    let (mut low, mut high) = (u64::MAX, 0);
    for value in values {
        (low, high) = (low.min(value.max(1)), high.max(value.max(1)));
    }
    (low <= high).then(|| (round_down(float(low)), round_up(float(high))))
}

fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [5.0, 2.0].map(|step| step * decade);
    steps
        .into_iter()
        .find(|step| *step < value)
        .unwrap_or(if decade < value { decade } else { decade / 2.0 })
}

fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [2.0, 5.0, 10.0].map(|step| step * decade);
    let above = steps.into_iter().find(|step| *step > value);
    above.unwrap_or(decade * 20.0)
}

/// How many nines a part of the whole has: 0.9 has one, 0.999 three, 0 none.
pub(super) fn nines(part: f64) -> f64 {
    -(1.0 - part).max(1e-15).log10()
}

/// The label of a number of nines: `90 %`, `99.9 %`.
pub(super) fn nines_label(count: u32) -> String {
    match count {
        0 => "0".into(),
        1 => "90 %".into(),
        2 => "99 %".into(),
        more => {
            let decimals = usize::try_from(more.saturating_sub(2)).unwrap_or(0);
            format!("99.{} %", "9".repeat(decimals))
        }
    }
}

/// A number of nanoseconds on an axis: `500 ns`, `10 us`.
pub(super) fn time_label(ns: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a mark of an axis: positive, far below 2^64"
    )]
    let text = duration(ns.round() as u64);
    // Marks are round: their decimals are zeros.
    match text.split_once('.') {
        Some((whole, rest)) => {
            let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{whole}{unit}")
        }
        None => text,
    }
}

/// A count for drawing.
#[allow(clippy::cast_precision_loss, reason = "drawn, not computed with")]
pub(super) const fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_round_and_short() {
        let axis = Log::new((200.0, 5_000.0), (0.0, 100.0));
        let labels: Vec<String> = axis.marks(7).into_iter().map(time_label).collect();
        assert_eq!(labels, ["200 ns", "500 ns", "1 us", "2 us", "5 us"]);
        let wide = Log::new((100.0, 1e6), (0.0, 100.0));
        assert_eq!(wide.marks(7).len(), 5);
    }

    #[test]
    fn nines_are_counted_and_named() {
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
        assert_eq!(nines(1.0), 15.0);
        assert_eq!(nines_label(4), "99.99 %");
    }

    proptest! {
        #[test]
        fn a_range_holds_its_values_strictly_and_is_not_much_wider(
            values in prop::collection::vec(1u64..10_000_000_000, 1..20),
        ) {
            let (low, high) = round_range(values.iter().copied()).unwrap();
            let least = float(*values.iter().min().unwrap());
            let most = float(*values.iter().max().unwrap());
            prop_assert!(low < least && low * 2.6 >= least, "{low} {least}");
            prop_assert!(high > most && high <= most * 2.6, "{high} {most}");
        }

        #[test]
        fn a_value_is_never_drawn_outside(value in 0.0f64..1e12) {
            let pixel = Log::new((100.0, 1e6), (300.0, 10.0)).at(value);
            prop_assert!((10.0..=300.0).contains(&pixel));
        }
    }
}
