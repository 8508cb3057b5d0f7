//! More tasks than the kernel has places for, though no priority is full.

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

    #[task(priority = 2)]
    fn task_1(_: task_1::Context) {}

    #[task(priority = 3)]
    fn task_2(_: task_2::Context) {}

    #[task(priority = 1)]
    fn task_3(_: task_3::Context) {}

    #[task(priority = 2)]
    fn task_4(_: task_4::Context) {}

    #[task(priority = 3)]
    fn task_5(_: task_5::Context) {}

    #[task(priority = 1)]
    fn task_6(_: task_6::Context) {}

    #[task(priority = 2)]
    fn task_7(_: task_7::Context) {}

    #[task(priority = 3)]
    fn task_8(_: task_8::Context) {}

    #[task(priority = 1)]
    fn task_9(_: task_9::Context) {}

    #[task(priority = 2)]
    fn task_10(_: task_10::Context) {}

    #[task(priority = 3)]
    fn task_11(_: task_11::Context) {}

    #[task(priority = 1)]
    fn task_12(_: task_12::Context) {}

    #[task(priority = 2)]
    fn task_13(_: task_13::Context) {}

    #[task(priority = 3)]
    fn task_14(_: task_14::Context) {}

    #[task(priority = 1)]
    fn task_15(_: task_15::Context) {}

    #[task(priority = 2)]
    fn task_16(_: task_16::Context) {}

    #[task(priority = 3)]
    fn task_17(_: task_17::Context) {}
}
