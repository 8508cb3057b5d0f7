//! Cycles to nanoseconds and back, by one multiplication and one shift.
//!
//! Division costs tens of cycles and would sit in the path that is measured, so the reciprocal is
//! computed once. The multipliers hold at least 20 significant bits over the accepted range of
//! frequencies: the error is far below one part in a million, and the products are taken in 128
//! bits, so no duration overflows; results that do not fit saturate.

use darma_abi::units::{Cycles, Nanos};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// 10^9 << 34 still fits 64 bits.
const TO_NANOS_SHIFT: u32 = 34;
/// The fastest accepted clock << 30 still fits 64 bits.
const TO_CYCLES_SHIFT: u32 = 30;

/// The time-stamp counter's rate, ready for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale {
    nanos_mult: u64,
    cycles_mult: u64,
}

impl TimeScale {
    /// Slowest accepted clock, in Hz.
    pub const SLOWEST_HZ: u64 = 10_000_000;
    /// Fastest accepted clock, in Hz.
    pub const FASTEST_HZ: u64 = 16_000_000_000;

    /// One cycle is one nanosecond: QEMU's instruction-counted clock.
    pub const GIGAHERTZ: Self = Self {
        nanos_mult: 1 << TO_NANOS_SHIFT,
        cycles_mult: 1 << TO_CYCLES_SHIFT,
    };

    /// The scale of a counter with this rate; `None` outside the accepted range (a failed
    /// calibration, not a processor).
    pub const fn from_hz(hz: u64) -> Option<Self> {
        if hz < Self::SLOWEST_HZ || hz > Self::FASTEST_HZ {
            return None;
        }
        Some(Self {
            nanos_mult: ((NANOS_PER_SECOND << TO_NANOS_SHIFT) + hz / 2) / hz,
            cycles_mult: ((hz << TO_CYCLES_SHIFT) + NANOS_PER_SECOND / 2) / NANOS_PER_SECOND,
        })
    }

    /// A duration in nanoseconds, rounded down.
    #[inline]
    pub fn nanos(&self, cycles: Cycles) -> Nanos {
        Nanos(scaled(cycles.0, self.nanos_mult, TO_NANOS_SHIFT))
    }

    /// A duration in cycles, rounded down.
    #[inline]
    pub fn cycles(&self, nanos: Nanos) -> Cycles {
        Cycles(scaled(nanos.0, self.cycles_mult, TO_CYCLES_SHIFT))
    }
}

#[inline]
fn scaled(value: u64, mult: u64, shift: u32) -> u64 {
    let product = (u128::from(value) * u128::from(mult)) >> shift;
    u64::try_from(product).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gigahertz_counts_nanoseconds() {
        assert_eq!(
            TimeScale::from_hz(NANOS_PER_SECOND),
            Some(TimeScale::GIGAHERTZ)
        );
        assert_eq!(TimeScale::GIGAHERTZ.nanos(Cycles(1234)), Nanos(1234));
    }

    #[test]
    fn a_rate_that_no_processor_has_is_refused() {
        assert_eq!(TimeScale::from_hz(0), None);
        assert_eq!(TimeScale::from_hz(TimeScale::FASTEST_HZ + 1), None);
    }

    #[test]
    fn no_duration_overflows() {
        let slow = TimeScale::from_hz(TimeScale::SLOWEST_HZ).expect("in range");
        assert_eq!(slow.nanos(Cycles(u64::MAX)), Nanos(u64::MAX));
    }

    proptest! {
        #[test]
        fn both_ways_are_exact_within_one_part_per_million(
            hz in 100_000_000u64..=10_000_000_000,
            value in 0u64..1 << 60,
        ) {
            let scale = TimeScale::from_hz(hz).expect("in range");
            let second = u128::from(NANOS_PER_SECOND);
            let value_wide = u128::from(value);

            let nanos = value_wide * second / u128::from(hz);
            if let Ok(nanos) = u64::try_from(nanos) {
                let got = scale.nanos(Cycles(value)).0;
                prop_assert!(got.abs_diff(nanos) <= nanos / 1_000_000 + 1);
            }
            let cycles = value_wide * u128::from(hz) / second;
            if let Ok(cycles) = u64::try_from(cycles) {
                let got = scale.cycles(Nanos(value)).0;
                prop_assert!(got.abs_diff(cycles) <= cycles / 1_000_000 + 1);
            }
        }
    }
}
