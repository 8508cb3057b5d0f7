//! The plan of one machine: which start of Linux meets which fault.
//!
//! Each fault has a start of its own; one that strikes during a recovery has two, the first of which
//! ends in a plain panic. Starts are counted by the nanokernel and handed to Linux on its command
//! line; the plan is a file of its initial RAM file system, and the injector's part words of the
//! command line.

use std::fmt::Write as _;

use super::classes::{self, Hand};
use super::seed::{Chance, Seed};

/// What one start of Linux is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The fault, by its position in the batch.
    pub fault: usize,
    /// The fault itself; else the panic that has to precede it.
    pub is_the_fault: bool,
}

/// The faults of one machine, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The faults.
    pub faults: Vec<Seed>,
    starts: Vec<Start>,
}

impl Plan {
    /// Gives each fault its start.
    #[must_use]
    pub fn new(faults: Vec<Seed>) -> Self {
        let mut starts = Vec::new();
        for (fault, seed) in faults.iter().enumerate() {
            if classes::follows_a_death(seed.class()) {
                starts.push(Start {
                    fault,
                    is_the_fault: false,
                });
            }
            starts.push(Start {
                fault,
                is_the_fault: true,
            });
        }
        Self { faults, starts }
    }

    /// What start number `boot` (from 1) is for; `None` past the last fault.
    #[must_use]
    pub fn start(&self, boot: u32) -> Option<Start> {
        let at = usize::try_from(boot).ok()?.checked_sub(1)?;
        self.starts.get(at).copied()
    }

    /// The file for Linux: a line per start.
    #[must_use]
    pub fn file(&self) -> String {
        let mut text = String::new();
        for (start, boot) in self.starts.iter().zip(1..) {
            let seed = self.faults[start.fault];
            let class = seed.class();
            let (name, act) = match (start.is_the_fault, class.hand) {
                (false, _) => ("panic", "panic"),
                (true, Hand::Linux(act)) => (class.name, act),
                (true, Hand::Injector { .. }) => (class.name, "none"),
            };
            // Writing to a text does not fail.
            let _ = writeln!(
                text,
                "{boot} {name} {act} {} {}",
                seed.chance(),
                class.seconds
            );
        }
        text
    }

    /// The word of the kernel's command line for the injector; empty if it has nothing to do.
    #[must_use]
    pub fn injections(&self) -> String {
        let mut list: Vec<String> = Vec::new();
        for (start, boot) in self.starts.iter().zip(1_u32..) {
            let seed = self.faults[start.fault];
            if let (
                true,
                Hand::Injector {
                    act,
                    within_us,
                    moments,
                },
            ) = (start.is_the_fault, seed.class().hand)
            {
                let mut chance = Chance::new(seed.chance());
                let moment = match moments {
                    0 => chance.draw() % within_us,
                    number => chance.draw() % number * within_us / number,
                };
                list.push(format!("{boot}:{act}:{moment}:{:x}", seed.chance()));
            }
        }
        if list.is_empty() {
            String::new()
        } else {
            format!("darma.inject={}", list.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use crate::faults::classes::position;
    use crate::faults::seed::Seed;

    fn seed(class: &str) -> Seed {
        Seed::new(position(class).expect("a class"), 7)
    }

    #[test]
    fn a_crash_in_recovery_takes_two_starts_and_every_other_fault_one() {
        let plan = Plan::new(vec![
            seed("panic"),
            seed("recovery-crash"),
            seed("flip-text"),
        ]);
        let starts: Vec<_> = (1..=5).map(|boot| plan.start(boot)).collect();
        let faults: Vec<_> = starts
            .iter()
            .map(|start| start.map(|one| one.fault))
            .collect();
        assert_eq!(faults, [Some(0), Some(1), Some(1), Some(2), None]);
        assert!(!starts[1].expect("a start").is_the_fault);
        assert_eq!(
            plan.file(),
            "1 panic panic 7 3\n2 panic panic 7 2\n3 recovery-crash none 7 2\n4 flip-text flip-text 7 2\n"
        );
        assert!(
            plan.injections().starts_with("darma.inject=3:die:"),
            "{}",
            plan.injections()
        );
    }

    #[test]
    fn a_plan_without_injections_adds_no_word() {
        assert_eq!(Plan::new(vec![seed("panic")]).injections(), "");
    }
}
