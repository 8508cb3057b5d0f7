//! The tables: all rows, the cost to Linux, the budgets, and whatever else was measured.

use std::fmt::Write as _;

use super::{Section, class_of, escape, frame, title_of, title_of_load};
use crate::quantity::micros;
use crate::report::{Load, Report, Row};

pub(super) fn rows(report: &Report) -> Option<Section> {
    if report.rows.is_empty() {
        return None;
    }
    let mut table = String::from(
        "<table class=\"wide\"><thead><tr><th>system, source</th><th class=\"number\">samples</th>\
         <th class=\"number\">missed</th><th class=\"number\">min</th><th class=\"number\">p50</th>\
         <th class=\"number\">p99</th><th class=\"number\">p99.9</th><th class=\"number\">max</th>\
         <th>longest in the way of the worst</th></tr></thead>\n",
    );
    for load in Load::ALL {
        let mut rows: Vec<&Row> = report.rows.iter().collect();
        rows.retain(|row| row.load == *load);
        rows.sort_by_key(|row| (row.source, row.system));
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(
            table,
            "<tbody><tr><th class=\"group\" colspan=\"9\" scope=\"rowgroup\">{}</th></tr>",
            title_of_load(*load)
        );
        for row in rows {
            table.push_str(&line(row));
        }
        table.push_str("</tbody>\n");
    }
    table.push_str("</table>\n");
    Some(Section::new(
        "rows",
        "All figures",
        "Microseconds. A sample is missed if it ended after the next one was due, or never.",
        frame("All figures", &table),
    ))
}

fn line(row: &Row) -> String {
    let missed = if row.missed == 0 { "" } else { " bad" };
    let mut out = format!(
        "<tr><th scope=\"row\"><span class=\"dot {}\"></span>{}</th><td class=\"number\">{}</td>\
         <td class=\"number{missed}\">{}</td>",
        class_of(row),
        title_of(row),
        grouped(row.samples),
        grouped(row.missed)
    );
    for ns in [row.min_ns, row.p50_ns, row.p99_ns, row.p999_ns] {
        let _ = write!(out, "<td class=\"number\">{}</td>", micros(ns));
    }
    let _ = writeln!(
        out,
        "<td class=\"number most\">{}</td><td>{}</td></tr>",
        micros(row.max_ns),
        escape(&row.culprit)
    );
    out
}

pub(super) fn overhead(report: &Report) -> Option<Section> {
    let overhead = &report.overhead;
    if overhead.programs.is_empty() {
        return None;
    }
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let most = overhead.programs.iter().map(|one| percent(one.ratio).abs());
    let most = most.fold(1.0, f64::max);
    let mut table = String::from(
        "<table><thead><tr><th>program</th><th class=\"number\">ratio</th><th class=\"number\">cost</th>\
         <th aria-hidden=\"true\"></th></tr></thead>\n<tbody>\n",
    );
    let programs = overhead.programs.iter();
    let all = programs.map(|one| (one.name.as_str(), one.ratio, ""));
    for (name, ratio, class) in all.chain([("mean", overhead.mean, "sum")]) {
        let cost = percent(ratio);
        let _ = writeln!(
            table,
            "<tr class=\"{class}\"><th scope=\"row\">{}</th><td class=\"number\">{ratio:.4}</td>\
             <td class=\"number\">{cost:+.2} %</td><td aria-hidden=\"true\"><span class=\"meter\" \
             style=\"width:{:.1}em\"></span></td></tr>",
            escape(name),
            cost.max(0.0) / most * 8.0
        );
    }
    table.push_str("</tbody></table>\n");
    Some(Section::new(
        "overhead",
        "What it costs Linux",
        "Time of each program under Darma over its time on the same machine without. The mean is geometric.",
        frame("Overhead by program", &table),
    ))
}

pub(super) fn budgets(report: &Report) -> Option<Section> {
    if report.budgets.is_empty() {
        return None;
    }
    let mut table = String::from(
        "<table><thead><tr><th>path</th><th class=\"number\">limit</th><th class=\"number\">measured</th>\
         <th>verdict</th></tr></thead>\n<tbody>\n",
    );
    for budget in &report.budgets {
        let (class, verdict) = if budget.is_kept() {
            ("good", "kept")
        } else {
            ("bad", "exceeded")
        };
        let _ = writeln!(
            table,
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"{class}\">{verdict}</td></tr>",
            escape(&budget.path),
            grouped(budget.limit),
            grouped(budget.measured)
        );
    }
    table.push_str("</tbody></table>\n");
    Some(Section::new(
        "budgets",
        "Budgets of the hot paths",
        "Instructions, the longest run of each path. A commit that exceeds a limit fails its tests.",
        frame("Budgets", &table),
    ))
}

pub(super) fn extras(report: &Report) -> Vec<Section> {
    let mut sections = Vec::new();
    for (number, extra) in report.extras.iter().enumerate() {
        let class = |column: usize| match extra.head.get(column) {
            Some(name) if name.starts_with('>') => " class=\"number\"",
            _ => "",
        };
        let mut table = String::from("<table><thead><tr>");
        for (column, name) in extra.head.iter().enumerate() {
            let name = escape(name.trim_start_matches('>'));
            let _ = write!(table, "<th{}>{name}</th>", class(column));
        }
        table.push_str("</tr></thead>\n<tbody>\n");
        for row in &extra.rows {
            table.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(table, "<td{}>{}</td>", class(column), escape(cell));
            }
            table.push_str("</tr>\n");
        }
        table.push_str("</tbody></table>\n");
        let body = frame(&extra.title, &table);
        let id = format!("extra-{number}");
        sections.push(Section::new(&id, &extra.title, &extra.note, body));
    }
    sections
}

/// A count with a thin space between thousands.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
