//! Tasks that ask for more time than there is.

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

    #[task(priority = 3, period = 1.millis(), budget = 600.micros())]
    fn control(_: control::Context) {}

    #[task(priority = 2, period = 2.millis(), budget = 900.micros())]
    fn filter(_: filter::Context) {}
}
