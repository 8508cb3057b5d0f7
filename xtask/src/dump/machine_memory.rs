//! A machine's memory in a file, and the stores in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use darma_ras_model::dump::{DumpError, DumpReader, Label, SLOTS_MAX, STORE_MAGIC, StoreRead};
use darma_ras_model::fault_record::{FaultReader, regions};
use darma_vmcore::crc32c;
use zerocopy::IntoBytes;

/// The memory plan places every store at a multiple of this.
const ALIGNMENT: u64 = 2 << 20;
/// The largest fault store that can be configured.
const FAULTS_MAX: u64 = 64 << 20;

/// A part of a file.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'f> {
    file: &'f File,
    start: u64,
    bytes: u64,
}

impl StoreRead for Piece<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> bool {
        let end = u64::try_from(out.len())
            .ok()
            .and_then(|length| at.checked_add(length));
        end.is_some_and(|end| end <= self.bytes)
            && self.file.read_exact_at(out, self.start + at).is_ok()
    }
}

/// A dump in the file.
pub type Dump<'f> = DumpReader<Piece<'f>>;

/// The file, and where in it the stores are.
#[derive(Debug)]
pub struct MachineMemory {
    file: File,
    bytes: u64,
    dumps: Option<u64>,
    /// The fault store's bytes, 8-byte aligned; empty if there is none.
    faults: Vec<u64>,
}

impl MachineMemory {
    /// Looks through the file for the stores.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let why = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(why)?;
        let bytes = file.metadata().with_context(why)?.len();
        let mut memory = Self {
            file,
            bytes,
            dumps: None,
            faults: Vec::new(),
        };
        // The stores lie above most of Linux's memory: of several labels the highest is ours, if Linux
        // holds a copy of such a label at all.
        let mut at = bytes / ALIGNMENT * ALIGNMENT;
        while at > 0 && (memory.dumps.is_none() || memory.faults.is_empty()) {
            at -= ALIGNMENT;
            let mut mark = [0; 8];
            if memory.file.read_exact_at(&mut mark, at).is_err() {
                continue;
            }
            let mark = u64::from_le_bytes(mark);
            if mark == STORE_MAGIC && memory.dumps.is_none() {
                memory.dumps = Label::read(&memory.piece(at), crc32c).ok().map(|_| at);
            } else if mark == regions::MAGIC && memory.faults.is_empty() {
                memory.faults = memory.fault_store(at).unwrap_or_default();
            }
        }
        Ok(memory)
    }

    fn piece(&self, start: u64) -> Piece<'_> {
        Piece {
            file: &self.file,
            start,
            bytes: self.bytes - start,
        }
    }

    fn fault_store(&self, at: u64) -> Option<Vec<u64>> {
        let length = (self.bytes - at).min(FAULTS_MAX) / 8;
        let mut words = vec![0_u64; usize::try_from(length).ok()?];
        let read = self.piece(at).read(0, words.as_mut_bytes());
        FaultReader::new(words.as_bytes(), crc32c).filter(|_| read)?;
        Some(words)
    }

    /// The fault records, if there is a fault store.
    #[must_use]
    pub fn faults(&self) -> Option<FaultReader<'_>> {
        FaultReader::new(self.faults.as_bytes(), crc32c)
    }

    /// The dump in this slot.
    ///
    /// # Errors
    /// There is no dump store, or no whole dump in the slot.
    pub fn open(&self, slot: u32) -> Result<Dump<'_>, DumpError> {
        let at = self.dumps.ok_or(DumpError::NoStore)?;
        DumpReader::open(self.piece(at), slot, crc32c)
    }

    /// Every slot that holds something, with what it holds.
    ///
    /// # Errors
    /// There is no dump store.
    pub fn slots(&self) -> Result<Vec<(u32, Result<Dump<'_>, DumpError>)>> {
        if self.dumps.is_none() {
            bail!(
                "there is no dump store in this memory: the nanokernel had not started yet, or dump.size is 0"
            );
        }
        let last = u32::try_from(SLOTS_MAX).unwrap_or(u32::MAX);
        Ok((0..last)
            .map(|slot| (slot, self.open(slot)))
            .filter(|(_, found)| !matches!(found, Err(DumpError::NoSlot(_) | DumpError::NoHeader)))
            .collect())
    }

    /// The slot with the dump of failure `fault`, or with the newest dump.
    ///
    /// # Errors
    /// There is no such dump; the message names those that there are.
    pub fn slot_of(&self, fault: Option<u64>) -> Result<u32> {
        let slots = self.slots()?;
        let whole = || {
            slots
                .iter()
                .filter_map(|(slot, found)| Some((*slot, found.as_ref().ok()?)))
        };
        let chosen = match fault {
            None => whole().max_by_key(|(_, dump)| dump.version().0),
            Some(fault) => whole().find(|(_, dump)| dump.origin().fault == fault),
        };
        if let Some((slot, _)) = chosen {
            return Ok(slot);
        }
        let there: Vec<_> = whole()
            .map(|(_, dump)| dump.origin().fault.to_string())
            .collect();
        match fault {
            _ if there.is_empty() => Err(anyhow!("no dump has been taken yet")),
            fault => Err(anyhow!(
                "there is no dump of failure {} any more; there are dumps of {}",
                fault.unwrap_or(0),
                there.join(", ")
            )),
        }
    }
}
