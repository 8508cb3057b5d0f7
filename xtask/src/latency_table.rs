//! The latency report on the terminal: the table of rows, and the smaller ones below it.

use darma_latency::{Report, Row, System};

use crate::quantity::micros;
use crate::table::{Cell, Table, heading, toned};
use crate::terminal::Tone;

/// The whole report.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut text = format!(
        "\n{}\n{}",
        heading("Latency, from due to the first instruction, us"),
        rows(report).text()
    );
    text.push_str(&toned(
        &format!("  tier {}, commit {}\n", report.tier, report.commit),
        Tone::Quiet,
    ));
    if !report.overhead.programs.is_empty() {
        let title = "Cost to Linux's programs: time under Darma over time without";
        text.push_str(&section(title, &overhead(report)));
    }
    if !report.budgets.is_empty() {
        text.push_str(&section("Instructions of the hot paths", &budgets(report)));
    }
    if report.switch_instructions > 0 {
        text.push_str(&format!(
            "\n  preemptive switch between tasks: {} instructions\n",
            report.switch_instructions
        ));
    }
    text
}

fn section(title: &str, table: &Table) -> String {
    format!("\n{}\n{}", heading(title), table.text())
}

/// The rows, by load and source, so that the systems stand below each other.
fn rows(report: &Report) -> Table {
    let mut table = Table::new(&[
        "load",
        "source",
        "system",
        ">samples",
        ">missed",
        ">min",
        ">p50",
        ">p99",
        ">p99.9",
        ">max",
        "longest in the way of the worst",
    ]);
    let mut rows: Vec<&Row> = report.rows.iter().collect();
    rows.sort_by_key(|row| (row.load.code(), row.source, row.system));
    let mut group = None;
    for row in rows {
        let of = (row.load, row.source);
        let first = group != Some(of);
        group = Some(of);
        let shown = |text: &str| {
            if first {
                text.to_owned()
            } else {
                String::new()
            }
        };
        let missed = if row.missed == 0 {
            Tone::Plain
        } else {
            Tone::Bad
        };
        let worst = match row.system {
            System::Darma => Tone::Good,
            _ => Tone::Plain,
        };
        table.row([
            shown(row.load.name()).into(),
            shown(row.source.name()).into(),
            row.system.name().into(),
            row.samples.to_string().into(),
            Cell::new(row.missed.to_string(), missed),
            micros(row.min_ns).into(),
            micros(row.p50_ns).into(),
            micros(row.p99_ns).into(),
            micros(row.p999_ns).into(),
            Cell::new(micros(row.max_ns), worst),
            Cell::new(row.culprit.as_str(), Tone::Quiet),
        ]);
    }
    table
}

fn overhead(report: &Report) -> Table {
    let mut table = Table::new(&["program", ">ratio"]);
    for program in &report.overhead.programs {
        table.row([program.name.as_str().into(), ratio(program.ratio).into()]);
    }
    table.row(["mean".into(), ratio(report.overhead.mean).into()]);
    table
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.4}")
}

fn budgets(report: &Report) -> Table {
    let mut table = Table::new(&["path", ">limit", ">measured", ""]);
    for budget in &report.budgets {
        let verdict = if budget.is_kept() {
            Cell::new("kept", Tone::Good)
        } else {
            Cell::new("EXCEEDED", Tone::Bad)
        };
        table.row([
            budget.path.as_str().into(),
            budget.limit.to_string().into(),
            budget.measured.to_string().into(),
            verdict,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::text;
    use darma_latency::{
        Budget, Distribution, Load, Overhead, Program, Report, Row, Source, System,
    };

    #[test]
    fn systems_stand_below_each_other_under_each_load() {
        let mut report = Report::new("icount-shift1", "abc1234", "cargo xtask latency");
        for (system, load, ns) in [
            (System::Darma, Load::Loaded, 470),
            (System::LinuxStock, Load::Loaded, 87_000),
            (System::Darma, Load::Idle, 460),
        ] {
            let spread = Distribution::of([(ns, 10)]);
            report
                .rows
                .push(Row::new((system, load, Source::Timer), spread, 0, "x"));
        }
        report.overhead = Overhead::of(vec![Program {
            name: "pipe".into(),
            ratio: 1.021,
        }]);
        report.budgets = vec![Budget {
            path: "switch".into(),
            limit: 150,
            measured: 151,
        }];
        let text = text(&report);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[3].contains("idle") && lines[3].contains("0.46"),
            "{text}"
        );
        assert!(
            lines[4].contains("loaded") && lines[4].contains("87.00"),
            "{text}"
        );
        assert!(
            !lines[5].contains("loaded") && lines[5].contains("0.47"),
            "{text}"
        );
        for part in ["1.0210", "EXCEEDED", "icount-shift1", "abc1234"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
