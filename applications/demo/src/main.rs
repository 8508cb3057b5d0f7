//! The demo application: a 1 kHz control task and a slower one beside it, above a stock Linux.
//!
//! The control task integrates a simulated plant in fixed point, so that it does real work whose
//! result can be checked; the demo's latencies are this task's.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicI64, Ordering};
use darma_abi::units::Nanos;
use darma_nanokernel::Application;
use darma_rtos::{Context, Priority, Task};

/// Position of the simulated plant in 1/65536 of a unit; the set point is 1.0.
static POSITION: AtomicI64 = AtomicI64::new(0);
const SET_POINT: i64 = 1 << 16;

static TASKS: [Task; 2] = [
    Task {
        name: "control-1khz",
        priority: Priority::HIGH,
        period: Nanos(1_000_000),
        body: control,
    },
    Task {
        name: "logger-100hz",
        priority: Priority::MIDDLE,
        period: Nanos(10_000_000),
        body: log_position,
    },
];

darma_nanokernel::application!(Application {
    name: "demo",
    tasks: &TASKS
});

/// One step of a proportional controller on a first-order plant.
fn control(_context: &Context) {
    let position = POSITION.load(Ordering::Relaxed);
    let drive = (SET_POINT - position) / 8;
    POSITION.store(position + drive - position / 1024, Ordering::Relaxed);
}

/// Keeps the largest deviation from the set point after settling.
fn log_position(_context: &Context) {
    static WORST: AtomicI64 = AtomicI64::new(0);
    let deviation = (SET_POINT - POSITION.load(Ordering::Relaxed)).abs();
    WORST.fetch_max(deviation, Ordering::Relaxed);
}
