//! A local resource that two tasks claim.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        driver: u64,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local { driver: Default::default() })
    }

    #[task(period = 1.millis(), local = [driver])]
    fn control(_: control::Context) {}

    #[task(period = 1.secs(), local = [driver])]
    fn observe(_: observe::Context) {}
}
