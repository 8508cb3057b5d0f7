//! Chooses scenarios, runs them as many at once as there are processors, and counts.
//!
//! An emulated machine occupies one processor, so that one machine per processor is the most that
//! helps. What a scenario finds is printed when it ends; logs stay below `target/darma/runs/`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use xtask::kernels::Flavour;
use xtask::terminal;

use crate::golden::Mode;
use crate::laboratory::Laboratory;
use crate::scenarios::Scenario;

/// How many scenarios held and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that held.
    pub passed: usize,
    /// Those that did not.
    pub failed: usize,
}

/// The scenarios whose names are, or begin with, one of `only`; all of them without `only`.
///
/// # Errors
/// A name that fits none: a misspelt name must not look like a success.
pub fn choose(all: Vec<Scenario>, only: &[String]) -> Result<Vec<Scenario>> {
    for name in only {
        ensure!(
            all.iter().any(|scenario| scenario.name.starts_with(name)),
            "no scenario is called {name}: `cargo xtask test --list` names them"
        );
    }
    Ok(all
        .into_iter()
        .filter(|scenario| {
            only.is_empty() || only.iter().any(|name| scenario.name.starts_with(name))
        })
        .collect())
}

/// Prepares what `chosen` need and runs them.
#[must_use]
pub fn run(chosen: Vec<Scenario>, jobs: Option<usize>, golden: Mode) -> Tally {
    let began = Instant::now();
    let flavours: Vec<Flavour> = Flavour::ALL
        .into_iter()
        .filter(|flavour| chosen.iter().any(|one| one.kernels.contains(flavour)))
        .collect();
    let lab = match Laboratory::prepare(&flavours, golden) {
        Ok(lab) => lab,
        Err(error) => {
            terminal::error(&format!("the scenarios cannot be prepared: {error:#}"));
            return Tally {
                passed: 0,
                failed: chosen.len(),
            };
        }
    };
    let jobs = jobs.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    terminal::note(&format!("{} scenarios, {jobs} at once", chosen.len()));
    // Long ones first: the last to start decides when all have ended.
    let mut queue: Vec<Scenario> = chosen;
    queue.sort_by_key(|scenario| std::cmp::Reverse(scenario.seconds));
    let queue = Mutex::new(VecDeque::from(queue));
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    // A statement of its own: the queue must not stay locked while the scenario runs.
                    let next = lock(&queue).pop_front();
                    let Some(scenario) = next else { break };
                    let held = perform(&scenario, &lab);
                    let mut tally = lock(&tally);
                    if held {
                        tally.passed += 1;
                    } else {
                        tally.failed += 1;
                    }
                }
            });
        }
    });
    terminal::note(&format!("{:.0} s", began.elapsed().as_secs_f64()));
    *lock(&tally)
}

/// Runs one and says what came of it.
fn perform(scenario: &Scenario, lab: &Laboratory) -> bool {
    let began = Instant::now();
    // A scenario that panics is a failed one, and no reason to leave the others unrun.
    let result = catch_unwind(AssertUnwindSafe(|| (scenario.run)(lab)))
        .unwrap_or_else(|_| Err(anyhow!("the scenario itself panicked")));
    let seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(()) => eprintln!("ok    {:30} {seconds:6.1} s", scenario.name),
        Err(error) => eprintln!("FAIL  {:30} {seconds:6.1} s  {error:#}", scenario.name),
    }
    result.is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::choose;
    use crate::scenarios;

    #[test]
    fn a_name_that_fits_no_scenario_is_an_error() {
        assert!(choose(scenarios::all(), &["bot-cloud".into()]).is_err());
    }

    #[test]
    fn a_prefix_chooses_a_family() {
        let boots = choose(scenarios::all(), &["boot-".into()]).expect("there are some");
        assert!(boots.len() > 2);
        assert!(boots.iter().all(|one| one.name.starts_with("boot-")));
    }
}
