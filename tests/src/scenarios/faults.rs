//! The fault campaign in its short form: one fault of each class that ends Linux at once. The whole of it
//! is `cargo xtask faults`.

use anyhow::{Result, ensure};
use xtask::demo::Output;
use xtask::faults::{self, Options};

use super::{CLOUD, Scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "faults-short".into(),
        claim: "a fault of each class that ends Linux at once is named, dumped and healed; no deadline is missed"
            .into(),
        kernels: CLOUD,
        seconds: 90,
        run: Box::new(|_| campaign()),
    }]
}

fn campaign() -> Result<()> {
    let classes = faults::short_form();
    let tally = faults::perform(&Options {
        count: classes.len(),
        seed: 1,
        classes,
        replay: Vec::new(),
        jobs: faults::JOBS,
        output: Output::Json,
    })?;
    let failing: Vec<_> = tally
        .classes
        .iter()
        .filter(|class| !class.failing_seeds.is_empty())
        .map(|class| format!("{} ({:?})", class.name, class.failing_seeds))
        .collect();
    ensure!(
        failing.is_empty() && tally.rtos_misses == 0 && tally.nanokernel_failures == 0,
        "failing: {}; {} deadlines missed: see `cargo xtask faults --replay SEED`",
        failing.join(", "),
        tally.rtos_misses
    );
    Ok(())
}
