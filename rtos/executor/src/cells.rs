//! Static memory for a future whose type has no name.
//!
//! The type of an `async fn`'s future cannot be written on stable Rust, so no static can be declared of it.
//! Its size can be had, though: [`size_of_future`] takes the function that makes it, whose return type the
//! compiler infers, and is `const`. The static is then bytes of that size, and the executor keeps beside
//! them the function that polls what lies there. Nothing is ever transmuted: the type is known again inside
//! that function, because it was instantiated where the future was put in.
//!
//! Rejected: a static of the future's type by `type_alias_impl_trait` (not stable); an executor on a stack
//! that never ends, RTIC's way (our `init` returns, the idle task is the GPOS); a heap (fails at run time,
//! and its worst case is nobody's).
//!
//! There may be several cells. A future that was stopped in mid-poll is never touched again, and its cell
//! is given up; a restarted task takes the next (decision 0017).

use core::cell::UnsafeCell;
use core::future::Future;
use core::mem::MaybeUninit;
use core::task::{Context, Poll};

/// Alignment of a cell, in bytes: a cache line, more than any future of ours asks for. One that asks for
/// more does not compile.
pub const ALIGNMENT: usize = 64;

/// The size in bytes of the future that `make` returns, for [`crate::Executor`]'s first parameter. `make`
/// is not called.
pub const fn size_of_future<A, F: Future, M: FnOnce(A) -> F>(_make: &M) -> usize {
    size_of::<F>()
}

/// Memory for one future of at most `SIZE` bytes.
#[repr(C, align(64))]
pub(crate) struct Cell<const SIZE: usize>(UnsafeCell<MaybeUninit<[u8; SIZE]>>);

impl<const SIZE: usize> Cell<SIZE> {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// The address of the future.
    pub(crate) const fn place(&self) -> *mut u8 {
        self.0.get().cast()
    }
}

/// Polls the future of the type that it was instantiated for; see [`poll_at`].
pub(crate) type PollAt = unsafe fn(*mut u8, &mut Context<'_>) -> Poll<()>;

/// Polls the `F` at `place` and drops it when it is done. Returns whether it is.
///
/// # Safety
/// At `place` lies an `F` that is not moved until it is dropped, and nobody else touches it meanwhile.
pub(crate) unsafe fn poll_at<F: Future>(place: *mut u8, context: &mut Context<'_>) -> Poll<()> {
    let future = place.cast::<F>();
    // SAFETY: FUTURE-CELL: the caller says that an `F` lies here, reached by nobody else, and that it
    // stays where it is.
    match unsafe { core::pin::Pin::new_unchecked(&mut *future) }.poll(context) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(_) => {
            // SAFETY: FUTURE-CELL: as above; it is not polled again after this.
            unsafe { future.drop_in_place() };
            Poll::Ready(())
        }
    }
}
