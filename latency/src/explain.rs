//! A worst wait as text: its pieces with bars, and what happened around it.

use std::fmt::Write as _;

use crate::quantity::{duration, seconds};
use crate::worst::Worst;

/// Width of a full bar, characters.
const BAR: u128 = 40;

/// The timeline of one wait.
#[must_use]
pub fn explain(worst: &Worst) -> String {
    let mut out = format!(
        "{}, {}: {} from release to first instruction, at {} s\n  longest in the way: {}\n\n",
        worst.task,
        worst.load,
        duration(worst.latency_ns),
        seconds(worst.released_at_ns),
        worst.blamed()
    );
    let width = |text: &str| text.chars().count();
    let names = worst.spans.iter().map(|span| width(&span.what));
    let name_width = names.max().unwrap_or(0);
    let _ = writeln!(
        out,
        "  {:>9} {:>9}  {:name_width$}  # in the way or longer than else, - part of every wait",
        "from", "length", "what"
    );
    for span in &worst.spans {
        let whole = worst.latency_ns.max(1);
        let column = |ns: u64| {
            let part = u128::from(ns.min(whole)) * BAR / u128::from(whole);
            usize::try_from(part).unwrap_or(0)
        };
        let begin = column(span.from_ns);
        let length = column(span.to_ns).saturating_sub(begin).max(1);
        let mark = if span.in_the_way { "#" } else { "-" };
        let _ = writeln!(
            out,
            "  {:>9} {:>9}  {:name_width$}  {}{}",
            duration(span.from_ns),
            duration(span.to_ns.saturating_sub(span.from_ns)),
            span.what,
            " ".repeat(begin),
            mark.repeat(length)
        );
    }
    out.push_str("\n  what happened, ns since the release\n");
    for moment in &worst.moments {
        let _ = writeln!(out, "  {:>9}  {}", moment.at_ns, moment.what);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::worst::tests::example;

    #[test]
    fn every_piece_has_a_line_and_a_bar_that_follows_the_last() {
        let text = explain(&example());
        assert!(text.starts_with("control-1khz, loaded: 680 ns from release"));
        for piece in [
            "guest exit",
            "release of logger",
            "task logger",
            "task entry",
        ] {
            assert!(text.contains(piece), "{piece} is not in {text}");
        }
        let logger = text
            .lines()
            .find(|line| line.contains("task logger  "))
            .unwrap();
        assert!(logger.ends_with(&"#".repeat(18)), "{logger}");
        assert!(text.contains("     -500  guest entered"));
    }
}
