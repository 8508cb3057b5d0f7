//! What Darma costs Linux: the same work on the same machine with and without it.
//!
//! The time is Linux's own monotonic clock, which counts instructions here; the real-time tasks of the
//! application run meanwhile, so what they take is in the ratio.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use darma_abi::codes::Mark;
use darma_abi::report;

use super::machine::{Below, Heard, Run};
use super::payload;
use crate::image::{self, Application, Image};
use crate::kernels::Flavour;
use crate::prepare::LinuxFiles;
use crate::quantity::duration;
use crate::table::{self, Cell, Table};
use crate::terminal::{self, Tone};
use crate::toolchain::Choice;

/// What each line begins with.
const WORD: &str = "DARMA-WORK ";
/// Words for Linux's kernel, on both machines. Without random addresses: measured, whether a process needs a
/// page of page tables more is their doing, and made the same work differ by 6 % from run to run. Without
/// five-level paging, which the nanokernel hides from Linux: Linux alone would be 1 % slower for it.
const LIKE_WITH_LIKE: &str = "norandmaps no5lvl";
/// The least number of works for a table.
const WORKS: usize = 7;
/// Wall time for one of the two machines.
const LIMIT: Duration = Duration::from_secs(1200);
/// A ratio that no work may exceed.
pub const MOST_EACH: f64 = 1.02;
/// A ratio that the mean may not exceed.
pub const MOST_MEAN: f64 = 1.01;

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
pub struct Overhead {
    /// In the order in which they ran.
    pub works: Vec<Work>,
}

impl Overhead {
    /// The geometric mean of the ratios, as usual for ratios of times.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.works.is_empty() {
            return 1.0;
        }
        let logarithms: f64 = self.works.iter().map(|work| work.ratio().ln()).sum();
        (logarithms / as_float(self.works.len() as u64)).exp()
    }
}

/// Exact below 2^53, which no time and no count here reaches.
#[expect(clippy::cast_precision_loss)]
fn as_float(value: u64) -> f64 {
    value as f64
}

/// Runs all works on both machines, both at once.
///
/// # Errors
/// A machine failed, or the two did not do the same works.
pub fn measure() -> Result<Overhead> {
    let files = payload::prepare(Flavour::Generic)?;
    let image = image::build(&Application::package(image::APPLICATION), Choice::Auto)?;
    let (alone, under) = std::thread::scope(|scope| {
        let alone = scope.spawn(|| perform("overhead-alone", None, &files));
        let under = perform("overhead-darma", Some(&image), &files);
        (alone.join(), under)
    });
    let Ok(alone) = alone else {
        bail!("the machine without Darma: its thread panicked");
    };
    let under = under?;
    let exits = exits(&under.reports);
    let (alone, under) = (times(&alone?.console)?, times(&under.console)?);
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
    Ok(Overhead {
        works: works.collect::<Result<_>>()?,
    })
}

fn perform(name: &str, image: Option<&Image>, files: &LinuxFiles) -> Result<Heard> {
    let run = Run {
        name: name.to_owned(),
        below: image.map_or(Below::Nothing, Below::Darma),
        flavour: Flavour::Generic,
        files,
        words: format!("darma.script=overhead {LIKE_WITH_LIKE}"),
        limit: LIMIT,
    };
    let step = terminal::step(name);
    let heard = run.record(|_| ())?;
    ensure!(
        heard.troubles.is_empty(),
        "{name}: {}",
        heard.troubles.join("; ")
    );
    step.done("measured");
    Ok(heard)
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

/// The table for the terminal.
#[must_use]
pub fn text(overhead: &Overhead) -> String {
    let mut table = Table::new(&["program", ">alone", ">under Darma", ">ratio"]);
    let shown = |ratio: f64, most: f64| {
        let tone = if ratio > most { Tone::Bad } else { Tone::Good };
        Cell::new(format!("{ratio:.4}"), tone)
    };
    for work in &overhead.works {
        table.row([
            work.name.as_str().into(),
            duration(work.alone_ns).into(),
            duration(work.under_darma_ns).into(),
            shown(work.ratio(), MOST_EACH),
        ]);
    }
    table.row([
        "mean".into(),
        "".into(),
        "".into(),
        shown(overhead.mean(), MOST_MEAN),
    ]);
    format!(
        "{}\n{}\n{}\n{}",
        table::heading("Time of the same work with and without Darma, its real-time tasks running"),
        table.text(),
        table::heading("Exits per second under Darma, by kind"),
        exits_table(overhead).text()
    )
}

/// A line for each work, with a column for all exits and the kinds below it, the most frequent first.
fn exits_table(overhead: &Overhead) -> Table {
    let mut table = Table::new(&["program", ">exits/s", "of them"]);
    for work in &overhead.works {
        let mut kinds: Vec<(&String, u64)> = work.exits.iter().map(|(k, n)| (k, *n)).collect();
        kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
        let all: u64 = work.exits.values().sum();
        let list: Vec<String> = kinds
            .into_iter()
            .map(|(kind, count)| format!("{kind} {}", work.per_second(count)))
            .collect();
        table.row([
            work.name.as_str().into(),
            work.per_second(all).to_string().into(),
            list.join(", ").into(),
        ]);
    }
    table
}
