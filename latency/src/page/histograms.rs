//! A histogram for each row: how often each length of a wait was seen.
//!
//! Both axes are logarithmic, so that a single long wait among millions is a bar that one sees. Each
//! has a range of its own; to compare rows is what the percentile plots are for.

use std::fmt::Write as _;

use super::scale::{Log, float, round_range, time_label};
use super::svg::{Anchor, Svg};
use super::tables::grouped;
use super::{Section, class_of, escape, title_of, title_of_load};
use crate::quantity::duration;
use crate::report::{Load, Report, Row};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 392.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 140.0;
const BINS: usize = 58;
/// Least distance of two labels, pixels.
const LABEL_STEP: f64 = 42.0;

pub(super) fn section(report: &Report) -> Option<Section> {
    let mut body = String::new();
    for load in Load::ALL {
        let rows = report.rows.iter();
        let mut rows: Vec<&Row> = rows
            .filter(|row| row.load == *load && !row.distribution.is_empty())
            .collect();
        rows.sort_by_key(|row| (row.source, row.system));
        if rows.is_empty() {
            continue;
        }
        let _ = write!(
            body,
            "<h3>{}</h3>\n<div class=\"plots\">\n",
            title_of_load(*load)
        );
        for row in rows {
            let _ = write!(
                body,
                "<figure><figcaption>{}<small>{} samples, {} to {}</small></figcaption>\n{}</figure>\n",
                escape(&title_of(row)),
                grouped(row.samples),
                duration(row.min_ns),
                duration(row.max_ns),
                plot(row)?
            );
        }
        body.push_str("</div>\n");
    }
    (!body.is_empty()).then(|| {
        Section::new(
            "histograms",
            "How often which latency",
            "Samples (upwards, logarithmic: the lowest line is one sample) by latency (to the right, \
             logarithmic, a range of its own for each).",
            body,
        )
    })
}

fn plot(row: &Row) -> Option<String> {
    let label = format!(
        "Histogram, {}: {} samples between {} and {}, median {}.",
        title_of(row),
        row.samples,
        duration(row.min_ns),
        duration(row.max_ns),
        duration(row.p50_ns)
    );
    let mut svg = Svg::new(WIDTH, HEIGHT, &label);
    let x = Log::new(round_range([row.min_ns, row.max_ns])?, (LEFT, RIGHT));
    let bins = binned(row, &x);
    let tallest = bins.iter().max().copied().unwrap_or(1);
    let top = 10_f64.powf(float(tallest).log10().ceil().max(1.0));
    // Half a sample at the foot, so that one has a height.
    let y = Log::new((0.5, top), (BOTTOM, TOP));
    for mark in y.decades() {
        let at = y.at(mark);
        svg.line("grid", (LEFT, at), (RIGHT, at));
        svg.text(
            "axis",
            (LEFT - 5.0, at + 4.0),
            Anchor::End,
            count_label(mark),
        );
    }
    let mut last = f64::NEG_INFINITY;
    for mark in x.marks(7) {
        let at = x.at(mark);
        svg.line("grid", (at, TOP), (at, BOTTOM + 4.0));
        let at = at.clamp(LEFT + 6.0, RIGHT - 16.0);
        // A label that would touch the one before it is left out; its line says enough.
        if at - last < LABEL_STEP {
            continue;
        }
        last = at;
        svg.text(
            "axis",
            (at, BOTTOM + 19.0),
            Anchor::Middle,
            time_label(mark),
        );
    }
    let width = (RIGHT - LEFT) / f64_of(BINS);
    for (index, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let left = LEFT + width * f64_of(index);
        let above = y.at(float(*count));
        let part = |index: usize| x.value(f64_of(index) / f64_of(BINS));
        let says = format!(
            "{} samples from {:.0} to {:.0} ns",
            grouped(*count),
            part(index),
            part(index + 1)
        );
        let class = format!("fill {}", class_of(row));
        svg.bar(
            &class,
            (left, above),
            ((width - 0.6).max(0.5), BOTTOM - above),
            &says,
        );
    }
    svg.line("frame-line", (LEFT, BOTTOM), (RIGHT, BOTTOM));
    let median = x.at(float(row.p50_ns));
    svg.line("median", (median, TOP), (median, BOTTOM));
    Some(svg.finish())
}

fn binned(row: &Row, x: &Log) -> [u64; BINS] {
    let mut bins = [0; BINS];
    for (value_ns, count) in row.distribution.counts() {
        let value = float(value_ns.clamp(row.min_ns, row.max_ns));
        let part = (x.at(value) - LEFT) / (RIGHT - LEFT);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the number of bins"
        )]
        let bin = ((part * f64_of(BINS)) as usize).min(BINS - 1);
        bins[bin] += count;
    }
    bins
}

/// A power of ten in at most four characters.
fn count_label(count: f64) -> String {
    match count {
        ..1e3 => format!("{count:.0}"),
        ..1e6 => format!("{:.0}k", count / 1e3),
        _ => format!("{:.0}M", count / 1e6),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a number of bins")]
const fn f64_of(value: usize) -> f64 {
    value as f64
}
