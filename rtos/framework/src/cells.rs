//! The memory of resources. All of it is reached through raw pointers, and only by generated code,
//! which keeps the rules by construction.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

/// A resource whose first value `init` makes.
pub struct Late<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: GENERATED-CODE: a shared value is reached under its ceiling or by readers alone, a local one by
// one task; `Send` because the value is handed from `init` to tasks.
unsafe impl<T: Send> Sync for Late<T> {}

impl<T> Late<T> {
    /// Memory without a value.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Puts the first value there.
    ///
    /// # Safety
    /// Called once, before any task runs.
    pub unsafe fn init(&self, value: T) {
        // SAFETY: nobody else uses the memory yet, the caller promises.
        unsafe { (*self.0.get()).write(value) };
    }

    /// Where the value is. It may be read once [`Self::init`] was called.
    pub const fn get(&self) -> *mut T {
        self.0.get().cast()
    }
}

impl<T> Default for Late<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A local resource with a constant first value.
pub struct Early<T>(UnsafeCell<T>);

// SAFETY: GENERATED-CODE: one task uses it, or `init` alone; the kernel's reset runs only while the task
// is stopped. So the value never has two users, whatever its type.
unsafe impl<T> Sync for Early<T> {}

impl<T> Early<T> {
    /// A resource with this value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where the value is.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }

    /// Puts a first value back, after the task was stopped at any instruction. What was there may be
    /// half changed, so it is forgotten and not dropped.
    ///
    /// # Safety
    /// The task is stopped, and no borrow of the value will be used again.
    pub unsafe fn put(&self, value: T) {
        // SAFETY: the caller promises that nobody uses the value.
        unsafe { self.0.get().write(value) };
    }
}
