//! Tasks that fault, beside tasks that must not notice.
//!
//! One image serves every scenario of containment: which task faults, and how, stands in
//! [`DARMA_SELECTION`], which the scenario writes into its copy of the image's file. The victims differ
//! in what is declared to happen after a fault and in whether they compute with the FPU; `steady` is
//! above them and `witness` below, and both share a counter with them.
#![no_std]
#![no_main]

mod fault;

use core::cell::UnsafeCell;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};
use darma_abi::units::Nanos;
use darma_nanokernel::Application;
use darma_rtos::{Ceiling, Float, OnFault, Priority, Run, Source, Task, lock};

/// Low byte: the place of the victim in [`TASKS`]; next byte: the fault's code. Nothing is selected
/// in the file as it is built.
#[unsafe(no_mangle)]
static DARMA_SELECTION: AtomicU32 = AtomicU32::new(u32::MAX);

/// Runs without a fault before one with it. Counted anew after each restart, by `reset`.
const SOUND_RUNS: u32 = 4;

/// A value that all tasks share.
struct Shared(UnsafeCell<u64>);

// SAFETY: ONE-CPU: every use goes through `add`, under the ceiling of the most urgent user.
unsafe impl Sync for Shared {}

static COUNTER: Shared = Shared(UnsafeCell::new(0));
static RUNS: [AtomicU32; TASKS.len()] = [const { AtomicU32::new(0) }; TASKS.len()];

const fn task(
    name: &'static str,
    priority: Priority,
    (period_us, phase_us): (u64, u64),
    body: fn(&Run),
    on_fault: OnFault,
) -> Task {
    Task {
        name,
        priority,
        source: Source::Periodic {
            period: Nanos(period_us * 1_000),
            phase: Nanos(phase_us * 1_000),
        },
        deadline: None,
        budget: Some(Nanos(100_000)),
        on_fault,
        float: Float::Soft,
        body,
        reset: || {},
    }
}

const fn victim_task<const PLACE: usize>(name: &'static str, on_fault: OnFault) -> Task {
    // No two are released at one time: a scenario is about one of them.
    let grid = (2_000, 50 * PLACE as u64);
    let mut task = task(name, Priority::MIDDLE, grid, victim, on_fault);
    task.reset = reset::<PLACE>;
    task
}

const fn hard(mut task: Task) -> Task {
    task.float = Float::Hard;
    task
}

static TASKS: [Task; 8] = [
    task(
        "steady",
        Priority::HIGH,
        (1_000, 0),
        add_one,
        OnFault::StopAll,
    ),
    task(
        "witness",
        Priority::LOW,
        (5_000, 500),
        add_one,
        OnFault::StopAll,
    ),
    victim_task::<2>("soft-restart", OnFault::Restart),
    victim_task::<3>("soft-degrade", OnFault::Degrade),
    victim_task::<4>("soft-stop-all", OnFault::StopAll),
    hard(victim_task::<5>("hard-restart", OnFault::Restart)),
    hard(victim_task::<6>("hard-degrade", OnFault::Degrade)),
    hard(victim_task::<7>("hard-stop-all", OnFault::StopAll)),
];

darma_nanokernel::application!(Application {
    name: "task-faults",
    tasks: &TASKS,
    init: |_| {},
    monotonic: None,
});

/// Changes the shared counter and does `then` while it holds the lock.
fn add(then: impl FnOnce()) {
    // SAFETY: ONE-CPU: all users have at most this ceiling's priority and come through here.
    unsafe {
        lock(COUNTER.0.get(), Ceiling::of(Priority::HIGH), |count| {
            *count += 1;
            then();
        });
    }
}

fn add_one(_: &Run) {
    add(|| {});
}

/// Does its work like the others, and faults when it was selected.
fn victim(run: &Run) {
    add(|| {});
    // black_box: nothing in the program writes the word, so the compiler would take it for constant.
    let [victim, kind, ..] = black_box(&DARMA_SELECTION)
        .load(Ordering::Relaxed)
        .to_le_bytes();
    let Some(runs) = RUNS
        .get(usize::from(run.task().0))
        .filter(|_| victim == run.task().0)
    else {
        return;
    };
    runs.store(runs.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let sound = if kind & fault::ALWAYS == 0 {
        SOUND_RUNS
    } else {
        0
    };
    if runs.load(Ordering::Relaxed) == sound + 1 || kind & fault::ALWAYS != 0 {
        let hard = TASKS
            .get(usize::from(victim))
            .is_some_and(|task| task.float == Float::Hard);
        if hard {
            fault::disturb_fpu();
        }
        fault::provoke(kind & !fault::ALWAYS);
    }
}

/// Puts the count back: without it a restarted victim would not fault again.
fn reset<const PLACE: usize>() {
    if let Some(runs) = RUNS.get(PLACE) {
        runs.store(0, Ordering::Relaxed);
    }
}
