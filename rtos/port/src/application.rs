//! What is the same from the start on: the application's tasks, and the time-stamp counter's scale.
//!
//! Apart from the kernel's state, so that reading it needs no section with interrupts off.

use crate::task::{Task, TaskId};
use core::cell::UnsafeCell;
use darma_sched::TimeScale;

#[derive(Clone, Copy)]
struct Application {
    tasks: &'static [Task],
    scale: TimeScale,
}

struct Cell(UnsafeCell<Application>);

// SAFETY: BOOT-ONCE: written by `set` only, before anything else runs.
unsafe impl Sync for Cell {}

static APPLICATION: Cell = Cell(UnsafeCell::new(Application {
    tasks: &[],
    scale: TimeScale::GIGAHERTZ,
}));

/// Learns both.
///
/// # Safety
/// Called once, before interrupts are first enabled (BOOT-ONCE).
pub(crate) unsafe fn set(tasks: &'static [Task], scale: TimeScale) {
    // SAFETY: BOOT-ONCE, promised by the caller: nobody reads meanwhile.
    unsafe { *APPLICATION.0.get() = Application { tasks, scale } };
}

#[inline(always)]
fn get() -> &'static Application {
    // SAFETY: BOOT-ONCE: `set` is over, or was not called yet by the only context that there is.
    unsafe { &*APPLICATION.0.get() }
}

/// The tasks in the order of declaration; none before the RTOS is set up.
#[inline(always)]
pub(crate) fn tasks() -> &'static [Task] {
    get().tasks
}

/// One of them; `None` past the last.
#[inline(always)]
pub(crate) fn task(task: TaskId) -> Option<&'static Task> {
    tasks().get(usize::from(task.0))
}

/// The scale, by reference.
#[inline(always)]
pub(crate) fn scale() -> &'static TimeScale {
    &get().scale
}

/// The time-stamp counter's scale.
#[inline(always)]
pub fn time_scale() -> TimeScale {
    *scale()
}
