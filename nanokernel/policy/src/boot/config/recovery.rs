//! The keys `recovery.*`: how often, how fast and from what a failed GPOS is started again.
//!
//! The rules themselves are the RAS monitor's (`darma_ras_model::recovery`); here are their limits and
//! what may be written for them. A limit of 0 is refused: it would hold a GPOS down that never failed
//! to come up, or mean "none", depending on who reads it.

use darma_abi::units::Nanos;

/// The limits of recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// `recovery.limit`: starts that may fail within the window before user space is up; then the
    /// rescue system is started, or the GPOS is held down. `None` (`none`) sets no limit. Default 5.
    pub limit: Option<u32>,
    /// `recovery.window`: how long a failed start counts; `None` (`none`) for ever. Default one hour.
    pub window: Option<Nanos>,
    /// `recovery.first-wait`: the wait after the second failed start, which doubles from there.
    /// Default 1 s.
    pub first_wait: Nanos,
    /// `recovery.longest-wait`: where the doubling ends. Default 60 s.
    pub longest_wait: Nanos,
    /// `recovery.rescue`: what the image's rescue system is for. Default that it is used.
    pub rescue: UseOfRescue,
}

/// What the image's rescue system is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseOfRescue {
    /// It is started when the first system does not come up.
    WhenNeeded,
    /// It is started only by somebody's command.
    OnCommand,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            limit: Some(5),
            window: Some(Nanos(3_600_000_000_000)),
            first_wait: Nanos(1_000_000_000),
            longest_wait: Nanos(60_000_000_000),
            rescue: UseOfRescue::WhenNeeded,
        }
    }
}

/// The highest `recovery.limit`: as many failed starts are remembered.
const LIMIT_MAX: u64 = 32;
/// The longest time that a key takes: a week.
const LONGEST: u64 = 7 * 86_400 * 1_000_000_000;

/// What `recovery.limit` takes.
pub(super) const LIMIT: &str = "a whole number from 1 to 32, or 'none'";
/// What `recovery.window` takes.
pub(super) const WINDOW: &str = "a time such as 90s, 30m or 12h, at most 168h, or 'none'";
/// What a wait takes.
pub(super) const WAIT: &str = "a time such as 0s, 500ms, 5s or 10m, at most 168h";
/// What `recovery.rescue` takes.
pub(super) const RESCUE: &str = "'yes', or 'no' for only by command";

/// The meaning of `recovery.limit`.
#[allow(
    clippy::option_option,
    reason = "not understood, or understood as none"
)]
pub(super) fn limit(text: &str) -> Option<Option<u32>> {
    if text == "none" {
        return Some(None);
    }
    let number = super::parse_number(text).filter(|number| (1..=LIMIT_MAX).contains(number))?;
    Some(Some(u32::try_from(number).ok()?))
}

/// The meaning of `recovery.window`.
#[allow(
    clippy::option_option,
    reason = "not understood, or understood as none"
)]
pub(super) fn window(text: &str) -> Option<Option<Nanos>> {
    match text {
        "none" => Some(None),
        time => Some(Some(wait(time).filter(|time| time.0 > 0)?)),
    }
}

/// A time: a whole number with its unit.
pub(super) fn wait(text: &str) -> Option<Nanos> {
    const UNITS: [(&str, u64); 4] = [
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    // "ms" stands first: its end is another unit.
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, *ns)))?;
    super::parse_number(digits.trim_end())?
        .checked_mul(unit)
        .filter(|time| *time <= LONGEST)
        .map(Nanos)
}

/// The meaning of `recovery.rescue`.
pub(super) fn rescue(text: &str) -> Option<UseOfRescue> {
    match text {
        "yes" => Some(UseOfRescue::WhenNeeded),
        "no" => Some(UseOfRescue::OnCommand),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(wait("250ms"), Some(Nanos(250_000_000)));
        assert_eq!(wait("90 s"), Some(Nanos(90_000_000_000)));
        assert_eq!(wait("2m"), wait("120s"));
        assert_eq!(wait("1h"), wait("60m"));
        assert_eq!(wait("0s"), Some(Nanos(0)));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "169h",
            "1d",
            "99999999999999999999s",
        ] {
            assert_eq!(wait(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_window_of_nothing_and_a_limit_of_nothing_are_refused() {
        assert_eq!(window("0s"), None);
        assert_eq!(window("none"), Some(None));
        assert_eq!(limit("0"), None);
        assert_eq!(limit("33"), None);
        assert_eq!(limit("32"), Some(Some(32)));
    }
}
