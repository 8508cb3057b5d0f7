//! Reads the dump store out of the running machine and checks every checksum in it, with the reader
//! that the tools for people use.
//!
//! The emulator's control socket copies guest memory to a file while the machine runs on; counted
//! time is instructions, and does not feel it. Where the store lies is found by looking for its
//! label at page boundaries, once over all memory and then where it was found.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use darma_ras_model::dump::{DumpError, DumpReader, Label, STORE_MAGIC};
use serde_json::{Value, json};

/// The emulator's arguments that open the socket, in the folder in which it runs.
pub const ARGUMENTS: [&str; 2] = ["-qmp", "unix:control.sock,server=on,wait=off"];
const SOCKET: &str = "control.sock";
/// The copy of guest memory.
const COPY: &str = "memory.bin";
const PAGE: usize = 4096;
/// Longest wait for the emulator's answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a dump that looks damaged is looked at again, and after which pause.
const LOOKS_AGAIN: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// What came of the look at a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Header, index and every chunk fit their checksums, and nothing is lost.
    Valid,
    /// What is wrong.
    Bad(String),
    /// A later capture has taken the store already.
    Overtaken,
}

/// A connection to the emulator's control socket.
pub struct DumpCheck {
    folder: PathBuf,
    stream: BufReader<UnixStream>,
    memory_bytes: u64,
    /// Where dumps begin, as seen so far: the lowest address.
    lowest: Option<u64>,
    store_bytes: u64,
}

impl DumpCheck {
    /// Connects to the machine that runs in `folder`, with so much memory and so large a store.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(folder: &Path, memory_bytes: u64, store_bytes: u64) -> Result<Self> {
        // A socket's path has room for some hundred bytes: by the folder's descriptor it is short.
        let opened = File::open(folder)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd());
        let stream = UnixStream::connect(path).context("the emulator's control socket")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut check = Self {
            folder: folder.to_path_buf(),
            stream: BufReader::new(stream),
            memory_bytes,
            lowest: None,
            store_bytes,
        };
        check.ask(&json!({"execute": "qmp_capabilities"}))?;
        Ok(check)
    }

    /// Checks the dump of the failure with this number.
    ///
    /// # Errors
    /// The memory cannot be read.
    pub fn look(&mut self, fault: u64) -> Result<Finding> {
        // The copy is not of one moment, and the nanokernel packs dumps while Linux starts: what looks
        // damaged is looked at again.
        let mut finding = self.look_once(fault)?;
        for _ in 0..LOOKS_AGAIN {
            if !matches!(finding, Finding::Bad(_)) {
                break;
            }
            std::thread::sleep(PAUSE);
            finding = self.look_once(fault)?;
        }
        Ok(finding)
    }

    fn look_once(&mut self, fault: u64) -> Result<Finding> {
        let (from, bytes) = match self.lowest {
            None => (0, self.memory_bytes),
            Some(at) => (at, self.store_bytes.min(self.memory_bytes - at)),
        };
        let copy = self.folder.join(COPY);
        self.ask(&json!({"execute": "pmemsave",
            "arguments": {"val": from, "size": bytes, "filename": COPY}}))?;
        let memory = fs::read(&copy).with_context(|| format!("cannot read {}", copy.display()))?;
        fs::remove_file(copy)?;
        let (finding, lowest) = find(&memory, fault);
        if let (None, Some(at)) = (self.lowest, lowest) {
            self.lowest = Some(from + u64::try_from(at)?);
        }
        Ok(finding)
    }

    fn ask(&mut self, question: &Value) -> Result<()> {
        let line = format!("{question}\n");
        self.stream.get_mut().write_all(line.as_bytes())?;
        loop {
            let mut answer = String::new();
            ensure!(
                self.stream.read_line(&mut answer)? > 0,
                "the emulator closed its control socket"
            );
            let answer: Value = serde_json::from_str(&answer)?;
            if let Some(error) = answer.get("error") {
                bail!("the emulator refused {question}: {error}");
            }
            // The greeting and events come between.
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }
}

fn crc(state: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(state, data)
}

/// Judges the dump of `fault` in a copy of memory; also where the dump store begins.
fn find(memory: &[u8], fault: u64) -> (Finding, Option<usize>) {
    let mark = STORE_MAGIC.to_le_bytes();
    let mut pages = (0..memory.len()).step_by(PAGE);
    let labelled = pages.find_map(|at| {
        let store = memory.get(at..)?;
        let layout = Label::read(&store, crc).ok();
        layout
            .filter(|_| store.starts_with(&mark))
            .map(|layout| (at, store, layout))
    });
    let Some((at, store, layout)) = labelled else {
        return (Finding::Bad("no dump store is in memory".into()), None);
    };
    let mut wrong = None;
    let mut later = false;
    for slot in 0..layout.slots {
        match DumpReader::open(store, slot, crc) {
            Ok(dump) if dump.origin().fault == fault => return (judge(&dump), Some(at)),
            Ok(dump) => later |= dump.origin().fault > fault,
            Err(DumpError::NoHeader) => {}
            Err(error) => wrong = Some(error),
        }
    }
    let finding = match wrong {
        Some(error) => Finding::Bad(error.to_string()),
        None if later => Finding::Overtaken,
        None => Finding::Bad(format!("no dump of failure {fault} is in memory")),
    };
    (finding, Some(at))
}

fn judge(dump: &DumpReader<&[u8]>) -> Finding {
    let counts = dump.counts();
    if counts.is_partial() {
        return Finding::Bad(format!("{} of {} pages lost", counts.lost, counts.total));
    }
    if counts.saved + counts.zero != counts.total || counts.saved == 0 {
        return Finding::Bad(format!("its counts contradict each other: {counts:?}"));
    }
    let damaged = (0..dump.chunks()).find_map(|chunk| dump.check_chunk(chunk).err());
    damaged.map_or(Finding::Valid, |error| Finding::Bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{Finding, PAGE, crc, find};
    use darma_abi::memory::GuestPhysRead;
    use darma_abi::units::GuestPhys;
    use darma_ras_model::dump::{Compressor, DumpStore, Geometry, Origin, PageSource, Progress};

    /// Pages of noise, which no codec makes smaller.
    struct Noise;

    impl GuestPhysRead for Noise {
        fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
            let mut state = at.0 | 1;
            for byte in out {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                [*byte, ..] = state.to_be_bytes();
            }
            true
        }
    }

    impl PageSource for Noise {}

    /// Memory with a dump of failure 3 of four pages in a store that begins in its tenth page.
    fn memory() -> Vec<u8> {
        let mut memory = vec![0; 128 * PAGE];
        let geometry = Geometry::new(&[GuestPhys(0)..GuestPhys(4 * 4096)]).expect("four pages");
        let origin = Origin {
            fault: 3,
            ..Origin::default()
        };
        let mut store = DumpStore::open(&mut memory[10 * PAGE..], 1, geometry, crc).expect("room");
        let mut writer = store.begin(origin);
        while writer.classify(&Noise) == Progress::More {}
        let mut compressor = Compressor::new();
        while writer.save(&Noise, &mut compressor) == Progress::More {}
        writer.finish();
        memory
    }

    #[test]
    fn a_dump_is_found_and_checked_to_its_last_byte() {
        let mut memory = memory();
        assert_eq!(find(&memory, 3), (Finding::Valid, Some(10 * PAGE)));
        let hit = memory.iter().rposition(|byte| *byte != 0).expect("data");
        memory[hit] ^= 1;
        assert!(matches!(find(&memory, 3).0, Finding::Bad(_)));
    }

    #[test]
    fn a_dump_of_another_failure_is_not_taken_for_it() {
        assert!(matches!(find(&memory(), 4).0, Finding::Bad(_)));
        assert_eq!(find(&memory(), 2).0, Finding::Overtaken);
        assert_eq!(find(&[], 1).1, None);
    }
}
