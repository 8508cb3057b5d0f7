//! Any bzImage under the nanokernel, with Linux's console on the user's terminal.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::image::Application;
use crate::qemu::{Clock, Disk, MEMORY_FILE, Machine, Serial};
use crate::ramdisk::{self, Parts};
use crate::{image, paths, process, session, terminal};

/// What becomes of the dumps when a machine ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dumps {
    /// They are gone with its memory.
    #[default]
    Forgotten,
    /// They stay in a file of the memory's size, until the next run of that name.
    Kept,
}

impl Dumps {
    /// The memory's file for a machine with its files in `folder`.
    #[must_use]
    pub fn memory_file(self, folder: &Path) -> Option<PathBuf> {
        (self == Self::Kept).then(|| folder.join(MEMORY_FILE))
    }
}

/// What to run and on what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program above Linux.
    pub application: Application,
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
    /// Whether the machine's memory, and with it the dumps, outlive the machine.
    pub dumps: Dumps,
}

/// Memory besides the RAM-disk image (twice: as QEMU loads it and in its safe place) below which no
/// Linux starts, in MiB. The nanokernel computes the exact need; this catches the plain mistake early.
const LEAST_MIB: u64 = 96;

/// Checks the parts, builds the image, and gives the terminal to the machine until it ends.
///
/// # Errors
/// A part that cannot work (named with its remedy), or QEMU failed.
pub fn interactive(options: &Options) -> Result<()> {
    // Whoever powers Linux off at its console wants the terminal back.
    let parts = Parts::read(&options.kernel, options.initrd.as_deref(), &options.append)?
        .with("exit.on-poweroff", "yes");
    let module = ramdisk::store(&parts, "run")?;
    require_memory(options.memory_mib, std::fs::metadata(&module)?.len())?;
    let image = image::build(&options.application, crate::toolchain::Choice::Auto)?;
    let folder = session::folder("run")?;
    let mut machine = Machine::new(image.elf, &folder);
    machine.initrd = Some(module);
    machine.memory_mib = options.memory_mib;
    machine.clock = options.clock;
    machine.serial = Serial::Terminal;
    machine.disks.clone_from(&options.disks);
    machine.memory_file = options.dumps.memory_file(&folder);
    terminal::note(&format!(
        "Linux's console is this terminal (end: Ctrl-A X); the nanokernel's log: {}",
        paths::shown(&folder.join("nanokernel.log"))
    ));
    let status = machine.command().status().context("cannot start QEMU")?;
    let log = folder.join("nanokernel.log");
    let text = std::fs::read(&log).unwrap_or_default();
    judge(status.code(), &String::from_utf8_lossy(&text))
        .with_context(|| format!("the nanokernel's log: {}", paths::shown(&log)))
        .map(terminal::note)
}

/// What an ended machine's exit code means, given the nanokernel's log.
///
/// # Errors
/// Neither the user nor Linux ended it.
fn judge(code: Option<i32>, log: &str) -> Result<&'static str> {
    // QEMU's own failure has the same code as a machine that ended itself in good order.
    let end = log.lines().find(|line| line.starts_with("@{\"end\""));
    match code {
        Some(0) => Ok("the machine was ended from the terminal"),
        Some(_) if end.is_some_and(|end| end.contains(r#""reason":"exit""#)) => {
            Ok("the application ended the machine")
        }
        Some(_) if end.is_some() => Ok("Linux is off, and the machine with it"),
        code => {
            let last = log.lines().rfind(|line| !line.trim().is_empty());
            bail!(
                "the machine ended with code {code:?}; the nanokernel's last words: {}",
                last.unwrap_or("none; QEMU's own message stands above")
            )
        }
    }
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
    use super::{judge, require_memory};

    #[test]
    fn an_ended_machine_is_judged_by_code_and_log() {
        let ended = "darma: up\n@{\"end\":{\"at_ns\":1,\"reason\":\"power-off\"}}\n";
        assert!(judge(Some(0), "").is_ok());
        assert!(judge(Some(1), ended).is_ok_and(|words| words.contains("Linux is off")));
        let exit = ended.replace("power-off", "exit");
        assert!(judge(Some(1), &exit).is_ok_and(|words| words.contains("application")));
        let refused = judge(Some(33), "darma: cannot start: no SVM\n").expect_err("refused");
        assert!(refused.to_string().contains("no SVM"), "{refused}");
        assert!(judge(Some(1), "").is_err() && judge(None, "").is_err());
    }

    #[test]
    fn too_little_memory_is_named_with_what_would_do() {
        let error = require_memory(128, 40 << 20)
            .expect_err("too little")
            .to_string();
        assert!(error.contains("--mem 176"), "{error}");
        assert!(require_memory(512, 40 << 20).is_ok());
    }
}
