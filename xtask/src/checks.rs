//! What a commit must pass in seconds: format, lints, host tests.

use anyhow::{Context, Result};

use crate::toolchain::{self, TARGET};
use crate::{image, process, terminal, thread_metric};

/// Whether `check` changes the sources' layout or only judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Differences are an error.
    Judge,
    /// Differences are repaired.
    Repair,
}

/// The packages whose programs become images; with them all that they are made of is checked.
const IMAGES: &[&str] = &[
    image::APPLICATION,
    thread_metric::APPLICATION,
    "darma-examples",
    "darma-task-faults",
    "darma-response-check",
    "darma-float-law",
];

/// Runs format check, lints for host and bare-metal crates, and the host tests.
///
/// # Errors
/// One of them failed; its message stands on the terminal.
pub fn run(format: Format) -> Result<()> {
    let mut fmt = toolchain::cargo();
    fmt.args(["fmt", "--all"]);
    if format == Format::Judge {
        fmt.arg("--check");
    }
    section("format", &mut fmt)
        .context("the code is not formatted: run `cargo xtask check --fix`")?;
    section(
        "lints, host",
        toolchain::cargo().args(["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"]),
    )?;
    if toolchain::has_target() {
        section(
            "lints, bare metal",
            toolchain::cargo()
                .args(["clippy", "--quiet", "--target", TARGET])
                .args(IMAGES.iter().flat_map(|name| ["--package", name]))
                .args(["--", "-D", "warnings"]),
        )?;
    } else {
        // Clippy reads only its own compiler's libraries; Debian's compiler has no clippy beside it.
        terminal::warn(
            "lints of the bare-metal crates skipped: the compiler in use lacks their target",
        );
    }
    section("host tests", toolchain::cargo().args(["test", "--quiet"]))
}

/// Runs the scenarios' own program with `words`; it prints what held and what did not.
///
/// A program of its own, because scenarios are built on this library and not the other way round.
///
/// Returns whether all held; what did not is the program's to say, in its last lines.
///
/// # Errors
/// cargo cannot be started.
pub fn scenarios(words: &[String]) -> Result<bool> {
    let status = toolchain::cargo()
        .args(["run", "--quiet", "--package", "darma-tests", "--"])
        .args(words)
        .status()
        .context("cannot start cargo: is it installed?")?;
    Ok(status.success())
}

fn section(name: &str, command: &mut std::process::Command) -> Result<()> {
    terminal::note(name);
    process::run(command).context(name.to_owned())
}
