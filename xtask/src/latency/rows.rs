//! The laboratory's rows: a system under a load, a source of interrupts, and the latencies found.

use std::fmt;

use super::cyclictest::Counts;

/// Whose latencies a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// Debian's generic kernel, cyclictest.
    LinuxStock,
    /// Debian's `PREEMPT_RT` kernel, cyclictest.
    LinuxRt,
    /// A task of the RTOS under Linux's load.
    Darma,
    /// Debian's generic kernel under Darma, cyclictest.
    LinuxUnderDarma,
}

impl System {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 4] = [
        Self::LinuxStock,
        Self::LinuxRt,
        Self::Darma,
        Self::LinuxUnderDarma,
    ];

    /// The name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinuxStock => "linux-stock",
            Self::LinuxRt => "linux-rt",
            Self::Darma => "darma",
            Self::LinuxUnderDarma => "linux-under-darma",
        }
    }
}

/// What Linux does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Situation {
    /// Nothing but the measurement.
    Idle,
    /// The whole load.
    Loaded,
    /// It crashes, is dumped and comes back.
    Recovery,
}

impl Situation {
    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Loaded => "loaded",
            Self::Recovery => "recovery",
        }
    }
}

/// What a row's activations answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A timer's deadline.
    Timer,
    /// A device's interrupt.
    Device,
}

impl Source {
    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Device => "device",
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose latencies.
    pub system: System,
    /// Under which load.
    pub situation: Situation,
    /// Of what.
    pub source: Source,
    /// Activations that ended after their deadline. A cyclictest period is missed when its thread wakes
    /// after the next is due.
    pub missed: u64,
    /// The figures.
    pub summary: Summary,
    /// Every latency with its count, where known: ns, ascending.
    pub counts: Counts,
}

/// Figures of a set of latencies, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub samples: u64,
    /// Least.
    pub min_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Greatest.
    pub max_ns: u64,
}

impl Summary {
    /// Of a histogram: a percentile is the least value that so many samples do not exceed.
    #[must_use]
    pub fn of(counts: &[(u64, u64)]) -> Self {
        let samples = counts.iter().map(|(_, count)| count).sum();
        let at = |per_mille: u64| {
            let rank = (u128::from(samples) * u128::from(per_mille)).div_ceil(1000);
            let mut seen = 0_u128;
            counts
                .iter()
                .find(|(_, count)| {
                    seen += u128::from(*count);
                    seen >= rank
                })
                .map_or(0, |(ns, _)| *ns)
        };
        Self {
            samples,
            min_ns: counts.first().map_or(0, |(ns, _)| *ns),
            p50_ns: at(500),
            p99_ns: at(990),
            p999_ns: at(999),
            max_ns: counts.last().map_or(0, |(ns, _)| *ns),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.system.name(),
            self.situation.name(),
            self.source.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn a_percentile_is_the_least_value_that_so_many_samples_do_not_exceed() {
        let summary = Summary::of(&[(1, 500), (2, 490), (3, 9), (9, 1)]);
        assert_eq!(summary.samples, 1000);
        assert_eq!((summary.min_ns, summary.max_ns), (1, 9));
        assert_eq!((summary.p50_ns, summary.p99_ns, summary.p999_ns), (1, 2, 3));
    }

    #[test]
    fn nothing_measured_is_all_zero() {
        assert_eq!(Summary::of(&[]), Summary::default());
    }
}
