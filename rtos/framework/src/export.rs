//! What generated code names. Not for people: nothing here is stable, and what is unsafe is kept sound by
//! the macro.
//!
//! The kernel's own names come from `darma_rtos` on the bare machine and from [`crate::host`] elsewhere.

pub use crate::cells::{Early, Late};
pub use darma_abi::units::Nanos;
pub use darma_executor::{Executor, Kernel, Queue, size_of_future};
pub use darma_sched::faults::OnFault;
pub use darma_sched::{Ceiling, Priority};

#[cfg(target_os = "none")]
mod kernel {
    use darma_abi::units::Cycles;
    use darma_rtos::timer::{self, Waiter};

    pub use darma_nanokernel::{Application, application as boot};
    pub use darma_rtos::ending::exit;
    pub use darma_rtos::trace::mark;
    pub use darma_rtos::{
        Float, Line, MAX_TASKS, Run, Source, Task, TaskId, lock, now, pend, time_scale,
    };

    /// Sets the timer of the delays.
    pub fn arm(deadline: Option<Cycles>) {
        timer::arm(Waiter::Monotonic, deadline);
    }
}

#[cfg(not(target_os = "none"))]
mod kernel {
    pub use crate::host::{
        Application, Float, Line, MAX_TASKS, Run, Source, Task, TaskId, arm, exit, lock, mark, now,
        pend, time_scale,
    };
}

pub use kernel::*;

/// How long a span of the clock [`now`] reads is, in nanoseconds.
pub fn nanos(span: darma_abi::units::Cycles) -> Nanos {
    time_scale().nanos(span)
}

use crate::HardFloat;

/// The bare machine enters the application here.
#[cfg(target_os = "none")]
#[macro_export]
#[doc(hidden)]
macro_rules! __entry {
    ($application:expr) => {
        ::rtos::export::boot!($application);
    };
}

/// On a host, tests start the application.
#[cfg(not(target_os = "none"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __entry {
    ($application:expr) => {};
}

pub use crate::__entry as entry;

/// The application's name in reports: the program's, or the module's where there is no program.
pub const fn application_name(program: Option<&'static str>, module: &'static str) -> &'static str {
    match program {
        Some(name) => name,
        None => module,
    }
}

/// Compiles if several tasks may hold `&T` at once.
pub const fn assert_sync<T: Sync>() {}

/// Refuses more tasks than the kernel has places for, when the application is compiled.
pub const fn assert_places(tasks: usize) {
    assert!(
        tasks <= MAX_TASKS,
        "too many tasks: the kernel has places for 16, one of which serves the delays of async tasks"
    );
}

/// The token of a task whose floating-point registers are switched.
///
/// # Safety
/// For a run of a task that the table marks `Float::Hard`.
pub const unsafe fn hard_float<'a>() -> HardFloat<'a> {
    // SAFETY: FLOAT-STATE: the caller's promise.
    unsafe { HardFloat::of_activation() }
}

/// Starts the clock of the delays, before `init`.
pub fn start_timer(task: TaskId) {
    crate::mono::start(task);
}

/// The body of the task that serves the delays.
pub fn serve_timer(run: &Run) {
    crate::Mono::serve(|expiry| run.answers(expiry));
}
