//! An `init` that does not make the resources.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {}

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> Shared {
        Shared {}
    }

    #[task(period = 1.millis())]
    fn control(_: control::Context) {}
}
