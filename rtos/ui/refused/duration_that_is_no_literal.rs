//! Durations that the macro cannot evaluate.

#[rtos::app]
mod app {
    const PERIOD: u64 = 1_000_000;

    #[shared]
    struct Shared {}

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local {})
    }

    #[task(period = PERIOD)]
    fn control(_: control::Context) {}

    #[task(period = 1.fortnights())]
    fn observe(_: observe::Context) {}

    #[task(period = 3.kHz())]
    fn filter(_: filter::Context) {}
}
