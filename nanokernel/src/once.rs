//! Large state that is placed in the image and handed out once.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A static whose content is borrowed exclusively, for ever, by the first who asks.
pub(crate) struct Once<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the flag lets exactly one caller have the only borrow.
unsafe impl<T: Send> Sync for Once<T> {}

impl<T> Once<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// The content.
    ///
    /// # Panics
    /// When asked a second time: a bug of this crate.
    #[allow(
        clippy::mut_from_ref,
        reason = "the flag hands the only borrow out once"
    )]
    pub(crate) fn take(&'static self) -> &'static mut T {
        assert!(
            !self.taken.swap(true, Ordering::AcqRel),
            "boot state taken twice"
        );
        // SAFETY: the swap succeeded once, here.
        unsafe { &mut *self.value.get() }
    }
}
