//! The classes of faults: what is done, by whom, and as what it may be found.
//!
//! A class that ends Linux in one definite way lists the causes by which that may be noticed; one
//! whose end is open (a flipped bit) takes any. The causes are compared by name, so that a cause
//! added to the nanokernel needs no change here before a class may mean it.

/// Who provokes a class's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// A word of the test module, or of the campaign's first process.
    Linux(&'static str),
    /// The nanokernel's injector, at a moment drawn from the seed below this many microseconds
    /// after Linux's first instruction.
    Injector {
        /// What it does: see `darma_policy::injection`.
        act: &'static str,
        /// The latest moment, in microseconds after the entry.
        within_us: u64,
        /// At one of so many moments, equally far apart; 0: anywhere.
        moments: u64,
    },
}

/// What a class may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Linux is gone: nothing else is right.
    Fatal,
    /// It may do nothing, or only be recorded: then the campaign ends the start itself.
    Open,
}

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its stable name.
    pub name: &'static str,
    /// Who provokes it.
    pub hand: Hand,
    /// What it may lead to.
    pub outlook: Outlook,
    /// The causes that may be found; none named: any.
    pub causes: &'static [&'static str],
    /// How long Linux is used after the act, in seconds of its own time, before nothing is said to
    /// have happened.
    pub seconds: u32,
    /// A part of the short form.
    pub short: bool,
}

const PANIC: &[&str] = &["panic", "panic-text"];
const TRIPLE: &[&str] = &[
    "triple-fault",
    "descriptor-tables-destroyed",
    "page-tables-destroyed",
];
const HALT: &[&str] = &["halted-interrupts-off", "hard-lockup"];
const HARD: &[&str] = &["hard-lockup", "nmi-hang", "no-progress"];
const SOFT: &[&str] = &[
    "soft-lockup",
    "user-space-hang",
    "no-progress",
    "no-tick",
    "exit-storm",
    "interrupt-storm",
    "reported-lockup",
    "panic",
];
const RESET: &[&str] = &[
    "self-reset-keyboard",
    "self-reset-cf9",
    "self-reset-acpi",
    "self-reset-port92",
    "reboot",
    "triple-fault",
];
const STALL: &[&str] = &[
    "panic",
    "panic-text",
    "reported-lockup",
    "user-space-hang",
    "soft-lockup",
];
const ANY: &[&str] = &[];

const fn fatal(name: &'static str, act: &'static str, causes: &'static [&'static str]) -> Class {
    Class {
        name,
        hand: Hand::Linux(act),
        outlook: Outlook::Fatal,
        causes,
        seconds: 3,
        short: true,
    }
}

const fn open(name: &'static str, act: &'static str) -> Class {
    Class {
        outlook: Outlook::Open,
        seconds: 2,
        short: false,
        ..fatal(name, act, ANY)
    }
}

const fn slow(class: Class, seconds: u32) -> Class {
    Class {
        seconds,
        short: false,
        ..class
    }
}

const fn injected(name: &'static str, act: &'static str, within_us: u64, moments: u64) -> Class {
    Class {
        name,
        hand: Hand::Injector {
            act,
            within_us,
            moments,
        },
        outlook: Outlook::Open,
        causes: ANY,
        seconds: 2,
        short: false,
    }
}

/// Moments of the boot at which `boot-moment` strikes.
const BOOT_MOMENTS: u64 = 50;
/// A little less than the campaign's Linux takes to user space, microseconds.
const BOOT_US: u64 = 2_900_000;

/// All classes. A seed carries the position here: classes are only added, at the end.
pub const CLASSES: &[Class] = &[
    fatal("panic", "panic", PANIC),
    fatal("null-deref", "null-deref", PANIC),
    open("oops", "null-deref"),
    fatal("bug", "bug", PANIC),
    fatal("panic-in-irq", "panic-in-irq", PANIC),
    fatal("panic-in-nmi", "panic-in-nmi", PANIC),
    fatal("nested-panic", "nested-panic", PANIC),
    fatal("divide-error", "divide-error", PANIC),
    fatal("double-fault", "double-fault", PANIC),
    fatal("triple-fault", "triple-fault", TRIPLE),
    fatal("idt-destroyed", "idt-destroyed", TRIPLE),
    fatal("gdt-destroyed", "gdt-destroyed", TRIPLE),
    fatal("cr3-destroyed", "cr3-destroyed", TRIPLE),
    fatal("wild-jump", "wild-jump", PANIC),
    fatal("stack-overflow", "stack-overflow", PANIC),
    fatal("init-ended", "exit", PANIC),
    fatal("cli-hlt", "cli-hlt", HALT),
    slow(fatal("cli-spin", "cli-spin", HARD), 3),
    slow(fatal("nmi-hang", "nmi-hang", HARD), 3),
    slow(fatal("deadlock-irqs-off", "deadlock-irqs-off", HARD), 3),
    slow(fatal("deadlock-irqs-on", "deadlock-irqs-on", SOFT), 9),
    slow(fatal("preempt-spin", "preempt-spin", SOFT), 9),
    slow(fatal("exit-storm", "exit-storm", SOFT), 9),
    slow(fatal("irq-storm", "irq-storm", SOFT), 9),
    open("pin-held", "pin-held"),
    slow(fatal("mutex-deadlock", "mutex-deadlock", STALL), 12),
    slow(fatal("rcu-stall", "rcu-stall", STALL), 12),
    slow(fatal("out-of-memory", "memory-leak", STALL), 12),
    slow(fatal("memory-leak", "memory-leak", STALL), 12),
    fatal("reset-keyboard", "reset-keyboard", RESET),
    fatal("reset-cf9", "reset-cf9", RESET),
    fatal("reset-port92", "reset-port92", RESET),
    fatal("reset-acpi", "restart", RESET),
    fatal("reboot", "reboot", RESET),
    fatal("sysrq-b", "sysrq-b", RESET),
    open("flip-text", "flip-text"),
    open("flip-rodata", "flip-rodata"),
    open("flip-data", "flip-data"),
    open("flip-stack", "flip-stack"),
    open("flip-page-table", "flip-page-table"),
    open("use-after-free", "use-after-free"),
    slow(fatal("memory-scribble", "memory-scribble", ANY), 3),
    open("shared-scribble", "shared-scribble"),
    open("dma-foreign", "dma-foreign"),
    open("dma-own", "dma-own"),
    open("msr-fuzz", "msr-fuzz"),
    open("cr-fuzz", "cr-fuzz"),
    open("port-fuzz", "port-fuzz"),
    fatal("log-destroyed", "log-destroyed", PANIC),
    fatal("vmcoreinfo-destroyed", "vmcoreinfo-destroyed", PANIC),
    injected("boot-moment", "die", BOOT_US, BOOT_MOMENTS),
    injected("recovery-crash", "die", 20_000, 0),
    injected("flip-registers", "registers", BOOT_US, 0),
    injected("flip-memory", "memory", BOOT_US, 0),
    open("foreign-memory", "foreign-memory"),
    open("ring-scribble", "ring-scribble"),
];

/// The position of the class of that name.
#[must_use]
pub fn position(name: &str) -> Option<usize> {
    CLASSES.iter().position(|class| class.name == name)
}

/// Whether the class strikes in the start that follows a death of another kind: a start of its own
/// goes before it.
#[must_use]
pub fn follows_a_death(class: &Class) -> bool {
    class.name == "recovery-crash"
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, position};
    use darma_abi::codes::Cause;

    #[test]
    fn every_class_has_a_name_of_its_own_and_fits_a_seed() {
        for (at, class) in CLASSES.iter().enumerate() {
            assert_eq!(position(class.name), Some(at), "{}", class.name);
            assert!(!class.name.contains([' ', ',']), "{}", class.name);
        }
        assert!(CLASSES.len() >= 25 && CLASSES.len() <= super::super::seed::CLASSES_MAX);
    }

    #[test]
    fn every_class_can_be_found_by_a_cause_that_there_is() {
        for class in CLASSES {
            let known = class
                .causes
                .iter()
                .any(|name| Cause::from_name(name).is_some());
            assert!(known || class.causes.is_empty(), "{}", class.name);
        }
    }
}
