//! Signatures that the kernel cannot call.

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

    #[task(period = 1.millis())]
    fn control(_: observe::Context) {}

    #[task(period = 1.millis())]
    fn observe() {}

    #[task(period = 1.millis())]
    fn filter(_: filter::Context) -> u32 {
        0
    }

    #[task(period = 1.millis())]
    fn log(_: log::Context, _line: u32) {}

    #[task]
    fn generic<T>(_: generic::Context, _value: T) {}
}
