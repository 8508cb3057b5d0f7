//! A task that cannot finish in time even alone.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {}

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local {})
    }

    #[task(period = 10.millis(), deadline = 1.millis(), budget = 1500.micros())]
    fn control(_: control::Context) {}

    #[task(period = 1.millis(), budget = 2.millis())]
    fn observe(_: observe::Context) {}
}
