//! Percentile files, as the HDR histogram family of tools writes and plots them.
//!
//! Values are microseconds with three decimals. The steps halve their distance to the end every
//! [`TICKS`] lines, so that the tail has as many lines as the rest.

use std::fmt::Write as _;

use crate::distribution::Distribution;

/// Lines per halving of the distance to 100 %.
pub const TICKS: u32 = 5;

/// The file's text.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    reason = "printed with three decimals of a microsecond"
)]
pub fn text(distribution: &Distribution) -> String {
    let micros = |ns: u64| ns as f64 / 1_000.0;
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut seen = 0;
    for (part, value_ns, count) in distribution.steps(TICKS) {
        seen += count;
        let value = micros(value_ns);
        if part < 1.0 {
            let inverse = 1.0 / (1.0 - part);
            let _ = writeln!(out, "{value:12.3} {part:.12} {seen:10} {inverse:14.2}");
        } else {
            let _ = writeln!(out, "{value:12.3} {part:.12} {seen:10}");
        }
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]",
        distribution.mean_ns() / 1_000.0,
        distribution.deviation_ns() / 1_000.0
    );
    let _ = writeln!(
        out,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        micros(distribution.max_ns()),
        distribution.samples()
    );
    out
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::distribution::Distribution;

    #[test]
    fn the_file_has_the_form_that_plotters_read() {
        let text = text(&Distribution::of([(500, 90), (700, 9), (87_000, 1)]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "       Value     Percentile TotalCount 1/(1-Percentile)"
        );
        assert_eq!(lines[1], "");
        assert_eq!(
            lines[2],
            "       0.500 0.000000000000         90           1.00"
        );
        let last = lines.iter().rposition(|line| !line.starts_with('#'));
        assert_eq!(
            lines[last.unwrap()],
            "      87.000 1.000000000000        100"
        );
        assert_eq!(
            lines[lines.len() - 1],
            "#[Max     =       87.000, Total count    =          100]"
        );
    }

    #[test]
    fn counts_rise_to_the_number_of_samples() {
        let text = text(&Distribution::of((1..500).map(|value| (value * 7, value))));
        let counts: Vec<u64> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_whitespace().nth(2)?.parse().ok())
            .collect();
        assert!(counts.is_sorted());
        assert_eq!(counts.last(), Some(&(1..500).sum()));
    }

    #[test]
    fn without_samples_there_is_no_line() {
        assert_eq!(text(&Distribution::new()).lines().count(), 4);
    }
}
