//! Dumps of a run, on the host: listed, written as ELF cores, opened with `drgn` or `crash`.
//!
//! A machine that was started with `--keep-dumps` has a file for memory, `memory.raw` in its run's
//! folder. The file is there while the machine runs and after it has ended, however it ended, and holds
//! the dump store and the fault store as the nanokernel left them; nothing has to be asked of the machine.
//! Any other raw copy of the physical memory will do as well (QEMU's `pmemsave`).
//!
//! The stores are found by their labels, which lie at multiples of 2 MiB and carry checksums.

pub mod list;
pub mod machine_memory;
pub mod open;
pub mod symbols;
pub mod tools;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use darma_vmcore::Summary;

pub use machine_memory::MachineMemory;

use crate::qemu::MEMORY_FILE;
use crate::quantity::size;
use crate::{paths, terminal};

/// Room for writes to the core file.
const BUFFER: usize = 1 << 20;
/// A running machine packs its newest dump, which moves the data: how often the core is begun anew.
const ATTEMPTS: u32 = 30;
/// How long is waited before that.
const PAUSE: Duration = Duration::from_secs(1);

/// The memory file that `from` means: a file, the name of a run, or the latest run that kept one.
///
/// # Errors
/// There is none; the message says how one comes about.
pub fn source(from: Option<&Path>) -> Result<PathBuf> {
    const HOW: &str = "start a machine with --keep-dumps (`cargo xtask run --keep-dumps`)";
    let runs = paths::cache().join("runs");
    let Some(from) = from else {
        let kept = fs::read_dir(&runs).into_iter().flatten().flatten();
        return kept
            .map(|folder| folder.path().join(MEMORY_FILE))
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file)))
            .max()
            .map(|(_, file)| file)
            .with_context(|| format!("no run has kept its dumps: {HOW}"));
    };
    let of_run = runs.join(from).join(MEMORY_FILE);
    [from.to_path_buf(), of_run]
        .into_iter()
        .find(|file| file.is_file())
        .with_context(|| {
            format!(
                "--from {}: neither a file nor a run that kept its dumps: {HOW}",
                from.display()
            )
        })
}

/// Writes the core of the dump of failure `fault`, or of the newest, to `file`.
///
/// # Errors
/// There is no such dump, nothing of it can be read, or the file cannot be written.
pub fn get(memory: &MachineMemory, fault: Option<u64>, file: &Path) -> Result<Summary> {
    let slot = memory.slot_of(fault)?;
    for attempt in 1.. {
        if let Some(summary) = try_to_get(memory, slot, file)? {
            return Ok(summary);
        }
        if attempt == 1 {
            terminal::note("the machine is packing the dump; waiting until it has done");
        }
        if attempt >= ATTEMPTS {
            break;
        }
        thread::sleep(PAUSE);
    }
    Err(darma_vmcore::Error::Changed.into())
}

/// None if the dump changed meanwhile.
fn try_to_get(memory: &MachineMemory, slot: u32, file: &Path) -> Result<Option<Summary>> {
    let dump = memory.open(slot)?;
    let made = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut out = BufWriter::with_capacity(BUFFER, made);
    let before = dump.version();
    let written = darma_vmcore::write(&dump, &mut out).and_then(|summary| {
        out.flush()?;
        Ok(summary)
    });
    let same = memory.open(slot).is_ok_and(|dump| dump.version() == before);
    if same && let Ok(summary) = written {
        return Ok(Some(summary));
    }
    drop(fs::remove_file(file));
    match written {
        Err(error) if same && !matches!(error, darma_vmcore::Error::Changed) => {
            Err(error).with_context(|| format!("no core in {}", file.display()))
        }
        _ => Ok(None),
    }
}

/// Says what was written, and what is missing in it.
pub fn tell(summary: &Summary, file: &Path) {
    terminal::note(&format!(
        "{}: failure {}, {} in {} segments, kernel {}",
        paths::shown(file),
        summary.fault,
        size(summary.bytes),
        summary.segments,
        summary.release.as_deref().unwrap_or("unknown")
    ));
    if summary.is_partial() {
        terminal::warn(&format!(
            "partial: {} of {} pages are lost ({} damaged chunks); the tools report a read of one as an error",
            summary.lost_pages,
            summary.lost_pages + summary.saved_pages + summary.zero_pages,
            summary.damaged_chunks
        ));
    }
    if !summary.has_vmcoreinfo {
        terminal::warn(
            "the kernel's own description (VMCOREINFO) is not in the dump: crash opens the core, drgn does not",
        );
    }
    if !summary.has_registers {
        terminal::warn("no registers are in the dump: drgn shows no trace of the running task");
    }
}

#[cfg(test)]
mod tests;
