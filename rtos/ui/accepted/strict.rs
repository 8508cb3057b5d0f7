//! Every kind of task and resource under the strictest lints: what the macro writes must not fail the
//! build of a user who forbids what the macro needs.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, rust_2018_idioms, private_interfaces)]
#![deny(non_camel_case_types, non_snake_case, non_upper_case_globals, unused_qualifications)]
#![deny(let_underscore_drop, single_use_lifetimes, unused_lifetimes, trivial_casts, dead_code)]

/// An application.
#[rtos::app]
pub mod app {
    use rtos::prelude::*;

    #[derive(Debug)]
    struct Plant(i64);

    #[shared]
    struct Shared {
        plant: Plant,
        /// Written by nobody.
        table: [u8; 4],
        #[lock_free]
        count: u32,
    }

    #[local]
    struct Local {
        driver: Plant,
    }

    #[init(local = [seed: u32 = 7])]
    fn init(cx: init::Context) -> (Shared, Local) {
        *cx.local.seed += 1;
        let shared = Shared {
            plant: Plant(0),
            table: [1, 2, 3, 4],
            count: 0,
        };
        if log::spawn(1, 2).is_err() || sequence::spawn().is_err() {
            return (shared, Local { driver: Plant(1) });
        }
        (shared, Local { driver: Plant(2) })
    }

    /// Released by the clock.
    #[task(priority = 3, period = 1.kHz(), phase = 10.micros(), deadline = 500.micros(), budget = 5.micros(),
           on_fault = stop_all, float, shared = [plant, &table], local = [driver, runs: u64 = 0])]
    fn control(mut cx: control::Context) {
        let _float = cx.float;
        *cx.local.runs += u64::from(cx.shared.table[0]);
        cx.local.driver.0 += 1;
        let step = cx.local.driver.0;
        cx.shared.plant.lock(|plant| plant.0 += step);
    }

    /// Released by a pin.
    #[task(priority = 2, binds = pin(8), every = 5.millis(), budget = 5.micros(), shared = [count])]
    fn key(cx: key::Context) {
        *cx.shared.count += 1;
    }

    /// Released by messages.
    #[task(priority = 2, capacity = 4, on_fault = degrade, shared = [count])]
    fn log(cx: log::Context, line: u32, column: u32) {
        *cx.shared.count += line + column;
    }

    /// Waits.
    #[task(shared = [plant])]
    async fn sequence(mut cx: sequence::Context) -> ! {
        loop {
            Mono::delay(10.millis()).await;
            cx.shared.plant.lock(|plant| plant.0 = 0);
        }
    }
}
