//! Tasks that use up nearly all of their budgets, in the arrangement that the response-time analysis is about:
//! preemption, one class, and locks that hold back what is above. The scenario `response-times` compares what
//! each took with what the macro computed.
#![no_std]
#![no_main]

#[rtos::app(analysis = complete)]
mod app {
    use rtos::prelude::*;

    /// Turns of the loop that are timed at the start.
    const TURNS: u64 = 10_000;
    /// Of a budget so much is used, in percent: the rest covers entry to the body, the lock, and rounding.
    const USED: u64 = 95;

    #[shared]
    struct Shared {
        /// Locked by the highest and the lowest.
        plant: u64,
        /// Turns of the loop in a millisecond of execution.
        speed: u64,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        let begin = rtos::now();
        turn(TURNS);
        // The emulated counter counts nanoseconds, to one part in a million.
        let nanos = rtos::now().0 - begin.0;
        let speed = TURNS * 1_000_000 / nanos.max(1);
        (Shared { plant: 0, speed }, Local {})
    }

    fn turn(turns: u64) {
        for number in 0..turns {
            core::hint::black_box(number);
        }
    }

    /// Uses up a budget.
    fn spend(micros: u64, speed: u64) {
        turn(micros * speed * USED / 100_000);
    }

    #[task(priority = 3, period = 1.millis(), deadline = 900.micros(), budget = 100.micros(),
           shared = [plant, &speed])]
    fn control(mut cx: control::Context) {
        let speed = *cx.shared.speed;
        cx.shared.plant.lock(|_| spend(100, speed));
    }

    #[task(priority = 2, period = 4.millis(), budget = 600.micros(), shared = [&speed])]
    fn filter(cx: filter::Context) {
        spend(600, *cx.shared.speed);
    }

    #[task(priority = 2, period = 5.millis(), budget = 500.micros(), shared = [&speed])]
    fn observe(cx: observe::Context) {
        spend(500, *cx.shared.speed);
    }

    /// Released just before `control`, so that it holds the lock when `control` is due.
    #[task(priority = 1, period = 7.millis(), phase = 950.micros(), budget = 600.micros(),
           shared = [plant, &speed])]
    fn tune(mut cx: tune::Context) {
        let speed = *cx.shared.speed;
        cx.shared.plant.lock(|_| spend(600, speed));
    }

    /// Says what was computed, once, in the last gap that is left.
    #[task(priority = 1, period = 50.millis(), budget = 1.millis(), local = [said: bool = false])]
    fn tell(cx: tell::Context) {
        if core::mem::replace(cx.local.said, true) {
            return;
        }
        for (name, bound) in [
            ("control", control::RESPONSE),
            ("filter", filter::RESPONSE),
            ("observe", observe::RESPONSE),
            ("tune", tune::RESPONSE),
        ] {
            rtos::log::info!("{name} {}", bound.map_or(0, |bound| bound.0));
        }
    }
}
