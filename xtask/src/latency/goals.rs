//! What is to be reached, held against a report: figures of SPECIFICATION.md.

use darma_latency::{Extra, Load, Report, Row, Source, System};

use super::overhead::MOST_EACH;
use crate::table::{self, Cell, Table};
use crate::terminal::Tone;
use crate::thread_metric::SWITCH_LIMIT;

/// Due to first instruction under load: median of the timer's task.
const MEDIAN_NS: u64 = 300;
/// The same: greatest, of either source, under load and in recovery.
const LATEST_NS: u64 = 800;
/// Greatest under load over greatest without.
const LOADED_OVER_IDLE: f64 = 1.2;
/// Mean of the overhead's ratios.
const MOST_MEAN: f64 = 1.01;

/// A figure, what it may be at most, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// The figure.
    pub what: String,
    /// What it may be.
    pub limit: String,
    /// What it is.
    pub measured: String,
    /// Whether it is within the limit.
    pub is_reached: bool,
}

/// The goals of which `report` has the figures.
#[must_use]
pub fn of(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    let row = |load, source| report.row(System::Darma, load, source);
    if let Some(loaded) = row(Load::Loaded, Source::Timer) {
        goals.push(nanos(
            "timer to task, loaded, median",
            MEDIAN_NS,
            loaded.p50_ns,
        ));
    }
    for (source, name) in [(Source::Timer, "timer"), (Source::Device, "device")] {
        for load in [Load::Loaded, Load::Recovery] {
            if let Some(row) = row(load, source) {
                let what = format!("{name} to task, {load}, maximum");
                goals.push(nanos(&what, LATEST_NS, row.max_ns));
            }
        }
        if let (Some(idle), Some(loaded)) = (row(Load::Idle, source), row(Load::Loaded, source)) {
            let what = format!("{name} to task, maximum loaded / idle");
            goals.push(ratio(&what, LOADED_OVER_IDLE, over(loaded, idle)));
        }
    }
    let missed: u64 = report
        .rows
        .iter()
        .filter(|row| row.system == System::Darma)
        .map(|row| row.missed)
        .sum();
    if report.rows.iter().any(|row| row.system == System::Darma) {
        goals.push(count("deadlines missed by tasks", 0, missed));
    }
    if report.switch_instructions > 0 {
        let what = "preemptive switch, instructions";
        goals.push(count(what, SWITCH_LIMIT, report.switch_instructions));
    }
    let ratios = report.overhead.programs.iter();
    if let Some(worst) = ratios.max_by(|a, b| a.ratio.total_cmp(&b.ratio)) {
        let what = format!("cost to the worst program, {}", worst.name);
        goals.push(ratio(&what, MOST_EACH, worst.ratio));
        let what = "cost to programs, mean";
        goals.push(ratio(what, MOST_MEAN, report.overhead.mean));
    }
    goals
}

/// Maxima are far below 2^53.
#[expect(clippy::cast_precision_loss)]
fn over(loaded: &Row, idle: &Row) -> f64 {
    loaded.max_ns as f64 / idle.max_ns.max(1) as f64
}

fn nanos(what: &str, limit: u64, found: u64) -> Goal {
    Goal {
        what: what.into(),
        limit: format!("{limit} ns"),
        measured: format!("{found} ns"),
        is_reached: found <= limit,
    }
}

fn count(what: &str, limit: u64, found: u64) -> Goal {
    Goal {
        what: what.into(),
        limit: limit.to_string(),
        measured: found.to_string(),
        is_reached: found <= limit,
    }
}

fn ratio(what: &str, limit: f64, found: f64) -> Goal {
    Goal {
        what: what.into(),
        limit: format!("{limit:.2}"),
        measured: format!("{found:.4}"),
        is_reached: found <= limit,
    }
}

/// The table for the terminal.
#[must_use]
pub fn text(goals: &[Goal]) -> String {
    let mut table = Table::new(&["figure", ">at most", ">measured", ""]);
    for goal in goals {
        let verdict = if goal.is_reached {
            Cell::new("reached", Tone::Good)
        } else {
            Cell::new("MISSED", Tone::Bad)
        };
        table.row([
            goal.what.as_str().into(),
            goal.limit.as_str().into(),
            goal.measured.as_str().into(),
            verdict,
        ]);
    }
    format!("{}\n{}", table::heading("To be reached"), table.text())
}

/// The table of the page.
#[must_use]
pub fn extra(goals: &[Goal]) -> Extra {
    let rows = goals.iter().map(|goal| {
        let verdict = if goal.is_reached { "reached" } else { "missed" };
        [&goal.what, &goal.limit, &goal.measured, verdict]
            .map(|text: &str| text.to_owned())
            .into()
    });
    Extra {
        title: "To be reached".into(),
        note: "What SPECIFICATION.md promises, and what was measured here.".into(),
        head: ["figure", ">at most", ">measured", "verdict"]
            .map(String::from)
            .into(),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use darma_latency::{Distribution, Load, Overhead, Program, Report, Row, Source, System};

    fn report(pairs: &[(Load, u64)]) -> Report {
        let mut report = Report::new("icount-shift1", "abc", "x");
        for (load, ns) in pairs {
            let key = (System::Darma, *load, Source::Timer);
            report
                .rows
                .push(Row::new(key, Distribution::of([(*ns, 5)]), 0, ""));
        }
        report
    }

    #[test]
    fn a_figure_over_its_limit_is_missed_and_the_others_are_not() {
        let mut report = report(&[(Load::Idle, 290), (Load::Loaded, 801)]);
        report.overhead = Overhead::of(vec![Program {
            name: "exec".into(),
            ratio: 1.019,
        }]);
        let missed: Vec<_> = of(&report)
            .into_iter()
            .filter(|goal| !goal.is_reached)
            .map(|goal| goal.what)
            .collect();
        assert_eq!(
            missed,
            [
                "timer to task, loaded, median",
                "timer to task, loaded, maximum",
                "timer to task, maximum loaded / idle",
                "cost to programs, mean"
            ]
        );
    }

    #[test]
    fn what_was_not_measured_is_no_goal() {
        assert!(of(&report(&[])).is_empty());
        let goals = of(&report(&[(Load::Loaded, 300)]));
        assert!(goals.iter().all(|goal| goal.is_reached));
        assert_eq!(goals.len(), 3);
    }
}
