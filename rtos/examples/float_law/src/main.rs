//! Control laws in hard floating point, at two priorities.
//!
//! `control-1khz` turns a motor with a PID controller in `f64` and preempts `simulate-100hz`, which
//! computes in `f64` as well, for longer than the other's period. Both are declared `float`, so each
//! finds the vector registers to itself and Linux finds its own again. Now and then each says a
//! digest of all that it computed; the host computes the same.
//!
//! `mistaken-10hz` panics inside a law, again and again, and is contained.
//!
//! `library-1hz` is not declared so: what it computes in `f64` becomes library calls. It does the first
//! [`COMPARED`] steps of the same control loop and says what they cost, beside what they cost
//! `control-1khz`.
#![no_std]
#![no_main]

use float_law::ControlLoop;
use rtos::{Cycles, now};

/// Where the motors shall turn, rad.
const SET_POINT: f64 = 1.5;
/// Steps of one activation of the simulation: some milliseconds.
const STEPS: u32 = 20_000;
/// Steps whose cost is compared.
const COMPARED: u64 = 100;

#[rtos::app]
mod app {
    use super::{SET_POINT, STEPS, say_cost, say_every};
    use float_law::{ControlLoop, control, element, simulate};

    #[shared]
    struct Shared {}

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local {})
    }

    /// The controller: one step in each millisecond.
    #[task(priority = 3, period = 1.millis(), budget = 300.micros(), on_fault = degrade, float,
           local = [motor: ControlLoop = ControlLoop::new()], name = "control-1khz")]
    fn turn(cx: turn::Context) {
        let motor = cx.local.motor;
        if motor.steps == 0 {
            let mut compared = *motor;
            say_cost("vector registers", &mut compared, |motor| {
                control(cx.float, motor, SET_POINT);
            });
        }
        control(cx.float, motor, SET_POINT);
        say_every(1_000, motor);
    }

    /// The same in fast motion, always preempted by the controller.
    #[task(priority = 1, period = 10.millis(), on_fault = degrade, float,
           local = [motor: ControlLoop = ControlLoop::new()], name = "simulate-100hz")]
    fn model(cx: model::Context) {
        simulate(cx.float, cx.local.motor, SET_POINT, STEPS);
        say_every(100 * u64::from(STEPS), cx.local.motor);
    }

    /// Makes a mistake in a law at every other activation: a panic there is one of the task, which starts
    /// again; what it interrupted finds its registers as they were.
    #[task(priority = 2, period = 100.millis(), phase = 500.micros(), budget = 1.millis(), float,
           local = [motor: ControlLoop = ControlLoop::new(), fresh: bool = true], name = "mistaken-10hz")]
    fn mistake(cx: mistake::Context) {
        let index = if core::mem::take(cx.local.fresh) {
            0
        } else {
            3
        };
        element(cx.float, cx.local.motor, index);
    }

    /// Without `float` there is no `cx.float`, and a law cannot be called; plain Rust can.
    #[task(priority = 2, period = 1.secs(), on_fault = degrade, name = "library-1hz")]
    fn library(_: library::Context) {
        say_cost("library calls", &mut ControlLoop::new(), |motor| {
            motor.advance(SET_POINT);
        });
    }
}

/// Says the digest after every `interval` steps.
fn say_every(interval: u64, motor: &ControlLoop) {
    if motor.steps.is_multiple_of(interval) {
        log::info!("digest {:016x} after {} steps", motor.digest, motor.steps);
    }
}

/// Says what [`COMPARED`] steps take: with one instruction per two nanoseconds, how many those are.
fn say_cost(how: &str, motor: &mut ControlLoop, mut step: impl FnMut(&mut ControlLoop)) {
    let begin = now();
    for _ in 0..COMPARED {
        step(motor);
    }
    let Cycles(taken) = now().saturating_since(begin);
    log::info!(
        "{COMPARED} steps by {how}: {taken} cycles, digest {:016x}",
        motor.digest
    );
}
