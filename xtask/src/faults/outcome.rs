//! What came of one fault, and whether that is as it has to be.

use super::account::RESTART;
use super::classes::Outlook;
use super::dump_check::Finding;
use super::seed::Seed;
use crate::quantity::duration;

/// What came of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub seed: Seed,
    /// The seeds that came before it on the same machine, in their order.
    pub before: Vec<u64>,
    /// The cause that was found, by name; none: nothing was noticed.
    pub cause: Option<String>,
    /// What the nanokernel recorded besides, by name.
    pub recorded: Vec<String>,
    /// The line that the fault record says of it.
    pub line: String,
    /// The act did nothing that ended Linux: the campaign's own panic did.
    pub harmless: bool,
    /// From the exit that carried the evidence to the verdict, or from the act where the evidence is
    /// that nothing happens. In nanoseconds.
    pub detect_ns: Option<u64>,
    /// From the act to the verdict, in nanoseconds; none if the act was not announced.
    pub since_act_ns: Option<u64>,
    /// The dump; none: none was taken.
    pub dump: Option<Finding>,
    /// A later start reached user space.
    pub recovered: bool,
    /// Deadlines missed since the previous fault's.
    pub misses: u64,
    /// What went wrong with the nanokernel itself.
    pub failure: Option<String>,
}

impl Outcome {
    /// Nothing known yet.
    #[must_use]
    pub fn new(seed: Seed, before: Vec<u64>) -> Self {
        Self {
            seed,
            before,
            cause: None,
            recorded: Vec::new(),
            line: String::new(),
            harmless: false,
            detect_ns: None,
            since_act_ns: None,
            dump: None,
            recovered: false,
            misses: 0,
            failure: None,
        }
    }

    /// Whether the dump is there and whole, or none is due: an orderly restart is no failure.
    #[must_use]
    pub fn dump_valid(&self) -> bool {
        self.is_restart() || matches!(self.dump, Some(Finding::Valid | Finding::Overtaken))
    }

    /// Whether it was an orderly restart.
    #[must_use]
    pub fn is_restart(&self) -> bool {
        self.cause.as_deref() == Some(RESTART)
    }

    /// All that is known of it, in a line.
    #[must_use]
    pub fn line_of_list(&self) -> String {
        let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
        let dump = match &self.dump {
            None => "no dump",
            Some(Finding::Valid) => "dump",
            Some(Finding::Overtaken) => "dump not read",
            Some(Finding::Bad(_)) => "bad dump",
        };
        let mut recorded = self.recorded.clone();
        recorded.dedup();
        format!(
            "{:22} {:16} {:22} detected in {:>8}, {:>8} after the act  {dump}, {}  {}{}{}",
            self.seed.class().name,
            self.seed.number(),
            match (&self.cause, self.harmless) {
                (None, _) => "unnoticed",
                (_, true) => "(harmless)",
                (Some(cause), false) => cause,
            },
            time(self.detect_ns),
            time(self.since_act_ns),
            if self.recovered { "recovered" } else { "lost" },
            self.line,
            if recorded.is_empty() {
                ""
            } else {
                "; recorded: "
            },
            recorded.join(", "),
        )
    }

    /// What is not as it has to be; none if all is.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let class = self.seed.class();
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        if self.misses > 0 {
            return Some(format!("{} deadlines missed", self.misses));
        }
        let Some(cause) = &self.cause else {
            return Some("nothing was noticed".into());
        };
        if self.harmless && class.outlook == Outlook::Fatal {
            return Some("Linux survived what ends it".into());
        }
        let known = class.causes.is_empty() || class.causes.contains(&cause.as_str());
        if !known && !self.harmless {
            return Some(format!("taken for {cause}"));
        }
        if !self.recovered {
            return Some(format!("no user space after {cause}"));
        }
        match &self.dump {
            None if self.is_restart() => None,
            None => Some("no dump was taken".into()),
            Some(Finding::Bad(how)) => Some(format!("bad dump: {how}")),
            Some(Finding::Valid | Finding::Overtaken) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use crate::faults::classes::position;
    use crate::faults::dump_check::Finding;
    use crate::faults::seed::Seed;

    fn good(class: &str, cause: &str) -> Outcome {
        let seed = Seed::new(position(class).expect("a class"), 1);
        Outcome {
            cause: Some(cause.into()),
            dump: Some(Finding::Valid),
            recovered: true,
            ..Outcome::new(seed, Vec::new())
        }
    }

    #[test]
    fn a_fault_is_right_if_it_was_named_dumped_and_healed_without_a_miss() {
        assert_eq!(good("panic", "panic").wrong(), None);
        assert_eq!(good("flip-text", "triple-fault").wrong(), None);
        let cases = [
            (good("panic", "triple-fault"), "taken for triple-fault"),
            (
                Outcome {
                    cause: None,
                    ..good("panic", "")
                },
                "nothing was noticed",
            ),
            (
                Outcome {
                    recovered: false,
                    ..good("panic", "panic")
                },
                "no user space",
            ),
            (
                Outcome {
                    dump: None,
                    ..good("panic", "panic")
                },
                "no dump",
            ),
            (
                Outcome {
                    misses: 2,
                    ..good("panic", "panic")
                },
                "2 deadlines",
            ),
            (
                Outcome {
                    harmless: true,
                    ..good("panic", "panic")
                },
                "survived",
            ),
        ];
        for (outcome, answer) in cases {
            let wrong = outcome.wrong().expect("it is wrong");
            assert!(wrong.contains(answer), "{wrong}");
        }
    }

    #[test]
    fn a_flip_that_nobody_reads_is_no_failure() {
        let harmless = Outcome {
            harmless: true,
            ..good("flip-text", "panic")
        };
        assert_eq!(harmless.wrong(), None);
    }
}
