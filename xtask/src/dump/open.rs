//! A core, its kernel's symbols and a tool: put together and started.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use darma_vmcore::Summary;

use super::symbols::{self, Fetch};
use super::tools::{self, Tool};
use crate::process;

/// Prints panic, backtrace, log and tasks, in `drgn`'s own words.
const REPORT: &str = include_str!("report.py");
/// The name of the script beside the core.
const SCRIPT: &str = "report.py";
/// What `crash` is told for a report. `list` in place of `ps`: version 8.0.2 does not find the tasks of
/// kernels as new as Debian 12's.
const COMMANDS: &str = "set scroll off\nsys\nbt\nlog | tail -120\n\
    list task_struct.tasks -s task_struct.pid,comm -h init_task\nquit\n";
const COMMAND_FILE: &str = "report.crash";

/// What to do with a core.
#[derive(Clone, Debug)]
pub struct Options {
    /// With which tool.
    pub tool: Tool,
    /// Whether what is missing may be fetched.
    pub fetch: Fetch,
    /// The kernel's ELF file with symbols; else the one that belongs to the kernel is looked for.
    pub symbols: Option<PathBuf>,
    /// Print a report and end, instead of asking for commands.
    pub report: bool,
    /// More words for the tool.
    pub words: Vec<OsString>,
}

/// The command that opens `core`, which `summary` describes.
///
/// # Errors
/// Tool or symbols are missing; the message says how to get them.
pub fn command(core: &Path, summary: &Summary, options: &Options) -> Result<Command> {
    let program = tools::find(options.tool, options.fetch)?;
    let symbols = match &options.symbols {
        Some(file) => file.clone(),
        None => {
            let release = summary.release.as_deref().context(
                "which kernel it was is not known, since VMCOREINFO is not in the dump: name its vmlinux with --symbols",
            )?;
            symbols::find(release, summary.build_id.as_deref(), options.fetch)?
        }
    };
    let beside = |name: &str, text: &str| -> Result<PathBuf> {
        let file = core.with_file_name(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    };
    let mut command = program.command();
    match options.tool {
        Tool::Drgn => {
            command.arg("-q").arg("-c").arg(core).arg("-s").arg(symbols);
            command.args(&options.words);
            if options.report {
                command.arg(beside(SCRIPT, REPORT)?);
            }
        }
        Tool::Crash => {
            command.args(&options.words);
            if options.report {
                command
                    .arg("-s")
                    .arg("-i")
                    .arg(beside(COMMAND_FILE, COMMANDS)?);
            }
            command.arg(symbols).arg(core);
        }
    }
    Ok(command)
}

/// Opens `core` on this terminal.
///
/// # Errors
/// As [`command`]; or the tool failed.
pub fn run(core: &Path, summary: &Summary, options: &Options) -> Result<()> {
    process::run(&mut command(core, summary, options)?)
}
