//! The demo application: a 1 kHz control task and a slower one beside it, above a stock Linux.
//!
//! The control task steers a simulated first-order plant in fixed point, so that it does real work
//! whose result can be checked; the observer reads the plant under the ceiling lock, which shows what
//! sharing costs: the control task is held back for those few instructions.
//!
//! The budgets are a hundred times what the tasks need, so that they hold on the wall clock too (`--live`),
//! where whatever keeps the emulator waiting counts as execution time.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::prelude::*;

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

    #[shared]
    struct Shared {
        plant: Plant,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        let plant = Plant {
            position: 0,
            worst_settled: 0,
            steps: 0,
        };
        (Shared { plant }, Local {})
    }

    /// One step of a proportional controller on a plant that loses 1/1024 of its position each step.
    #[task(name = "control-1khz", priority = 3, period = 1.millis(), budget = 400.micros(), shared = [plant])]
    fn control(mut cx: control::Context) {
        cx.shared.plant.lock(|plant| {
            let drive = (SET_POINT - plant.position) / 8;
            plant.position += drive - plant.position / 1024;
            plant.steps += 1;
        });
    }

    /// Keeps the largest deviation from the set point after settling.
    #[task(name = "observer-100hz", priority = 2, period = 10.millis(), budget = 400.micros(), shared = [plant])]
    fn observe(mut cx: observe::Context) {
        cx.shared.plant.lock(|plant| {
            if plant.steps > SETTLED {
                let deviation = (SET_POINT - plant.position).abs();
                plant.worst_settled = plant.worst_settled.max(deviation);
            }
        });
    }
}
