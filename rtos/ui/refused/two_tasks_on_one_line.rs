//! A line that would release two tasks.

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

    #[task(binds = pci(0x1234, 0x11e8))]
    fn input(_: input::Context) {}

    #[task(binds = pci(4660, 4584))]
    fn other(_: other::Context) {}
}
