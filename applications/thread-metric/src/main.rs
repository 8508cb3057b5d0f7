//! What the kernel's services cost, in instructions per operation.
//!
//! After the Thread-Metric suite, whose tests most real-time kernels have published figures for. The
//! tests are the suite's; what a thread is there is an activation here, because tasks run to
//! completion: to resume a thread is to pend a task, to suspend oneself is to return. Each operation is
//! therefore a whole activation, there *and* back, and includes what the kernel does in it beyond
//! switching: it watches the budget and records latency, response and deadline.
//!
//! All of it runs inside one activation of `conductor`, the least urgent task. The time-stamp counter is
//! read around [`OPERATIONS`] operations; the least of [`ROUNDS`] rounds is the one that no timer
//! interrupt fell into. Under instruction counting of 2 ns each the counter's nanoseconds are twice the
//! instructions, and the figures say so by their unit.
#![no_std]
#![no_main]

mod chain;
mod pool;
mod services;

use darma_abi::units::Nanos;
use darma_nanokernel::Application;
use darma_rtos::{Float, OnFault, Priority, Run, Source, Task, TaskId, now, pend, time_scale};

/// Operations between two looks at the clock.
const OPERATIONS: u32 = 64;
/// How often each test is repeated.
const ROUNDS: u32 = 16;
/// One instruction of the reference clock.
const INSTRUCTION: Nanos = Nanos(2);

/// Places in [`TASKS`].
const CONDUCTOR: TaskId = TaskId(0);

const fn task(name: &'static str, priority: Priority, body: fn(&Run)) -> Task {
    Task {
        name,
        priority,
        source: Source::Software,
        deadline: None,
        budget: None,
        on_fault: OnFault::Degrade,
        float: Float::Soft,
        body,
        reset: || {},
    }
}

static TASKS: [Task; 10] = [
    task("conductor", Priority::LOW, conduct),
    task("middle", Priority::MIDDLE, chain::middle),
    task("high", Priority::HIGH, chain::high),
    task("interrupt", Priority::HIGH, services::interrupt),
    task("resumed", Priority::MIDDLE, services::resumed),
    task("peer-1", Priority::MIDDLE, chain::peer::<6>),
    task("peer-2", Priority::MIDDLE, chain::peer::<7>),
    task("peer-3", Priority::MIDDLE, chain::peer::<8>),
    task("peer-4", Priority::MIDDLE, chain::peer::<9>),
    task("peer-5", Priority::MIDDLE, chain::peer::<5>),
];

darma_nanokernel::application!(Application {
    name: "thread-metric",
    tasks: &TASKS,
    init: |_| pend(CONDUCTOR),
    monotonic: None,
});

/// Runs every test and logs `figure <name> <instructions per operation>` for each.
fn conduct(_: &Run) {
    let mut counter = 0_u32;
    measure("calibration", 1, || {
        counter = core::hint::black_box(counter).wrapping_add(1);
    });
    chain::measure_all();
    services::measure_all();
    log::info!("figures complete");
}

/// Repeats `operation`, which does the thing to be measured `things` times, and logs what one takes.
fn measure(name: &str, things: u32, mut operation: impl FnMut()) {
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let begin = now();
        for _ in 0..OPERATIONS {
            operation();
        }
        least = least.min(now().saturating_since(begin).0);
    }
    say(name, least, u64::from(OPERATIONS * things));
}

/// Logs a figure: `cycles` for so many operations, in instructions per operation, rounded up.
fn say(name: &str, cycles: u64, operations: u64) {
    let nanos = time_scale().nanos(darma_abi::units::Cycles(cycles)).0;
    let instructions = nanos.div_ceil(INSTRUCTION.0 * operations.max(1));
    log::info!("figure {name} {instructions}");
}
