//! What the user sees of a step: a spinner while it runs, one line when it is done.
//!
//! Everything goes to the standard error stream, so that a command's result (JSON, a path) can be
//! piped. Without a terminal the spinner is absent and each long step is announced in a line of
//! its own, so that a build log shows where the time goes.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::{OwoColorize, Stream};

/// A step in progress. Dropped without [`Step::done`] it vanishes: the error that ended it speaks.
pub struct Step {
    what: String,
    began: Instant,
    spinner: ProgressBar,
}

/// Begins a step that may take long.
#[must_use]
pub fn step(what: impl Into<String>) -> Step {
    let what = what.into();
    if !std::io::stderr().is_terminal() {
        eprintln!("... {what}");
    }
    let spinner = spinner(&what);
    Step {
        what,
        began: Instant::now(),
        spinner,
    }
}

impl Step {
    /// Shows what the step is doing now.
    pub fn now(&self, detail: &str) {
        self.spinner.set_message(format!("{}: {detail}", self.what));
    }

    /// Ends the step and says what came of it.
    pub fn done(self, result: &str) {
        self.spinner.finish_and_clear();
        let seconds = self.began.elapsed().as_secs_f64();
        let tick = "ok"
            .if_supports_color(Stream::Stderr, |text| text.green())
            .to_string();
        print(&format!("{tick}  {}: {result} ({seconds:.1} s)", self.what));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// What was hoped for.
    Good,
    /// What was not.
    Bad,
    /// Beside the point.
    Quiet,
}

/// A long action that produces lines of its own, with what happens now below them.
pub struct Live {
    spinner: ProgressBar,
    silent: bool,
}

impl Live {
    /// Begins with nothing to show.
    #[must_use]
    pub fn new() -> Self {
        Self {
            spinner: spinner(""),
            silent: false,
        }
    }

    /// Shows nothing, whatever it is told.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            spinner: ProgressBar::hidden(),
            silent: true,
        }
    }

    /// Says what happens now.
    pub fn now(&self, what: &str) {
        if self.silent {
            return;
        }
        if self.spinner.is_hidden() {
            eprintln!("        ... {what}");
        } else {
            self.spinner.set_message(what.to_owned());
            self.spinner.reset_elapsed();
        }
    }

    /// Adds a line for good.
    pub fn line(&self, tone: Tone, text: &str) {
        if self.silent {
            return;
        }
        let shown = match tone {
            Tone::Plain => text.to_owned(),
            Tone::Good => text
                .if_supports_color(Stream::Stderr, |text| text.green())
                .to_string(),
            Tone::Bad => text
                .if_supports_color(Stream::Stderr, |text| text.red())
                .to_string(),
            Tone::Quiet => text
                .if_supports_color(Stream::Stderr, |text| text.dimmed())
                .to_string(),
        };
        self.spinner.suspend(|| eprintln!("{shown}"));
    }

    /// Takes away what happens now; the lines stay.
    pub fn finish(self) {
        self.spinner.finish_and_clear();
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// All spinners: steps that run at once stand below each other.
fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// Prints a line above whatever spins.
fn print(line: &str) {
    bars().suspend(|| eprintln!("{line}"));
}

/// A spinner with a text; hidden where there is no terminal.
fn spinner(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = bars().add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}") {
        spinner.set_style(style);
    }
    spinner.set_message(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// A line of information beside the steps.
pub fn note(text: &str) {
    let mark = "--"
        .if_supports_color(Stream::Stderr, |text| text.cyan())
        .to_string();
    print(&format!("{mark}  {text}"));
}

/// A line that the user should not overlook, though the work goes on.
pub fn warn(text: &str) {
    let mark = "!!"
        .if_supports_color(Stream::Stderr, |text| text.yellow())
        .to_string();
    print(&format!("{mark}  {text}"));
}

/// The one line with which a failed command ends.
pub fn error(text: &str) {
    let mark = "error:"
        .if_supports_color(Stream::Stderr, |text| text.red())
        .to_string();
    eprintln!("{mark} {text}");
}
