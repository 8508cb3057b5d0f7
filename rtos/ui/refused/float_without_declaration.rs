//! A law needs the permission that only a task marked `float` has.

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

    #[task(priority = 3, period = 1.millis())]
    fn control(cx: control::Context) {
        law(cx.float);
    }

    /// As `darma_law::law!` declares one.
    fn law(_: rtos::HardFloat<'_>) {}
}
