//! What Darma costs Linux: the same work on the same machine with and without it.
//!
//! The time is Linux's own monotonic clock, which counts instructions here; the real-time tasks of the
//! demonstration, 1100 activations a second, run meanwhile, so what they take is in the ratio.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use darma_abi::codes::Mark;
use darma_abi::report;
use darma_latency::Extra;

use super::machine::Heard;
use super::systems::Job;
use crate::quantity::duration;
use crate::table::{self, Cell, Table};
use crate::terminal::Tone;

/// What each line begins with.
pub(super) const WORD: &str = "DARMA-WORK ";
/// Words for Linux's kernel, on both machines. Without random addresses: measured, whether a process needs a
/// page of page tables more is their doing, and made the same work differ by 6 % from run to run. Without
/// five-level paging, which the nanokernel hides from Linux: Linux alone would be 1 % slower for it.
const LIKE_WITH_LIKE: &str = "norandmaps no5lvl";
/// The least number of works for a table.
const WORKS: usize = 7;
/// A ratio that no work may exceed.
pub const MOST_EACH: f64 = 1.02;

/// One work's times.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Its name.
    pub name: String,
    /// Without Darma, ns.
    pub alone_ns: u64,
    /// With Darma, ns.
    pub under_darma_ns: u64,
    /// Exits while it ran under Darma, by kind.
    pub exits: Exits,
}

/// Counts by the exits' kind.
pub type Exits = BTreeMap<String, u64>;

impl Work {
    /// Time with Darma over time without.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        as_float(self.under_darma_ns) / as_float(self.alone_ns)
    }

    /// So many events in its time under Darma, per second.
    #[must_use]
    pub fn per_second(&self, count: u64) -> u64 {
        let per = u128::from(count) * 1_000_000_000 / u128::from(self.under_darma_ns.max(1));
        u64::try_from(per).unwrap_or(u64::MAX)
    }
}

/// All works.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// In the order in which they ran.
    pub works: Vec<Work>,
}

/// Exact below 2^53, which no time and no count here reaches.
#[expect(clippy::cast_precision_loss)]
fn as_float(value: u64) -> f64 {
    value as f64
}

/// The two machines.
pub(super) const JOBS: [Job; 2] = [Job::WorkUnderDarma, Job::WorkAlone];

/// Words for the payload, on both machines.
pub(super) fn words() -> String {
    format!("darma.script=overhead {LIKE_WITH_LIKE}")
}

/// Puts the works of the two machines beside each other.
///
/// # Errors
/// A machine failed, or the two did not do the same works.
pub(super) fn compare(heard: &[(Job, Result<Heard>)]) -> Result<Comparison> {
    let of = |wanted: Job| {
        let (_, result) = heard
            .iter()
            .find(|(job, _)| *job == wanted)
            .with_context(|| format!("{} did not run", wanted.title()))?;
        // Why it failed stands with the job.
        let failed = |_| anyhow!("{} failed", wanted.title());
        result.as_ref().map_err(failed)
    };
    let (alone, under) = (of(Job::WorkAlone)?, of(Job::WorkUnderDarma)?);
    let exits = exits(&under.reports);
    let (alone, under) = (times(&alone.console)?, times(&under.console)?);
    ensure!(
        alone.len() == under.len() && alone.len() >= WORKS,
        "{} works alone, {} under Darma, and at least {WORKS} are to be compared",
        alone.len(),
        under.len()
    );
    ensure!(
        exits.len() == under.len(),
        "exits were counted of {} works, and {} ran",
        exits.len(),
        under.len()
    );
    let works = alone
        .into_iter()
        .zip(under)
        .zip(exits)
        .map(|((alone, under), exits)| {
            ensure!(alone.0 == under.0, "{} beside {}", alone.0, under.0);
            Ok(Work {
                name: alone.0,
                alone_ns: alone.1,
                under_darma_ns: under.1,
                exits,
            })
        });
    Ok(Comparison {
        works: works.collect::<Result<_>>()?,
    })
}

/// The exits of each work: the nanokernel counts from its start, and says so at each mark.
fn exits(reports: &[report::Event]) -> Vec<Exits> {
    let mut works: Vec<(Exits, Exits)> = Vec::new();
    let mut last_mark = None;
    for event in reports {
        match event {
            report::Event::Mark { mark, .. } => {
                if *mark == Mark::LoadedBegin {
                    works.push(Default::default());
                }
                last_mark = Some(*mark);
            }
            report::Event::Exits { kind, count, .. } => {
                let Some((before, after)) = works.last_mut() else {
                    continue;
                };
                match last_mark {
                    Some(Mark::LoadedBegin) => before.insert(kind.as_str().into(), *count),
                    Some(Mark::PhaseEnd) => after.insert(kind.as_str().into(), *count),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    works
        .into_iter()
        .map(|(before, after)| {
            after
                .into_iter()
                .map(|(kind, count)| {
                    let earlier = before.get(&kind).copied().unwrap_or(0);
                    (kind, count.saturating_sub(earlier))
                })
                .filter(|(_, count)| *count > 0)
                .collect()
        })
        .collect()
}

/// The works' names and times, from the console.
fn times(console: &[String]) -> Result<Vec<(String, u64)>> {
    console
        .iter()
        .filter_map(|line| line.strip_prefix(WORD))
        .map(|line| {
            let (name, ns) = line
                .split_once(' ')
                .with_context(|| format!("work {line:?} failed in Linux"))?;
            let ns: u64 = ns
                .parse()
                .with_context(|| format!("work {name} took {ns:?}"))?;
            ensure!(ns > 0, "work {name} took no time");
            Ok((name.to_owned(), ns))
        })
        .collect()
}

/// The tables for the terminal.
#[must_use]
pub fn text(overhead: &Comparison) -> String {
    let mut times = Table::new(&["program", ">alone", ">under Darma", ">ratio"]);
    for work in &overhead.works {
        let ratio = work.ratio();
        let tone = if ratio > MOST_EACH {
            Tone::Bad
        } else {
            Tone::Good
        };
        times.row([
            work.name.as_str().into(),
            duration(work.alone_ns).into(),
            duration(work.under_darma_ns).into(),
            Cell::new(format!("{ratio:.4}"), tone),
        ]);
    }
    let mut exits = Table::new(&["program", ">exits/s", "of them"]);
    for row in exit_rows(overhead) {
        exits.row(row.map(Cell::from));
    }
    format!(
        "{}\n{}\n{}\n{}",
        table::heading(
            "Time of the same work with and without Darma, 1100 activations of tasks a second included"
        ),
        times.text(),
        table::heading("Exits per second under Darma, by kind"),
        exits.text()
    )
}

/// The exits as a table of the page.
#[must_use]
pub fn exits_extra(overhead: &Comparison) -> Extra {
    Extra {
        title: "Exits per second under Darma".into(),
        note: "How often the processor left Linux for the nanokernel while each program ran, by cause; the \
               real-time tasks' own timer interrupts are among them."
            .into(),
        head: ["program", ">exits/s", "of them"].map(String::from).into(),
        rows: exit_rows(overhead).map(Vec::from).collect(),
    }
}

/// A line for each work: all exits, and the kinds, the most frequent first.
fn exit_rows(overhead: &Comparison) -> impl Iterator<Item = [String; 3]> + '_ {
    overhead.works.iter().map(|work| {
        let mut kinds: Vec<(&String, u64)> = work.exits.iter().map(|(k, n)| (k, *n)).collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        let all: u64 = work.exits.values().sum();
        let list: Vec<String> = kinds
            .into_iter()
            .map(|(kind, count)| (kind, work.per_second(count)))
            .filter(|(_, rate)| *rate > 0)
            .map(|(kind, rate)| format!("{kind} {rate}"))
            .collect();
        [
            work.name.clone(),
            work.per_second(all).to_string(),
            list.join(", "),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::{exits, times};
    use darma_abi::codes::Mark;
    use darma_abi::report::Event;
    use darma_abi::text::Text;

    fn mark(mark: Mark) -> Event {
        Event::Mark {
            mark,
            boot: 1,
            at_ns: 0,
        }
    }

    fn counted(kind: &str, count: u64) -> Event {
        Event::Exits {
            kind: Text::new(kind),
            count,
            at_ns: 0,
        }
    }

    #[test]
    fn a_works_exits_are_what_was_added_between_its_marks() {
        let reports = [
            mark(Mark::LoadedBegin),
            counted("cpuid", 10),
            mark(Mark::PhaseEnd),
            counted("cpuid", 25),
            counted("port", 3),
            mark(Mark::LoadedBegin),
            counted("cpuid", 25),
            counted("port", 3),
            mark(Mark::PhaseEnd),
            counted("cpuid", 26),
            counted("port", 3),
            mark(Mark::BenchEnd),
            counted("cpuid", 99),
        ];
        let found = exits(&reports);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["cpuid"], 15);
        assert_eq!(found[0]["port"], 3);
        assert_eq!(found[1].get("cpuid"), Some(&1));
        assert_eq!(found[1].get("port"), None);
    }

    #[test]
    fn a_work_that_failed_is_an_error_and_no_fast_work() {
        let lines = |text: &str| vec![text.to_owned()];
        assert_eq!(
            times(&lines("DARMA-WORK pipe 12")).expect("a time"),
            [("pipe".to_owned(), 12)]
        );
        assert!(times(&lines("DARMA-WORK pipe ")).is_err());
        assert!(times(&lines("DARMA-WORK pipe 0")).is_err());
    }
}
