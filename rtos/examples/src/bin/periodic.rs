//! A periodic control loop: the smallest useful application.
//!
//! `#[rtos::app]` takes one module. `init` runs once, before any task; what it returns are the resources.
//! A `#[task]` with a `period` runs on a grid of its own that nothing shifts: neither how long a run
//! takes nor what Linux does. `deadline` is when a run must have ended, counted from its release;
//! `budget` is how long it may compute. Runs that end too late are counted, a run that overdraws its
//! budget is stopped.
//!
//! See also: `producer_consumer` (tasks that send messages), `three_priorities` (tasks that share data).
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    /// Where the controller wants the plant, in thousandths.
    const SET_POINT: i32 = 1000;
    /// After so many steps the example is over.
    const STEPS: u32 = 20;

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        /// Where the plant is, in thousandths. Only `control` uses it, so it needs no lock.
        position: i32,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local { position: 0 })
    }

    /// `step` is a local resource with an initial value: it needs no field above.
    #[task(priority = 3, period = 1.millis(), deadline = 200.micros(), budget = 50.micros(),
           local = [position, step: u32 = 0])]
    fn control(cx: control::Context) {
        let position = cx.local.position;
        *position += (SET_POINT - *position) / 4;
        *cx.local.step += 1;
        if *cx.local.step == STEPS {
            rtos::exit();
        }
    }
}
