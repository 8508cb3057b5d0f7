//! Switches between tasks: preemptive, through all three classes, and cooperative, around five tasks
//! of one class.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use darma_rtos::{Run, TaskId, now, pend};

const MIDDLE: TaskId = TaskId(1);
const HIGH: TaskId = TaskId(2);
const FIRST_PEER: TaskId = TaskId(5);
/// Switches of one cooperative round.
const SWITCHES: u32 = 50;

/// Activations of each chain, the sign that none was left out.
static RAN: AtomicU32 = AtomicU32::new(0);
static SWITCHES_LEFT: AtomicU32 = AtomicU32::new(0);
/// What `high` read from the clock when it began.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// Preempts `conductor` and is preempted by `high`.
pub(crate) fn middle(_: &Run) {
    pend(HIGH);
    count();
}

/// The most urgent one.
pub(crate) fn high(run: &Run) {
    // What the kernel read last before it called, so that the clock is not read twice.
    BEGAN.store(run.started().0, Ordering::Relaxed);
    count();
}

/// Passes on to the task at place `NEXT`, of the same class, as long as switches are left.
pub(crate) fn peer<const NEXT: u8>(_: &Run) {
    let left = SWITCHES_LEFT.load(Ordering::Relaxed);
    if left > 0 {
        SWITCHES_LEFT.store(left - 1, Ordering::Relaxed);
        pend(TaskId(NEXT));
    }
}

fn count() {
    RAN.store(RAN.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Measures and logs.
pub(crate) fn measure_all() {
    // Thread-Metric's chain: each pend preempts at once, each return goes on below. Two activations.
    super::measure("preemptive-switch-and-back", 2, || pend(MIDDLE));
    assert_eq!(
        RAN.load(Ordering::Relaxed),
        2 * super::OPERATIONS * super::ROUNDS
    );
    one_way();
    super::measure("cooperative-switch", SWITCHES, || {
        SWITCHES_LEFT.store(SWITCHES - 1, Ordering::Relaxed);
        pend(FIRST_PEER);
    });
    assert_eq!(SWITCHES_LEFT.load(Ordering::Relaxed), 0);
}

/// The halves of a preemptive switch: from the pend to the first instruction of the task that
/// preempts, and the whole of one activation for comparison.
fn one_way() {
    let (mut there, mut whole) = (u64::MAX, u64::MAX);
    for _ in 0..super::ROUNDS {
        let begin = now().0;
        pend(HIGH);
        let end = now().0;
        there = there.min(BEGAN.load(Ordering::Relaxed).saturating_sub(begin));
        whole = whole.min(end.saturating_sub(begin));
    }
    super::say("preemptive-switch", there, 1);
    super::say("preemptive-return", whole.saturating_sub(there), 1);
}
