//! A task that answers the MSI-X message of a function, and a driver that is the application's own: the
//! way that `rtos/device/README.md` describes, on an NVMe controller without a disk.
//!
//! Each command asks the controller how many queues it has and is answered by an entry in memory and
//! a message. When the controller answers is up to the emulator's main loop, so nothing is timed here.
#![no_std]
#![no_main]

mod nvme;

#[rtos::app]
mod app {
    use crate::nvme::Admin;

    /// Commands to be answered, one after the other: the queues come round several times.
    const COMMANDS: u32 = 40;

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        admin: Option<Admin>,
    }

    #[init]
    fn init(cx: init::Context) -> (Shared, Local) {
        let admin = match Admin::take(cx.devices) {
            Ok(mut admin) => {
                admin.ask();
                Some(admin)
            }
            Err(error) => {
                log::error!("nvme: {error}");
                None
            }
        };
        (Shared {}, Local { admin })
    }

    #[task(binds = pci(0x1b36, 0x0010), priority = 2, local = [admin, answers: u32 = 0])]
    fn answered(cx: answered::Context) {
        let Some(admin) = cx.local.admin else { return };
        while let Some(status) = admin.answer() {
            *cx.local.answers += 1;
            if status != 0 {
                log::error!("nvme: status {status:#x}");
            }
            if *cx.local.answers < COMMANDS {
                admin.ask();
            } else {
                log::info!("nvme: {COMMANDS} commands answered");
            }
        }
    }
}
