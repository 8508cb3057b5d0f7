//! Words that no task declares, and values that are none.

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

    #[task(prioritty = 2, period = 1.millis())]
    fn control(_: control::Context) {}

    #[task(bind = pin(8))]
    fn key(_: key::Context) {}

    #[task(on_fault = reboot)]
    fn log(_: log::Context) {}

    #[task(binds = UART0)]
    fn serial(_: serial::Context) {}

    #[task(period = 1.millis(), period = 2.millis())]
    fn twice(_: twice::Context) {}
}
