//! The critical section on a host: it holds back every task of the simulated machine, as the machine's does.
//!
//! A section must not let a task in, not even one that is pended from inside it: channels and the delays'
//! queue wake tasks in the middle of changing their lists. So the section raises the level, and what became
//! pending runs when it ends. Between threads, each of which has a machine of its own, a mutex does the rest.
//! The `std` implementation of the crate does only that, and lets pended tasks in.

use super::{IN_INIT, deliver, machine};
use core::cell::RefCell;
use critical_section::RawRestoreState;
use darma_sched::Priority;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

static THREADS: Mutex<()> = Mutex::new(());

std::thread_local! {
    /// The levels before the sections that are open, outermost first, and the hold on other threads.
    static OPEN: RefCell<(Vec<u8>, Option<MutexGuard<'static, ()>>)> =
        const { RefCell::new((Vec::new(), None)) };
}

struct TasksHeldBack;
critical_section::set_impl!(TasksHeldBack);

// SAFETY: CRITICAL-SECTION: one thread at a time by the mutex, and on it no task starts at this level.
unsafe impl critical_section::Impl for TasksHeldBack {
    unsafe fn acquire() -> RawRestoreState {
        OPEN.with_borrow_mut(|(levels, hold)| {
            if levels.is_empty() {
                *hold = Some(THREADS.lock().unwrap_or_else(PoisonError::into_inner));
            }
            levels.push(machine(|machine| {
                let before = machine.level;
                if before != IN_INIT {
                    machine.level = before.max(Priority::HIGH.level());
                }
                before
            }));
        });
        RawRestoreState::default()
    }

    unsafe fn release(_: RawRestoreState) {
        OPEN.with_borrow_mut(|(levels, hold)| {
            if let Some(before) = levels.pop() {
                machine(|machine| machine.level = before);
            }
            if levels.is_empty() {
                *hold = None;
            }
        });
        deliver();
    }
}
