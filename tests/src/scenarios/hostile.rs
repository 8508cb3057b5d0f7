//! A root user who means harm cannot stop the tasks or break the nanokernel.

use std::time::Duration;

use anyhow::Result;
use darma_abi::report::Event as Report;
use darma_abi::shared::Mark;

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// One kind of garbage per start, and a last start that looks at what is left.
const STARTS: usize = 5;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "hostile".into(),
        claim: "garbage for configuration spaces, shared memory, ports and MSRs harms Linux only"
            .into(),
        kernels: CLOUD,
        seconds: 100,
        run: Box::new(survive),
    }]
}

fn survive(lab: &Laboratory) -> Result<()> {
    endure(Experiment::new("hostile", "hostile"), lab).map(|_| ())
}

/// Runs the script `hostile` in an experiment that may have another application and other devices.
pub(super) fn endure(experiment: Experiment, lab: &Laboratory) -> Result<Transcript> {
    // Dumps of the dead are not the matter here, and take time.
    let mut experiment = experiment.configure("dump.size", "0");
    experiment.limit = Duration::from_secs(900);
    let run = experiment.run(lab)?;
    run.require(
        run.userspace_ups() >= STARTS,
        format!(
            "user space came up {} times instead of {STARTS}",
            run.userspace_ups()
        ),
    )?;
    let through = run.reports.iter().any(|report| {
        matches!(
            report,
            Report::Mark {
                mark: Mark::BenchEnd,
                boot: 5, // the last of STARTS
                ..
            }
        )
    });
    run.require(through, "the last start did not come to its end")?;
    run.require(
        run.said(&format!("Linux      up, start number {STARTS}")),
        "the status cannot be read in the last start",
    )?;
    run.require_no_miss()?;
    Ok(run)
}
