//! What the kernel's services cost: runs `applications/thread-metric` above the idle guest, and puts its
//! figures beside those that others published for the same tests.
//!
//! The two are not the same thing, and the table says so: ours are instructions, counted, on an
//! emulated processor; theirs are cycles of a microcontroller. They show the order of magnitude.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use darma_abi::units::Nanos;
use serde_json::json;

use crate::idle_guest::{self, Step};
use crate::image::{self, Application};
use crate::qemu::Machine;
use crate::session::{self, Event, Session};
use crate::table::{Cell, Table, heading};
use crate::terminal::Tone;
use crate::toolchain::Choice;
use crate::{prepare, ramdisk};

/// The application that measures.
pub const APPLICATION: &str = "darma-thread-metric";
/// The figure that the specification promises: from the pend to the first instruction of the task
/// that preempts.
pub const SWITCH: &str = "preemptive-switch";
/// What it is to stay below, instructions.
pub const SWITCH_LIMIT: u64 = 150;

/// A test, and what others published for it, in processor cycles per count: Zephyr 4.1.0 without
/// stack protection, `FreeRTOS` 10.3.1, both on an STM32L432 (Cortex-M4) at 80 MHz.
///
/// Source: cmrxrtos.org, "RTOS benchmarks", pages `about-benchmark`, `zephyr` and `freertos`; what it
/// did not publish is a dash here.
struct Test {
    name: &'static str,
    what: &'static str,
    zephyr: Option<f64>,
    freertos: Option<f64>,
}

const fn test(name: &'static str, what: &'static str, others: Option<(f64, f64)>) -> Test {
    let (zephyr, freertos) = match others {
        Some((zephyr, freertos)) => (Some(zephyr), Some(freertos)),
        None => (None, None),
    };
    Test {
        name,
        what,
        zephyr,
        freertos,
    }
}

const TESTS: [Test; 10] = [
    test(
        "calibration",
        "one turn of an empty loop",
        Some((9.0, 9.03)),
    ),
    test(
        "cooperative-switch",
        "a task ends, the next of its class runs",
        Some((184.0, 140.81)),
    ),
    test(
        "preemptive-switch-and-back",
        "a task is pended, preempts, ends",
        Some((442.82, 550.73)),
    ),
    test(
        SWITCH,
        "  of it: from the pend to its first instruction",
        None,
    ),
    test(
        "preemptive-return",
        "  of it: its accounts, and back to the preempted",
        None,
    ),
    test(
        "interrupt-processing",
        "an interrupt raises a flag, the task sees it",
        None,
    ),
    test(
        "interrupt-preemption",
        "an interrupt resumes a task that preempts",
        None,
    ),
    test(
        "message-passing",
        "four words into a queue and out of it",
        Some((208.0, 511.73)),
    ),
    test(
        "synchronisation",
        "a lock and its end",
        Some((125.0, 334.09)),
    ),
    test(
        "memory-allocation",
        "a block of 128 bytes taken and given back",
        None,
    ),
];

/// What the application measured: instructions per operation, by test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(BTreeMap<String, u64>);

impl Figures {
    /// One test's figure.
    ///
    /// # Errors
    /// It was not measured.
    pub fn get(&self, name: &str) -> Result<u64> {
        self.0
            .get(name)
            .copied()
            .with_context(|| format!("{APPLICATION} reported no figure {name}"))
    }

    /// Instructions of a preemptive switch: [`SWITCH`].
    ///
    /// # Errors
    /// It was not measured.
    pub fn switch_instructions(&self) -> Result<u64> {
        self.get(SWITCH)
    }

    /// Takes a line of the nanokernel's log; whether it was the last figure's.
    pub fn hear(&mut self, line: &str) -> bool {
        let Some((_, words)) = line.split_once("conductor: figure") else {
            return false;
        };
        let mut words = words.split_whitespace();
        if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
            self.0.insert(name.to_owned(), value);
        }
        line.ends_with("figures complete")
    }
}

/// Builds the application, runs it on the reference clock, and returns what it measured.
///
/// # Errors
/// It does not compile, or the machine ended without its figures.
pub fn measure() -> Result<Figures> {
    prepare::machine()?;
    let image = image::build(&Application::package(APPLICATION), Choice::Auto)?;
    let folder = session::folder("thread-metric")?;
    // The guest sleeps longer than the tests take, so that no exit of its falls into them.
    let guest = idle_guest::parts(&[Step::Sleep(Nanos(500_000_000)), Step::PowerOff])?
        .with("exit.on-poweroff", "yes");
    let mut machine = Machine::new(image.elf, &folder);
    machine.initrd = Some(ramdisk::store(&guest, "thread-metric")?);
    machine.memory_mib = 96;
    let mut session = Session::start(&machine, &folder)?;
    let mut figures = Figures::default();
    session.wait_for(
        "the last figure",
        Duration::from_secs(120),
        |event| match event {
            Event::Log(line) => figures.hear(line).then_some(()),
            _ => None,
        },
    )?;
    session.stop();
    for test in &TESTS {
        figures.get(test.name)?;
    }
    Ok(figures)
}

/// The table for the terminal.
///
/// # Errors
/// A figure is missing.
pub fn table(figures: &Figures) -> Result<String> {
    let mut table = Table::new(&["test", ">Darma", ">Zephyr", ">FreeRTOS", "one operation"]);
    let cycles = |published: Option<f64>| match published {
        Some(cycles) => Cell::from(format!("{cycles:.0}")),
        None => Cell::new("-", Tone::Quiet),
    };
    for test in &TESTS {
        let ours = figures.get(test.name)?;
        let tone = match test.name {
            SWITCH if ours <= SWITCH_LIMIT => Tone::Good,
            SWITCH => Tone::Bad,
            _ => Tone::Plain,
        };
        table.row([
            test.name.into(),
            Cell::new(ours.to_string(), tone),
            cycles(test.zephyr),
            cycles(test.freertos),
            Cell::new(test.what, Tone::Quiet),
        ]);
    }
    Ok(format!(
        "{}\n\n{}\n  {}\n  {}\n  {}\n",
        heading("Kernel services"),
        table.text(),
        "Darma: instructions per operation, counted in emulation (1 instruction = 2 ns), figures and budgets kept.",
        "Zephyr 4.1.0, FreeRTOS 10.3.1: CPU cycles per count of Thread-Metric on an STM32L432 at 80 MHz, as",
        "published on cmrxrtos.org. NOT the same machine, and cycles are not instructions."
    ))
}

/// Runs `cargo xtask thread-metric`.
///
/// # Errors
/// As [`measure`].
pub fn run(as_json: bool) -> Result<()> {
    let figures = measure()?;
    if as_json {
        let text = json!({
            "schema": 1,
            "unit": "instructions",
            "tier": crate::qemu::Clock::REFERENCE.tier(),
            "switch_instructions": figures.switch_instructions()?,
            "tests": figures.0,
        });
        println!("{}", serde_json::to_string_pretty(&text)?);
    } else {
        println!("{}", table(&figures)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Figures, SWITCH, TESTS, table};

    #[test]
    fn figures_are_heard_between_other_lines_until_the_last() {
        let mut figures = Figures::default();
        assert!(!figures.hear("darma: conductor: figure preemptive-switch 72"));
        assert!(!figures.hear("darma: 13 nested tables"));
        assert!(!figures.hear("darma: conductor: figure damaged x"));
        assert!(figures.hear("darma: conductor: figures complete"));
        assert_eq!(figures.switch_instructions().ok(), Some(72));
        assert!(figures.get("damaged").is_err());
    }

    #[test]
    fn the_table_says_that_the_machines_differ() {
        let mut figures = Figures::default();
        for test in &TESTS {
            figures.hear(&format!("conductor: figure {} 100", test.name));
        }
        let text = table(&figures).expect("all there");
        assert!(text.contains("NOT the same machine") && text.contains(SWITCH));
        assert!(table(&Figures::default()).is_err());
    }
}
