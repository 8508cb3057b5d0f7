//! Names that reports could not tell apart.

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

    #[task(name = "control-1khz", period = 1.millis())]
    fn fast(_: fast::Context) {}

    #[task(period = 1.millis())]
    fn control_1khz(_: control_1khz::Context) {}
}
