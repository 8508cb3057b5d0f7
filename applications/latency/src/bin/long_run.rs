//! The long run's application: one task with a short period, so that ten million periods fit in minutes of
//! the machine's time, while Linux crashes and comes back again and again.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        periods: u64,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local { periods: 0 })
    }

    /// Counts its periods.
    #[task(name = "fast-20khz", priority = 3, period = 50.micros(), budget = 20.micros(), local = [periods])]
    fn fast(cx: fast::Context) {
        *cx.local.periods += 1;
    }
}
