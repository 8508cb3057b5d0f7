//! Durations and sizes as people read them.

/// A duration with three significant digits and the unit that suits it: `615 ns`, `4.11 us`, `608 ms`.
#[must_use]
pub fn duration(ns: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let Some((unit, name)) = UNITS
        .into_iter()
        // What rounds to 1000 of the smaller unit is written in the larger.
        .find(|(unit, _)| ns >= unit - unit / 2_000)
    else {
        return format!("{ns} ns");
    };
    let whole = ns / unit;
    // In integers: what is printed must not depend on floating-point rounding.
    let digits = match whole {
        0..10 => 2,
        10..100 => 1,
        _ => 0,
    };
    format!("{} {name}", scaled(ns, unit, digits))
}

/// Microseconds with two decimals, for columns that are compared line by line.
#[must_use]
pub fn micros(ns: u64) -> String {
    scaled(ns, 1_000, 2)
}

/// Seconds with three decimals.
#[must_use]
pub fn seconds(ns: u64) -> String {
    scaled(ns, 1_000_000_000, 3)
}

/// A size: `513 B`, `161.0 KiB`, `7.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", scaled(bytes, 1024, 1)),
        _ => format!("{} MiB", scaled(bytes, 1 << 20, 1)),
    }
}

/// `value / unit`, rounded to so many decimals.
fn scaled(value: u64, unit: u64, decimals: u32) -> String {
    let power = 10_u128.pow(decimals);
    let unit = u128::from(unit);
    let rounded = (u128::from(value) * power + unit / 2) / unit;
    let (whole, part) = (rounded / power, rounded % power);
    match usize::try_from(decimals) {
        Ok(0) | Err(_) => whole.to_string(),
        Ok(width) => format!("{whole}.{part:0width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, micros, seconds, size};

    #[test]
    fn a_duration_has_the_unit_that_suits_it() {
        let read: Vec<_> = [0, 615, 4_113, 32_114_457, 608_104_442, 14_845_000_000]
            .map(duration)
            .into();
        assert_eq!(
            read,
            ["0 ns", "615 ns", "4.11 us", "32.1 ms", "608 ms", "14.8 s"]
        );
    }

    #[test]
    fn rounding_carries_into_the_next_unit() {
        assert_eq!(duration(999_999), "1.00 ms");
        assert_eq!(duration(999_499), "999 us");
        assert_eq!(duration(u64::MAX), "18446744074 s");
    }

    #[test]
    fn columns_have_a_fixed_number_of_decimals() {
        assert_eq!(
            (micros(615), micros(87_000)),
            ("0.62".into(), "87.00".into())
        );
        assert_eq!(seconds(125_681_748), "0.126");
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size(164_863), "161.0 KiB");
        assert_eq!(size(7_299_072), "7.0 MiB");
        assert_eq!(size(12), "12 B");
    }
}
