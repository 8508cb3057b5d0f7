//! Priorities outside the classes of the local APIC.

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

    #[task(priority = 0, period = 1.millis())]
    fn too_low(_: too_low::Context) {}

    #[task(priority = 4, period = 1.millis())]
    fn too_high(_: too_high::Context) {}
}
