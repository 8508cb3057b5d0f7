//! Control laws in hard floating point, at two priorities.
//!
//! `control-1khz` turns a motor with a PID controller in `f64` and preempts `simulate-100hz`, which
//! computes in `f64` as well, for longer than the other's period. Both are declared with
//! [`Float::Hard`], so each finds the vector registers to itself and Linux finds its own again. Once a
//! second of its own time each says a digest of all that it computed; the host computes the same.
//!
//! `library-1hz` is not: what it computes in `f64` becomes library calls. It does the first
//! [`COMPARED`] steps of the same control loop and says what they cost, beside what they cost
//! `control-1khz`.
#![no_std]
#![no_main]

use darma_abi::units::{Cycles, Nanos};
use darma_nanokernel::Application;
use darma_rtos::lock::Resource;
use darma_rtos::{Ceiling, Float, OnFault, Priority, Run, Source, Task};
use float_law::{ControlLoop, control, simulate};

/// Where the motors shall turn, rad.
const SET_POINT: f64 = 1.5;
/// Steps of one activation of the simulation: two to three milliseconds.
const STEPS: u32 = 20_000;
/// Steps whose cost is compared.
const COMPARED: u64 = 100;

/// A control loop, used by one task; the ceiling is that task's.
static CONTROL: Resource<ControlLoop> =
    Resource::new(ControlLoop::new(), Ceiling::of(Priority::HIGH));
static SIMULATION: Resource<ControlLoop> =
    Resource::new(ControlLoop::new(), Ceiling::of(Priority::LOW));

static TASKS: [Task; 3] = [
    Task {
        float: Float::Hard,
        ..task("control-1khz", Priority::HIGH, 1_000_000, control_motor)
    },
    Task {
        float: Float::Hard,
        ..task("simulate-100hz", Priority::LOW, 10_000_000, simulate_motor)
    },
    task("library-1hz", Priority::MIDDLE, 1_000_000_000, call_library),
];

const fn task(name: &'static str, priority: Priority, period: u64, body: fn(&Run)) -> Task {
    Task {
        name,
        priority,
        source: Source::Periodic {
            period: Nanos(period),
            phase: Nanos(0),
        },
        deadline: None,
        budget: None,
        on_fault: OnFault::Degrade,
        float: Float::Soft,
        body,
        reset: || {},
    }
}

darma_nanokernel::application!(Application {
    name: "float-law",
    tasks: &TASKS,
    init: |_| {},
    monotonic: None,
});

fn control_motor(run: &Run) {
    let float = run.float().expect("declared with hard floating point");
    CONTROL.lock(|motor| {
        if motor.steps == 0 {
            let mut compared = *motor;
            say_cost("vector registers", &mut compared, |motor| {
                control(float, motor, SET_POINT);
            });
        }
        control(float, motor, SET_POINT);
        say_every(1_000, motor);
    });
}

fn simulate_motor(run: &Run) {
    let float = run.float().expect("declared with hard floating point");
    SIMULATION.lock(|motor| {
        simulate(float, motor, SET_POINT, STEPS);
        say_every(100 * u64::from(STEPS), motor);
    });
}

fn call_library(run: &Run) {
    assert!(run.float().is_none(), "no permission without declaration");
    say_cost("library calls", &mut ControlLoop::new(), |motor| {
        motor.advance(SET_POINT);
    });
}

/// Says the digest after every `interval` steps.
fn say_every(interval: u64, motor: &ControlLoop) {
    if motor.steps.is_multiple_of(interval) {
        log::info!("digest {:016x} after {} steps", motor.digest, motor.steps);
    }
}

/// Says what [`COMPARED`] steps take: with one instruction per two nanoseconds, how many those are.
fn say_cost(how: &str, motor: &mut ControlLoop, mut step: impl FnMut(&mut ControlLoop)) {
    let begin = darma_rtos::now();
    for _ in 0..COMPARED {
        step(motor);
    }
    let Cycles(taken) = darma_rtos::now().saturating_since(begin);
    log::info!(
        "{COMPARED} steps by {how}: {taken} cycles, digest {:016x}",
        motor.digest
    );
}
