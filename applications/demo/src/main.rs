//! The demo application: a 1 kHz control task and a slower one beside it, above a stock Linux.
//!
//! The control task steers a simulated first-order plant in fixed point, so that it does real work
//! whose result can be checked; the observer reads the plant under the ceiling lock, which shows what
//! sharing costs: the control task is held back for those few instructions.
#![no_std]
#![no_main]

use darma_abi::units::Nanos;
use darma_nanokernel::Application;
use darma_rtos::lock::Resource;
use darma_rtos::{Ceiling, Float, OnFault, Priority, Run, Source, Task};

/// A simulated plant. Positions are in 1/65536 of a unit.
struct Plant {
    position: i64,
    worst_settled: i64,
    steps: u64,
}

/// Where the controller wants the plant: at 1.0.
const SET_POINT: i64 = 1 << 16;
/// Steps after which the plant has settled.
const SETTLED: u64 = 1000;

static PLANT: Resource<Plant> = Resource::new(
    Plant {
        position: 0,
        worst_settled: 0,
        steps: 0,
    },
    Ceiling::of(Priority::HIGH),
);

static TASKS: [Task; 2] = [
    Task {
        name: "control-1khz",
        priority: Priority::HIGH,
        source: Source::Periodic {
            period: Nanos(1_000_000),
            phase: Nanos(0),
        },
        deadline: None,
        budget: None,
        on_fault: OnFault::Restart,
        float: Float::Soft,
        body: control,
        reset: || {},
    },
    Task {
        name: "observer-100hz",
        priority: Priority::MIDDLE,
        source: Source::Periodic {
            period: Nanos(10_000_000),
            phase: Nanos(0),
        },
        deadline: None,
        budget: None,
        on_fault: OnFault::Restart,
        float: Float::Soft,
        body: observe,
        reset: || {},
    },
];

darma_nanokernel::application!(Application {
    name: "demo",
    tasks: &TASKS,
    init: || {},
    monotonic: None,
});

/// One step of a proportional controller on a plant that loses 1/1024 of its position each step.
fn control(_: &Run) {
    PLANT.lock(|plant| {
        let drive = (SET_POINT - plant.position) / 8;
        plant.position += drive - plant.position / 1024;
        plant.steps += 1;
    });
}

/// Keeps the largest deviation from the set point after settling.
fn observe(_: &Run) {
    PLANT.lock(|plant| {
        if plant.steps > SETTLED {
            let deviation = (SET_POINT - plant.position).abs();
            plant.worst_settled = plant.worst_settled.max(deviation);
        }
    });
}
