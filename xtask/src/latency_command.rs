//! `cargo xtask latency`: its words.

use anyhow::Result;
use clap::Args;
use xtask::latency::{self, Options, Output, Part, Runs, long_run};

/// What to measure and what to print.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask latency                        the whole table\n  \
    cargo xtask latency --only linux-rt        one system\n  \
    cargo xtask latency --quick                each phase for one second\n  \
    cargo xtask latency --samples 10000000     the long run, with a crash every 10 s\n  \
    cargo xtask latency --twice                and show that a second run gives the same\n  \
    cargo xtask latency --explain              where the longest waits went")]
pub(crate) struct Latency {
    /// Only this system, or the overhead table; may be given more than once
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Virtual seconds of each measured phase
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Crashes under Darma for the recovery rows
    #[arg(long, value_name = "N", default_value_t = 5)]
    crashes: u32,
    /// Measure each phase for one second only, with one crash
    #[arg(long)]
    quick: bool,
    /// Instead: the long run, at least so many periods of one fast task while Linux crashes again and again
    #[arg(long, value_name = "N")]
    samples: Option<u64>,
    /// Of the long run: seconds from Linux's entry to its next crash
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(5..=3600))]
    crash_every: u32,
    /// Measure everything twice and compare
    #[arg(long)]
    twice: bool,
    /// Show where the longest waits of the last report went; measure first if there is none
    #[arg(long)]
    explain: bool,
    /// Print latency.json instead of the tables
    #[arg(long)]
    json: bool,
}

/// Does what the words ask for.
///
/// # Errors
/// As the laboratory's.
pub(crate) fn run(options: Latency) -> Result<()> {
    if options.explain && latency::has_report() {
        return latency::explain_last();
    }
    let output = match (options.json, options.explain) {
        (true, _) => Output::Json,
        (false, true) => Output::Explained,
        (false, false) => Output::Text,
    };
    if let Some(samples) = options.samples {
        return long_run::run(&long_run::Options {
            samples,
            crash_every: options.crash_every,
            output,
        });
    }
    latency::run(&Options {
        only: options.only,
        seconds: if options.quick { 1 } else { options.seconds },
        crashes: if options.quick { 1 } else { options.crashes },
        output,
        runs: if options.twice {
            Runs::Twice
        } else {
            Runs::Once
        },
    })
}
