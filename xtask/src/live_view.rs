//! What the user sees while a machine runs: one line per thing that happened, and below them what
//! happens now.
//!
//! Durations in the lines are the machine's own; the time before each line is the user's.

use std::fmt::Write as _;
use std::time::Instant;

use darma_abi::codes::{CrashKind, Mark};
use darma_abi::report::Event;

use crate::account::Account;
use crate::quantity::{duration, size};
use crate::terminal::{Live, Tone};

/// The view of one run.
pub struct View {
    live: Live,
    began: Instant,
    kinds: Vec<CrashKind>,
    loaded_since: u64,
}

impl View {
    /// Begins; `kinds` are the crashes that are to come.
    #[must_use]
    pub fn new(kinds: &[CrashKind]) -> Self {
        let view = Self {
            live: Live::new(),
            began: Instant::now(),
            kinds: kinds.to_vec(),
            loaded_since: 0,
        };
        view.live.now("the nanokernel starts");
        view
    }

    /// A view that shows nothing, for a run beside another.
    #[must_use]
    pub fn silent(kinds: &[CrashKind]) -> Self {
        Self {
            live: Live::silent(),
            began: Instant::now(),
            kinds: kinds.to_vec(),
            loaded_since: 0,
        }
    }

    /// Shows an event; `account` holds it already.
    pub fn show(&mut self, event: &Event, account: &Account) {
        match event {
            Event::Boot { n, entry_ns, .. } => {
                if *n == 1 {
                    self.line(
                        Tone::Plain,
                        &format!("image verified and loaded in {}", duration(*entry_ns)),
                    );
                }
                self.live.now(&format!("start {n} of Linux"));
            }
            Event::Mark { mark, boot, at_ns } => self.mark(*mark, *boot, *at_ns, account),
            Event::Fault {
                n,
                cause,
                announced,
                detect_ns,
                line,
                ..
            } => {
                let asked = announced.map_or("unasked", CrashKind::name);
                let tone = if announced.is_some() {
                    Tone::Plain
                } else {
                    Tone::Bad
                };
                let mut text = format!("crash {n}{}: {asked}", self.of());
                let _ = write!(text, ", found as {cause} in {}", duration(*detect_ns));
                if announced.is_none() {
                    let _ = write!(text, ": {line}");
                }
                self.line(tone, &text);
                self.live.now("registers, log and memory are saved");
            }
            Event::Recovery {
                capture_ns,
                reload_ns,
                dump_bytes,
                partial,
                ..
            } => {
                let cut = if *partial { " (incomplete)" } else { "" };
                self.line(
                    if *partial { Tone::Bad } else { Tone::Plain },
                    &format!(
                        "  dump of {}{cut} in {}, image verified and loaded again in {}",
                        size(*dump_bytes),
                        duration(*capture_ns),
                        duration(*reload_ns)
                    ),
                );
            }
            Event::End { reason, .. } => {
                self.line(Tone::Plain, &format!("the run ends: {reason}"));
            }
            Event::TaskFault {
                name, kind, action, ..
            } => {
                self.line(Tone::Bad, &format!("task {name} faulted: {kind}; {action}"));
            }
            // Figures, which the report at the end shows.
            _ => {}
        }
    }

    fn mark(&mut self, mark: Mark, boot: u32, at_ns: u64, account: &Account) {
        match mark {
            Mark::UserspaceUp if boot == 1 => self.line(
                Tone::Good,
                &format!("Linux is in user space after {}", duration(at_ns)),
            ),
            Mark::UserspaceUp => {
                let crash = account
                    .failures()
                    .into_iter()
                    .rfind(|failure| failure.boot < boot);
                let since = crash
                    .and_then(|crash| at_ns.checked_sub(crash.at_ns))
                    .map_or_else(String::new, |ns| {
                        format!(", {} after the crash", duration(ns))
                    });
                self.line(Tone::Good, &format!("  Linux is back in user space{since}"));
            }
            Mark::IdleBegin => self.live.now("latencies with Linux idle"),
            Mark::PhaseEnd => {
                let begin = account.mark(Mark::IdleBegin, boot).unwrap_or(at_ns);
                self.line(
                    Tone::Plain,
                    &format!(
                        "measured with Linux idle for {}",
                        duration(at_ns.saturating_sub(begin))
                    ),
                );
            }
            Mark::LoadedBegin => {
                self.loaded_since = at_ns;
                self.live
                    .now("latencies under load: messages, processor, disk");
            }
            Mark::CrashImminent => {
                let index = usize::try_from(boot)
                    .unwrap_or(usize::MAX)
                    .saturating_sub(1);
                let kind = self.kinds.get(index).map_or("unknown", |kind| kind.name());
                if boot == 1 {
                    self.line(
                        Tone::Plain,
                        &format!(
                            "measured under load for {}",
                            duration(at_ns.saturating_sub(self.loaded_since))
                        ),
                    );
                }
                self.live.now(&format!("crash {boot}{}: {kind}", self.of()));
            }
            Mark::BenchEnd => self
                .live
                .now("all is measured; the report follows when Linux is off"),
        }
    }

    /// A line of the machine's own consoles.
    pub fn log(&self, source: &str, text: &str) {
        self.live
            .line(Tone::Quiet, &format!("{source:>10}  {text}"));
    }

    /// Something that should not be overlooked.
    pub fn warn(&self, text: &str) {
        self.line(Tone::Bad, text);
    }

    /// Ends the view.
    pub fn finish(self) {
        self.live.finish();
    }

    fn of(&self) -> String {
        format!(" of {}", self.kinds.len())
    }

    fn line(&self, tone: Tone, text: &str) {
        let seconds = self.began.elapsed().as_secs();
        self.live.line(
            tone,
            &format!("{:>3}:{:02}  {text}", seconds / 60, seconds % 60),
        );
    }
}
