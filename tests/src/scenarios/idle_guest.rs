//! The small guest that other scenarios put below their applications is itself a sound one.

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::shared::{Cause, Doorbell, Mark};
use darma_abi::units::Nanos;
use xtask::idle_guest::{self, Step};
use xtask::image::{APPLICATION, Application};

use super::Scenario;
use crate::idle_run::{IdleRun, ticks};
use crate::laboratory::Laboratory;

/// Milliseconds, and ticks, of the guest's life.
const LIFE: u32 = 200;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "idle-guest-ticks".into(),
            claim: "a guest without Linux sleeps, spins, exits, powers off; tasks run on time"
                .into(),
            kernels: &[],
            seconds: 3,
            run: Box::new(live),
        },
        Scenario {
            name: "idle-guest-fails".into(),
            claim: "a guest without Linux that fails is loaded again until the limit".into(),
            kernels: &[],
            seconds: 3,
            run: Box::new(fail),
        },
    ]
}

fn live(lab: &Laboratory) -> Result<()> {
    let mut steps = vec![
        Step::Ring(Doorbell::Mark(Mark::UserspaceUp)),
        Step::SpinDeaf(Nanos(2_000_000)),
        Step::Exit(Nanos(2_000_000)),
    ];
    steps.extend(idle_guest::ticking(LIFE));
    let run =
        IdleRun::new("idle-guest-ticks", Application::package(APPLICATION), steps).run(lab)?;
    let (seen, done) = ticks(&run);
    run.require(
        done && seen == LIFE as usize,
        format!("the guest said {seen} ticks of {LIFE}, end reached: {done}"),
    )?;
    run.require(run.userspace_ups() == 1, "the guest's mark was not heard")?;
    run.require_no_miss()
}

fn fail(lab: &Laboratory) -> Result<()> {
    let steps = vec![Step::Say("guest: up\n".into()), Step::TripleFault];
    let mut run = IdleRun::new("idle-guest-fails", Application::package(APPLICATION), steps);
    run.configuration.push(("recovery.limit", "3".into()));
    let run = run.run(lab)?;
    let faults = run
        .reports
        .iter()
        .filter(|report| {
            matches!(
                report,
                Report::Fault {
                    cause: Cause::TripleFault,
                    ..
                }
            )
        })
        .count();
    run.require(faults == 3, format!("{faults} failures instead of three"))?;
    run.require_no_miss()
}
