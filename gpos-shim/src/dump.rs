//! Dumps, from inside the Linux that came after: listed, and written as ELF cores.

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use darma_ras_model::dump::{DumpReader, StoreRead};
use darma_vmcore::Summary;
use serde::Serialize;

use crate::error::Error;
use crate::status_view::duration;
use crate::window::{Dumps, Window, WindowAccess};

/// Room for writes to the core's file.
const BUFFER: usize = 256 << 10;

/// How long a dump may be in packing.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long a dump that is not seen is looked for.
const LOOKING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);

/// One dump.
#[derive(Debug, Serialize)]
pub struct Entry {
    fault: u64,
    at_ns: u64,
    bytes: u64,
    pages: u64,
    lost_pages: u64,
}

impl Entry {
    /// The failure's number.
    #[must_use]
    pub const fn fault(&self) -> u64 {
        self.fault
    }

    fn of<S: StoreRead>(dump: &DumpReader<S>) -> Self {
        Self {
            fault: dump.origin().fault,
            at_ns: dump.origin().taken_at_ns,
            bytes: dump.data_bytes(),
            pages: dump.counts().total,
            lost_pages: dump.counts().lost,
        }
    }
}

/// The dumps that are kept, newest first.
///
/// # Errors
/// There is no dump store.
pub fn list<A: WindowAccess>(window: &Window<A>) -> Result<Vec<Entry>, Error> {
    let dumps = window.dumps().map_err(Error::Dump)?;
    Ok(dumps.iter().map(Entry::of).collect())
}

/// The list as one line of JSON.
pub fn json(dumps: &[Entry]) -> String {
    serde_json::to_string(&serde_json::json!({"schema": 1, "dumps": dumps})).unwrap_or_default()
}

/// What was written, and what is missing in it.
pub fn described(summary: &Summary, file: &Path) -> String {
    let mut text = format!(
        "{}: failure {}, {} KiB, {} pages lost",
        file.display(),
        summary.fault,
        summary.bytes / 1024,
        summary.lost_pages
    );
    if !summary.has_vmcoreinfo {
        text.push_str("; without VMCOREINFO, so that crash opens it and drgn does not");
    }
    text
}

/// The list as a table.
pub fn table(dumps: &[Entry]) -> String {
    let mut page = String::from(" fault         at        size  pages  lost\n");
    for dump in dumps {
        // Writing to a String cannot fail.
        let _ = std::fmt::Write::write_fmt(
            &mut page,
            format_args!(
                "{:>6} {:>10} {:>7} KiB {:>6} {:>5}\n",
                dump.fault,
                duration(dump.at_ns),
                dump.bytes / 1024,
                dump.pages,
                dump.lost_pages
            ),
        );
    }
    page
}

/// Writes the dump of failure `fault` as an ELF core to a file, or to the standard output
/// if that is called `-`.
///
/// # Errors
/// There is no such dump, nothing of it can be read, or the file cannot be written.
pub fn get<A: WindowAccess>(window: &Window<A>, fault: u64, file: &Path) -> Result<Summary, Error> {
    let dump = &packed(window, fault)?;
    if file.as_os_str() == "-" {
        return write(dump, &mut stdout().lock());
    }
    let made = File::create(file).map_err(Error::file("write", file))?;
    let mut out = BufWriter::with_capacity(BUFFER, made);
    let written = write(dump, &mut out);
    if written.is_err() {
        // Half a core helps nobody, and fills a RAM disk.
        drop(std::fs::remove_file(file));
    }
    written
}

/// The dump of failure `fault`, once nothing moves in it any more: what was saved in a hurry is packed
/// while this Linux runs, above all while it sleeps. A Linux that never sleeps gets it as it is in the end;
/// then the sums tell of what moved.
fn packed<A: WindowAccess>(
    window: &Window<A>,
    fault: u64,
) -> Result<DumpReader<Dumps<'_, A>>, Error> {
    let began = Instant::now();
    loop {
        // A dump whose index changes at this moment is not seen: that is no reason to give up.
        let dumps = window.dumps().map_err(Error::Dump)?;
        let found = dumps.into_iter().find(|dump| dump.origin().fault == fault);
        let late = began.elapsed() > LONGEST_WAIT;
        match found {
            Some(dump) if late || dump.is_packed() => return Ok(dump),
            None if began.elapsed() > LOOKING => return Err(Error::NoDump(Some(fault))),
            _ => sleep(PAUSE),
        }
    }
}

fn write<S: StoreRead>(dump: &DumpReader<S>, out: &mut impl Write) -> Result<Summary, Error> {
    darma_vmcore::write(dump, out).map_err(Error::Core)
}
