//! Do recoveries stay alike over many cycles? Leaks and drift show as times that move.
//!
//! Compared are recoveries from the same cause only: what a panic prints before it ends, a triple fault
//! does not. Times are virtual, so the host's moods are not in them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures::Recovery;

/// How alike they are, in thousandths; 0 where there are too few to compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The greatest distance of a recovery's time to user space from the median of its cause.
    pub userspace_spread_permille: u64,
    /// The same of the time that loading takes.
    pub reload_spread_permille: u64,
    /// How far the median of the last third lies from that of the first, at most over all causes.
    pub userspace_trend_permille: u64,
}

impl Drift {
    /// Of recoveries in their order.
    #[must_use]
    pub fn of(recoveries: &[Recovery]) -> Self {
        let mut by_cause: BTreeMap<&str, Vec<&Recovery>> = BTreeMap::new();
        for recovery in recoveries.iter().filter(|recovery| recovery.recovered) {
            by_cause.entry(&recovery.cause).or_default().push(recovery);
        }
        let mut drift = Self::default();
        for alike in by_cause.values() {
            let userspace: Vec<u64> = alike.iter().map(|it| it.userspace_ns).collect();
            let reload: Vec<u64> = alike.iter().map(|it| it.reload_ns).collect();
            let worst = |so_far: u64, new: u64| so_far.max(new);
            drift.userspace_spread_permille =
                worst(drift.userspace_spread_permille, spread(&userspace));
            drift.reload_spread_permille = worst(drift.reload_spread_permille, spread(&reload));
            drift.userspace_trend_permille =
                worst(drift.userspace_trend_permille, trend(&userspace));
        }
        drift
    }
}

/// The greatest distance from the median, in thousandths of it.
fn spread(times: &[u64]) -> u64 {
    let middle = median(times);
    let farthest = times.iter().map(|time| time.abs_diff(middle)).max();
    permille(farthest.unwrap_or(0), middle)
}

/// The distance of the last third's median from the first third's, in thousandths.
fn trend(times: &[u64]) -> u64 {
    let third = times.len() / 3;
    let first = times.get(..third).unwrap_or_default();
    let last = times.get(times.len() - third..).unwrap_or_default();
    permille(median(last).abs_diff(median(first)), median(first))
}

fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// Rounded up: a figure that is promised is not flattered.
fn permille(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    part.saturating_mul(1000).div_ceil(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovery(cause: &str, userspace_ns: u64) -> Recovery {
        Recovery {
            kind: "any".into(),
            cause: cause.into(),
            detect_ns: 1,
            capture_ns: 1,
            reload_ns: 100,
            userspace_ns,
            recovered: userspace_ns > 0,
        }
    }

    #[test]
    fn recoveries_of_different_causes_are_not_compared() {
        let alike = [
            recovery("panic", 1000),
            recovery("triple-fault", 500),
            recovery("panic", 1000),
            recovery("triple-fault", 500),
        ];
        assert_eq!(Drift::of(&alike), Drift::default());
        assert_eq!(Drift::of(&[]), Drift::default());
    }

    #[test]
    fn one_that_is_slow_is_spread_and_ever_slower_ones_are_a_trend() {
        let mut once: Vec<_> = (0..9).map(|_| recovery("panic", 1000)).collect();
        once[4] = recovery("panic", 1049);
        let drift = Drift::of(&once);
        assert_eq!(drift.userspace_spread_permille, 49);
        assert_eq!(drift.userspace_trend_permille, 0);
        let slower: Vec<_> = (0..9).map(|n| recovery("panic", 1000 + n * 10)).collect();
        assert_eq!(Drift::of(&slower).userspace_trend_permille, 60);
    }

    #[test]
    fn what_did_not_recover_is_no_time() {
        let failed = [recovery("panic", 1000), recovery("panic", 0)];
        assert_eq!(Drift::of(&failed).userspace_spread_permille, 0);
    }
}
