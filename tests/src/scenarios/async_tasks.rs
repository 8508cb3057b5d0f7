//! Async tasks on the machine: delays, timeouts, channels, signals, and what remains after a fault.

use anyhow::Result;
use xtask::idle_guest;
use xtask::image::Application;

use super::Scenario;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// The latest that a delay may end, in nanoseconds after its instant, by the task's own clock: the
/// timer's interrupt, the task that serves the clock, and the task that waited.
const LATEST_NS: u64 = 6_000;

/// What each task has to say.
const EXPECTED: [(&str, &str); 5] = [
    // The one that `limits` asks for.
    ("produce", "past=1"),
    ("consume", "sum=210"),
    ("follow", "next=1 after_ten=true"),
    (
        "limits",
        "refused=true counted=true timeout=true waited=true in_time=true",
    ),
    ("fragile", "ran=true faults=2"),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "async-tasks".into(),
        claim: "async tasks wait for time, channels and signals, and outlive their faults".into(),
        kernels: &[],
        seconds: 4,
        run: Box::new(check),
    }]
}

fn check(lab: &Laboratory) -> Result<()> {
    let run = IdleRun::new(
        "async-tasks",
        Application::package("darma-async-check"),
        idle_guest::ticking(150),
    )
    .run(lab)?;
    for (task, words) in EXPECTED {
        let said: Vec<&str> = said(&run, task).collect();
        run.require(
            said.iter().any(|line| line.ends_with(words)),
            format!("{task} said {said:?} and not ..{words}"),
        )?;
    }
    let late = said(&run, "produce").find_map(|line| {
        let figure = line.strip_prefix("late_ns=")?.split(' ').next()?;
        figure.parse::<u64>().ok()
    });
    run.require(
        late.is_some_and(|late| late <= LATEST_NS),
        format!("the latest delay ended {late:?} ns late, {LATEST_NS} are allowed"),
    )
}

/// What a task said.
fn said<'t>(run: &'t Transcript, task: &'t str) -> impl Iterator<Item = &'t str> {
    run.log
        .iter()
        .filter_map(move |line| line.split_once(task)?.1.strip_prefix(": "))
}
