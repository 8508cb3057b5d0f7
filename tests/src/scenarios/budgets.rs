//! No hot path takes more instructions than its budget, and every path has one.

use anyhow::Result;
use xtask::image::Application;
use xtask::kernels::Flavour;
use xtask::latency::{self, budgets};

use super::Scenario;
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "budgets".into(),
        claim: "every hot path keeps the budget of instructions that latency/budgets.toml gives it"
            .into(),
        kernels: &[Flavour::Cloud],
        seconds: 40,
        run: Box::new(run),
    }]
}

fn run(lab: &Laboratory) -> Result<()> {
    let budgets = budgets::read()?;
    let mut experiment = Experiment::new("budgets", "budgets").append(budgets::WORDS);
    experiment.application = Application::package(latency::APPLICATION);
    let run = experiment.run(lab)?;
    let measured = budgets::measured(&run.reports);
    let (_, breaches) = budgets.check(&measured);
    run.require(breaches.is_empty(), breaches.join("; "))
}
