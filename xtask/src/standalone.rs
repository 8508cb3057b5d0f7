//! Boots a kernel by itself on the machine that the nanokernel gets, for comparison: the log that
//! the same kernel writes alone, and the time that a full restart of the machine takes.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::prepare::LinuxFiles;
use crate::qemu::{Clock, Disk, Machine, OnReset};
use crate::session::{self, Event, Session};

/// How to boot alone.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kernel's command line.
    pub append: String,
    /// What drives time.
    pub clock: Clock,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What a reset does.
    pub on_reset: OnReset,
    /// Disks.
    pub disks: Vec<Disk>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            append: "console=ttyS0 darma.script=smoke".into(),
            clock: Clock::REFERENCE,
            memory_mib: 512,
            on_reset: OnReset::End,
            disks: Vec::new(),
        }
    }
}

/// The machine for it: the same flags as with the nanokernel, but for what `-kernel` and `-initrd` name.
#[must_use]
pub fn machine(files: &LinuxFiles, options: &Options, folder: &std::path::Path) -> Machine {
    let mut machine = Machine::new(&files.kernel, folder);
    machine.initrd = Some(files.initrd.clone());
    machine.append = Some(options.append.clone());
    machine.clock = options.clock;
    machine.memory_mib = options.memory_mib;
    machine.on_reset = options.on_reset;
    machine.disks.clone_from(&options.disks);
    machine
}

/// Starts it; the run's files go to the folder of that `name`.
///
/// # Errors
/// QEMU cannot be started.
pub fn start(files: &LinuxFiles, options: &Options, name: &str) -> Result<Session> {
    let folder = session::folder(name)?;
    Session::start(&machine(files, options, &folder), &folder)
}

/// Boots it and returns its console's lines, once the machine has ended by itself.
///
/// # Errors
/// It did not end within `limit` of wall time.
pub fn console(
    files: &LinuxFiles,
    options: &Options,
    name: &str,
    limit: Duration,
) -> Result<Vec<String>> {
    let mut session = start(files, options, name)?;
    let mut lines = Vec::new();
    session.wait_for("the end of the run", limit, |event| match event {
        Event::Console(line) => {
            lines.push(line.clone());
            None
        }
        Event::Ended(_) => Some(()),
        _ => None,
    })?;
    Ok(lines)
}

/// Measures what a reset of the whole machine costs: from power-on, through firmware and kernel, to
/// user space, in ns: of virtual time under [`Clock::Instructions`], where the emulated time-stamp
/// counter counts nanoseconds from power-on; of the host's otherwise.
///
/// Power-on stands for the reset. Measured: QEMU resets a machine that asks for it in its main loop, on
/// the host's time, and the restart of the same machine so took 14.17, 14.23 and 14.25 s; from
/// power-on all runs are equal. What Linux does before it asks is left out, in favour of the restart.
///
/// The payload's script `reboot-timing` prints `DARMA-TSC <n>` first thing in user space.
///
/// # Errors
/// The stamp did not appear within `limit` of wall time.
pub fn restart_ns(
    files: &LinuxFiles,
    options: &Options,
    name: &str,
    limit: Duration,
) -> Result<u64> {
    let options = Options {
        append: "console=ttyS0 darma.script=reboot-timing".into(),
        ..options.clone()
    };
    let began = Instant::now();
    let mut session = start(files, &options, name)?;
    session.wait_for("time stamp", limit, |event| {
        let Event::Console(line) = event else {
            return None;
        };
        let stamp: u64 = line.trim().strip_prefix("DARMA-TSC ")?.parse().ok()?;
        match options.clock {
            Clock::Instructions { .. } => Some(stamp),
            Clock::Wall => u64::try_from(began.elapsed().as_nanos()).ok(),
        }
    })
}
