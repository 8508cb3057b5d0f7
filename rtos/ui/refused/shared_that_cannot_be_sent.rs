//! A shared resource that may not leave the context that made it.

#[rtos::app]
mod app {
    use std::rc::Rc;

    #[shared]
    struct Shared {
        count: Rc<u32>,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { count: Default::default() }, Local {})
    }

    #[task(priority = 3, period = 1.millis(), shared = [count])]
    fn control(_: control::Context) {}

    #[task(priority = 1, period = 1.secs(), shared = [count])]
    fn observe(_: observe::Context) {}
}
