//! A queue that holds nothing.

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

    #[task(capacity = 0)]
    fn log(_: log::Context, _line: u32) {}
}
