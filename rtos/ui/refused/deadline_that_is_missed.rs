//! A task set in which one deadline is missed, with all that the response consists of.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {
        plant: u64,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { plant: Default::default() }, Local {})
    }

    #[task(priority = 3, period = 1.millis(), budget = 200.micros(), shared = [plant])]
    fn control(_: control::Context) {}

    #[task(priority = 2, period = 4.millis(), budget = 1.millis())]
    fn filter(_: filter::Context) {}

    #[task(priority = 2, period = 10.millis(), deadline = 3.millis(), budget = 1.millis())]
    fn observe(_: observe::Context) {}

    #[task(priority = 1, every = 100.millis(), budget = 700.micros(), shared = [plant])]
    fn log(_: log::Context) {}
}
