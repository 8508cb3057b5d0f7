//! A resource that several tasks read at once, and whose type forbids it.

#[rtos::app]
mod app {
    use core::cell::Cell;

    #[shared]
    struct Shared {
        count: Cell<u32>,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { count: Default::default() }, Local {})
    }

    #[task(priority = 3, period = 1.millis(), shared = [&count])]
    fn control(_: control::Context) {}

    #[task(priority = 1, period = 1.secs(), shared = [&count])]
    fn observe(_: observe::Context) {}
}
