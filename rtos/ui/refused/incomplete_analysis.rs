//! A complete analysis is asked for, and some tasks do not say how long they hold up others.

#[rtos::app(analysis = complete)]
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

    #[task(priority = 2, period = 1.millis(), budget = 100.micros(), shared = [plant])]
    fn control(_: control::Context) {}

    #[task(priority = 3, binds = pin(8), budget = 10.micros())]
    fn key(_: key::Context) {}

    #[task(priority = 2)]
    fn log(_: log::Context) {}

    #[task(priority = 2, budget = 10.micros())]
    async fn sequence(_: sequence::Context) {}

    #[task(priority = 1, shared = [plant])]
    fn observe(_: observe::Context) {}

    /// Can hold up nobody.
    #[task(priority = 1)]
    fn background(_: background::Context) {}
}
