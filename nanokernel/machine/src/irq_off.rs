//! The longest stretch with interrupts off, per named section.
//!
//! A section is measured by the time-stamp counter from the first instruction that can read it to
//! the last before interrupts are on again; what lies outside that window is a constant few pushes
//! and is stated in SPECIFICATION.md. The entry of the guest and its exit hold interrupts back for
//! three instructions by construction (`svm/src/enter.S`) and are not measured.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use darma_abi::units::Cycles;

/// The named sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// The timer's interrupt handler.
    Timer,
    /// The same where several expiries fell together.
    TimerJoint,
    /// From a task's interrupt to its first instruction.
    TaskEntry,
    /// From a task's end to the return from its interrupt.
    TaskExit,
    /// The handler of an interrupt that belongs to the GPOS.
    Device,
    /// Changes to the timer queue from outside the timer's handler.
    TimerQueue,
    /// A look at the RTOS's other state from outside its handlers.
    KernelState,
    /// An access to the I/O APIC through its window.
    IoApic,
}

/// Every section, in the order of [`Section`]'s numbers, with its published name.
pub const SECTIONS: [(Section, &str); 8] = [
    (Section::Timer, "timer-interrupt"),
    (Section::TimerJoint, "timer-interrupt-joint"),
    (Section::TaskEntry, "task-entry"),
    (Section::TaskExit, "task-exit"),
    (Section::Device, "device-interrupt"),
    (Section::TimerQueue, "timer-queue"),
    (Section::KernelState, "kernel-state"),
    (Section::IoApic, "io-apic"),
];

static LONGEST: [AtomicU64; SECTIONS.len()] = [const { AtomicU64::new(0) }; SECTIONS.len()];

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// Counts an interrupt that was taken, modulo 2^32.
#[inline(always)]
pub fn count_interrupt() {
    // Only handlers count, and none of them is interrupted between the two halves by one that does
    // not leave the count higher: a lost increment cannot hide an interrupt.
    INTERRUPTS.store(
        INTERRUPTS.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
}

/// Interrupts taken so far: unchanged between two moments if nothing came between.
#[inline(always)]
pub fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
}

/// Notes that `section` just lasted from `begin` to now.
#[inline(always)]
pub fn record(section: Section, begin: Cycles) {
    note(section, crate::time::now().saturating_since(begin));
}

/// Notes a run of `section` that was measured elsewhere.
#[inline(always)]
pub fn note(section: Section, lasted: Cycles) {
    let longest = &LONGEST[section as usize];
    if lasted.0 > longest.load(Ordering::Relaxed) {
        // A maximum in one step: tasks of two classes may note the same section, nested.
        longest.fetch_max(lasted.0, Ordering::Relaxed);
    }
}

/// The longest run of `section` so far.
pub fn longest(section: Section) -> Cycles {
    Cycles(LONGEST[section as usize].load(Ordering::Relaxed))
}
