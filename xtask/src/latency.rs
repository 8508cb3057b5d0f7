//! The latency laboratory: what a task, and what Linux's own real-time thread, waits for on the same
//! emulated machine under the same load, without and with Darma; and what Darma costs Linux's programs.
//!
//! ```text
//!   Debian's generic kernel alone ──── cyclictest ──┐
//!   Debian's PREEMPT_RT kernel alone ─ cyclictest ──┤           ┌─► latency.json, latency.html
//!   generic kernel under Darma ─┬───── cyclictest ──┼─► Report ─┼─► latency/*.hgrm
//!     with `applications/latency` └─── tasks ───────┤           └─► table, explanation
//!   the same work, alone and under Darma ── times ──┘
//! ```
//!
//! Each is an emulated machine; two run at once. An instruction-counted machine uses one processor of the
//! host, and does not feel its neighbour.

pub mod budgets;
pub mod cyclictest;
pub mod goals;
pub mod long_run;
pub mod machine;
pub mod overhead;
pub mod payload;
mod pool;
mod systems;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use darma_latency::{Load, Overhead, Program, Report, Source, System, explain};

use crate::kernels::Flavour;
use crate::toolchain::Choice;
use crate::{image, latency_table, paths, prepare, process, qemu, terminal, thread_metric};

/// A part of the laboratory's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Debian's generic kernel, cyclictest.
    LinuxStock,
    /// Debian's `PREEMPT_RT` kernel, cyclictest.
    LinuxRt,
    /// A real-time task under Linux's load.
    Darma,
    /// Debian's generic kernel under Darma, cyclictest.
    LinuxUnderDarma,
    /// The same work with and without Darma.
    Overhead,
    /// Instructions of the hot paths and of a switch between tasks.
    Budgets,
}

impl Part {
    /// The system whose latencies it measures, if it measures any.
    #[must_use]
    pub const fn system(self) -> Option<System> {
        match self {
            Self::LinuxStock => Some(System::LinuxStock),
            Self::LinuxRt => Some(System::LinuxRt),
            Self::Darma => Some(System::Darma),
            Self::LinuxUnderDarma => Some(System::LinuxUnderDarma),
            Self::Overhead | Self::Budgets => None,
        }
    }
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The tables.
    Text,
    /// `latency.json`.
    Json,
    /// The tables and the longest wait's timeline.
    Explained,
}

/// How often everything is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Once.
    Once,
    /// Twice, and the two are compared byte by byte.
    Twice,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only these; everything if empty.
    pub only: Vec<Part>,
    /// Virtual seconds of each measured phase.
    pub seconds: u32,
    /// Crashes under Darma for the recovery rows.
    pub crashes: u32,
    /// What is printed.
    pub output: Output,
    /// How often everything is measured.
    pub runs: Runs,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn wants_system(&self, system: System) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| part.system() == Some(system))
    }

    /// The command that makes this report again.
    fn command(&self) -> String {
        let mut words = format!(
            "cargo xtask latency --seconds {} --crashes {}",
            self.seconds, self.crashes
        );
        for part in &self.only {
            use clap::ValueEnum;
            if let Some(value) = part.to_possible_value() {
                words.push_str(" --only ");
                words.push_str(value.get_name());
            }
        }
        words
    }
}

/// What a measurement yielded.
struct Measured {
    report: Report,
    overhead: overhead::Comparison,
    troubles: Vec<String>,
}

/// Measures, prints the tables, and writes the files.
///
/// # Errors
/// Set-up failed, or a run did not do all that it was to do.
pub fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    prepare::machine()?;
    let mut measured = measure(options)?;
    let files = write(&measured.report)?;
    if options.runs == Runs::Twice {
        let again = measure(options)?;
        measured.troubles.extend(again.troubles);
        if again.report == measured.report {
            terminal::note("the second run gave the same report, sample by sample");
        } else {
            let json = paths::cache().join("latency-second.json");
            again.report.write_json(&json)?;
            measured.troubles.push(format!(
                "the second run gave another report: {}",
                paths::shown(&json)
            ));
        }
    }
    print(options.output, &measured, &files.json)?;
    terminal::note(&format!(
        "report: {}; page: {}; percentile files: {}; took {} s",
        paths::shown(&files.json),
        paths::shown(&files.page),
        paths::shown(&files.percentiles),
        began.elapsed().as_secs()
    ));
    if !measured.troubles.is_empty() {
        bail!("the laboratory failed ({})", measured.troubles.join("; "));
    }
    Ok(())
}

/// Explains the longest wait of the last report.
///
/// # Errors
/// There is no report, or nothing in it to explain.
pub fn explain_last() -> Result<()> {
    let report = Report::read_json(&files().json)?;
    ensure!(
        !report.worst.is_empty(),
        "the report names no longest wait: measure with `cargo xtask latency --only darma`"
    );
    for worst in &report.worst {
        println!("{}", explain::explain(worst));
    }
    Ok(())
}

/// Whether there is a report to explain.
#[must_use]
pub fn has_report() -> bool {
    files().json.is_file()
}

fn print(output: Output, measured: &Measured, json: &std::path::Path) -> Result<()> {
    if output == Output::Json {
        print!("{}", std::fs::read_to_string(json)?);
        return Ok(());
    }
    print!("{}", latency_table::text(&measured.report));
    if !measured.overhead.works.is_empty() {
        print!("\n{}", overhead::text(&measured.overhead));
    }
    let goals = goals::of(&measured.report);
    if !goals.is_empty() {
        print!("\n{}", goals::text(&goals));
    }
    if output == Output::Explained
        && let Some(worst) = measured.report.worst.first()
    {
        println!("\n{}", explain::explain(worst));
    }
    Ok(())
}

struct Files {
    json: PathBuf,
    page: PathBuf,
    percentiles: PathBuf,
}

fn files() -> Files {
    Files {
        json: paths::cache().join("latency.json"),
        page: paths::cache().join("latency.html"),
        percentiles: paths::cache().join("latency"),
    }
}

fn write(report: &Report) -> Result<Files> {
    let files = files();
    // What an earlier report left would be taken for a part of this one.
    for system in System::ALL {
        for load in [Load::Idle, Load::Loaded, Load::Recovery] {
            for source in [Source::Timer, Source::Device] {
                let name = format!("{}-{load}-{}.hgrm", system.name(), source.name());
                let file = files.percentiles.join(name);
                if file.exists() {
                    std::fs::remove_file(file)?;
                }
            }
        }
    }
    report.write_json(&files.json)?;
    report.write_hgrm(&files.percentiles)?;
    report.write_html(&files.page)?;
    Ok(files)
}

fn measure(options: &Options) -> Result<Measured> {
    let jobs = systems::jobs(options);
    let mut kernels = Vec::new();
    for flavour in Flavour::ALL {
        if jobs.iter().any(|job| job.flavour() == flavour) {
            kernels.push((flavour, payload::prepare(flavour)?));
        }
    }
    let mut images = Vec::new();
    for name in [APPLICATION, image::APPLICATION] {
        if jobs.iter().any(|job| job.application() == Some(name)) {
            let application = image::Application::package(name);
            images.push((name, image::build(&application, Choice::Auto)?));
        }
    }
    let heard = pool::run_all(&jobs, options, &kernels, &images);
    let mut measured = Measured {
        report: Report::new(
            &qemu::Clock::REFERENCE.tier(),
            &commit(),
            &options.command(),
        ),
        overhead: overhead::Comparison::default(),
        troubles: Vec::new(),
    };
    let report = &mut measured.report;
    for (job, result) in &heard {
        let result = match result {
            Ok(heard) => {
                let troubles = heard.troubles.iter();
                measured
                    .troubles
                    .extend(troubles.map(|trouble| format!("{}: {trouble}", job.name())));
                systems::add_rows(*job, heard, report)
            }
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        if let Err(error) = result {
            measured.troubles.push(format!("{}: {error:#}", job.name()));
        }
    }
    report.rows.retain(|row| options.wants_system(row.system));
    report
        .rows
        .sort_by_key(|row| (row.system, row.source, row.load.code()));
    if options.wants(Part::Budgets) {
        match thread_metric::measure().and_then(|figures| figures.switch_instructions()) {
            Ok(found) => report.switch_instructions = found,
            Err(error) => measured
                .troubles
                .push(format!("preemptive switch: {error:#}")),
        }
    }
    if options.wants(Part::Overhead) {
        match overhead::compare(&heard) {
            Ok(comparison) => {
                report.overhead = Overhead::of(
                    comparison
                        .works
                        .iter()
                        .map(|work| Program {
                            name: work.name.clone(),
                            ratio: work.ratio(),
                        })
                        .collect(),
                );
                report.extras.push(overhead::exits_extra(&comparison));
                measured.overhead = comparison;
            }
            Err(error) => measured.troubles.push(format!("overhead: {error:#}")),
        }
    }
    let goals = goals::of(report);
    if !goals.is_empty() {
        report.extras.insert(0, goals::extra(&goals));
    }
    for goal in goals.iter().filter(|goal| !goal.is_reached) {
        measured.troubles.push(format!(
            "{}: {} instead of {}",
            goal.what, goal.measured, goal.limit
        ));
    }
    Ok(measured)
}

/// The application whose tasks are measured.
pub const APPLICATION: &str = "darma-latency-lab";

/// The source's commit, short; with a plus sign where files differ from it.
fn commit() -> String {
    let git = |words: &[&str]| {
        let mut command = std::process::Command::new("git");
        process::capture(command.args(words).current_dir(paths::root())).ok()
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        // A copy without its history is still a tree that can be measured.
        return "unknown".into();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let mark = match changed {
        Some(list) if list.trim().is_empty() => "",
        _ => "+",
    };
    format!("{}{mark}", commit.trim())
}
