//! Who may touch an executor's future: one word of state.
//!
//! ```text
//!           1 reserve            2 publish             3 begin
//!   Vacant ──────────► Filling ────────────► Suspended ───────► Polling
//!     ▲                                          ▲   4 suspend     │
//!     │                                          └─────────────────┤
//!     └──────────────────────────── 5 finish, 6 abandon ───────────┘
//!   Spent ◄──────────────────────── 6 abandon, no cell left ───────┘
//! ```
//! 1. A spawner takes the slot; whoever finds it taken gives the arguments back.
//! 2. The future lies in its cell.
//! 3. The task's body polls; only in this state is the future borrowed.
//! 4. It waits.
//! 5. It was done, and is dropped.
//! 6. The task was stopped by a fault in mid-poll: the cell is given up ([`crate::Executor::abandon`]).
//!
//! In `Filling` and `Polling` the memory belongs to whoever made the transition. The functions take the
//! atomic as an argument, for the same reason as in [`crate::wake`].

use crate::sync::{AtomicU8, Ordering};

pub(crate) const VACANT: u8 = 0;
pub(crate) const FILLING: u8 = 1;
pub(crate) const SUSPENDED: u8 = 2;
pub(crate) const POLLING: u8 = 3;
pub(crate) const SPENT: u8 = 4;

/// Transition 1. Whether the caller owns the slot now.
#[inline]
pub(crate) fn reserve(state: &AtomicU8) -> bool {
    change(state, VACANT, FILLING)
}

/// Transition 2, by the caller that reserved.
#[inline]
pub(crate) fn publish(state: &AtomicU8) {
    state.store(SUSPENDED, Ordering::Release);
}

/// Transition 3. Whether the caller may poll now.
#[inline]
pub(crate) fn begin(state: &AtomicU8) -> bool {
    change(state, SUSPENDED, POLLING)
}

/// Transitions 4 to 6, by whoever polled or stands in for it.
#[inline]
pub(crate) fn end(state: &AtomicU8, next: u8) {
    state.store(next, Ordering::Release);
}

#[inline]
fn change(state: &AtomicU8, from: u8, to: u8) -> bool {
    state
        .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}
