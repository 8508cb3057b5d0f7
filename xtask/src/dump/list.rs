//! The dumps of a machine, as a table or as JSON.

use std::path::Path;

use anyhow::Result;
use darma_abi::codes::Cause;
use darma_ras_model::dump::{DumpReader, StoreRead};
use darma_ras_model::fault_record::FaultRecord;
use serde::Serialize;

use super::MachineMemory;
use crate::quantity::{duration, size};
use crate::table::{Cell, Table};
use crate::terminal::Tone;
use crate::{paths, terminal};

/// One dump.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The failure's number; `get` and `open` take it.
    pub fault: u64,
    /// In which start of the GPOS, if the fault record is there.
    pub boot: Option<u64>,
    /// When it was taken, nanoseconds since the machine started.
    pub at_ns: u64,
    /// What the failure was found to be.
    pub cause: Option<&'static str>,
    /// The reason in the kernel's words, or what was detected where.
    pub line: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The how manieth failure of its kind.
    pub occurrence: Option<u32>,
    /// Bytes that its data takes in the store.
    pub bytes: u64,
    /// Pages of memory.
    pub pages: u64,
    /// Pages that are not in it.
    pub lost_pages: u64,
    /// Whether something is missing.
    pub partial: bool,
    /// Whether it is packed, so that it changes no more.
    pub packed: bool,
}

impl Entry {
    /// What a dump and the record of its failure say.
    #[must_use]
    pub fn of<S: StoreRead>(dump: &DumpReader<S>, record: Option<&FaultRecord>) -> Self {
        let (origin, counts) = (dump.origin(), dump.counts());
        let words = |text: Option<&str>| text.map(str::to_owned);
        Self {
            fault: origin.fault,
            boot: record.map(|record| record.boot),
            at_ns: origin.taken_at_ns,
            cause: record
                .and_then(|record| Cause::from_code(record.cause))
                .map(Cause::name),
            line: record.and_then(|record| words(record.line_text())),
            kernel: record.and_then(|record| words(record.release_text())),
            occurrence: record
                .map(|record| record.occurrence)
                .filter(|occurrence| *occurrence > 0),
            bytes: dump.data_bytes(),
            pages: counts.total,
            lost_pages: counts.lost,
            partial: counts.is_partial(),
            packed: dump.is_packed(),
        }
    }
}

/// What is in a machine's memory.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    schema: u32,
    from: String,
    /// The dumps, oldest first.
    pub dumps: Vec<Entry>,
    /// Slots that hold something that is no whole dump, and why.
    damaged: Vec<String>,
}

impl Listing {
    /// Reads what is there.
    ///
    /// # Errors
    /// There is no dump store.
    pub fn of(memory: &MachineMemory, from: &Path) -> Result<Self> {
        let faults = memory.faults();
        let (mut dumps, mut damaged) = (Vec::new(), Vec::new());
        for (slot, found) in memory.slots()? {
            match found {
                Ok(dump) => {
                    let record = faults
                        .as_ref()
                        .and_then(|reader| reader.faults.get(dump.origin().fault));
                    dumps.push(Entry::of(&dump, record));
                }
                Err(error) => damaged.push(format!("slot {slot}: {error}")),
            }
        }
        dumps.sort_by_key(|entry| entry.fault);
        Ok(Self {
            schema: 1,
            from: paths::shown(from),
            dumps,
            damaged,
        })
    }

    /// As JSON.
    ///
    /// # Errors
    /// None that could be provoked.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// As a table.
    #[must_use]
    pub fn text(&self) -> String {
        let head = [
            ">fault", ">boot", ">when", "cause", ">size", "state", "kernel", "line",
        ];
        let mut table = Table::new(&head);
        for entry in &self.dumps {
            let or_unknown = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
            let (state, tone) = if entry.partial {
                let lost = format!(
                    "partial, {} of {} pages",
                    entry.pages - entry.lost_pages.min(entry.pages),
                    entry.pages
                );
                (lost, Tone::Bad)
            } else {
                ("whole".into(), Tone::Good)
            };
            table.row([
                entry.fault.to_string().into(),
                entry
                    .boot
                    .map_or_else(|| "?".into(), |boot| boot.to_string())
                    .into(),
                duration(entry.at_ns).into(),
                or_unknown(entry.cause).into(),
                size(entry.bytes).into(),
                Cell::new(state, tone),
                or_unknown(entry.kernel.as_deref()).into(),
                entry.line.clone().unwrap_or_default().into(),
            ]);
        }
        table.text()
    }

    /// Prints it as people read it.
    pub fn print(&self) {
        if self.dumps.is_empty() {
            println!("no dump in {}", self.from);
        } else {
            println!("Dumps in {}", self.from);
            print!("{}", self.text());
        }
        for slot in &self.damaged {
            terminal::warn(slot);
        }
    }
}
