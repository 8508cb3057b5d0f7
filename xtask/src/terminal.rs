//! What the user sees of a step: a spinner while it runs, one line when it is done.
//!
//! Everything goes to the standard error stream, so that a command's result (JSON, a path) can be
//! piped. Without a terminal the spinner is absent and each long step is announced in a line of
//! its own, so that a build log shows where the time goes.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
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
    let spinner = if std::io::stderr().is_terminal() {
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}") {
            spinner.set_style(style);
        }
        spinner.set_message(what.clone());
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    } else {
        eprintln!("... {what}");
        ProgressBar::hidden()
    };
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
        eprintln!("{tick}  {}: {result} ({seconds:.1} s)", self.what);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// A line of information beside the steps.
pub fn note(text: &str) {
    let mark = "--"
        .if_supports_color(Stream::Stderr, |text| text.cyan())
        .to_string();
    eprintln!("{mark}  {text}");
}

/// A line that the user should not overlook, though the work goes on.
pub fn warn(text: &str) {
    let mark = "!!"
        .if_supports_color(Stream::Stderr, |text| text.yellow())
        .to_string();
    eprintln!("{mark}  {text}");
}

/// The one line with which a failed command ends.
pub fn error(text: &str) {
    let mark = "error:"
        .if_supports_color(Stream::Stderr, |text| text.red())
        .to_string();
    eprintln!("{mark} {text}");
}
