//! The kernel's state, releases, and the timer's handler.
//!
//! Life of a periodic task's activation: the timer fires (class 0xF) → the release is taken from its
//! grid and accounted → self-IPI on the task's vector → end of the timer's interrupt → the APIC
//! delivers the task's vector as soon as its class is the highest ([`crate::dispatch`]).

use crate::cell::InterruptCell;
use crate::dispatch::{Control, Running};
use crate::faults::{self, Faults};
use crate::task::{LONGEST_RUN, Source, Task, TaskId};
use crate::timer::{self, Waiter};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use darma_abi::shared::Phase;
use darma_abi::units::{Cycles, Vector};
use darma_machine::descriptors;
use darma_machine::irq_off::{self, Section};
use darma_machine::local_apic::LocalApic;
use darma_machine::stacks::{self, Stack};
use darma_machine::time;
use darma_sched::{
    Accounting, Activation, Periodic, Priority, TIMER_VECTOR, TimeScale, TimerQueue,
};

core::arch::global_asm!(include_str!("stubs.S"));

unsafe extern "C" {
    fn rtos_timer_stub();
    fn rtos_spurious_stub();
    static rtos_task_stubs: [u64; VECTORS];
}

/// Most tasks of one application.
pub const MAX_TASKS: usize = 16;
const SLOTS: usize = MAX_TASKS + timer::WAITERS;
/// First vector of the tasks.
pub(crate) const FIRST_VECTOR: u8 = 0xc0;
pub(crate) const VECTORS: usize = 48;
/// The one-shot timer is never set further ahead than this many of its ticks; it then fires early,
/// finds nothing due, and is set again.
const LONGEST_WAIT: u64 = 1 << 31;

pub(crate) static KERNEL: InterruptCell<Kernel> = InterruptCell::new(Kernel::new());
static PHASE: AtomicU32 = AtomicU32::new(0);
/// Each task's vector: what [`pend`] needs, from any context. Zero: none.
static VECTOR_OF: [AtomicU8; MAX_TASKS] = [const { AtomicU8::new(0) }; MAX_TASKS];

/// What the RTOS is given before the application's init runs.
#[derive(Clone, Copy, Debug)]
pub struct SetUp {
    /// The application's tasks, at most [`MAX_TASKS`].
    pub tasks: &'static [Task],
    /// The task that [`Waiter::Monotonic`]'s expiry releases.
    pub monotonic: Option<TaskId>,
    /// The time-stamp counter's scale.
    pub scale: TimeScale,
    /// Local APIC timer ticks per TSC cycle, times 2^32.
    pub apic_per_cycle: u64,
}

pub(crate) struct Kernel {
    queue: TimerQueue<SLOTS>,
    /// What the hardware timer is set for.
    armed_for: u64,
    apic_per_cycle: u64,
    /// The class of the running task, from 1; 0 while none runs.
    pub(crate) top: u8,
    pub(crate) running: [Running; Priority::COUNT],
    pub(crate) controls: [Control; VECTORS],
    releases: [Periodic; MAX_TASKS],
    pub(crate) accounts: [Accounting; MAX_TASKS],
    pub(crate) tasks: &'static [Task],
    pub(crate) scale: TimeScale,
    pub(crate) faults: Faults,
    /// When the last interrupt of the timer began, and its number.
    timer_begin: Cycles,
    timer_serial: u32,
    pub(crate) timer_to_task: Cycles,
    monotonic: Option<TaskId>,
}

impl Kernel {
    const fn new() -> Self {
        Self {
            queue: TimerQueue::new(),
            armed_for: u64::MAX,
            apic_per_cycle: 1 << 32,
            top: 0,
            running: [const { Running::NONE }; Priority::COUNT],
            controls: [const { Control::VACANT }; VECTORS],
            releases: [Periodic::new(Cycles(u64::MAX), Cycles(1)); MAX_TASKS],
            accounts: [const { Accounting::new() }; MAX_TASKS],
            tasks: &[],
            scale: TimeScale::GIGAHERTZ,
            faults: Faults::new(),
            timer_begin: Cycles(0),
            timer_serial: 0,
            timer_to_task: Cycles(0),
            monotonic: None,
        }
    }

    pub(crate) fn arm_waiter(&mut self, waiter: Waiter, deadline: Cycles, now: Cycles) {
        if self.queue.arm(MAX_TASKS + waiter as usize, deadline) {
            self.set_hardware(now);
        }
    }

    /// Sets the physical timer to the nearest deadline or end of a budget, rounded up so that it is
    /// never early.
    #[inline(always)]
    pub(crate) fn set_hardware(&mut self, now: Cycles) {
        let next = self.nearest();
        self.armed_for = next;
        let wait = u128::from(next.saturating_sub(now.0)) * u128::from(self.apic_per_cycle);
        #[allow(clippy::cast_possible_truncation, reason = "bounded by LONGEST_WAIT")]
        let ticks = ((wait >> 32) as u64).min(LONGEST_WAIT) as u32 + 1;
        LocalApic::in_handler().start_timer(ticks);
    }

    /// Where the running task's budget ends; never, while none runs.
    #[inline(always)]
    pub(crate) fn budget_end(&self) -> u64 {
        let below = self.top.wrapping_sub(1);
        self.running
            .get(usize::from(below))
            .map_or(u64::MAX, |running| running.budget_end)
    }

    /// Makes sure that the timer fires when the running task's budget ends.
    #[inline(always)]
    pub(crate) fn watch_budget(&mut self, end: u64) {
        if end < self.armed_for {
            self.set_hardware(time::now());
        }
    }

    /// Sets the timer anew if it is not set for what comes next: the running task has changed.
    #[inline(always)]
    pub(crate) fn watch_anew(&mut self) {
        if self.nearest() != self.armed_for {
            self.set_hardware(time::now());
        }
    }

    /// The nearest deadline or end of the running task's budget.
    #[inline(always)]
    fn nearest(&self) -> u64 {
        let queued = self.queue.next().map_or(u64::MAX, |next| next.0);
        queued.min(self.budget_end())
    }

    #[inline(always)]
    fn expire(&mut self, now: Cycles) {
        while let Some(due) = self.queue.pop_due(now) {
            if due.slot < MAX_TASKS {
                self.release(due.slot, now);
            } else if let Some(task) = timer::note_expiry(due.slot - MAX_TASKS, self.monotonic) {
                pend(task);
            }
        }
        // A deadline that passed meanwhile is armed one tick ahead: a new interrupt, after the
        // tasks released here had their turn.
        self.set_hardware(time::now());
    }

    #[inline(always)]
    fn release(&mut self, slot: usize, now: Cycles) {
        let (Some(grid), Some(account), Some(vector)) = (
            self.releases.get_mut(slot),
            self.accounts.get_mut(slot),
            VECTOR_OF.get(slot),
        ) else {
            return;
        };
        let Some(release) = grid.take(now) else {
            return;
        };
        if account.activate(release.at, phase()) == Activation::Pended {
            LocalApic::in_handler().pend(Vector(vector.load(Ordering::Relaxed)));
        }
        if release.skipped > 0 {
            account.skip(release.skipped, phase());
        }
        self.queue.arm(slot, release.next);
    }

    /// A task that was the `serial`th interrupt started at `started`: if the timer's was the one
    /// before, this was the path from the timer to the task.
    pub(crate) fn note_path(&mut self, serial: u32, started: Cycles) {
        if serial == self.timer_serial.wrapping_add(1) {
            let lasted = started.saturating_since(self.timer_begin);
            self.timer_to_task = self.timer_to_task.max(lasted);
        }
    }

    /// Releases the task in `slot` no more.
    pub(crate) fn stop(&mut self, slot: usize) {
        self.queue.cancel(slot);
        let vector = VECTOR_OF
            .get(slot)
            .map_or(0, |vector| vector.load(Ordering::Relaxed));
        if let Some(control) = self
            .controls
            .get_mut(usize::from(vector.wrapping_sub(FIRST_VECTOR)))
        {
            control.stop();
        }
    }
}

/// Installs the handlers and learns the tasks. Nothing is released before [`start`].
///
/// # Safety
/// Called once, before interrupts are first enabled (BOOT-ONCE), with the local APIC initialised.
///
/// # Panics
/// With more than [`MAX_TASKS`] tasks or more than 16 of one priority: a wrong application.
pub unsafe fn set_up(given: SetUp) {
    assert!(given.tasks.len() <= MAX_TASKS, "more than 16 tasks");
    let task_stack = |vector: u8| {
        let level = usize::from(vector >> 4) - usize::from(FIRST_VECTOR >> 4);
        stacks::TASKS.get(level).copied()
    };
    // SAFETY: BOOT-ONCE, promised by the caller; the stubs restore what they change, and tasks of a
    // class never nest, so neither do interrupts on its stack.
    unsafe {
        let timer = Some(Stack::Timer);
        descriptors::set_gate(TIMER_VECTOR.0, rtos_timer_stub as *const () as u64, timer);
        descriptors::set_gate(0xff, rtos_spurious_stub as *const () as u64, timer);
        for (vector, stub) in (FIRST_VECTOR..).zip(rtos_task_stubs) {
            descriptors::set_gate(vector, stub, task_stack(vector));
        }
    }
    KERNEL.with(|kernel| {
        kernel.tasks = given.tasks;
        kernel.scale = given.scale;
        kernel.apic_per_cycle = given.apic_per_cycle;
        kernel.monotonic = given.monotonic;
        let mut used = [0u8; Priority::COUNT];
        for (slot, task) in (0u8..).zip(given.tasks) {
            let of_priority = &mut used[usize::from(task.priority.level()) - 1];
            // Of one class the APIC delivers the higher vector first: the table's order decides.
            let vector = task
                .priority
                .vector(15u8.wrapping_sub(*of_priority))
                .expect("16 tasks of one priority");
            *of_priority += 1;
            VECTOR_OF[usize::from(slot)].store(vector.0, Ordering::Relaxed);
            let (budget, period) = match task.source {
                Source::Periodic { period, .. } => (task.budget.unwrap_or(period), Some(period)),
                _ => (task.budget.unwrap_or(LONGEST_RUN), None),
            };
            kernel.controls[usize::from(vector.0 - FIRST_VECTOR)] =
                Control::new(TaskId(slot), task, kernel.scale.cycles(budget));
            let deadline = task.deadline.or(period);
            kernel.accounts[usize::from(slot)]
                .set_deadline(deadline.map(|deadline| kernel.scale.cycles(deadline)));
        }
    });
}

/// Places every periodic task's first release one period and its phase ahead, and starts the timer.
pub fn start() {
    KERNEL.with(|kernel| {
        let now = time::now();
        for (slot, task) in kernel.tasks.iter().enumerate() {
            if let Source::Periodic { period, phase } = task.source {
                let period = kernel.scale.cycles(period);
                let first = Cycles(now.0 + period.0 + kernel.scale.cycles(phase).0);
                kernel.releases[slot] = Periodic::new(first, period);
                kernel.queue.arm(slot, first);
            }
        }
        kernel.set_hardware(now);
    });
}

/// Makes a task run as soon as nothing of its class or above does. Releases that come before it ran
/// are one; a task that was stopped ignores it. From any context, interrupts on or off.
#[inline(always)]
pub fn pend(task: TaskId) {
    if let Some(vector) = vector_of(task) {
        LocalApic::in_handler().pend(vector);
    }
}

/// The interrupt vector of a task; `None` if there is no such task.
#[inline(always)]
pub fn vector_of(task: TaskId) -> Option<Vector> {
    let vector = VECTOR_OF.get(usize::from(task.0))?.load(Ordering::Relaxed);
    (vector != 0).then_some(Vector(vector))
}

/// The time-stamp counter.
#[inline(always)]
pub fn now() -> Cycles {
    time::now()
}

/// The phase under which latencies are recorded now.
#[inline(always)]
pub fn phase() -> Phase {
    Phase::from_code(PHASE.load(Ordering::Relaxed)).unwrap_or(Phase::Idle)
}

/// Sets the phase under which latencies are recorded from now on.
pub fn set_phase(phase: Phase) {
    PHASE.store(phase.code(), Ordering::Relaxed);
}

/// The time-stamp counter's scale.
pub fn time_scale() -> TimeScale {
    KERNEL.with(|kernel| kernel.scale)
}

/// The timer's handler. All of it stands between a release and its task's first instruction, so
/// it does nothing that could be done later.
#[unsafe(no_mangle)]
extern "C" fn rtos_timer_interrupt() {
    let begin = time::now();
    irq_off::count_interrupt();
    // SAFETY: IRQ-OFF: the stub is behind an interrupt gate.
    let kernel = unsafe { KERNEL.get() };
    kernel.timer_begin = begin;
    kernel.timer_serial = irq_off::interrupts();
    let overrun = begin.0 >= kernel.budget_end();
    kernel.expire(begin);
    LocalApic::in_handler().end_of_interrupt();
    irq_off::record(Section::Timer, begin);
    if overrun {
        faults::over_budget(kernel, begin);
    }
}
