//! The report: `latency.json`, and what only the page and the percentile files need beside it.
//!
//! Names are stable: fields are only added, and a reader ignores those that it does not know.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;
use crate::hgrm;
use crate::page;
use crate::worst::Worst;

/// Version of the names below.
pub const SCHEMA: u32 = 1;

/// Under which load a row was measured: `idle`, `loaded`, `recovery`.
pub type Load = darma_abi::codes::Phase;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Linux as distributed, on the bare (emulated) machine.
    LinuxStock,
    /// Linux with PREEMPT_RT, likewise.
    LinuxRt,
    /// A real-time task of Darma.
    Darma,
    /// Linux while it runs under Darma.
    LinuxUnderDarma,
}

impl System {
    /// Every system, in the order of the tables.
    pub const ALL: [Self; 4] = [
        Self::LinuxStock,
        Self::LinuxRt,
        Self::Darma,
        Self::LinuxUnderDarma,
    ];

    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinuxStock => "linux-stock",
            Self::LinuxRt => "linux-rt",
            Self::Darma => "darma",
            Self::LinuxUnderDarma => "linux-under-darma",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::LinuxStock => "Linux",
            Self::LinuxRt => "PREEMPT_RT Linux",
            Self::Darma => "Darma",
            Self::LinuxUnderDarma => "Linux under Darma",
        }
    }
}

/// What ended the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A timer.
    Timer,
    /// A device's interrupt.
    Device,
}

impl Source {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Device => "device",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub system: System,
    /// Under which load.
    pub load: Load,
    /// What ended the wait.
    pub source: Source,
    /// How many waits.
    pub samples: u64,
    /// How many of them ended after the next one was due, or never.
    pub missed: u64,
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
    /// What stood longest in the way of the longest wait; empty where nobody can tell.
    pub culprit: String,
    /// All samples; in the percentile file and on the page, not in the JSON file.
    #[serde(skip)]
    pub distribution: Distribution,
}

impl Row {
    /// A row from its samples.
    #[must_use]
    pub fn new(
        (system, load, source): (System, Load, Source),
        distribution: Distribution,
        missed: u64,
        culprit: impl Into<String>,
    ) -> Self {
        Self {
            system,
            load,
            source,
            samples: distribution.samples(),
            missed,
            min_ns: distribution.min_ns(),
            p50_ns: distribution.quantile_ns(0.5),
            p99_ns: distribution.quantile_ns(0.99),
            p999_ns: distribution.quantile_ns(0.999),
            max_ns: distribution.max_ns(),
            culprit: culprit.into(),
            distribution,
        }
    }

    /// What files of this row are called, without an extension.
    #[must_use]
    pub fn file_name(&self) -> String {
        let (system, load, source) = (self.system.name(), self.load.name(), self.source.name());
        format!("{system}-{load}-{source}")
    }
}

/// What the nanokernel costs a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Time with the nanokernel over time without it.
    pub ratio: f64,
}

/// What the nanokernel costs the GPOS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// Program by program.
    pub programs: Vec<Program>,
    /// Geometric mean of the ratios; 0 if nothing was measured.
    pub mean: f64,
}

impl Overhead {
    /// The overhead on these programs.
    #[must_use]
    pub fn of(programs: Vec<Program>) -> Self {
        let logs: f64 = programs.iter().map(|program| program.ratio.ln()).sum();
        #[allow(clippy::cast_precision_loss, reason = "a handful of programs")]
        let mean = if programs.is_empty() {
            0.0
        } else {
            (logs / programs.len() as f64).exp()
        };
        Self { programs, mean }
    }
}

/// A hot path and the instructions that it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Its name.
    pub path: String,
    /// Most instructions that it may take.
    pub limit: u64,
    /// Most that it took.
    pub measured: u64,
}

impl Budget {
    /// Whether it was kept.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.measured <= self.limit
    }
}

/// A further table, shown on the page as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// Its heading.
    pub title: String,
    /// A sentence above it: where the figures come from, in which unit.
    pub note: String,
    /// Names of the columns; one that begins with `>` is aligned to the right.
    pub head: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// The whole of `latency.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Where the figures were taken: `icount-shift1`, `tcg`, `metal`.
    pub tier: String,
    /// The lines of the table.
    pub rows: Vec<Row>,
    /// What the nanokernel costs the GPOS's programs.
    #[serde(default)]
    pub overhead: Overhead,
    /// Instructions of a preemptive switch between tasks; 0 if it was not measured.
    #[serde(default)]
    pub switch_instructions: u64,
    /// The source's commit, short.
    #[serde(default)]
    pub commit: String,
    /// The command that makes this report again.
    #[serde(default)]
    pub command: String,
    /// The hot paths.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// The longest waits of the real-time tasks, the longest first.
    #[serde(default)]
    pub worst: Vec<Worst>,
    /// Further tables.
    #[serde(default)]
    pub extras: Vec<Extra>,
}

impl Report {
    /// A report without measurements.
    #[must_use]
    pub fn new(tier: &str, commit: &str, command: &str) -> Self {
        Self {
            schema: SCHEMA,
            tier: tier.into(),
            rows: Vec::new(),
            overhead: Overhead::default(),
            switch_instructions: 0,
            commit: commit.into(),
            command: command.into(),
            budgets: Vec::new(),
            worst: Vec::new(),
            extras: Vec::new(),
        }
    }

    /// The row of these three, if it was measured.
    #[must_use]
    pub fn row(&self, system: System, load: Load, source: Source) -> Option<&Row> {
        let key = (system, load, source);
        let mut rows = self.rows.iter();
        rows.find(|row| (row.system, row.load, row.source) == key)
    }

    /// Writes `latency.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("a report as JSON")?;
        text.push('\n');
        write(path, &text)
    }

    /// Reads `latency.json`. The distributions are not in it.
    ///
    /// # Errors
    /// When the file cannot be read, is no report, or is one of another schema.
    pub fn read_json(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let report: Self = serde_json::from_str(&text)
            .with_context(|| format!("{shown} is no latency report; measure again"))?;
        ensure!(
            report.schema == SCHEMA,
            "{shown} has schema {}, this program knows {SCHEMA}; measure again",
            report.schema
        );
        Ok(report)
    }

    /// Writes a percentile file for each row into `folder`; returns their paths.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_hgrm(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for row in &self.rows {
            let path = folder.join(row.file_name()).with_extension("hgrm");
            write(&path, &hgrm::text(&row.distribution))?;
            written.push(path);
        }
        Ok(written)
    }

    /// The page, complete in itself.
    #[must_use]
    pub fn render_html(&self) -> String {
        page::render(self)
    }

    /// Writes the page.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_html(&self, path: &Path) -> Result<()> {
        write(path, &self.render_html())
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("icount-shift1", "abc1234", "cargo xtask latency");
        let key = (System::Darma, Load::Loaded, Source::Timer);
        let samples = Distribution::of([(472, 990), (694, 9), (744, 1)]);
        report
            .rows
            .push(Row::new(key, samples, 0, "section timer-queue"));
        report.overhead = Overhead::of(vec![
            Program {
                name: "pipe".into(),
                ratio: 1.02,
            },
            Program {
                name: "exec".into(),
                ratio: 1.0,
            },
        ]);
        report.switch_instructions = 131;
        report
    }

    #[test]
    fn a_row_in_json_has_the_names_that_others_rely_on() {
        let json = serde_json::to_string(&report().rows[0]).unwrap();
        assert_eq!(
            json,
            "{\"system\":\"darma\",\"load\":\"loaded\",\"source\":\"timer\",\"samples\":1000,\
             \"missed\":0,\"min_ns\":472,\"p50_ns\":472,\"p99_ns\":472,\"p999_ns\":694,\
             \"max_ns\":744,\"culprit\":\"section timer-queue\"}"
        );
    }

    #[test]
    fn a_report_is_read_as_it_was_written_but_for_the_distributions() {
        let folder = std::env::temp_dir().join(format!("darma-latency-{}", std::process::id()));
        let path = folder.join("latency.json");
        let mut report = report();
        report.write_json(&path).unwrap();
        let written = report.write_hgrm(&folder).unwrap();
        assert!(written[0].ends_with("darma-loaded-timer.hgrm") && written[0].is_file());
        let read = Report::read_json(&path).unwrap();
        for row in &mut report.rows {
            row.distribution = Distribution::new();
        }
        assert_eq!(read, report);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_mean_of_ratios_is_geometric() {
        let mean = report().overhead.mean;
        assert!((mean - 1.02_f64.sqrt()).abs() < 1e-12);
        assert_eq!(Overhead::of(Vec::new()).mean, 0.0);
    }
}
