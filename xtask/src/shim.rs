//! Builds `darma`, the command for Linux user space: one static program, because the initial RAM
//! file system has no libraries.

use std::path::PathBuf;

use anyhow::Result;

use crate::{paths, process, terminal, toolchain};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the program and returns its file.
///
/// # Errors
/// The compiler found fault: its message stands on the terminal.
pub fn build() -> Result<PathBuf> {
    terminal::note("compiling darma-shim, static");
    let folder = paths::cache().join("shim");
    let mut command = toolchain::cargo();
    command
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "darma-shim",
            "--bin",
            "darma",
            "--target",
            TARGET,
        ])
        .args([
            "--config",
            "profile.release.strip=true",
            "--config",
            "profile.release.opt-level='s'",
        ])
        .arg("--target-dir")
        .arg(&folder)
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static",
        );
    process::run(&mut command)?;
    Ok(folder.join(TARGET).join("release/darma"))
}
