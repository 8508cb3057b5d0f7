//! The keys `watch.*`: after how long which silence of the GPOS is a failure.
//!
//! A limit that is `none` switches its detector off. The shortest limit is a millisecond: the
//! detectors look at the GPOS several times per limit, and each look stops it for a microsecond.

use darma_abi::units::Nanos;

/// The limits of detection. `None` switches a detector off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// `watch.hard-lockup`: how long an interrupt may wait for the GPOS to let it in. Default 100 ms.
    pub hard_lockup: Option<Nanos>,
    /// `watch.soft-lockup`: how long the kernel may hold the processor without a change of process,
    /// user code or idling, and how long its time may stand still meanwhile. Default 2 s.
    pub soft_lockup: Option<Nanos>,
    /// `watch.boot`: from the start to the first sign of user space. Default 120 s.
    pub boot: Option<Nanos>,
    /// `watch.heartbeat`: between two heartbeats of user space, once it has sent one. Default 30 s.
    pub heartbeat: Option<Nanos>,
    /// `watch.violations`: what an attempt on something that is not the GPOS's means. Default
    /// that it is recorded.
    pub violations: Violations,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            hard_lockup: Some(Nanos(100_000_000)),
            soft_lockup: Some(Nanos(2_000_000_000)),
            boot: Some(Nanos(120_000_000_000)),
            heartbeat: Some(Nanos(30_000_000_000)),
            violations: Violations::Record,
        }
    }
}

/// What an attempt on memory, ports, registers or interrupts that are not the GPOS's means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violations {
    /// It is answered as absent hardware and recorded.
    Record,
    /// It ends the GPOS, which is captured and loaded again.
    Fatal,
}

/// What a limit's key takes.
pub(super) const LIMIT: &str = "a time from 1ms to 1000s such as 100ms or 2s, or 'none'";

/// A limit: a whole number of `ms` or `s`, or `none`.
#[allow(
    clippy::option_option,
    reason = "not understood, or understood as none"
)]
pub(super) fn limit(text: &str) -> Option<Option<Nanos>> {
    const LONGEST: u64 = 1_000_000_000_000;
    if text == "none" {
        return Some(None);
    }
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1_000_000),
        None => (text.strip_suffix('s')?, 1_000_000_000),
    };
    super::parse_number(digits)?
        .checked_mul(unit)
        .filter(|time| (1..=LONGEST).contains(time))
        .map(|time| Some(Nanos(time)))
}

/// The meaning of `watch.violations`.
pub(super) fn violations(text: &str) -> Option<Violations> {
    match text {
        "record" => Some(Violations::Record),
        "fatal" => Some(Violations::Fatal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_with_its_unit_or_none() {
        assert_eq!(limit("100ms"), Some(Some(Nanos(100_000_000))));
        assert_eq!(limit("2s"), Some(Some(Nanos(2_000_000_000))));
        assert_eq!(limit("none"), Some(None));
        for text in [
            "",
            "5",
            "0s",
            "ms",
            "1.5s",
            "-1s",
            "1001s",
            "18446744073709551615s",
            "2 s",
        ] {
            assert_eq!(limit(text), None, "{text:?}");
        }
    }
}
