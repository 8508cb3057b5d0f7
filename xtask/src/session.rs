//! A machine that runs, and what it says while it does.
//!
//! The serial port and the debug console are written to files by QEMU and followed here. Files, not
//! pipes: a full pipe would make the emulated device wait for the host, and instruction-counted runs
//! would differ. The files stay for the reader of a failed run.
//!
//! A line of the debug console that begins with `@` is a report: one JSON object. Other lines are log.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::paths;
use crate::qemu::{Machine, PROGRAM, Serial};

/// How often the files are looked at.
const POLL: Duration = Duration::from_millis(20);

/// Something that a running machine did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A line of Linux's console.
    Console(String),
    /// A line of the nanokernel's log.
    Log(String),
    /// A report of the nanokernel.
    Report(Value),
    /// A line that began as a report but is no JSON; kept, because a damaged report is a finding.
    Damaged(String),
    /// QEMU ended. The last event.
    Ended(Ending),
}

/// How QEMU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The value that the machine wrote to the debug-exit port, if it ended that way.
    pub debug_exit: Option<u32>,
}

impl Ending {
    fn from_code(code: Option<i32>) -> Self {
        // isa-debug-exit makes value v the code 2v+1; QEMU itself ends with 0 or, on its errors, 1.
        let debug_exit = code
            .and_then(|code| u32::try_from(code).ok())
            .filter(|code| *code > 1 && code % 2 == 1);
        Self {
            code,
            debug_exit: debug_exit.map(|code| code / 2),
        }
    }
}

/// A running machine. Dropped, it is ended.
pub struct Session {
    child: Child,
    folder: PathBuf,
    console: Option<Follower>,
    log: Option<Follower>,
    waiting: std::collections::VecDeque<Event>,
    ended: bool,
    began: Instant,
}

/// The folder for the files of a run, emptied.
///
/// # Errors
/// It cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder = paths::cache().join("runs").join(name);
    crate::debian::clear(&folder)?;
    Ok(folder)
}

impl Session {
    /// Starts `machine`; what QEMU itself says goes to `qemu.log` in `folder`.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn start(machine: &Machine, folder: &Path) -> Result<Self> {
        let errors = folder.join("qemu.log");
        let file =
            File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
        // A signal that ends this program runs no destructors: the kernel ends QEMU then (setpriv
        // is of util-linux, which every Debian has, and becomes QEMU, so the process is the same).
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", PROGRAM])
            .args(machine.arguments())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}: is it installed?"))?;
        let console = match &machine.serial {
            Serial::File(file) | Serial::Socket { log: file } => Some(Follower::new(file)),
            Serial::Terminal => None,
        };
        Ok(Self {
            child,
            folder: folder.to_path_buf(),
            console,
            log: machine.debug_console.as_deref().map(Follower::new),
            waiting: std::collections::VecDeque::new(),
            ended: false,
            began: Instant::now(),
        })
    }

    /// The next event, or none if nothing happens for `limit` (or QEMU has ended before).
    ///
    /// Order holds within the console and within the log, not between the two: they are two files.
    ///
    /// # Errors
    /// QEMU's state cannot be asked.
    pub fn next(&mut self, limit: Duration) -> Result<Option<Event>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            // Ask before reading: what was written before the end is then surely read.
            let status = self.child.try_wait()?;
            if let Some(log) = &mut self.log {
                self.waiting
                    .extend(log.lines(status.is_some()).into_iter().map(classify));
            }
            if let Some(console) = &mut self.console {
                self.waiting.extend(
                    console
                        .lines(status.is_some())
                        .into_iter()
                        .map(Event::Console),
                );
            }
            if let Some(status) = status {
                self.ended = true;
                self.waiting
                    .push_back(Event::Ended(Ending::from_code(status.code())));
            } else if self.waiting.is_empty() {
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                std::thread::sleep(POLL);
            }
        }
    }

    /// Runs `until` on each event until it returns a value.
    ///
    /// # Errors
    /// QEMU ended first, or `limit` of wall time passed: the message says where the files are.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut until: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left)? {
                Some(event) => {
                    if let Some(found) = until(&event) {
                        return Ok(found);
                    }
                    if let Event::Ended(ending) = event {
                        anyhow::bail!(
                            "the machine ended (code {:?}) before {what}; its last words: {}; see {}",
                            ending.code,
                            self.last_words(),
                            paths::shown(&self.folder)
                        );
                    }
                }
                None => anyhow::bail!(
                    "no {what} within {} s; last words: {}; see {}",
                    limit.as_secs(),
                    self.last_words(),
                    paths::shown(&self.folder)
                ),
            }
        }
    }

    /// Holds the machine still for `time`, as a debugger or a busy host does; on the wall clock its time
    /// goes on meanwhile.
    ///
    /// # Errors
    /// The signals cannot be sent.
    pub fn hold(&self, time: Duration) -> Result<()> {
        let process = self.child.id().to_string();
        let send =
            |signal: &str| crate::process::run(Command::new("kill").args([signal, &process]));
        send("-STOP")?;
        std::thread::sleep(time);
        send("-CONT")
    }

    /// Wall time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where the files of the run are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the machine, if it still runs.
    pub fn stop(&mut self) {
        if !self.ended {
            // Failing to end a process that has just ended by itself is no failure.
            drop(self.child.kill());
            drop(self.child.wait());
            self.ended = true;
        }
    }

    /// The last line that any of the run's files holds: QEMU's own complaint first.
    #[must_use]
    pub fn last_words(&self) -> String {
        ["qemu.log", "nanokernel.log", "console.log"]
            .iter()
            .filter_map(|name| fs::read(self.folder.join(name)).ok())
            .filter_map(|bytes| {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                text.lines()
                    .rev()
                    .map(str::trim)
                    .find(|line| !line.is_empty())
                    .map(str::to_owned)
            })
            .next()
            .unwrap_or_else(|| "none".into())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Tells a line of the debug console for what it is.
#[must_use]
pub fn classify(line: String) -> Event {
    match line.strip_prefix('@') {
        None => Event::Log(line),
        Some(report) => match serde_json::from_str(report) {
            Ok(value @ Value::Object(_)) => Event::Report(value),
            _ => Event::Damaged(line),
        },
    }
}

/// Reads what is added to a file, line by line.
struct Follower {
    path: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Follower {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            file: None,
            partial: Vec::new(),
        }
    }

    /// The lines completed since the last call; with `last`, an unfinished one as well.
    fn lines(&mut self, last: bool) -> Vec<String> {
        if self.file.is_none() {
            // QEMU makes the file a moment after it starts.
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            // A read that fails leaves what was read; the rest is seen at the next call.
            drop(file.read_to_end(&mut self.partial));
        }
        let mut lines = split(&mut self.partial);
        if last && !self.partial.is_empty() {
            lines.push(text(&std::mem::take(&mut self.partial)));
        }
        lines
    }
}

/// Takes the finished lines out of `partial`.
fn split(partial: &mut Vec<u8>) -> Vec<String> {
    let Some(end) = partial.iter().rposition(|byte| *byte == b'\n') else {
        return Vec::new();
    };
    let rest = partial.split_off(end + 1);
    let finished = std::mem::replace(partial, rest);
    finished
        .strip_suffix(b"\n")
        .unwrap_or(&finished)
        .split(|byte| *byte == b'\n')
        .map(text)
        .collect()
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim_end_matches('\r')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Ending, Event, classify, split};

    #[test]
    fn a_line_is_not_seen_before_it_is_finished() {
        let mut partial = b"one\r\ntwo\nthr".to_vec();
        assert_eq!(split(&mut partial), ["one", "two"]);
        assert_eq!(partial, b"thr");
        partial.extend_from_slice(b"ee\n");
        assert_eq!(split(&mut partial), ["three"]);
        assert!(partial.is_empty());
    }

    #[test]
    fn reports_log_lines_and_damaged_reports_are_told_apart() {
        assert!(
            matches!(classify("@{\"boot\":1}".into()), Event::Report(value) if value["boot"] == 1)
        );
        assert_eq!(classify("hello".into()), Event::Log("hello".into()));
        assert_eq!(
            classify("@{\"boot".into()),
            Event::Damaged("@{\"boot".into())
        );
        assert_eq!(classify("@7".into()), Event::Damaged("@7".into()));
    }

    #[test]
    fn the_debug_exit_value_is_recovered_from_the_exit_code() {
        assert_eq!(Ending::from_code(Some(33)).debug_exit, Some(16));
        assert_eq!(Ending::from_code(Some(0)).debug_exit, None);
        assert_eq!(Ending::from_code(Some(1)).debug_exit, None);
        assert_eq!(Ending::from_code(None).debug_exit, None);
    }
}
