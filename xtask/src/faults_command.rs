//! The words of `cargo xtask faults`.

use anyhow::{Context, Result};
use clap::Args;
use xtask::demo::Output;
use xtask::faults::seed::Seed;
use xtask::faults::{self, Options};

#[derive(Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask faults --count 40                    a short campaign over all classes\n  \
    cargo xtask faults --count 560 --seed 7          a full one\n  \
    cargo xtask faults --class flip-text --count 20  one class\n  \
    cargo xtask faults --replay 1289                 one fault again; seeds with commas: in a row\n  \
    cargo xtask faults --list                        the classes, and as what each may be found")]
pub(crate) struct Faults {
    /// How many faults, the classes in turn
    #[arg(long, default_value_t = 560)]
    count: usize,
    /// What chance begins with: the same number provokes the same faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this class; may be given more than once, or several with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    class: Vec<String>,
    /// Only these faults, on one machine in this order; ignores the three above
    #[arg(long, value_name = "SEED,...", value_delimiter = ',')]
    replay: Vec<u64>,
    /// Machines at once
    #[arg(long, value_name = "N", default_value_t = faults::JOBS)]
    jobs: usize,
    /// Name the classes and as what each may be found
    #[arg(long)]
    list: bool,
    /// Print faults.json instead of the table
    #[arg(long)]
    json: bool,
}

/// Does what the words say.
///
/// # Errors
/// A class or a seed that there is not; or the campaign's own.
pub(crate) fn run(options: &Faults) -> Result<()> {
    if options.list {
        print!("{}", faults::list());
        return Ok(());
    }
    let replay = options
        .replay
        .iter()
        .map(|number| {
            Seed::from_number(*number).with_context(|| {
                format!("{number} is no seed of a fault: a failing one stands in its how.txt")
            })
        })
        .collect::<Result<_>>()?;
    faults::run(&Options {
        count: options.count,
        seed: options.seed,
        classes: faults::choose(&options.class)?,
        replay,
        jobs: options.jobs,
        output: if options.json {
            Output::Json
        } else {
            Output::Text
        },
    })
}
