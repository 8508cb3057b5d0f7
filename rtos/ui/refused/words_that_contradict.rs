//! Words that do not go together.

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

    #[task(period = 1.millis(), binds = pin(8))]
    fn control(_: control::Context) {}

    #[task(phase = 1.millis())]
    fn log(_: log::Context) {}

    #[task(period = 1.millis(), capacity = 4)]
    fn observe(_: observe::Context) {}
}
