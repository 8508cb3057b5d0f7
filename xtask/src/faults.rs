//! The fault campaign: many faults, one after the other, on machines that recover and go on.
//!
//! ```text
//!   seed, count, classes ──► faults ──► batches ──► machines, two at a time ──► outcomes ──► tally
//!                                          ▲                    │
//!                                          └─ what a machine ───┘
//!                                             left undone
//! ```
//! A machine is given a batch of faults, one per start of Linux. It recovers from each and meets the
//! next. Where it does not, the fault has failed, and the rest of its batch goes to another machine.
//! Machines count instructions: the same batch does the same thing again, to the bit.

pub mod account;
pub mod classes;
pub mod dump_check;
pub mod lane;
pub mod outcome;
pub mod plan;
pub mod seed;
pub mod tally;

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::demo::Output;
use crate::table::heading;
use crate::{paths, terminal};
use classes::{CLASSES, Hand, Outlook};
use lane::Ground;
use outcome::Outcome;
use seed::Seed;
use tally::Tally;

/// Faults per machine: so few that a failing one is replayed with those before it in minutes.
const BATCH: usize = 20;
/// Machines at once.
pub const JOBS: usize = 2;
/// The host's seconds that a fault takes on one machine, for the forecast before any is measured.
const SECONDS_PER_FAULT: f64 = 7.0;
/// Where failing faults are kept, below the cache.
const KEPT: &str = "faults";
/// What came of each fault, a line each, in that folder.
const LIST: &str = "all.txt";

/// What to provoke.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many faults.
    pub count: usize,
    /// What chance begins with.
    pub seed: u64,
    /// Positions of the classes.
    pub classes: Vec<usize>,
    /// Instead of all that: these faults, on one machine, in this order.
    pub replay: Vec<Seed>,
    /// Machines at once.
    pub jobs: usize,
    /// What the result is printed as.
    pub output: Output,
}

/// The classes and what each does, for `--list`.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    for class in CLASSES {
        let by = match class.hand {
            Hand::Linux(_) => "in Linux",
            Hand::Injector { .. } => "by the injector",
        };
        let end = match class.outlook {
            Outlook::Fatal => "fatal",
            Outlook::Open => "may be harmless",
        };
        let causes = if class.causes.is_empty() {
            "any cause".to_owned()
        } else {
            class.causes.join(" | ")
        };
        text.push_str(&format!("{:22} {by:16} {end:16} {causes}\n", class.name));
    }
    text
}

/// The positions of the classes so named; all of them without a name.
///
/// # Errors
/// A name that is none.
pub fn choose(names: &[String]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..CLASSES.len()).collect());
    }
    names
        .iter()
        .map(|name| {
            classes::position(name).with_context(|| {
                format!(
                    "no class of faults is called {name}: `cargo xtask faults --list` names them"
                )
            })
        })
        .collect()
}

/// The classes of the short form: those that end Linux at once.
#[must_use]
pub fn short_form() -> Vec<usize> {
    (0..CLASSES.len()).filter(|at| CLASSES[*at].short).collect()
}

/// Runs the campaign, prints the table, and writes `target/darma/faults.json`.
///
/// # Errors
/// Set-up failed; or some fault was not noticed, recorded and healed as it has to be.
pub fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    let tally = perform(options)?;
    let file = paths::cache().join("faults.json");
    fs::write(&file, serde_json::to_string_pretty(&tally)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))?;
    match options.output {
        Output::Json => print!("{}", fs::read_to_string(&file)?),
        Output::Text => {
            println!("{}", heading("Fault campaign"));
            print!("{}", tally.table());
            println!(
                "{} faults of {} classes: {} recovered, {} dumps valid, {} harmless; {} deadlines \
                 missed, {} failures of the nanokernel",
                tally.count,
                tally.classes.len(),
                tally.recovered,
                tally.dumps_valid,
                tally.harmless,
                tally.rtos_misses,
                tally.nanokernel_failures
            );
        }
    }
    terminal::note(&format!(
        "figures: {}; took {} s",
        paths::shown(&file),
        began.elapsed().as_secs()
    ));
    ensure!(
        tally.failing == 0,
        "{} of {} faults failed: seeds and how to replay them stand in {}",
        tally.failing,
        tally.count,
        paths::shown(&kept())
    );
    Ok(())
}

/// Runs the campaign and adds up; failing faults are kept.
///
/// # Errors
/// Set-up failed, or there is nothing to do.
pub fn perform(options: &Options) -> Result<Tally> {
    let batches: VecDeque<Vec<Seed>> = if options.replay.is_empty() {
        let faults = seed::campaign(options.seed, options.count, &options.classes);
        let share = faults.len().div_ceil(options.jobs.max(1)).clamp(1, BATCH);
        faults.chunks(share).map(<[Seed]>::to_vec).collect()
    } else {
        VecDeque::from([options.replay.clone()])
    };
    let total: usize = batches.iter().map(Vec::len).sum();
    if total == 0 {
        bail!("no faults: give --count 1 or more");
    }
    let ground = Ground::prepare()?;
    crate::debian::clear(&kept())?;
    let jobs = options.jobs.clamp(1, batches.len());
    terminal::note(&format!(
        "{total} faults, {jobs} machines at once, about {:.0} min",
        total as f64 * SECONDS_PER_FAULT / 60.0 / jobs as f64
    ));
    let progress = Progress {
        began: Instant::now(),
        total,
        queue: Mutex::new(batches),
        outcomes: Mutex::new(Vec::new()),
    };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..jobs)
            .map(|number| {
                let (ground, progress) = (&ground, &progress);
                scope.spawn(move || progress.work(ground, &format!("faults-{number}")))
            })
            .collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane panicked")))
            .collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    let outcomes = progress
        .outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(Tally::of(options.seed, &outcomes))
}

fn kept() -> std::path::PathBuf {
    paths::cache().join(KEPT)
}

struct Progress {
    began: Instant,
    total: usize,
    queue: Mutex<VecDeque<Vec<Seed>>>,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Progress {
    /// Runs batches until none is left.
    fn work(&self, ground: &Ground, name: &str) -> Result<()> {
        loop {
            let next = lock(&self.queue).pop_front();
            let Some(batch) = next else { return Ok(()) };
            let outcomes = ground.run(name, batch.clone())?;
            ensure!(
                !outcomes.is_empty(),
                "a machine did not get to its first fault"
            );
            if outcomes.len() < batch.len() {
                lock(&self.queue).push_front(batch[outcomes.len()..].to_vec());
            }
            let mut list = fs::File::options()
                .create(true)
                .append(true)
                .open(kept().join(LIST))?;
            for outcome in &outcomes {
                writeln!(list, "{}", outcome.line_of_list())?;
                if let Some(wrong) = outcome.wrong() {
                    keep(outcome, &wrong, name)?;
                }
            }
            let mut all = lock(&self.outcomes);
            all.extend(outcomes);
            let failing = all.iter().filter(|one| one.wrong().is_some()).count();
            let per_fault = self.began.elapsed().as_secs_f64() / all.len() as f64;
            terminal::note(&format!(
                "{} of {} faults, {failing} failing; about {:.0} min to go",
                all.len(),
                self.total,
                per_fault * self.total.saturating_sub(all.len()) as f64 / 60.0
            ));
        }
    }
}

/// Keeps what is needed to see a failing fault again: how to replay it, and the machine's logs.
fn keep(outcome: &Outcome, wrong: &str, run: &str) -> Result<()> {
    let number = outcome.seed.number();
    let folder = kept().join(format!("{}-{number}", outcome.seed.class().name));
    fs::create_dir_all(&folder)?;
    let mut before: Vec<String> = outcome.before.iter().map(u64::to_string).collect();
    before.push(number.to_string());
    let text = format!(
        "{wrong}\nfound as: {}\nthe record's line: {}\n\nalone:           cargo xtask faults --replay {number}\n\
         as it happened:  cargo xtask faults --replay {}\n",
        outcome.cause.as_deref().unwrap_or("nothing"),
        outcome.line,
        before.join(",")
    );
    fs::write(folder.join("how.txt"), text)?;
    for log in ["console.log", "nanokernel.log", "qemu.log"] {
        let from = paths::cache().join("runs").join(run).join(log);
        if from.is_file() {
            fs::copy(&from, folder.join(log))?;
        }
    }
    terminal::warn(&format!(
        "{}: {wrong}; replay: cargo xtask faults --replay {number}",
        outcome.seed.class().name
    ));
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
