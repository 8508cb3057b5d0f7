//! A resource without a lock that an async task could keep across an await.

#[rtos::app]
mod app {
    #[shared]
    struct Shared {
        #[lock_free]
        plant: u64,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { plant: Default::default() }, Local {})
    }

    #[task(period = 10.millis(), shared = [plant])]
    fn observe(_: observe::Context) {}

    #[task(shared = [plant])]
    async fn sequence(_: sequence::Context) {}
}
