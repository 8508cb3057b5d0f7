//! A task's wake mark: that it was woken, and since when.
//!
//! The mark is one word: the earliest time at which somebody woke the task since it last looked, or
//! [`NOT_WOKEN`]. A waker sets the mark and then pends the task; the task takes the mark and then polls.
//! So whatever a waker made ready is seen by a poll that begins after it:
//!
//! ```text
//! waker:  data ready ─► fetch_min(mark) ─► pend          task:  started ─► swap(mark) ─► poll
//! ```
//!
//! * The mark is set by a read-modify-write, never skipped when it is set already: the release sequence
//!   carries *every* waker's data to the task, not only the first's.
//! * Every waker pends, also when another has set the mark before: that other may have been interrupted
//!   between its two steps, and the task must not wait for it to be resumed.
//!
//! The functions take the atomic as an argument of a type that the crate root names, so that the model
//! checks compile this very file against loom's (`tests/loom.rs`).

use crate::sync::{AtomicU64, Ordering};

/// The mark of a task that nobody woke: later than any time.
pub(crate) const NOT_WOKEN: u64 = u64::MAX;

/// Marks the task as woken at `now`, in cycles, unless it is marked with an earlier time.
#[inline]
pub(crate) fn mark(mark: &AtomicU64, now: u64) {
    mark.fetch_min(now.min(NOT_WOKEN - 1), Ordering::Release);
}

/// Takes the mark: the time of the first wake since the last call, `None` if there was none.
#[inline]
pub(crate) fn take(mark: &AtomicU64) -> Option<u64> {
    let at = mark.swap(NOT_WOKEN, Ordering::Acquire);
    (at != NOT_WOKEN).then_some(at)
}
