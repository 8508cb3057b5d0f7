//! Any bzImage under the nanokernel, with Linux's console on the user's terminal.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::qemu::{Clock, Disk, Machine, Serial};
use crate::ramdisk::{self, Parts};
use crate::{image, paths, process, session, terminal};

/// What to run and on what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bzImage.
    pub kernel: PathBuf,
    /// The initial RAM file system.
    pub initrd: Option<PathBuf>,
    /// The command line.
    pub append: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What drives time.
    pub clock: Clock,
    /// Disks, which become Linux's.
    pub disks: Vec<Disk>,
}

/// Memory besides the RAM-disk image (twice: as QEMU loads it and in its safe place) below which no
/// Linux starts, in MiB. The nanokernel computes the exact need; this catches the plain mistake early.
const LEAST_MIB: u64 = 96;

/// Checks the parts, builds the image, and gives the terminal to the machine until it ends.
///
/// # Errors
/// A part that cannot work (named with its remedy), or QEMU failed.
pub fn interactive(options: &Options) -> Result<()> {
    let parts = Parts::read(&options.kernel, options.initrd.as_deref(), &options.append)?;
    let module = ramdisk::store(&parts, "run")?;
    require_memory(options.memory_mib, std::fs::metadata(&module)?.len())?;
    let image = image::build(image::APPLICATION, crate::toolchain::Choice::Auto)?;
    let folder = session::folder("run")?;
    let mut machine = Machine::new(image.elf, &folder);
    machine.initrd = Some(module);
    machine.memory_mib = options.memory_mib;
    machine.clock = options.clock;
    machine.serial = Serial::Terminal;
    machine.disks.clone_from(&options.disks);
    terminal::note(&format!(
        "Linux's console is this terminal (end: Ctrl-A X); the nanokernel's log: {}",
        paths::shown(&folder.join("nanokernel.log"))
    ));
    let status = machine.command().status().context("cannot start QEMU")?;
    terminal::note(&format!("the machine ended ({status})"));
    Ok(())
}

/// Refuses a machine that cannot hold what it is given.
///
/// # Errors
/// Too little memory; the message names the least that makes sense.
pub fn require_memory(memory_mib: u32, module_bytes: u64) -> Result<()> {
    let least = LEAST_MIB + module_bytes.div_ceil(1 << 20).saturating_mul(2);
    ensure!(
        u64::from(memory_mib) >= least,
        "{memory_mib} MiB of memory is too little for this kernel and initrd: give --mem {least} or more"
    );
    Ok(())
}

/// Boots a machine with its console on the terminal, whatever it is made of.
///
/// # Errors
/// QEMU cannot be started or failed.
pub fn on_terminal(machine: &Machine) -> Result<()> {
    process::run(&mut machine.command())
}

#[cfg(test)]
mod tests {
    use super::require_memory;

    #[test]
    fn too_little_memory_is_named_with_what_would_do() {
        let error = require_memory(128, 40 << 20)
            .expect_err("too little")
            .to_string();
        assert!(error.contains("--mem 176"), "{error}");
        assert!(require_memory(512, 40 << 20).is_ok());
    }
}
