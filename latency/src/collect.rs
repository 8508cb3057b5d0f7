//! What a running nanokernel has reported: whole histograms from their parts, worst waits from their
//! lines.
//!
//! A report may come several times in a run; the last complete one counts. A histogram's parts come in
//! rising order, so a value that is not above the last begins it anew; worst samples are numbered, so
//! number 0 does.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use darma_abi::report::Event as Line;
use darma_abi::units::Cycles;
use darma_trace::{Event, Kind};

use crate::distribution::Distribution;
use crate::report::Load;
use crate::worst::{NameTable, Sample, Worst};

type Key = (String, u32, String);

#[derive(Clone, Debug, Default)]
struct Parts {
    pairs: Vec<(u64, u64)>,
}

/// Report lines, put together.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    histograms: BTreeMap<Key, Parts>,
    /// Exact extremes by task and phase, of latency.
    extremes: BTreeMap<(String, u32), (u64, u64)>,
    samples: Vec<(u32, Sample, Vec<Event>)>,
    names: NameTable,
}

impl Collected {
    /// Everything in these lines.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let mut collected = Self::default();
        for line in lines {
            collected.add(line);
        }
        collected
    }

    /// Takes one line; those that carry nothing for it are passed over.
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Histogram {
                task,
                phase,
                of,
                buckets,
            } => {
                let key = (task.as_str().into(), phase.code(), of.as_str().into());
                let parts = self.histograms.entry(key).or_default();
                for (value_ns, count) in buckets.as_slice() {
                    let value_ns = u64::from(*value_ns);
                    if parts.pairs.last().is_some_and(|last| last.0 >= value_ns) {
                        parts.pairs.clear();
                    }
                    parts.pairs.push((value_ns, u64::from(*count)));
                }
            }
            Line::Task {
                name,
                phase,
                min_ns,
                max_ns,
                ..
            } => {
                let key = (name.as_str().into(), phase.code());
                self.extremes.insert(key, (*min_ns, *max_ns));
            }
            Line::WorstSample {
                index,
                task,
                task_number,
                phase,
                released_at_ns,
                latency_ns,
                culprit,
                culprit_ns,
                culprit_least_ns,
            } => {
                if *index == 0 {
                    self.samples.clear();
                }
                let sample = Sample {
                    task: task.as_str().into(),
                    task_number: *task_number,
                    load: *phase,
                    released_at_ns: *released_at_ns,
                    latency_ns: *latency_ns,
                    culprit: culprit.as_str().into(),
                    culprit_ns: *culprit_ns,
                    culprit_least_ns: *culprit_least_ns,
                };
                self.samples.push((*index, sample, Vec::new()));
            }
            Line::TraceEvents {
                index,
                from_ns,
                events,
            } => {
                let mut samples = self.samples.iter_mut();
                if let Some((_, _, history)) = samples.find(|(of, ..)| of == index) {
                    history.extend(events.as_slice().iter().filter_map(|item| {
                        Some(Event {
                            at: Cycles(from_ns.saturating_add(u64::from(item.0))),
                            kind: Kind::from_code(item.1)?,
                            argument: item.2,
                        })
                    }));
                }
            }
            Line::TraceName { kind, number, name } => {
                self.names.insert(*kind, *number, name.as_str());
            }
            _ => {}
        }
    }

    /// The latencies of a task under a load, if its histogram was reported.
    #[must_use]
    pub fn latency(&self, task: &str, load: Load) -> Option<Distribution> {
        let mut distribution = self.histogram(task, load, "latency")?;
        if let Some((min_ns, max_ns)) = self.extremes.get(&(task.to_owned(), load.code())) {
            distribution.set_extremes(*min_ns, *max_ns);
        }
        Some(distribution)
    }

    /// Any histogram of a task, by what it measures; its extremes are its buckets' upper edges.
    #[must_use]
    pub fn histogram(&self, task: &str, load: Load, of: &str) -> Option<Distribution> {
        let key = (task.to_owned(), load.code(), of.to_owned());
        let parts = self.histograms.get(&key)?;
        Some(Distribution::of(parts.pairs.iter().copied()))
    }

    /// The longest waits, the longest first.
    #[must_use]
    pub fn worst(&self) -> Vec<Worst> {
        let samples = self.samples.iter();
        let mut worst: Vec<Worst> = samples
            .map(|(_, sample, events)| Worst::new(sample.clone(), events, &self.names))
            .collect();
        worst.sort_by_key(|wait| Reverse(wait.latency_ns));
        worst
    }

    /// What stood longest in the way of a task's longest wait under a load; empty if it is not known.
    #[must_use]
    pub fn culprit(&self, task: &str, load: Load) -> String {
        let mut worst = self.worst().into_iter();
        worst
            .find(|wait| wait.task == task && wait.load == load)
            .map_or_else(String::new, |wait| wait.culprit)
    }
}

#[cfg(test)]
mod tests {
    use super::Collected;
    use crate::explain::explain;
    use crate::report::{Report, Row, Source, System};
    use darma_abi::codes::Phase;
    use darma_abi::list::List;
    use darma_abi::report::Event as Line;
    use darma_abi::text::Text;
    use darma_trace::Kind;
    use proptest::prelude::*;

    fn buckets(pairs: &[(u32, u32)]) -> Line {
        let mut list = List::new();
        for pair in pairs {
            list.push(*pair).unwrap();
        }
        Line::Histogram {
            task: Text::new("t"),
            phase: Phase::Idle,
            of: Text::new("latency"),
            buckets: list,
        }
    }

    fn sample(index: u32, latency_ns: u64, culprit: &str) -> Line {
        Line::WorstSample {
            index,
            task: Text::new("t"),
            task_number: 3,
            phase: Phase::Idle,
            released_at_ns: 1_000,
            latency_ns,
            culprit: Text::new(culprit),
            culprit_ns: 5,
            culprit_least_ns: 0,
        }
    }

    #[test]
    fn a_histogram_is_put_together_from_its_parts() {
        let collected = Collected::of(&[
            buckets(&[(400, 7), (500, 2)]),
            buckets(&[(600, 1)]),
            Line::Task {
                name: Text::new("t"),
                period_ns: 0,
                phase: Phase::Idle,
                samples: 10,
                missed: 0,
                overruns: 0,
                min_ns: 399,
                p50_ns: 0,
                p99_ns: 0,
                p999_ns: 0,
                max_ns: 598,
            },
        ]);
        let latency = collected.latency("t", Phase::Idle).unwrap();
        assert_eq!(latency.samples(), 10);
        assert_eq!((latency.min_ns(), latency.max_ns()), (399, 598));
        assert!(collected.latency("t", Phase::Loaded).is_none());
    }

    #[test]
    fn of_a_histogram_that_comes_twice_the_later_counts() {
        let collected = Collected::of(&[buckets(&[(400, 7), (500, 2)]), buckets(&[(400, 9)])]);
        let latency = collected.latency("t", Phase::Idle).unwrap();
        assert_eq!(latency.samples(), 9);
    }

    #[test]
    fn the_longest_wait_comes_first_with_its_trace() {
        let mut events = List::new();
        events.push((50, Kind::SectionEnd.code(), 4)).unwrap();
        events.push((60, 250, 0)).unwrap();
        let collected = Collected::of(&[
            sample(0, 100, "section old"),
            sample(0, 100, "timer path"),
            sample(1, 200, "section timer-queue"),
            Line::TraceEvents {
                index: 1,
                from_ns: 1_000,
                events,
            },
            Line::TraceName {
                kind: Kind::SectionBegin.code(),
                number: 4,
                name: Text::new("timer-queue"),
            },
        ]);
        let worst = collected.worst();
        assert_eq!(worst.len(), 2);
        assert_eq!(worst[0].spans[0].what, "section timer-queue");
        assert_eq!(worst[0].spans[0].to_ns, 50);
        assert_eq!(collected.culprit("t", Phase::Idle), "section timer-queue");
        assert_eq!(collected.culprit("t", Phase::Loaded), "");
    }

    fn any_line() -> impl Strategy<Value = Line> {
        let number = || prop_oneof![0u64..5, any::<u64>()];
        let index = 0u32..3;
        let sample = (index.clone(), number(), number());
        let events = prop::collection::vec((any::<u32>(), 0u8..24, 0u32..4), 0..12);
        let pairs = prop::collection::vec((any::<u32>(), any::<u32>()), 0..16);
        prop_oneof![
            sample.prop_map(|(index, released_at_ns, latency_ns)| Line::WorstSample {
                index,
                task: Text::new("t"),
                task_number: 1,
                phase: Phase::Loaded,
                released_at_ns,
                latency_ns,
                culprit: Text::new("<b>"),
                culprit_ns: latency_ns,
                culprit_least_ns: 1,
            }),
            (index, number(), events).prop_map(|(index, from_ns, items)| {
                let mut events = List::new();
                items
                    .into_iter()
                    .for_each(|item| events.push(item).unwrap());
                Line::TraceEvents {
                    index,
                    from_ns,
                    events,
                }
            }),
            pairs.prop_map(|pairs| buckets(&pairs)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_reported_has_an_explanation_and_a_page(
            lines in prop::collection::vec(any_line(), 0..20),
        ) {
            let collected = Collected::of(&lines);
            let mut report = Report::new("tcg", "x", "y");
            report.worst = collected.worst();
            for worst in &report.worst {
                let sum: u128 = worst.spans.iter().map(|span| u128::from(span.to_ns - span.from_ns)).sum();
                let end = worst.released_at_ns.saturating_add(worst.latency_ns);
                prop_assert_eq!(sum, u128::from(end - worst.released_at_ns));
                prop_assert!(explain(worst).contains("what happened"));
            }
            if let Some(latency) = collected.latency("t", Phase::Idle) {
                let key = (System::Darma, Phase::Idle, Source::Timer);
                report.rows.push(Row::new(key, latency, 0, ""));
            }
            let page = report.render_html();
            prop_assert!(page.ends_with("</html>\n") && !page.contains("NaN"));
        }
    }
}
