//! What the kernel's services cost stays what SPECIFICATION.md promises.

use anyhow::Result;
use darma_abi::units::Nanos;
use xtask::idle_guest::Step;
use xtask::image::Application;
use xtask::thread_metric::{APPLICATION, Figures, SWITCH, SWITCH_LIMIT};

use super::Scenario;
use crate::idle_run::IdleRun;
use crate::laboratory::Laboratory;

/// Instructions per operation that no change may exceed unseen.
const LIMITS: [(&str, u64); 6] = [
    (SWITCH, SWITCH_LIMIT),
    ("preemptive-switch-and-back", 530),
    ("cooperative-switch", 530),
    ("interrupt-processing", 540),
    ("message-passing", 220),
    ("synchronisation", 30),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "thread-metric".into(),
        claim: "switches, messages and locks cost no more instructions than promised, each time"
            .into(),
        kernels: &[],
        seconds: 8,
        run: Box::new(measure),
    }]
}

fn measure(lab: &Laboratory) -> Result<()> {
    let mut earlier: Option<Figures> = None;
    for name in ["thread-metric-1", "thread-metric-2"] {
        let steps = vec![Step::Sleep(Nanos(200_000_000)), Step::PowerOff];
        let run = IdleRun::new(name, Application::package(APPLICATION), steps).run(lab)?;
        let mut figures = Figures::default();
        for line in &run.log {
            figures.hear(line);
        }
        for (name, limit) in LIMITS {
            let found = figures.get(name)?;
            run.require(
                found <= limit,
                format!("{name} takes {found} instructions, {limit} are promised"),
            )?;
        }
        if let Some(earlier) = &earlier {
            run.require(*earlier == figures, "two runs have different figures")?;
        }
        earlier = Some(figures);
    }
    Ok(())
}
