//! The longest waits of the real-time tasks, each as a timeline: one lane for each thing that the wait
//! went to.

use std::fmt::Write as _;

use super::scale::float;
use super::svg::{Anchor, Svg};
use super::{Section, escape};
use crate::quantity::{duration, seconds};
use crate::report::Report;
use crate::worst::{Span, Worst};

const WIDTH: f64 = 400.0;
const LEFT: f64 = 6.0;
const RIGHT: f64 = 394.0;
const LANE: f64 = 31.0;

pub(super) fn section(report: &Report) -> Option<Section> {
    if report.worst.is_empty() {
        return None;
    }
    let mut body = String::from(
        "<ul class=\"legend\"><li><span class=\"swatch way\"></span>stood in the way, or longer than in other waits</li>\
         <li><span class=\"swatch path\"></span>part of every wait</li></ul>\n<div class=\"plots\">\n",
    );
    for worst in &report.worst {
        let _ = write!(
            body,
            "<figure><figcaption>{}, {}: {}<small>longest in the way: {}; at {} s</small></figcaption>\n\
             {}{}</figure>\n",
            escape(&worst.task),
            worst.load,
            duration(worst.latency_ns),
            escape(&worst.blamed()),
            seconds(worst.released_at_ns),
            plot(worst),
            history(worst)
        );
    }
    body.push_str("</div>\n");
    Some(Section::new(
        "worst",
        "What the longest waits went to",
        "From the release (left) to the task's first instruction (right), from the trace that was frozen at \
         each of the longest waits.",
        body,
    ))
}

fn plot(worst: &Worst) -> String {
    let mut lanes: Vec<(&str, Vec<&Span>)> = Vec::new();
    for span in &worst.spans {
        match lanes.iter_mut().find(|(what, _)| *what == span.what) {
            Some((_, spans)) => spans.push(span),
            None => lanes.push((&span.what, vec![span])),
        }
    }
    let mut label = format!("Timeline of {} ns:", worst.latency_ns);
    for span in &worst.spans {
        let length = duration(span.to_ns.saturating_sub(span.from_ns));
        let _ = write!(label, " {} {length},", span.what);
    }
    let mut bottom = 4.0;
    for _ in &lanes {
        bottom += LANE;
    }
    let mut svg = Svg::new(WIDTH, bottom + 22.0, label.trim_end_matches(','));
    let whole = float(worst.latency_ns.max(1));
    let x = |ns: u64| LEFT + (RIGHT - LEFT) * (float(ns) / whole).min(1.0);
    let step = round_step(worst.latency_ns);
    let marks = (0..=6).map_while(|number| step.checked_mul(number));
    for mark in marks.filter(|mark| *mark <= worst.latency_ns) {
        svg.line("grid", (x(mark), 2.0), (x(mark), bottom + 4.0));
        let anchor = match mark {
            0 => Anchor::Start,
            _ if x(mark) > RIGHT - 24.0 => Anchor::End,
            _ => Anchor::Middle,
        };
        svg.text("axis", (x(mark), bottom + 18.0), anchor, duration(mark));
    }
    let mut top = 4.0;
    for (what, spans) in &lanes {
        let length = |span: &&Span| span.to_ns.saturating_sub(span.from_ns);
        let sum: u64 = spans.iter().map(length).sum();
        svg.text("lane", (LEFT + 2.0, top + 12.0), Anchor::Start, what);
        svg.text(
            "lane amount",
            (RIGHT - 2.0, top + 12.0),
            Anchor::End,
            duration(sum),
        );
        for span in spans {
            let class = if span.in_the_way { "way" } else { "path" };
            let says = format!("{what}: {} to {} ns", span.from_ns, span.to_ns);
            let width = (x(span.to_ns) - x(span.from_ns)).max(1.5);
            svg.bar(class, (x(span.from_ns), top + 16.0), (width, 11.0), &says);
        }
        top += LANE;
    }
    svg.finish()
}

/// What happened, for who wants to see it all.
fn history(worst: &Worst) -> String {
    if worst.moments.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<details><summary>events</summary>\n<table><thead><tr><th class=\"number\">ns since release</th>\
         <th>event</th></tr></thead><tbody>\n",
    );
    for moment in &worst.moments {
        let _ = writeln!(
            out,
            "<tr><td class=\"number\">{}</td><td>{}</td></tr>",
            moment.at_ns,
            escape(&moment.what)
        );
    }
    out.push_str("</tbody></table></details>\n");
    out
}

/// A round distance of marks, so that there are three to six of them.
fn round_step(length: u64) -> u64 {
    let least = (length / 5).max(1);
    let mut decade = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let step = decade.saturating_mul(step);
            if step >= least {
                return step;
            }
        }
        decade = decade.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::round_step;

    #[test]
    fn marks_are_few_and_round() {
        for (length, step) in [(680, 200), (1, 1), (87_000, 20_000), (u64::MAX, u64::MAX)] {
            let found = round_step(length);
            assert!(found == step || length / found <= 6, "{length}: {found}");
        }
    }
}
