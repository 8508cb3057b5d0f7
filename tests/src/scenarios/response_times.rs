//! The response-time analysis against the machine: tasks that use up their budgets end no later than computed.

use anyhow::{Context, Result};
use darma_abi::report::Event;
use xtask::idle_guest;
use xtask::image::Application;

use super::Scenario;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;

const TASKS: [&str; 4] = ["control", "filter", "observe", "tune"];
/// The longest response seen is at least this part of the bound, in percent: a bound that is never nearly
/// reached would prove nothing.
const NEAR: u64 = 50;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "response-times".into(),
        claim: "no task's response is longer than the macro computed, and some come near".into(),
        kernels: &[],
        seconds: 3,
        run: Box::new(check),
    }]
}

fn check(lab: &Laboratory) -> Result<()> {
    let run = IdleRun::new(
        "response-times",
        Application::package("darma-response-check"),
        idle_guest::ticking(150),
    )
    .run(lab)?;
    for task in TASKS {
        let bound = run
            .log
            .iter()
            .find_map(|line| {
                line.split_once(&format!("tell: {task} "))?
                    .1
                    .parse::<u64>()
                    .ok()
            })
            .with_context(|| format!("nothing is said of {task}'s bound"))?;
        let seen = run.reports.iter().rev().find_map(|report| match report {
            Event::Response {
                name,
                runs,
                faults: 0,
                max_ns,
                ..
            } if name.as_str() == task && *runs > 10 => Some(*max_ns),
            _ => None,
        });
        run.require(
            seen.is_some_and(|seen| seen <= bound && seen * 100 >= bound * NEAR),
            format!("{task} took {seen:?} ns without a fault, {bound} ns were computed"),
        )?;
    }
    run.require_no_miss()
}
