//! The scenarios' command line: `cargo xtask test` starts it.

use std::process::ExitCode;

use clap::Parser;
use darma_tests::golden::Mode;
use darma_tests::{runner, scenarios};

/// Boots real kernels under Darma in QEMU and asserts what they do.
#[derive(Parser)]
struct Cli {
    /// Run only the scenarios whose name is this or begins with it; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Name the scenarios and what each claims
    #[arg(long)]
    list: bool,
    /// How many machines at once; default: one per processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Write the golden traces instead of comparing them
    #[arg(long)]
    bless: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let all = scenarios::all();
    if cli.list {
        for scenario in &all {
            println!("{:32} {}", scenario.name, scenario.claim);
        }
        return ExitCode::SUCCESS;
    }
    let mode = if cli.bless {
        Mode::Bless
    } else {
        Mode::Compare
    };
    let tally = match runner::choose(all, &cli.only) {
        Ok(chosen) => runner::run(chosen, cli.jobs, mode),
        Err(error) => {
            xtask::terminal::error(&format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
