//! State that is touched only with interrupts off.

use core::cell::{Cell, UnsafeCell};
use x86_64::instructions::interrupts;

/// A cell whose content is reached only while the processor's interrupt flag is clear.
pub(crate) struct InterruptCell<T> {
    busy: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: one processor (ONE-CPU), and `with` holds interrupts off while the borrow lives, so no
// two contexts ever hold it; `busy` refuses the one remaining way, a nested call.
unsafe impl<T: Send> Sync for InterruptCell<T> {}

impl<T> InterruptCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            busy: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Calls `use_it` with the content, interrupts off.
    ///
    /// # Panics
    /// When called from inside another `with` of the same cell: a bug of this crate.
    #[inline(always)]
    pub(crate) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the closure runs with interrupts off.
        interrupts::without_interrupts(|| unsafe { self.with_interrupts_off(use_it) })
    }

    /// As [`Self::with`], for an interrupt handler, whose interrupts are off already.
    ///
    /// # Safety
    /// The processor's interrupt flag is clear.
    #[inline(always)]
    pub(crate) unsafe fn with_interrupts_off<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        assert!(!self.busy.replace(true), "kernel state used inside itself");
        // SAFETY: interrupts are off and the flag says that no other borrow lives.
        let result = use_it(unsafe { &mut *self.value.get() });
        self.busy.set(false);
        result
    }
}
