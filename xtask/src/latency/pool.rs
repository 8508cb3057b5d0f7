//! The machines of a measurement, two at once: one per processor of a small host.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::Options;
use super::machine::{Below, Heard, Run};
use super::systems::{self, Job};
use crate::image::Image;
use crate::kernels::Flavour;
use crate::prepare::LinuxFiles;
use crate::terminal;

/// Machines at once.
const AT_ONCE: usize = 2;

/// Runs all jobs; results in the order of the jobs.
pub(super) fn run_all(
    jobs: &[Job],
    options: &Options,
    kernels: &[(Flavour, LinuxFiles)],
    images: &[(&str, Image)],
) -> Vec<(Job, Result<Heard>)> {
    let queue: Mutex<VecDeque<(usize, Job)>> =
        Mutex::new(jobs.iter().copied().enumerate().collect());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    // A statement of its own: the queue must not stay locked while the machine runs.
                    let next = lock(&queue).pop_front();
                    let Some((at, job)) = next else { break };
                    let result = perform(job, options, kernels, images);
                    lock(&done).push((at, job, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, ..)| *at);
    done.into_iter()
        .map(|(_, job, result)| (job, result))
        .collect()
}

fn perform(
    job: Job,
    options: &Options,
    kernels: &[(Flavour, LinuxFiles)],
    images: &[(&str, Image)],
) -> Result<Heard> {
    let (_, files) = kernels
        .iter()
        .find(|(flavour, _)| *flavour == job.flavour())
        .context("a kernel was prepared for each machine")?;
    let below = match job.application() {
        None => Below::Nothing,
        Some(wanted) => {
            let (_, image) = images
                .iter()
                .find(|(name, _)| *name == wanted)
                .context("an image was built for each machine")?;
            Below::Darma(image)
        }
    };
    let run = Run {
        name: job.name().to_owned(),
        below,
        flavour: job.flavour(),
        files,
        words: job.words(options),
        limit: systems::LIMIT,
    };
    let step = terminal::step(job.title());
    let heard = run.record(|event| {
        if let Some(what) = systems::milestone(event) {
            step.now(&what);
        }
    })?;
    step.done("measured");
    Ok(heard)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
