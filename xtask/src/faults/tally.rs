//! The campaign's figures: per class and in all, as a table and as `faults.json`.

use serde::Serialize;

use super::classes::CLASSES;
use super::dump_check::Finding;
use super::outcome::Outcome;
use crate::quantity::duration;
use crate::table::{Cell, Table};
use crate::terminal::Tone;

/// All of `faults.json`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Tally {
    /// Of this form.
    pub schema: u32,
    /// The campaign's seed.
    pub seed: u64,
    /// Faults provoked.
    pub count: u64,
    /// Deadlines missed by real-time tasks.
    pub rtos_misses: u64,
    /// Machines that ended, stuck or complained in a way that is the nanokernel's fault.
    pub nanokernel_failures: u64,
    /// Faults after which Linux reached user space again.
    pub recovered: u64,
    /// Faults with a whole dump whose every checksum fits, and orderly restarts, which leave none.
    pub dumps_valid: u64,
    /// Of these, dumps that a later capture took the place of before they were read; the nanokernel's
    /// own report stands for them.
    pub dumps_unread: u64,
    /// Of these, orderly restarts: no failures, so that no dump is taken.
    pub restarts: u64,
    /// Faults that Linux survived: a panic was forced then, and counts in all figures but detection.
    pub harmless: u64,
    /// Faults that were not as they have to be in any respect.
    pub failing: u64,
    /// The classes that had a fault.
    pub classes: Vec<ClassTally>,
}

/// The figures of a class.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct ClassTally {
    /// Its name.
    pub name: &'static str,
    /// Faults.
    pub count: u64,
    /// Linux reached user space again.
    pub recovered: u64,
    /// Whole dumps.
    pub dumps_valid: u64,
    /// Longest detection: from the exit that carried the evidence, or from the act where the evidence
    /// is that nothing happens. Nanoseconds; 0 if all were harmless.
    pub detect_max_ns: u64,
    /// Shortest detection.
    pub detect_min_ns: u64,
    /// Longest time from the act to the verdict, which includes what the dying kernel does itself.
    pub since_act_max_ns: u64,
    /// Faults that Linux survived.
    pub harmless: u64,
    /// Deadlines missed.
    pub rtos_misses: u64,
    /// What was found, and how often, the most frequent first.
    pub causes: Vec<(String, u64)>,
    /// Seeds of faults that were not as they have to be.
    pub failing_seeds: Vec<u64>,
}

fn count(outcomes: &[&Outcome], which: impl Fn(&Outcome) -> bool) -> u64 {
    outcomes.iter().filter(|outcome| which(outcome)).count() as u64
}

impl Tally {
    /// Adds up.
    #[must_use]
    pub fn of(seed: u64, outcomes: &[Outcome]) -> Self {
        let all: Vec<&Outcome> = outcomes.iter().collect();
        let classes = CLASSES
            .iter()
            .enumerate()
            .map(|(at, class)| {
                let of_class = all.iter().copied().filter(|one| one.seed.position() == at);
                ClassTally::of(class.name, &of_class.collect::<Vec<_>>())
            })
            .filter(|class| class.count > 0)
            .collect();
        Self {
            schema: 1,
            seed,
            count: outcomes.len() as u64,
            rtos_misses: outcomes.iter().map(|one| one.misses).sum(),
            nanokernel_failures: count(&all, |one| one.failure.is_some()),
            recovered: count(&all, |one| one.recovered),
            dumps_valid: count(&all, Outcome::dump_valid),
            dumps_unread: count(&all, |one| one.dump == Some(Finding::Overtaken)),
            restarts: count(&all, Outcome::is_restart),
            harmless: count(&all, |one| one.harmless),
            failing: count(&all, |one| one.wrong().is_some()),
            classes,
        }
    }

    /// The table for the terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new(&[
            "class",
            ">faults",
            "found as",
            ">detection min",
            ">max",
            ">dumps",
            ">recovered",
            ">harmless",
            ">missed",
        ]);
        for class in &self.classes {
            let all = |number: u64| {
                let tone = if number == class.count {
                    Tone::Plain
                } else {
                    Tone::Bad
                };
                Cell::new(number.to_string(), tone)
            };
            let none = |number: u64| {
                let tone = if number == 0 { Tone::Quiet } else { Tone::Bad };
                Cell::new(number.to_string(), tone)
            };
            let time = |ns: u64| Cell::from(if ns == 0 { "-".into() } else { duration(ns) });
            let tone = if class.failing_seeds.is_empty() {
                Tone::Plain
            } else {
                Tone::Bad
            };
            table.row(vec![
                Cell::new(class.name, tone),
                class.count.to_string().into(),
                class.found_as().into(),
                time(class.detect_min_ns),
                time(class.detect_max_ns),
                all(class.dumps_valid),
                all(class.recovered),
                class.harmless.to_string().into(),
                none(class.rtos_misses),
            ]);
        }
        table.text()
    }
}

impl ClassTally {
    fn of(name: &'static str, outcomes: &[&Outcome]) -> Self {
        let mut causes: Vec<(String, u64)> = Vec::new();
        for outcome in outcomes.iter().filter(|one| !one.harmless) {
            let cause = outcome.cause.as_deref().unwrap_or("unnoticed");
            match causes.iter_mut().find(|(known, _)| known == cause) {
                Some((_, number)) => *number += 1,
                None => causes.push((cause.to_owned(), 1)),
            }
        }
        causes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let times = || outcomes.iter().filter_map(|one| one.detect_ns);
        Self {
            name,
            count: outcomes.len() as u64,
            recovered: count(outcomes, |one| one.recovered),
            dumps_valid: count(outcomes, Outcome::dump_valid),
            detect_max_ns: times().max().unwrap_or(0),
            detect_min_ns: times().min().unwrap_or(0),
            since_act_max_ns: outcomes
                .iter()
                .filter_map(|one| one.since_act_ns)
                .max()
                .unwrap_or(0),
            harmless: count(outcomes, |one| one.harmless),
            rtos_misses: outcomes.iter().map(|one| one.misses).sum(),
            causes,
            failing_seeds: outcomes
                .iter()
                .filter(|one| one.wrong().is_some())
                .map(|one| one.seed.number())
                .collect(),
        }
    }

    /// The causes in words, at most three.
    fn found_as(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        for (cause, number) in self.causes.iter().take(3) {
            words.push(if self.causes.len() == 1 {
                cause.clone()
            } else {
                format!("{cause} {number}")
            });
        }
        if self.causes.len() > 3 {
            words.push("...".into());
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use crate::faults::classes::position;
    use crate::faults::dump_check::Finding;
    use crate::faults::outcome::Outcome;
    use crate::faults::seed::Seed;

    fn outcome(class: &str, chance: u64, cause: Option<&str>) -> Outcome {
        let seed = Seed::new(position(class).expect("a class"), chance);
        Outcome {
            cause: cause.map(str::to_owned),
            detect_ns: cause.map(|_| 100 * chance),
            dump: cause.map(|_| Finding::Valid),
            recovered: cause.is_some(),
            ..Outcome::new(seed, Vec::new())
        }
    }

    #[test]
    fn classes_add_up_to_the_whole_and_failing_seeds_are_kept() {
        let lost = outcome("cli-spin", 3, None);
        let outcomes = [
            outcome("panic", 1, Some("panic")),
            outcome("panic", 2, Some("panic")),
            lost.clone(),
        ];
        let tally = Tally::of(9, &outcomes);
        assert_eq!(
            (
                tally.count,
                tally.recovered,
                tally.dumps_valid,
                tally.failing
            ),
            (3, 2, 2, 1)
        );
        let [panic, spin] = &tally.classes[..] else {
            panic!("two classes")
        };
        assert_eq!((panic.detect_min_ns, panic.detect_max_ns), (100, 200));
        assert_eq!(spin.failing_seeds, [lost.seed.number()]);
        assert_eq!(spin.causes, [("unnoticed".to_owned(), 1)]);
        assert!(tally.table().contains("unnoticed"));
    }

    #[test]
    fn the_file_has_the_agreed_fields() {
        let tally = Tally::of(9, &[outcome("panic", 1, Some("panic"))]);
        let json = serde_json::to_value(&tally).expect("plain fields");
        for field in [
            "schema",
            "seed",
            "count",
            "rtos_misses",
            "nanokernel_failures",
            "recovered",
            "dumps_valid",
        ] {
            assert!(json[field].is_u64(), "{field}");
        }
        let class = &json["classes"][0];
        assert_eq!(class["name"], "panic");
        for field in ["count", "recovered", "dumps_valid", "detect_max_ns"] {
            assert!(class[field].is_u64(), "{field}");
        }
        assert!(class["failing_seeds"].is_array());
    }
}
