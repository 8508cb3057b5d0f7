//! State that is touched only with interrupts off.

use core::cell::UnsafeCell;
use x86_64::instructions::interrupts;

/// A cell whose content is reached only while the processor's interrupt flag is clear.
pub(crate) struct InterruptCell<T>(UnsafeCell<T>);

// SAFETY: one processor (ONE-CPU), and `with` holds interrupts off while the borrow lives, so no
// two contexts ever hold it; the one remaining way, a nested call, is what IRQ-OFF forbids.
unsafe impl<T: Send> Sync for InterruptCell<T> {}

impl<T> InterruptCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Calls `use_it` with the content, interrupts off. `use_it` calls nothing that comes here again:
    /// the closures of this crate call decisions of `darma_sched` and registers (IRQ-OFF).
    #[inline(always)]
    pub(crate) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the closure runs with interrupts off and, by IRQ-OFF, is the only one.
        interrupts::without_interrupts(|| use_it(unsafe { self.get() }))
    }

    /// The content, for an interrupt handler, whose interrupts are off already.
    ///
    /// # Safety
    /// IRQ-OFF: the processor's interrupt flag is clear while the borrow lives, and no other lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the caller promises the only borrow")]
    pub(crate) unsafe fn get(&self) -> &mut T {
        // SAFETY: promised by the caller.
        unsafe { &mut *self.0.get() }
    }
}
