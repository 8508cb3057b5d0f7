//! An async task cannot be released by a clock, a line or a full queue.

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
    async fn control(_: control::Context) {}

    #[task(binds = pin(8))]
    async fn key(_: key::Context) {}

    #[task(capacity = 4)]
    async fn log(_: log::Context) {}

    #[task(deadline = 1.millis())]
    async fn sequence(_: sequence::Context) {}
}
