//! The words of `cargo xtask dump`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use xtask::dump::list::Listing;
use xtask::dump::open::{self, Options};
use xtask::dump::symbols::Fetch;
use xtask::dump::tools::Tool;
use xtask::dump::{self, MachineMemory};

#[derive(Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask run --keep-dumps                a Linux to crash: `darma crash null-deref` at its prompt\n  \
    cargo xtask dump list                       what the latest such run left\n  \
    cargo xtask dump open --report --fetch      its newest dump: backtrace, log, tasks; fetches drgn and symbols\n  \
    cargo xtask dump open 2 --with crash        the dump of failure 2, at crash's prompt\n  \
    cargo xtask dump get 2 -o core              the same as a file for any tool")]
pub(crate) struct Dump {
    #[command(subcommand)]
    act: Act,
    /// A run that was started with --keep-dumps, or a file with raw physical memory; else the latest such run
    #[arg(long, value_name = "RUN|FILE", global = true)]
    from: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Act {
    /// Show which dumps there are
    List {
        /// Print JSON instead of the table
        #[arg(long)]
        json: bool,
    },
    /// Write a dump as an ELF core file
    Get {
        /// The failure's number; else the newest dump
        fault: Option<u64>,
        /// The file to write; else `core` beside the memory's file
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Open a dump with a debugger and the kernel's debug symbols
    Open(Open),
}

#[derive(Args)]
struct Open {
    /// The failure's number; else the newest dump
    fault: Option<u64>,
    /// Which debugger
    #[arg(long = "with", value_enum, default_value = "drgn")]
    tool: Tool,
    /// Fetch what is missing below target/darma/: the debugger (PyPI, apt), the symbols (apt; 300 MB to 900 MB)
    #[arg(long)]
    fetch: bool,
    /// The kernel's ELF file with symbols, instead of the distribution's
    #[arg(long, value_name = "VMLINUX")]
    symbols: Option<PathBuf>,
    /// Print backtrace, log and tasks instead of asking for commands
    #[arg(long)]
    report: bool,
    /// More words for the debugger
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// Does what the words say.
pub(crate) fn run(options: &Dump) -> Result<()> {
    let file = dump::source(options.from.as_deref())?;
    let memory = MachineMemory::read(&file)?;
    match &options.act {
        Act::List { json } => {
            let listing = Listing::of(&memory, &file)?;
            if *json {
                println!("{}", listing.json()?);
            } else {
                listing.print();
            }
            Ok(())
        }
        Act::Get { fault, output } => {
            write(&memory, *fault, &core_file(&file, output.as_deref())).map(|_| ())
        }
        Act::Open(options) => {
            let core = core_file(&file, None);
            let summary = write(&memory, options.fault, &core)?;
            let fetch = if options.fetch {
                Fetch::Allowed
            } else {
                Fetch::Refused
            };
            open::run(
                &core,
                &summary,
                &Options {
                    tool: options.tool,
                    fetch,
                    symbols: options.symbols.clone(),
                    report: options.report,
                    words: options.words.clone(),
                },
            )
        }
    }
}

fn core_file(memory: &Path, output: Option<&Path>) -> PathBuf {
    output.map_or_else(|| memory.with_file_name("core"), Path::to_path_buf)
}

fn write(memory: &MachineMemory, fault: Option<u64>, core: &Path) -> Result<darma_vmcore::Summary> {
    let summary = dump::get(memory, fault, core)?;
    dump::tell(&summary, core);
    Ok(summary)
}
