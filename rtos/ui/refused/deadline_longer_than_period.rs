//! A task that may still run at its next release.

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

    #[task(period = 1.millis(), deadline = 2.millis())]
    fn control(_: control::Context) {}

    #[task(binds = pin(8), every = 5.millis(), deadline = 10.millis())]
    fn key(_: key::Context) {}
}
