//! The percentile plots: one for each load, the systems in it together.
//!
//! The horizontal axis counts nines, so that the rare long waits, which is what this is about, have as
//! much room as the usual ones. A curve is the exact step function of its samples and ends where one
//! sample is the whole rest.

use std::fmt::Write as _;

use super::scale::{Log, float, nines, nines_label, round_range, time_label};
use super::svg::{Anchor, Svg};
use super::{Section, class_of, escape, title_of, title_of_load};
use crate::quantity::duration;
use crate::report::{Load, Report, Row};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 390.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 254.0;
/// Least distance of two labels, pixels.
const LABEL_STEP: f64 = 14.0;

pub(super) fn section(report: &Report) -> Option<Section> {
    let drawn: Vec<&Row> = report
        .rows
        .iter()
        .filter(|row| !row.distribution.is_empty())
        .collect();
    let range = round_range(drawn.iter().flat_map(|row| [row.min_ns, row.max_ns]))?;
    let most = drawn.iter().map(|row| row.samples).max().unwrap_or(1);
    let mut body = legend(&drawn);
    body.push_str("<div class=\"plots\">\n");
    for load in Load::ALL {
        let mut rows = drawn.clone();
        rows.retain(|row| row.load == *load);
        if !rows.is_empty() {
            let title = title_of_load(*load);
            let plot = plot(title, &rows, range, float(most));
            let _ = write!(
                body,
                "<figure><figcaption>{title}</figcaption>\n{plot}</figure>\n"
            );
        }
    }
    body.push_str("</div>\n");
    Some(Section::new(
        "percentiles",
        "How long the rare ones take",
        "Latency (upwards, logarithmic) that a share of the samples does not exceed (to the right, each step \
         ten times rarer). The number at a curve's end is its maximum. All plots have the same vertical axis.",
        body,
    ))
}

fn legend(rows: &[&Row]) -> String {
    let mut seen: Vec<(&str, String)> = Vec::new();
    for row in rows {
        let entry = (class_of(row), title_of(row));
        if !seen.contains(&entry) {
            seen.push(entry);
        }
    }
    let mut out = String::from("<ul class=\"legend\">\n");
    for (class, title) in seen {
        let mut line = Svg::new(36.0, 10.0, "");
        line.line(&format!("curve {class}"), (1.0, 5.0), (35.0, 5.0));
        let line = line
            .finish()
            .replace("role=\"img\" aria-label=\"\"", "aria-hidden=\"true\"");
        let _ = writeln!(out, "<li>{line}{}</li>", escape(&title));
    }
    out.push_str("</ul>\n");
    out
}

fn plot(title: &str, rows: &[&Row], range: (f64, f64), most: f64) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT, &said(title, rows));
    let y = Log::new(range, (BOTTOM, TOP));
    let last = most.log10().max(1.0);
    let x = |count: f64| LEFT + (RIGHT - LEFT) * (count / last).min(1.0);
    for mark in y.marks(12) {
        let at = y.at(mark);
        svg.line("grid", (LEFT, at), (RIGHT, at));
        svg.text(
            "axis",
            (LEFT - 6.0, at + 4.0),
            Anchor::End,
            time_label(mark),
        );
    }
    let mut whole = 0;
    while f64::from(whole) <= last {
        let at = x(f64::from(whole));
        svg.line("grid", (at, TOP), (at, BOTTOM));
        // From six nines on, every second one has room for its label.
        if last < 5.5 || whole % 2 == 1 || whole == 0 {
            let (at, anchor) = match whole {
                0 => (at, Anchor::Start),
                _ if at > RIGHT - 26.0 => (RIGHT + 8.0, Anchor::End),
                _ => (at, Anchor::Middle),
            };
            svg.text("axis", (at, BOTTOM + 17.0), anchor, nines_label(whole));
        }
        whole += 1;
    }
    svg.line("frame-line", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    svg.line("frame-line", (LEFT, TOP), (LEFT, BOTTOM));
    let mut labels = Vec::new();
    for row in rows {
        let points = curve(row, &y, x);
        svg.path(&format!("curve {}", class_of(row)), &points);
        if let Some((at, height)) = points.last() {
            labels.push((*at, *height, *row));
        }
    }
    place(&mut labels);
    for (at, height, row) in labels {
        let class = format!("label {}", class_of(row));
        let (at, anchor) = if has_room_beside(at) {
            (at + 5.0, Anchor::Start)
        } else {
            (RIGHT + 4.0, Anchor::End)
        };
        svg.text(&class, (at, height), anchor, duration(row.max_ns));
    }
    svg.finish()
}

/// Whether a label fits between a curve's end and the plot's edge.
fn has_room_beside(at: f64) -> bool {
    at < RIGHT - 50.0
}

/// Puts labels beside their curves' ends, or above where there is no room, and away from each other.
fn place(labels: &mut [(f64, f64, &Row)]) {
    labels.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut below = f64::INFINITY;
    for (at, height, _) in labels {
        let wished = *height + if has_room_beside(*at) { 4.0 } else { -7.0 };
        *height = wished.min(below - LABEL_STEP).max(TOP + 8.0);
        below = *height;
    }
}

/// The step function: each value from the share below it to the share with it.
fn curve(row: &Row, y: &Log, x: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let total = float(row.distribution.samples());
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut seen = 0;
    for (value_ns, count) in row.distribution.counts() {
        let height = y.at(float(value_ns.clamp(row.min_ns, row.max_ns)));
        let begin = x(nines(float(seen) / total));
        seen += count;
        // The last sample is one in all of them.
        let part = (float(seen) / total).min(1.0 - 1.0 / total);
        let end = x(nines(part)).max(begin);
        for point in [(begin, height), (end, height)] {
            // Steps smaller than a tenth of a pixel are one.
            let same = points.last().is_some_and(|last| {
                (last.0 - point.0).abs() < 0.05 && (last.1 - point.1).abs() < 0.05
            });
            if !same {
                points.push(point);
            }
        }
    }
    points
}

/// The plot in words.
fn said(title: &str, rows: &[&Row]) -> String {
    let mut text = format!("Percentile plot, {title}.");
    for row in rows {
        let _ = write!(
            text,
            " {}: median {}, 99.9 % {}, maximum {}.",
            title_of(row),
            duration(row.p50_ns),
            duration(row.p999_ns),
            duration(row.max_ns)
        );
    }
    text
}
