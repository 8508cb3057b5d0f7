//! The latency laboratory's application: what lies between a deadline and a task's first instruction.
//!
//! The measured task does next to nothing, so that its figures are the kernel's. Below it runs what a
//! control program has besides: a task that shares data with it under a ceiling lock, and one that only
//! computes. Both are short: what they take is taken from Linux, whose own latency is measured as well.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::prelude::*;

    #[shared]
    struct Shared {
        activations: u64,
    }

    #[local]
    struct Local {
        seen: u64,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { activations: 0 }, Local { seen: 0 })
    }

    /// The measured one.
    #[task(name = "timer-1khz", priority = 3, period = 1.millis(), budget = 20.micros(), shared = [activations])]
    fn timer(mut cx: timer::Context) {
        cx.shared.activations.lock(|count| *count += 1);
    }

    /// Reads under the same lock: for those few instructions the measured task has to wait.
    #[task(name = "reader-250hz", priority = 2, period = 4.millis(), phase = 300.micros(), budget = 20.micros(), shared = [activations], local = [seen])]
    fn reader(mut cx: reader::Context) {
        *cx.local.seen = cx.shared.activations.lock(|count| *count);
    }

    /// Computes for some 5 us.
    #[task(name = "background-100hz", priority = 1, period = 10.millis(), phase = 700.micros(), budget = 50.micros())]
    fn background(_: background::Context) {
        let mut state = 1_u64;
        for _ in 0..400 {
            state = core::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) ^ 1);
        }
        core::hint::black_box(state);
    }
}
