//! RTIC names a device here; there is only one.

#[rtos::app(device = local_apic)]
mod app {
    #[shared]
    struct Shared {}

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local {})
    }

    #[task(period = 1.millis())]
    fn control(_: control::Context) {}
}
