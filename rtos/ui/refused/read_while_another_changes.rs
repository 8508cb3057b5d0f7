//! One task reads without a lock what another changes.

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

    #[task(priority = 1, period = 10.millis(), shared = [&plant])]
    fn observe(_: observe::Context) {}

    #[task(priority = 3, period = 1.millis(), shared = [plant])]
    fn control(_: control::Context) {}
}
