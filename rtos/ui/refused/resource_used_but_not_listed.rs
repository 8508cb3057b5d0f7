//! A task that reaches for a resource it does not list.

#[rtos::app]
mod app {
    use rtos::prelude::*;

    #[shared]
    struct Shared {
        plant: u64,
        set_point: u64,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { plant: Default::default(), set_point: Default::default() }, Local {})
    }

    #[task(period = 1.millis(), shared = [plant])]
    fn control(mut cx: control::Context) {
        cx.shared.set_point.lock(|set_point| *set_point += 1);
    }

    #[task(period = 1.millis(), shared = [set_point])]
    fn operate(_: operate::Context) {}
}
