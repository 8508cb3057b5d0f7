//! The long run: millions of periods of one fast task, while Linux crashes under load every few seconds
//! and is dumped and reloaded each time. Not one period may be missed.
//!
//! The task's period is short ([`PERIOD_NS`]), so that the periods fit into minutes of the machine's time:
//! what is shown is how many releases go well, and no less is shown of each than with a longer period. The
//! kernel is the cloud kernel, which is back soonest.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use darma_abi::report;
use darma_latency::{Collected, Distribution, Load, hgrm};
use serde::Serialize;

use super::machine::{Below, Heard, Run};
use super::payload;
use crate::image::{self, Application};
use crate::kernels::Flavour;
use crate::quantity::{duration, micros};
use crate::session::Event;
use crate::toolchain::Choice;
use crate::{paths, prepare, qemu, terminal};

/// The task that is measured, and its period.
const TASK: &str = "fast-20khz";
const PERIOD_NS: u64 = 50_000;
/// Wall time per second of the machine's that no host should need.
const SLOWEST: u64 = 60;

/// How long to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Periods to measure, at least.
    pub samples: u64,
    /// Seconds from Linux's entry to its next crash.
    pub crash_every: u32,
    /// What is printed.
    pub output: super::Output,
}

/// What came of it: `target/darma/latency/long-run.json`.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    schema: u32,
    tier: String,
    commit: String,
    command: String,
    task: &'static str,
    period_ns: u64,
    crash_every_s: u32,
    crashes: u32,
    recovered: u32,
    samples: u64,
    missed: u64,
    overruns: u64,
    min_ns: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    p99999_ns: u64,
    max_ns: u64,
}

/// Runs it, prints what came of it, and keeps the raw histogram.
///
/// # Errors
/// Set-up failed, a period was missed, or a crash was not recovered from.
pub fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    prepare::machine()?;
    let files = payload::prepare(Flavour::Cloud)?;
    let application = Application::binary(super::APPLICATION, "darma-long-run");
    let image = image::build(&application, Choice::Auto)?;
    let seconds = options
        .samples
        .saturating_mul(PERIOD_NS)
        .div_ceil(1_000_000_000);
    let crashes = u32::try_from(seconds.div_ceil(u64::from(options.crash_every)))
        .context("that many samples need more crashes than there are numbers for")?;
    terminal::note(&format!(
        "{} periods of {} need {seconds} s of the machine's time, with {crashes} crashes",
        options.samples,
        duration(PERIOD_NS)
    ));
    let machine = Run {
        name: "latency-long".into(),
        below: Below::Darma(&image),
        flavour: Flavour::Cloud,
        files: &files,
        words: format!(
            "darma.script=latency darma.samples=0 darma.cycles={crashes} darma.every={}",
            options.crash_every
        ),
        limit: Duration::from_secs(600 + (seconds + u64::from(crashes) * 5) * SLOWEST),
    };
    let step = terminal::step("long run");
    let mut progress = Progress::new(crashes);
    let heard = machine.record(|event| {
        if let Some(what) = progress.see(event) {
            step.now(&what);
            if let Some(line) = progress.line(&what) {
                terminal::note(&line);
            }
        }
    })?;
    step.done("over");
    let (outcome, all) = outcome(options, crashes, &heard)?;
    let folder = keep(&outcome, &all)?;
    print(options, &outcome, &folder)?;
    terminal::note(&format!(
        "raw histogram: {}; took {} s",
        paths::shown(&folder.join("long-run.csv")),
        began.elapsed().as_secs()
    ));
    judge(options, &outcome, &heard)
}

fn print(options: &Options, outcome: &Outcome, folder: &std::path::Path) -> Result<()> {
    if options.output == super::Output::Json {
        print!("{}", std::fs::read_to_string(folder.join("long-run.json"))?);
        return Ok(());
    }
    println!(
        "Long run ({}): {} periods of {} in which Linux crashed {} times and came back {} times\n  \
         missed {}, latency us: min {}, p50 {}, p99 {}, p99.9 {}, p99.999 {}, max {}",
        outcome.tier,
        outcome.samples,
        duration(PERIOD_NS),
        outcome.crashes,
        outcome.recovered,
        outcome.missed,
        micros(outcome.min_ns),
        micros(outcome.p50_ns),
        micros(outcome.p99_ns),
        micros(outcome.p999_ns),
        micros(outcome.p99999_ns),
        micros(outcome.max_ns)
    );
    Ok(())
}

fn judge(options: &Options, outcome: &Outcome, heard: &Heard) -> Result<()> {
    let mut troubles = heard.troubles.clone();
    let mut expect = |held: bool, what: String| {
        if !held {
            troubles.push(what);
        }
    };
    expect(
        outcome.missed == 0 && outcome.overruns == 0,
        format!("{} periods were missed", outcome.missed),
    );
    expect(
        outcome.samples >= options.samples,
        format!("only {} periods were measured", outcome.samples),
    );
    expect(
        outcome.recovered == outcome.crashes,
        format!("Linux came back {} times", outcome.recovered),
    );
    if troubles.is_empty() {
        return Ok(());
    }
    bail!("the long run failed ({})", troubles.join("; "));
}

fn outcome(options: &Options, crashes: u32, heard: &Heard) -> Result<(Outcome, Distribution)> {
    let collected = Collected::of(&heard.reports);
    let mut all = Distribution::new();
    let (mut samples, mut missed, mut overruns) = (0, 0, 0);
    for load in [Load::Idle, Load::Loaded, Load::Recovery] {
        let counted = heard.counted(TASK, load)?;
        samples += counted.samples;
        missed += counted.missed;
        overruns = counted.overruns;
        if let Some(part) = collected.latency(TASK, load) {
            all.merge(&part);
        }
    }
    ensure!(
        all.samples() == samples,
        "the histogram holds {} samples of {samples}",
        all.samples()
    );
    let recovered = heard
        .reports
        .iter()
        .filter(|event| matches!(event, report::Event::Recovery { .. }))
        .count();
    let outcome = Outcome {
        schema: 1,
        tier: qemu::Clock::REFERENCE.tier(),
        commit: super::commit(),
        command: format!(
            "cargo xtask latency --samples {} --crash-every {}",
            options.samples, options.crash_every
        ),
        task: TASK,
        period_ns: PERIOD_NS,
        crash_every_s: options.crash_every,
        crashes,
        recovered: u32::try_from(recovered)?,
        samples,
        missed,
        overruns,
        min_ns: all.min_ns(),
        p50_ns: all.quantile_ns(0.5),
        p99_ns: all.quantile_ns(0.99),
        p999_ns: all.quantile_ns(0.999),
        p99999_ns: all.quantile_ns(0.99999),
        max_ns: all.max_ns(),
    };
    Ok((outcome, all))
}

/// Writes figures, percentile file and the raw pairs of latency and count; returns their folder.
fn keep(outcome: &Outcome, all: &Distribution) -> Result<PathBuf> {
    let folder = paths::cache().join("latency");
    std::fs::create_dir_all(&folder)?;
    let mut json = serde_json::to_string_pretty(outcome)?;
    json.push('\n');
    std::fs::write(folder.join("long-run.json"), json)?;
    std::fs::write(folder.join("long-run.hgrm"), hgrm::text(all))?;
    let mut pairs = String::from("latency_ns,count\n");
    for (ns, count) in all.counts() {
        pairs.push_str(&format!("{ns},{count}\n"));
    }
    std::fs::write(folder.join("long-run.csv"), pairs)?;
    Ok(folder)
}

/// How far the run is.
struct Progress {
    began: Instant,
    crashes: u32,
    seen: u32,
    noted: u32,
}

impl Progress {
    fn new(crashes: u32) -> Self {
        Self {
            began: Instant::now(),
            crashes,
            seen: 0,
            noted: 0,
        }
    }

    /// What to show, after a crash was recovered from.
    fn see(&mut self, event: &Event) -> Option<String> {
        let Event::Report(value) = event else {
            return None;
        };
        value.get("recovery")?;
        self.seen += 1;
        let elapsed = self.began.elapsed();
        let left = elapsed * self.crashes.saturating_sub(self.seen) / self.seen.max(1);
        Some(format!(
            "crash {} of {}, about {} min to go",
            self.seen,
            self.crashes,
            left.as_secs().div_ceil(60)
        ))
    }

    /// A line of its own for every tenth of the way, for those who have no terminal.
    fn line(&mut self, what: &str) -> Option<String> {
        let tenth = self.seen * 10 / self.crashes.max(1);
        if tenth == self.noted {
            return None;
        }
        self.noted = tenth;
        Some(format!("long run: {what}"))
    }
}
