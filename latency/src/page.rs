//! The page: one file, no script, nothing fetched, so that it can be kept beside the figures and
//! opened anywhere.
//!
//! Light and dark follow the browser's wish. Drawings are SVG in the text; they scale down to a phone's
//! width, and what is wider scrolls inside its own frame, which the keyboard reaches. Colours are never
//! the only difference: lines have dashes of their own, verdicts have words.

mod histograms;
mod percentiles;
mod scale;
mod svg;
mod tables;
mod timelines;

use std::fmt::Write as _;

use crate::quantity::micros;
use crate::report::{Load, Report, Row, Source, System};
use svg::escape;

/// The page of a report.
#[must_use]
pub fn render(report: &Report) -> String {
    let sections: Vec<Section> = [
        percentiles::section(report),
        tables::rows(report),
        timelines::section(report),
        histograms::section(report),
        tables::overhead(report),
        tables::budgets(report),
    ]
    .into_iter()
    .flatten()
    .chain(tables::extras(report))
    .collect();
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let title = format!("Darma latency: {}, {}", report.tier, report.commit);
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}</style>\n\
         </head>\n<body>\n<a class=\"skip\" href=\"#content\">Skip to the content</a>\n",
        escape(&title),
        include_str!("page/style.css")
    );
    out.push_str(&head(report));
    out.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for section in &sections {
        let (id, title) = (&section.id, escape(&section.title));
        let _ = writeln!(out, "<li><a href=\"#{id}\">{title}</a></li>");
    }
    out.push_str("</ul></nav>\n<main id=\"content\">\n");
    for section in &sections {
        let (id, title) = (&section.id, escape(&section.title));
        let _ = writeln!(
            out,
            "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n<p class=\"note\">{}</p>\n{}</section>",
            escape(&section.note),
            section.body
        );
    }
    let _ = write!(
        out,
        "</main>\n<footer><p>Made by <code>{}</code> at commit <code>{}</code>, tier <code>{}</code>. \
         Times without a unit are microseconds.</p></footer>\n</body>\n</html>\n",
        escape(&report.command),
        escape(&report.commit),
        escape(&report.tier)
    );
    out
}

/// A part of the page. `body` is HTML, the rest is text.
struct Section {
    id: String,
    title: String,
    note: String,
    body: String,
}

impl Section {
    fn new(id: &str, title: &str, note: &str, body: String) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            note: note.into(),
            body,
        }
    }
}

/// A frame that scrolls by itself when its content is wider than the screen.
fn frame(label: &str, content: &str) -> String {
    format!(
        "<div class=\"frame\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">\n{content}</div>\n",
        escape(label)
    )
}

/// Heading, where the figures come from, and the four or five that matter most.
fn head(report: &Report) -> String {
    let mut out = format!(
        "<header>\n<h1>Latency: Darma beside Linux</h1>\n<p>From the moment at which something is due to \
         the first instruction of whoever serves it. {}</p>\n<dl class=\"facts\">\n",
        escape(tier_note(&report.tier))
    );
    for (name, value) in [
        ("tier", &report.tier),
        ("commit", &report.commit),
        ("command", &report.command),
    ] {
        let value = escape(value);
        let _ = writeln!(
            out,
            "<div><dt>{name}</dt><dd><code>{value}</code></dd></div>"
        );
    }
    out.push_str("</dl>\n<ul class=\"cards\">\n");
    for (what, value, beside) in key_figures(report) {
        let (what, value, beside) = (escape(&what), escape(&value), escape(&beside));
        let _ = writeln!(
            out,
            "<li><span>{what}</span><strong>{value}</strong><small>{beside}</small></li>"
        );
    }
    out.push_str("</ul>\n</header>\n");
    out
}

fn tier_note(tier: &str) -> &'static str {
    if tier.starts_with("icount") {
        "Emulated machine, time counted in instructions (one takes 2 ns): a latency is the length of a path \
         of code, the same at every run, and no statement about a real processor's caches."
    } else if tier == "metal" {
        "Measured on a real machine."
    } else {
        "Emulated machine on the host's clock: the tail is the host's noise, not the system's."
    }
}

/// What, value, what it is to be seen beside.
fn key_figures(report: &Report) -> Vec<(String, String, String)> {
    let mut figures = Vec::new();
    let max = |system, load| {
        let row: Option<&Row> = report.row(system, load, Source::Timer);
        row.map(|row| row.max_ns)
    };
    let beside = || {
        let others = [System::LinuxRt, System::LinuxStock].into_iter();
        let known = others.filter_map(|system| {
            let ns = max(system, Load::Loaded)?;
            Some(format!("{} {}", system.title(), micros(ns)))
        });
        known.collect::<Vec<_>>().join(", ")
    };
    let darma = |load, source| report.row(System::Darma, load, source);
    if let Some(row) = darma(Load::Loaded, Source::Timer) {
        figures.push((
            "timer to task, loaded, worst".into(),
            format!("{} us", micros(row.max_ns)),
            beside(),
        ));
        figures.push((
            "timer to task, loaded, median".into(),
            format!("{} us", micros(row.p50_ns)),
            format!("{} samples", tables::grouped(row.samples)),
        ));
    }
    if let Some(row) = darma(Load::Loaded, Source::Device) {
        figures.push((
            "device to task, loaded, worst".into(),
            format!("{} us", micros(row.max_ns)),
            format!("median {}", micros(row.p50_ns)),
        ));
    }
    if let Some(row) = darma(Load::Recovery, Source::Timer) {
        figures.push((
            "during crash, dump and reload, worst".into(),
            format!("{} us", micros(row.max_ns)),
            format!("{} missed of {}", row.missed, tables::grouped(row.samples)),
        ));
    }
    if report.overhead.mean > 0.0 {
        figures.push((
            "cost to Linux's programs, mean".into(),
            format!("{:+.2} %", (report.overhead.mean - 1.0) * 100.0),
            format!("{} programs", report.overhead.programs.len()),
        ));
    }
    if report.switch_instructions > 0 {
        figures.push((
            "preemptive switch".into(),
            format!("{} instructions", report.switch_instructions),
            "task to task".into(),
        ));
    }
    figures
}

/// The class that gives a row its colour and dash.
const fn class_of(row: &Row) -> &'static str {
    match (row.system, row.source) {
        (System::LinuxStock, _) => "stock",
        (System::LinuxRt, _) => "rt",
        (System::Darma, Source::Timer) => "darma",
        (System::Darma, Source::Device) => "darma device",
        (System::LinuxUnderDarma, _) => "under",
    }
}

/// What a row is called on the page.
fn title_of(row: &Row) -> String {
    format!("{}, {}", row.system.title(), row.source.name())
}

const fn title_of_load(load: Load) -> &'static str {
    match load {
        Load::Idle => "Idle",
        Load::Loaded => "Loaded",
        Load::Recovery => "During crash, dump and reload",
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
