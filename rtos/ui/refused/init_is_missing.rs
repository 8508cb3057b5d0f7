//! An application without a beginning.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {}

    #[local]
    struct Local {}


    #[task(period = 1.millis())]
    fn control(_: control::Context) {}
}
