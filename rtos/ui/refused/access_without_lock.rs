//! A field of a shared resource, reached past its lock.

#[rtos::app]
mod app {
    #[derive(Default)]
    struct Plant {
        position: i64,
    }

    #[shared]
    struct Shared {
        plant: Plant,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { plant: Default::default() }, Local {})
    }

    #[task(priority = 3, period = 1.millis(), shared = [plant])]
    fn control(cx: control::Context) {
        cx.shared.plant.position += 1;
    }

    #[task(priority = 1, period = 1.secs(), shared = [plant])]
    fn observe(_: observe::Context) {}
}
