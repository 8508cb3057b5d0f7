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

use anyhow::{Context, Result, bail};
use darma_vmcore::Summary;

pub use machine_memory::MachineMemory;

use crate::qemu::MEMORY_FILE;
use crate::quantity::size;
use crate::{paths, terminal};

/// Room for writes to the core file.
const BUFFER: usize = 1 << 20;

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
    let dump = memory.open(slot)?;
    let made = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut out = BufWriter::with_capacity(BUFFER, made);
    let before = dump.version();
    let written = darma_vmcore::write(&dump, &mut out).and_then(|summary| {
        out.flush()?;
        Ok(summary)
    });
    // A running machine may have packed or replaced the dump meanwhile.
    let same = memory.open(slot).is_ok_and(|dump| dump.version() == before);
    match written {
        Ok(summary) if same => Ok(summary),
        failed => {
            drop(fs::remove_file(file));
            match failed {
                Err(error) => Err(error).with_context(|| format!("no core in {}", file.display())),
                Ok(_) => bail!("{}", darma_vmcore::Error::Changed),
            }
        }
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
