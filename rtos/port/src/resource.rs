//! Data shared by tasks: the immediate ceiling protocol.
//!
//! Locking raises CR8 to the resource's ceiling, the class of its most urgent user, so none of its
//! other users can start before the lock ends (Baker's Stack Resource Policy). The interrupt flag
//! stays set: tasks above the ceiling preempt even inside the lock.

use crate::task::Context;
use core::cell::{Cell, UnsafeCell};
use darma_machine::local_apic;
use darma_sched::Ceiling;

/// A value with a priority ceiling.
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

    /// Calls `use_it` with the value while no other user can run. `_context` shows that the
    /// caller is a task.
    ///
    /// # Panics
    /// When the resource is locked already: a task above the ceiling uses it, or a lock is nested.
    pub fn lock<R>(&self, _context: &Context, use_it: impl FnOnce(&mut T) -> R) -> R {
        let before = local_apic::priority_class();
        #[allow(clippy::cast_possible_truncation, reason = "CR8 has four bits")]
        let ceiling = self.ceiling.cr8() as u8;
        local_apic::set_priority_class(before.max(ceiling));
        assert!(
            !self.held.replace(true),
            "a resource was locked by a task above its ceiling"
        );
        // SAFETY: `held` was false, so this is the only borrow; the ceiling keeps the others out.
        let result = use_it(unsafe { &mut *self.value.get() });
        self.held.set(false);
        local_apic::set_priority_class(before);
        result
    }
}
