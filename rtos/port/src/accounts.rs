//! The tasks' accounts, apart from the kernel's state because they are used with interrupts on.
//!
//! A task's account is written by the end of its own activations, which never overlap, and read by
//! the main loop, which runs when no activation does; so neither needs interrupts off.

use crate::application;
use crate::task::TaskId;
use crate::trace::Ended;
use core::cell::UnsafeCell;
use darma_abi::shared::Phase;
use darma_abi::units::Cycles;
use darma_machine::irq_off::{self, Section};
use darma_sched::faults::FaultKind;
use darma_sched::{Accounting, MAX_TASKS};

struct Accounts(UnsafeCell<[Accounting; MAX_TASKS]>);

// SAFETY: ACCOUNT-OWNER: each account has one writer at a time, and no reader while it writes.
unsafe impl Sync for Accounts {}

static ACCOUNTS: Accounts = Accounts(UnsafeCell::new([const { Accounting::new() }; MAX_TASKS]));

/// One account's place; nobody borrows the whole array.
fn place(slot: usize) -> Option<*mut Accounting> {
    let first = ACCOUNTS.0.get().cast::<Accounting>();
    // SAFETY: ACCOUNT-OWNER: inside the array.
    (slot < MAX_TASKS).then(|| unsafe { first.add(slot) })
}

fn change(task: TaskId, act: impl FnOnce(&mut Accounting)) {
    if let Some(account) = place(usize::from(task.0)) {
        // SAFETY: ACCOUNT-OWNER: called at the end of an activation of this task, or before any.
        unsafe { act(&mut *account) }
    }
}

/// Calls `read` with the account in `slot`, from the main loop; `None` if there is no such slot.
pub(crate) fn with<R>(slot: usize, read: impl FnOnce(&Accounting) -> R) -> Option<R> {
    // SAFETY: ACCOUNT-OWNER: the main loop runs, so no activation does.
    place(slot).map(|account| read(unsafe { &*account }))
}

/// Before the tasks start.
pub(crate) fn set_up(task: TaskId, deadline: Option<Cycles>) {
    change(task, |account| account.set_deadline(deadline));
}

/// An activation came to its end.
pub(crate) fn ran(ended: &Ended, phase: Phase) {
    change(TaskId(ended.task), |account| {
        account.ran(&ended.times, phase, application::scale());
    });
    let entry = ended.times.started.saturating_since(ended.entered);
    irq_off::note(Section::TaskEntry, entry);
    if ended.timer_begin.0 != 0 {
        // The handler itself reads no clock at its end when a task waits for it: up to the task's
        // interrupt is a few instructions more.
        let handler = ended.entered.saturating_since(ended.timer_begin);
        irq_off::note(ended.timer, handler);
    }
}

/// An activation was ended by a fault.
pub(crate) fn abandoned(task: TaskId, phase: Phase, fault: FaultKind) {
    change(task, |account| account.abandon(phase, fault));
}

/// Releases came before the activation was over.
pub(crate) fn skipped(task: TaskId, releases: u64, phase: Phase) {
    change(task, |account| account.skip(releases, phase));
}
