//! The hot paths' budgets: `latency/budgets.toml` against what a machine reported.
//!
//! The file and the machine have to name the same paths. A path that the file does not know has no
//! budget, one that the machine does not report has no measurement; both are failures, for a check that
//! silently checks nothing is worse than none. Only what the file calls rare may be absent.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use darma_abi::report::Event;
use darma_latency::Budget;
use serde::Deserialize;

use crate::{paths, qemu};

/// The file, from the source tree's root.
pub const FILE: &str = "latency/budgets.toml";

/// Words for Linux's kernel beside the script's: with fixed addresses its page tables and its code lie alike
/// whatever else is in its initial RAM file system, and so does what emulation walks and decodes.
pub const WORDS: &str = "nokaslr norandmaps";

/// One instruction lasts 2^shift ns.
const REFERENCE: qemu::Clock = qemu::Clock::REFERENCE;

/// What the file holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    paths: BTreeMap<String, Entry>,
    sections: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Most instructions.
    limit: u64,
    /// What the path is, and why the limit is as it is.
    why: String,
    /// It takes a coincidence that not every machine sees: it may be absent.
    #[serde(default)]
    rare: bool,
}

/// Reads the budgets of this tree.
///
/// # Errors
/// The file is absent or makes no sense.
pub fn read() -> Result<Budgets> {
    let path = paths::root().join(FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", paths::shown(&path)))?;
    parse(&text, &path)
}

fn parse(text: &str, path: &Path) -> Result<Budgets> {
    let budgets: Budgets = basic_toml::from_str(text)
        .with_context(|| format!("{} makes no sense", paths::shown(path)))?;
    for (name, entry) in budgets.all() {
        ensure!(
            entry.limit > 0 && !entry.why.trim().is_empty(),
            "{}: {name} needs a limit and says why",
            paths::shown(path)
        );
    }
    Ok(budgets)
}

impl Budgets {
    /// Every path and section under its name in reports.
    fn all(&self) -> BTreeMap<String, &Entry> {
        let paths = self.paths.iter();
        let sections = self.sections.iter();
        paths
            .map(|(name, entry)| (name.clone(), entry))
            .chain(sections.map(|(name, entry)| (section(name), entry)))
            .collect()
    }

    /// Holds `measured` (instructions by path, [`measured`]) against the budgets; the second part names
    /// each breach, a sentence each.
    #[must_use]
    pub fn check(&self, measured: &BTreeMap<String, u64>) -> (Vec<Budget>, Vec<String>) {
        let mut table = Vec::new();
        let mut breaches = Vec::new();
        let budgets = self.all();
        for (name, entry) in &budgets {
            let Some(found) = measured.get(name).copied() else {
                if entry.rare {
                    continue;
                }
                breaches.push(format!(
                    "{name} has a budget in {FILE} and was not measured: it was renamed, or the machine \
                     does not take it any more"
                ));
                continue;
            };
            if found > entry.limit {
                breaches.push(format!(
                    "{name} took {found} instructions, its budget is {} ({FILE}): make it shorter, or say \
                     there why it may be longer",
                    entry.limit
                ));
            }
            table.push(Budget {
                path: name.clone(),
                limit: entry.limit,
                measured: found,
            });
        }
        for (name, found) in measured {
            if !budgets.contains_key(name) {
                breaches.push(format!(
                    "{name} took {found} instructions and has no budget: give it one in {FILE}"
                ));
            }
        }
        (table, breaches)
    }
}

fn section(name: &str) -> String {
    format!("section {name}")
}

/// What a machine reported of its paths and sections, in instructions. Its reports are of all time, and
/// the longest counts. A path of length 0 was not taken.
#[must_use]
pub fn measured<'a>(reports: impl IntoIterator<Item = &'a Event>) -> BTreeMap<String, u64> {
    let shift = match REFERENCE {
        qemu::Clock::Instructions { shift } => shift,
        qemu::Clock::Wall => 0,
    };
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for event in reports {
        let (name, ns) = match event {
            Event::Path { name, max_ns } => (name.as_str().to_owned(), *max_ns),
            Event::IrqOff { section: name, ns } => (section(name.as_str()), *ns),
            _ => continue,
        };
        let instructions = ns.div_ceil(1 << shift);
        if instructions > 0 {
            let longest = found.entry(name).or_default();
            *longest = (*longest).max(instructions);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{measured, parse, read};
    use darma_abi::report::Event;
    use darma_abi::text::Text;
    use std::collections::BTreeMap;
    use std::path::Path;

    const TEXT: &str = "[paths.timer-to-task]\nlimit = 100\nwhy = \"hot\"\n\
                        [sections.task-exit]\nlimit = 50\nwhy = \"hot\"\n";

    fn found(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, n)| ((*name).into(), *n)).collect()
    }

    #[test]
    fn a_breach_names_path_budget_and_measurement() {
        let budgets = parse(TEXT, Path::new("x")).expect("sound");
        let kept = found(&[("timer-to-task", 100), ("section task-exit", 50)]);
        let (table, breaches) = budgets.check(&kept);
        assert_eq!((table.len(), breaches.len()), (2, 0));
        let broken = found(&[("timer-to-task", 101), ("section task-exit", 50)]);
        let (_, breaches) = budgets.check(&broken);
        assert_eq!(breaches.len(), 1);
        for part in ["timer-to-task", "101", "100"] {
            assert!(breaches[0].contains(part), "{}", breaches[0]);
        }
    }

    #[test]
    fn a_path_without_budget_and_a_budget_without_path_are_breaches() {
        let budgets = parse(TEXT, Path::new("x")).expect("sound");
        let unknown = found(&[
            ("timer-to-task", 1),
            ("section task-exit", 1),
            ("emulate-new", 1),
        ]);
        let (_, breaches) = budgets.check(&unknown);
        assert!(breaches.len() == 1 && breaches[0].contains("emulate-new"));
        let missing = found(&[("timer-to-task", 1)]);
        let (_, breaches) = budgets.check(&missing);
        assert!(breaches.len() == 1 && breaches[0].contains("section task-exit"));
    }

    #[test]
    fn a_rare_path_may_be_absent_and_keeps_its_budget_where_it_is_not() {
        let text = TEXT.replace("limit = 50", "limit = 50\nrare = true");
        let budgets = parse(&text, Path::new("x")).expect("sound");
        let (table, breaches) = budgets.check(&found(&[("timer-to-task", 100)]));
        assert_eq!((table.len(), breaches.len()), (1, 0));
        let longer = found(&[("timer-to-task", 100), ("section task-exit", 51)]);
        let (_, breaches) = budgets.check(&longer);
        assert!(breaches.len() == 1 && breaches[0].contains("51"));
    }

    #[test]
    fn a_budget_that_does_not_say_why_is_refused() {
        assert!(parse(&TEXT.replace("hot", " "), Path::new("x")).is_err());
        assert!(parse(&TEXT.replace("limit", "limits"), Path::new("x")).is_err());
    }

    #[test]
    fn the_trees_own_budgets_make_sense() {
        assert!(read().is_ok());
    }

    #[test]
    fn the_longest_run_of_all_reports_counts_in_instructions() {
        let path = |ns| Event::Path {
            name: Text::new("timer-to-task"),
            max_ns: ns,
        };
        let section = Event::IrqOff {
            section: Text::new("task-exit"),
            ns: 0,
        };
        let found = measured(&[path(10), path(7), section]);
        assert_eq!(found.len(), 1);
        assert_eq!(found["timer-to-task"], 5);
    }
}
