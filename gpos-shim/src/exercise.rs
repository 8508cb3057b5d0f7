//! Exercises for the layer below, performed by the test module `darma_fault`: storms of exits, and
//! long stretches with interrupts off. Each returns; what matters is what the RTOS's histogram says.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::Error;

/// Where the test module listens.
pub const FAULT_FILE: &str = "/proc/darma_fault";

/// An exercise: its word in the module's language, how often by default, and what it does.
pub struct Exercise {
    /// The word.
    pub name: &'static str,
    /// Repetitions (or the unit that the text names) if the user says nothing.
    pub count: u64,
    /// One line.
    pub text: &'static str,
}

/// All of them.
pub const EXERCISES: &[Exercise] = &[
    Exercise {
        name: "port-storm",
        count: 100_000,
        text: "port reads that exit",
    },
    Exercise {
        name: "mmio-storm",
        count: 100_000,
        text: "reads of the I/O APIC",
    },
    Exercise {
        name: "cpuid-storm",
        count: 100_000,
        text: "CPUID",
    },
    Exercise {
        name: "msr-storm",
        count: 100_000,
        text: "reads of the APIC base MSR",
    },
    Exercise {
        name: "wbinvd",
        count: 10_000,
        text: "cache write-back and invalidation",
    },
    Exercise {
        name: "hlt-storm",
        count: 200,
        text: "HLT until the next interrupt",
    },
    Exercise {
        name: "cli-busy",
        // A stretch that the default of `watch.hard-lockup` still takes for work.
        count: 80,
        text: "busy with interrupts off, milliseconds",
    },
];

/// Performs `name`, `count` times or its default.
///
/// # Errors
/// An unknown name, or the module's refusal.
pub fn run(name: &str, count: Option<u64>) -> Result<(), Error> {
    let exercise = EXERCISES
        .iter()
        .find(|exercise| exercise.name == name)
        .ok_or_else(|| Error::Usage(format!("no exercise is called {name:?}")))?;
    command(&format!("{name} {}", count.unwrap_or(exercise.count)))
}

/// Reads, writes and reads back the word at physical `address`, which Linux need not own: the
/// partition has to hold. What was read stands in the kernel's log.
///
/// # Errors
/// The module's refusal: no such address, or memory that Linux uses itself.
pub fn probe(address: u64) -> Result<(), Error> {
    command(&format!("probe {address:#x}"))
}

/// Gives the module one command.
///
/// # Errors
/// The module is absent or refuses.
pub fn command(words: &str) -> Result<(), Error> {
    fs::write(FAULT_FILE, words).map_err(|error| match error.kind() {
        ErrorKind::NotFound if !Path::new(FAULT_FILE).exists() => Error::NoFaultModule,
        _ => Error::file("command the test module through", FAULT_FILE)(error),
    })
}

/// Whether the module is there to be commanded.
///
/// # Errors
/// [`Error::NoFaultModule`] if not.
pub fn present() -> Result<(), Error> {
    if Path::new(FAULT_FILE).exists() {
        Ok(())
    } else {
        Err(Error::NoFaultModule)
    }
}
