//! The RTOS as an application sees it: one crate, one macro.
//!
//! An application is a small binary crate with one annotated module. Whoever knows RTIC 2 knows it;
//! decision 0016 lists what differs because the machine does. There is no `#[idle]`: the
//! general-purpose OS is the idle task.
//!
//! ```
//! #[rtos::app]
//! mod app {
//!     use rtos::prelude::*;
//!
//!     #[shared]
//!     struct Shared {
//!         position: i64,
//!     }
//!
//!     #[local]
//!     struct Local {}
//!
//!     #[init]
//!     fn init(_: init::Context) -> (Shared, Local) {
//!         (Shared { position: 0 }, Local {})
//!     }
//!
//!     /// One step of the control law.
//!     #[task(priority = 3, period = 1.millis(), budget = 20.micros(), shared = [position])]
//!     fn control(mut cx: control::Context) {
//!         cx.shared.position.lock(|position| *position += 1);
//!     }
//!
//!     /// Looks ten times a second.
//!     #[task(priority = 1, period = 100.millis(), shared = [position], local = [last: i64 = 0])]
//!     fn observe(mut cx: observe::Context) {
//!         *cx.local.last = cx.shared.position.lock(|position| *position);
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! # What a task declares
//!
//! `#[task(..)]` takes, separated by commas and in any order:
//!
//! | word | meaning | if absent |
//! |---|---|---|
//! | `priority = 1` to `3` | static priority; 3 preempts 2 preempts 1 preempts Linux | 1 |
//! | `period = 1.millis()` | released by the clock, on a fixed grid | |
//! | `phase = 300.micros()` | shifts that grid; else the first release is one period after the start | 0 |
//! | `binds = pin(8)`, `binds = pci(0x1234, 0x11e8)` | released by an interrupt | |
//! | `capacity = 4` | messages that wait for a software task (a plain `fn` without period and `binds`) | 1 |
//! | `every = 5.millis()` | a promise for the analysis: two releases are never closer | not analysed |
//! | `deadline = 500.micros()` | from the release to the end | the period, or none |
//! | `budget = 20.micros()` | execution time of one run, preemption excluded; more is a fault | the period, or 1 s |
//! | `on_fault = restart`, `degrade`, `stop_all` | after a fault: start afresh, stay stopped, stop every task | `restart` |
//! | `float` | the floating-point registers are switched: `cx.float` | soft |
//! | `shared = [a, &b]` | resources of the struct marked `#[shared]`; `&`: read only, without a lock | |
//! | `local = [c, d: u32 = 0]` | fields of the struct marked `#[local]`, and locals with a first value | |
//! | `name = "control-1khz"` | in reports | the function's, `_` as `-` |
//!
//! An `async fn` is an async task: it awaits delays ([`Mono`]), channels and signals.
//!
//! Durations are literals, `10.millis()`, `20.micros()`, `500.nanos()`, `1.secs()`, or rates, `1.kHz()`: the
//! macro evaluates them.
//!
//! # Devices
//!
//! A function or a pin that a task `binds` to is taken away from Linux. `init` finds what is to be
//! driven in `cx.devices` ([`device::Devices`]); its driver goes into a `#[local]` of the task. [`device`]
//! has two drivers, and says how to write one.
//!
//! # What is analysed
//!
//! Where tasks declare `budget` and a `period` (or `every`), their worst response times are computed when
//! the program is compiled ([`darma_sched::analysis`]), and a task set that misses a deadline is refused
//! with what the response consists of. A task that declares neither is not analysed and counts for
//! nothing in the responses of the others: the result holds only if all that can hold a task up is
//! declared. The module of each task says in its documentation what was computed, and has it as a constant:
//! `control::RESPONSE`, an `Option<Nanos>`.
//!
//! `#[rtos::app(analysis = complete)]` asks for that: whatever could hold up a task with a deadline, and does
//! not say for how long, is refused too.
//!
//! # After a fault
//!
//! A task that divides by zero, runs through the guard page of its stack, panics or exceeds its budget is
//! stopped. Before it is started again, locals with a first value (`d: u32 = 0`) get that value back.
//! Everything else keeps what it has: shared resources, and locals that `init` made. A fault in the middle
//! of a lock leaves the resource as it was at that instruction; who shares with a task that may fault
//! checks what it reads.
//!
//! # On a host
//!
//! For every target but the bare machine, the kernel is a simulation ([`host`]), so an application's module
//! is tested by plain `cargo test`.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

mod cells;
pub mod export;
#[cfg(not(target_os = "none"))]
pub mod host;
mod mono;

pub use darma_abi::units::{Cycles, Nanos};
pub use darma_device as device;
pub use darma_executor::{Duration, Instant, TimeoutError};
pub use darma_law::HardFloat;
pub use darma_rtos_macros::app;
pub use darma_sched::{Ceiling, Priority};
pub use export::{Run, TaskId, exit, mark, nanos, now};
pub use log;
pub use mono::Mono;
pub use rtic_core::{Exclusive, Mutex};

/// What async tasks share: RTIC's channels, signals, watches and the arbiter.
///
/// Their sending sides work from every task, whatever its kind; waiting is for async tasks.
pub mod sync {
    pub use rtic_sync::{arbiter, channel, signal, watch};
    pub use rtic_sync::{make_channel, make_signal, make_watch};
}

/// What an application's module usually wants in scope.
pub mod prelude {
    pub use crate::{Mono, Mutex, Run};
    pub use fugit::ExtU64;
    // Locks on tuples of resources: `(cx.shared.a, cx.shared.b).lock(|a, b| ..)`.
    pub use rtic_core::prelude::*;
}
