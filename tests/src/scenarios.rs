//! The claims, each as a scenario with a name and one sentence.

mod async_tasks;
mod bad_input;
mod boot;
mod budgets;
mod crash;
mod cycles;
mod determinism;
mod disk;
mod examples;
mod faults;
mod float;
mod hang;
mod hostile;
mod idle_guest;
mod ladder;
mod latency;
mod partition;
mod power_off;
mod preempt;
mod response_times;
mod staging;
mod task_device;
mod task_faults;
mod thread_metric;
mod vital_signs;
mod vmcore;

use anyhow::Result;
use xtask::kernels::Flavour;

use crate::laboratory::Laboratory;

/// The kernel of scenarios that are not about a particular one: it boots fastest.
const CLOUD: &[Flavour] = &[Flavour::Cloud];

/// A claim, and the run that shows whether it holds.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: String,
    /// What it claims, one line.
    pub claim: String,
    /// The kernels that it boots.
    pub kernels: &'static [Flavour],
    /// How long it takes, roughly: to run the long ones first.
    pub seconds: u32,
    /// Runs it.
    pub run: Body,
}

/// What a scenario does.
pub type Body = Box<dyn Fn(&Laboratory) -> Result<()> + Send + Sync>;

/// Every scenario.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let mut all = vec![Scenario {
        name: "checks".into(),
        claim: "format, lints and host tests".into(),
        kernels: &[],
        // Begun first: it compiles while machines run on the other processor.
        seconds: 1000,
        run: Box::new(|_| xtask::checks::run(xtask::checks::Format::Judge)),
    }];
    all.extend(async_tasks::scenarios());
    all.extend(boot::scenarios());
    all.extend(crash::scenarios());
    all.extend(vmcore::scenarios());
    all.extend(preempt::scenarios());
    all.extend(partition::scenarios());
    all.extend(task_device::scenarios());
    all.extend(disk::scenarios());
    all.extend(cycles::scenarios());
    all.extend(power_off::scenarios());
    all.extend(determinism::scenarios());
    all.extend(budgets::scenarios());
    all.extend(ladder::scenarios());
    all.extend(staging::scenarios());
    all.extend(latency::scenarios());
    all.extend(hostile::scenarios());
    all.extend(hang::scenarios());
    all.extend(vital_signs::scenarios());
    all.extend(faults::scenarios());
    all.extend(bad_input::scenarios());
    all.extend(idle_guest::scenarios());
    all.extend(float::scenarios());
    all.extend(thread_metric::scenarios());
    all.extend(response_times::scenarios());
    all.extend(task_faults::scenarios());
    all.extend(examples::scenarios());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let all = super::all();
        let names: BTreeSet<_> = all.iter().map(|scenario| &scenario.name).collect();
        assert_eq!(names.len(), all.len());
    }
}
