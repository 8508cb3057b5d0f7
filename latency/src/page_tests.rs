use super::render;
use crate::distribution::Distribution;
use crate::report::{Budget, Extra, Load, Overhead, Program, Report, Row, Source, System};
use crate::worst::tests::example;

fn full() -> Report {
    let mut report = Report::new("icount-shift1", "abc1234", "cargo xtask latency");
    for system in System::ALL {
        for load in Load::ALL {
            for source in [Source::Timer, Source::Device] {
                let samples = Distribution::of([(472, 990), (694, 9), (87_000, 1)]);
                let row = Row::new((system, *load, source), samples, 1, "task <logger>");
                report.rows.push(row);
            }
        }
    }
    report.worst = vec![example()];
    report.overhead = Overhead::of(vec![Program {
        name: "pipe".into(),
        ratio: 0.99,
    }]);
    report.budgets = vec![Budget {
        path: "exit to task".into(),
        limit: 140,
        measured: 141,
    }];
    report.extras = vec![Extra {
        title: "Kernel operations".into(),
        note: "Instructions & cycles".into(),
        head: vec!["operation".into(), ">count".into()],
        rows: vec![vec!["switch".into(), "131".into()]],
    }];
    report
}

/// Every tag, without its brackets.
fn tags(page: &str) -> impl Iterator<Item = &str> {
    page.split('<').skip(1).map(|rest| {
        let (tag, _) = rest.split_once('>').expect("a tag ends");
        tag
    })
}

/// The values of an attribute.
fn values<'a>(page: &'a str, attribute: &'a str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    let parts = page.split(begin.as_str()).skip(1);
    parts.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = render(&full());
    for part in [
        "http", "src=", "url(", "@import", "<script", "<link", "onclick",
    ] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn every_element_ends_where_it_began() {
    for report in [full(), Report::new("tcg", "", "")] {
        let page = render(&report);
        let mut open: Vec<&str> = Vec::new();
        for tag in tags(&page) {
            let name = tag.split([' ', '\n']).next().unwrap_or("");
            if let Some(ended) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(ended), "in {tag}");
            } else if !["!doctype", "meta"].contains(&name) && !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn what_was_measured_cannot_become_markup() {
    let page = render(&full());
    assert!(page.contains("task &lt;logger&gt;") && !page.contains("<logger>"));
}

#[test]
fn every_link_leads_to_one_place_of_the_page() {
    let page = render(&full());
    let mut ids = values(&page, "id");
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id stands twice");
    for link in values(&page, "href") {
        let id = link.strip_prefix('#').expect("inside the page");
        assert!(ids.contains(&id), "{link}");
    }
}

#[test]
fn every_drawing_says_what_is_seen() {
    let page = render(&full());
    for tag in tags(&page).filter(|tag| tag.starts_with("svg")) {
        let hidden = tag.contains("aria-hidden");
        assert!(hidden || tag.contains("aria-label=\"") && !tag.contains("aria-label=\"\""));
    }
}

#[test]
fn a_figure_is_labelled_with_tier_commit_command_and_unit() {
    let page = render(&full());
    for part in [
        "icount-shift1",
        "abc1234",
        "cargo xtask latency",
        "Microseconds",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn nothing_is_drawn_at_no_place() {
    let page = render(&full());
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn a_single_sample_and_a_zero_have_a_page() {
    let mut report = Report::new("tcg", "x", "y");
    for ns in [0, 1, u64::MAX] {
        let samples = Distribution::of([(ns, 1)]);
        let key = (System::Darma, Load::Idle, Source::Timer);
        report.rows.push(Row::new(key, samples, 0, ""));
    }
    let page = render(&report);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}
