//! A shared and a local resource that no task lists.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {
        plant: u64,
    }

    #[local]
    struct Local {
        log: u64,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { plant: Default::default() }, Local { log: Default::default() })
    }

    #[task(period = 1.millis())]
    fn control(_: control::Context) {}
}
