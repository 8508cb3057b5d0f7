//! Names that no struct has: misspelt, or of the other struct.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {
        plant: u64,
        set_point: u64,
    }

    #[local]
    struct Local {
        history: u64,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { plant: Default::default(), set_point: Default::default() }, Local { history: Default::default() })
    }

    #[task(period = 1.millis(), shared = [plnat, set_point, history])]
    fn control(_: control::Context) {}

    #[task(period = 1.millis(), shared = [plant], local = [histroy, history])]
    fn observe(_: observe::Context) {}
}
