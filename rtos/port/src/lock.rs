//! The immediate ceiling protocol, and the critical section of the ecosystem's crates.
//!
//! Locking raises CR8 to the resource's ceiling, the class of its most urgent user, so none of its
//! other users can start before the lock ends (Baker's Stack Resource Policy). The interrupt flag
//! stays set: tasks above the ceiling preempt even inside the lock.

use crate::trace::{self, Kind};
use core::cell::{Cell, UnsafeCell};
use darma_machine::local_apic;
use darma_sched::{Ceiling, Priority};

/// Calls `use_it` with the value while no other of its users can run.
///
/// # Safety
/// `value` is valid, `ceiling` is that of a resource whose users are all of the priority that made
/// it or below, every one of them comes through here, and no borrow of `value` lives in the caller.
/// The code that the `#[rtos::app]` macro generates keeps this by construction.
#[inline(always)]
pub unsafe fn lock<T, R>(value: *mut T, ceiling: Ceiling, use_it: impl FnOnce(&mut T) -> R) -> R {
    let before = local_apic::priority_class();
    #[allow(clippy::cast_possible_truncation, reason = "CR8 has four bits")]
    let class = ceiling.cr8() as u8;
    if class > before {
        local_apic::set_priority_class(class);
        trace::record_lock(Kind::Lock, class);
    }
    // SAFETY: the ceiling keeps every other user out, the caller promises the rest.
    let result = use_it(unsafe { &mut *value });
    if class > before {
        trace::record_lock(Kind::Unlock, class);
        local_apic::set_priority_class(before);
    }
    result
}

/// What `critical_section::with` does in this image: it holds back every task, not the timer.
///
/// The crates that ask for it (channels, the delays' queue) are used by tasks and by the
/// application's init, never by the kernel, so the class of the highest tasks is ceiling enough, and
/// the releases of tasks above go on being taken.
struct TasksHeldBack;
critical_section::set_impl!(TasksHeldBack);

// SAFETY: ONE-CPU: while CR8 holds the highest class of tasks no task starts, and no handler that
// may run then uses what such a section protects.
unsafe impl critical_section::Impl for TasksHeldBack {
    unsafe fn acquire() -> critical_section::RawRestoreState {
        let before = local_apic::priority_class();
        local_apic::set_priority_class(before.max(Priority::HIGH.class()));
        before
    }

    unsafe fn release(before: critical_section::RawRestoreState) {
        local_apic::set_priority_class(before);
    }
}

/// A value with a priority ceiling, for applications that declare their table by hand.
pub struct Resource<T> {
    ceiling: Ceiling,
    held: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: one processor (ONE-CPU); `lock` keeps every user of the value out by the ceiling, and
// `held` turns a user above the ceiling, or a nested lock, into a panic instead of a second borrow.
unsafe impl<T: Send> Sync for Resource<T> {}

impl<T> Resource<T> {
    /// A resource whose most urgent user has the priority that `ceiling` was made of.
    pub const fn new(value: T, ceiling: Ceiling) -> Self {
        Self {
            ceiling,
            held: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Calls `use_it` with the value while no other user can run.
    ///
    /// # Panics
    /// When the resource is locked already: a task above the ceiling uses it, a lock is nested, or
    /// a task faulted inside one.
    pub fn lock<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: `held` was false, so this is the only borrow; the ceiling keeps the others out.
        unsafe {
            lock(self.value.get(), self.ceiling, |value| {
                assert!(
                    !self.held.replace(true),
                    "a resource was locked by a task above its ceiling, or a task faulted in a lock"
                );
                let result = use_it(value);
                self.held.set(false);
                result
            })
        }
    }
}
