//! The image of the fault campaign: the demonstration's two rates, above a nanokernel with the
//! injector.
//!
//! The tasks do little and are watched for every deadline; what they compute is checked by
//! themselves, so that a fault that reached their memory would show: the control task keeps two
//! copies of its state and stops with a panic, which the nanokernel reports as a task's fault, where
//! they differ.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::prelude::*;

    /// The same twice.
    struct Pair {
        state: u64,
        copy: u64,
    }

    #[shared]
    struct Shared {
        pair: Pair,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        let pair = Pair { state: 1, copy: !1 };
        (Shared { pair }, Local {})
    }

    /// Steps both copies.
    #[task(name = "control-1khz", priority = 3, period = 1.millis(), budget = 400.micros(), shared = [pair])]
    fn control(mut cx: control::Context) {
        cx.shared.pair.lock(|pair| {
            pair.state = pair
                .state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(1);
            pair.copy = !pair.state;
        });
    }

    /// Compares them.
    #[task(name = "observer-100hz", priority = 2, period = 10.millis(), budget = 400.micros(), shared = [pair])]
    fn observe(mut cx: observe::Context) {
        cx.shared
            .pair
            .lock(|pair| assert_eq!(pair.state, !pair.copy));
    }
}
