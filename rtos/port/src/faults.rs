//! Containment: an activation that faults is abandoned, the rest goes on.
//!
//! ```text
//!   running ──1 exception, panic──► contained ──3 policy──► restarted at its next release
//!      └──────2 budget over──────────►  │                    stopped │ given up │ all stopped
//!                                       └─4─► registers of the interrupted context, IRETQ
//! ```
//! 1. On the exceptions' stack, or on the task's own in a panic. Only code with interrupts on is
//!    a task's: the kernel's sections run with interrupts off, so a fault there is a bug of ours.
//! 2. In the timer's handler. Inside a lock the end is put off: shared data is not left half-changed
//!    while there is hope that the lock ends by itself.
//! 3. `darma_sched::faults` decides.
//! 4. The stack of the class holds one activation and, at its top, what it interrupted; so leaving
//!    it is all that there is to undo, together with CR8, the APIC's in-service bit and the FPU.
//!
//! What a task was doing to shared data when a fault hit it inside a lock stays as it was; the fault's
//! record says `in_lock`, as Rust's own mutexes would say *poisoned*. A fault that can hit between two
//! stores of such data, inside a lock that did not end in time, stops every task.

use crate::accounts;
use crate::application;
use crate::dispatch::task_stack_top;
use crate::float;
use crate::kernel::{KERNEL, Kernel, VECTORS, pend, phase};
use crate::task::{Source, TaskId};
use crate::trace::{self, Kind};
use core::sync::atomic::{AtomicBool, Ordering};
use darma_abi::units::Cycles;
use darma_machine::local_apic::{self, LocalApic};
use darma_machine::{ATTENTION, stacks, time};
use darma_sched::MAX_TASKS;
use darma_sched::faults::{Action, FaultHistory, FaultKind};
use heapless::{Deque, String};
use x86_64::instructions::interrupts;

/// Records that wait to be taken; what comes on top is counted and lost.
const RECORDS: usize = 16;
/// Distance in nanoseconds of two looks at a task whose budget ended inside a lock.
const GRACE_NS: u64 = 5_000;
/// Looks after which it is stopped all the same.
const GRACES: u32 = 100;

static WAITING: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn rtos_leave_task(registers: u64) -> !;
}

/// The record of one fault.
#[derive(Clone, Debug)]
pub struct TaskFault {
    /// Which task.
    pub task: TaskId,
    /// What happened.
    pub kind: FaultKind,
    /// What was done.
    pub action: Action,
    /// When.
    pub at: Cycles,
    /// The instruction; 0 where it is not known (a panic tells its place in words).
    pub rip: u64,
    /// The address that a page fault touched; else 0.
    pub address: u64,
    /// It held a lock.
    pub in_lock: bool,
    /// Faults of this task so far, this one included.
    pub count: u32,
    /// What a panic said; else empty.
    pub words: Words,
}

/// A panic's message and place, cut to the room.
pub type Words = String<112>;

/// The kernel's part of the containment.
pub(crate) struct Faults {
    histories: [FaultHistory; MAX_TASKS],
    records: Deque<TaskFault, RECORDS>,
    lost: u32,
}

impl Faults {
    pub(crate) const fn new() -> Self {
        Self {
            histories: [FaultHistory::new(); MAX_TASKS],
            records: Deque::new(),
            lost: 0,
        }
    }

    /// An activation of the task in `slot` came to its end; `answered` is what it said that it answers.
    #[inline(always)]
    pub(crate) fn finished(&mut self, slot: usize, answered: Option<Cycles>) {
        if let Some(history) = self.histories.get_mut(slot) {
            match answered {
                Some(_) => history.finished(),
                None => history.finished_silently(),
            }
        }
    }
}

/// Whether there is a record that nobody took yet.
pub fn waiting() -> bool {
    WAITING.load(Ordering::Relaxed)
}

/// The oldest record that nobody took yet, and how many were lost before it.
pub fn take_fault() -> Option<(TaskFault, u32)> {
    KERNEL.with(|kernel| {
        let Some(record) = kernel.faults.records.pop_front() else {
            WAITING.store(false, Ordering::Relaxed);
            return None;
        };
        Some((record, core::mem::take(&mut kernel.faults.lost)))
    })
}

/// How often the task in `slot` faulted.
pub(crate) fn count_of(kernel: &Kernel, slot: usize) -> u32 {
    kernel
        .faults
        .histories
        .get(slot)
        .map_or(0, FaultHistory::faults)
}

/// What an exception was, and where.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Its vector.
    pub vector: u8,
    /// The interrupted instruction.
    pub rip: u64,
    /// The interrupted code ran with interrupts on.
    pub interrupts_on: bool,
    /// CR2, for a page fault.
    pub address: u64,
}

/// Abandons the running task if `exception` is its own; returns if it is not. Called on the
/// exceptions' stack with interrupts off.
pub fn contain_exception(exception: &Exception) {
    const PAGE_FAULT: u8 = 14;
    if !exception.interrupts_on {
        return;
    }
    // SAFETY: IRQ-OFF: an exception's gate is an interrupt gate, and the interrupted code, with its
    // interrupts on, was in no section of the kernel's.
    let kernel = unsafe { KERNEL.get() };
    let Some(class) = usize::from(kernel.top).checked_sub(1) else {
        return;
    };
    let overflow = stacks::TASKS
        .get(class)
        .is_some_and(|stack| stacks::is_guard_of(*stack, exception.address));
    let (kind, address) = match exception.vector {
        PAGE_FAULT if overflow => (FaultKind::StackOverflow, exception.address),
        PAGE_FAULT => (FaultKind::Exception(PAGE_FAULT), exception.address),
        vector => (FaultKind::Exception(vector), 0),
    };
    let cause = Cause {
        rip: exception.rip,
        address,
        ..Cause::of(kind)
    };
    abandon(kernel, class, cause, time::now());
}

/// The name of the task that runs, if the caller is a task: with interrupts on, as no section of the
/// kernel's is.
pub fn running_task() -> Option<&'static str> {
    if !interrupts::are_enabled() {
        return None;
    }
    KERNEL.with(|kernel| {
        let class = usize::from(kernel.top).checked_sub(1)?;
        let control = kernel
            .controls
            .get(usize::from(kernel.running.get(class)?.number))?;
        Some(application::task(control.task)?.name)
    })
}

/// Abandons the running task after its panic; returns if the caller is no task.
pub fn contain_panic(words: Words) {
    if running_task().is_none() {
        return;
    }
    interrupts::disable();
    // SAFETY: IRQ-OFF: switched off above.
    let kernel = unsafe { KERNEL.get() };
    if let Some(class) = usize::from(kernel.top).checked_sub(1) {
        let cause = Cause {
            words,
            ..Cause::of(FaultKind::Panic)
        };
        abandon(kernel, class, cause, time::now());
    }
}

/// The running task's budget ended; called at the end of the timer's handler.
#[cold]
pub(crate) fn over_budget(kernel: &mut Kernel, now: Cycles) {
    let Some(class) = usize::from(kernel.top).checked_sub(1) else {
        return;
    };
    let again = now.0.saturating_add(
        application::scale()
            .cycles(darma_abi::units::Nanos(GRACE_NS))
            .0,
    );
    if let Some(running) = kernel.running.get_mut(class)
        && local_apic::priority_class() > running.ceiling
        && running.grace < GRACES
    {
        running.grace += 1;
        running.budget_end = again;
        kernel.watch(again);
        return;
    }
    abandon(kernel, class, Cause::of(FaultKind::Budget), now);
}

/// What is known of a fault when it is contained.
struct Cause {
    kind: FaultKind,
    rip: u64,
    address: u64,
    words: Words,
}

impl Cause {
    /// No more than the kind.
    fn of(kind: FaultKind) -> Self {
        Self {
            kind,
            rip: 0,
            address: 0,
            words: Words::new(),
        }
    }
}

fn abandon(kernel: &mut Kernel, class: usize, cause: Cause, now: Cycles) {
    let (Some(running), Some(registers)) =
        (kernel.running.get(class).copied(), task_stack_top(class))
    else {
        return;
    };
    let Some(control) = kernel.controls.get(usize::from(running.number)).copied() else {
        return;
    };
    let slot = usize::from(control.task.0);
    let (Some(task), Some(history)) = (
        application::task(control.task),
        kernel.faults.histories.get_mut(slot),
    ) else {
        return;
    };
    let in_lock = local_apic::priority_class() > running.ceiling;
    let action = history.faulted(task.on_fault, cause.kind.place(in_lock));
    let record = TaskFault {
        task: control.task,
        kind: cause.kind,
        action,
        at: now,
        rip: cause.rip,
        address: cause.address,
        in_lock,
        count: history.faults(),
        words: cause.words,
    };
    if kernel.faults.records.push_back(record).is_err() {
        kernel.faults.lost = kernel.faults.lost.saturating_add(1);
    }
    WAITING.store(true, Ordering::Relaxed);
    accounts::abandoned(control.task, phase(), cause.kind);
    // What its exit would have recorded.
    if let Some(grid) = control.grid {
        trace::record(grid.next(), Kind::Release, u32::from(control.task.0));
    }
    if !running.traced {
        let begin = Cycles(running.begin);
        trace::record(begin, Kind::TaskBegin, u32::from(control.task.0));
    }
    trace::record(now, Kind::TaskFault, u32::from(control.task.0));
    match action {
        Action::Restarted => {
            if let Some(control) = kernel.controls.get_mut(usize::from(running.number)) {
                control.restart();
            }
            // Its queue or executor may wait for the reset before it lets anybody release the task.
            if task.source == Source::Software {
                history.released_for_reset();
                pend(control.task);
            }
        }
        Action::Stopped | Action::GivenUp => kernel.stop(usize::from(running.number)),
        Action::AllStopped => (0..VECTORS).for_each(|number| kernel.stop(number)),
    }
    ATTENTION.store(1, Ordering::Relaxed);
    float::abandon(class);
    kernel.return_from(usize::from(running.number), class, now);
    local_apic::set_priority_class(running.ceiling);
    LocalApic::in_handler().end_of_interrupt();
    // SAFETY: TASK-STACK: the class's stack holds this activation alone, so at its top stand the
    // registers of the context that it interrupted; nothing on it or on the handler's is needed again.
    unsafe { rtos_leave_task(registers) }
}
