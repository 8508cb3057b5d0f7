//! The nanokernel: reads facts, asks policy, applies the answer.
//!
//! It boots first, divides the machine, starts the RTOS, and then runs the GPOS as what the
//! processor does when no task has anything to do. See ARCHITECTURE.md for the life of a boot, an
//! exit, an interrupt and a crash.
//!
//! An application is a binary crate that declares its tasks and invokes [`application!`].
#![no_std]

mod boot;
mod device_interrupts;
mod device_view;
mod down;
mod explain;
mod facts;
mod fatal;
mod gpos;
mod heap;
mod host;
#[cfg(feature = "inject")]
mod inject;
mod ladder;
mod logging;
mod once;
mod paths;
mod ras;
mod report;
mod staging;
mod status;
mod task_devices;
mod task_log;
mod watch;

pub use boot::start;

pub use darma_device::Devices;
use darma_rtos::{Task, TaskId};

/// What an application brings: its name, its tasks, and what is done before they start.
#[derive(Clone, Copy, Debug)]
pub struct Application {
    /// Shown in reports.
    pub name: &'static str,
    /// At most 16 tasks.
    pub tasks: &'static [Task],
    /// Called once, interrupts off, before the first release; it may pend tasks already. It takes
    /// the tasks' devices, and is the only one to whom they are offered.
    pub init: fn(&mut Devices),
    /// The task that runs the queue of the application's delays, if it has one.
    pub monotonic: Option<TaskId>,
}

/// Makes the binary crate a bootable image that runs the given [`Application`].
#[macro_export]
macro_rules! application {
    ($application:expr) => {
        /// Called by the boot assembly, once, with the loader's start information.
        #[unsafe(no_mangle)]
        extern "C" fn darma_boot(start_info: u64) -> ! {
            static APPLICATION: $crate::Application = $application;
            // SAFETY: this is the call from the boot assembly (BOOT-ONCE).
            unsafe { $crate::start(&APPLICATION, start_info) }
        }
    };
}
