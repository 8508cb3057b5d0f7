//! The one physical timer, shared by the tasks' releases and by others who wait for a time.
//!
//! The nearest deadline of all is what the local APIC's timer is set to. An expiry that the main
//! loop waits for sets its bit in [`take_expired`] and the attention flag, which makes the guest
//! leave and the main loop look; so it costs the tasks nothing but those few instructions.

use crate::kernel::KERNEL;
use crate::task::TaskId;
use core::sync::atomic::{AtomicU32, Ordering};
use darma_abi::units::Cycles;
use darma_machine::irq_off::Section;

/// Timers that are not a periodic task's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Waiter {
    /// The GPOS's virtual timer.
    Gpos = 0,
    /// The RAS monitor.
    Monitor = 1,
    /// The tasks' own delays: its expiry releases the application's monotonic task.
    Monotonic = 2,
}

static EXPIRED: AtomicU32 = AtomicU32::new(0);

/// Arms `waiter`'s timer for `deadline`, replacing what it waited for; `None` disarms it. A deadline
/// that has passed expires at once.
pub fn arm(waiter: Waiter, deadline: Option<Cycles>) {
    KERNEL.with_as(Section::TimerQueue, |kernel| {
        kernel.arm_waiter(waiter, deadline.unwrap_or(Cycles(u64::MAX)));
    });
}

/// Whether `waiter`'s timer expired since the last call.
pub fn take_expired(waiter: Waiter) -> bool {
    let bit = 1 << waiter as u32;
    EXPIRED.load(Ordering::Relaxed) & bit != 0
        && EXPIRED.fetch_and(!bit, Ordering::Relaxed) & bit != 0
}

/// Called by the timer's handler for each expiry that is no periodic task's. Returns the task that
/// it releases, if it does.
pub(crate) fn note_expiry(waiter: u8, monotonic: Option<TaskId>) -> Option<TaskId> {
    if waiter == Waiter::Monotonic as u8 {
        return monotonic;
    }
    EXPIRED.fetch_or(1 << (waiter & 31), Ordering::Relaxed);
    darma_machine::ATTENTION.store(1, Ordering::Relaxed);
    None
}
