//! The kernel's state, releases, and the timer's handler.
//!
//! Life of a periodic task's activation: the timer fires (class 0xF) → self-IPI on the vector of each
//! task that is due → end of the timer's interrupt → the APIC delivers the task's vector as soon as its
//! class is the highest ([`crate::dispatch`]) → at its end the next release is taken from the grid and
//! queued. So the timer's handler, which stands before every first instruction, does not queue.

use crate::accounts;
use crate::application;
use crate::cell::InterruptCell;
use crate::dispatch::{Control, Running};
use crate::faults::{self, Faults};
use crate::task::{LONGEST_RUN, Source, Task, TaskId};
use crate::timer::{self, Waiter};
use crate::trace::{self, Kind};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use darma_abi::shared::Phase;
use darma_abi::units::{Cycles, Vector};
use darma_machine::descriptors;
use darma_machine::irq_off::{self, Section};
use darma_machine::local_apic::LocalApic;
use darma_machine::stacks::{self, Stack};
use darma_machine::time;
use darma_sched::{MAX_TASKS, Periodic, Priority, TIMER_VECTOR, TimeScale, TimerQueue};

core::arch::global_asm!(
    darma_machine::begin_stubs!(),
    include_str!("stubs.S"),
    darma_machine::end_of_stubs!()
);

unsafe extern "C" {
    fn rtos_timer_stub();
    fn rtos_spurious_stub();
    static rtos_task_stubs: [u64; VECTORS];
}

/// First vector of the tasks.
pub(crate) const FIRST_VECTOR: u8 = 0xc0;
/// The timer queue's slots: the tasks' vectors, less the first, and then the waiters.
const FIRST_WAITER: u8 = 48;
/// Three classes of sixteen.
pub(crate) const VECTORS: usize = FIRST_WAITER as usize;
/// Room for [`VECTORS`], a power of two: a mask spares the entry its bound check.
pub(crate) const PLACES: usize = 64;
/// The one-shot timer is never set further ahead than this many of its ticks; it then fires early,
/// finds nothing due, and is set again.
pub(crate) const LONGEST_WAIT: u64 = 1 << 31;

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
    queue: TimerQueue,
    /// What the hardware timer is set for.
    armed_for: u64,
    apic_per_cycle: u64,
    /// Where the running task's budget ends; never, while none runs.
    pub(crate) watched: u64,
    /// The shortest budget of all tasks, in cycles.
    least_budget: u64,
    /// When the last interrupt of the timer that released a task began; 0 once a task has begun.
    pub(crate) timer_begin: u64,
    /// When the last interrupt of the timer began that found several expiries, or that another followed
    /// before the task that it released.
    pub(crate) joint_begin: u64,
    /// The class of the running task, from 1; 0 while none runs.
    pub(crate) top: u8,
    pub(crate) controls: [Control; PLACES],
    pub(crate) running: [Running; Priority::COUNT + 1],
    pub(crate) faults: Faults,
    /// The longest by one expiry, and by several.
    pub(crate) timer_to_task: [Cycles; 2],
    monotonic: Option<TaskId>,
}

impl Kernel {
    const fn new() -> Self {
        Self {
            queue: TimerQueue::new(),
            armed_for: u64::MAX,
            apic_per_cycle: 1 << 32,
            watched: u64::MAX,
            least_budget: LONGEST_WAIT,
            timer_begin: 0,
            joint_begin: 0,
            top: 0,
            controls: [const { Control::VACANT }; PLACES],
            running: [const { Running::NONE }; Priority::COUNT + 1],
            faults: Faults::new(),
            timer_to_task: [Cycles(0); 2],
            monotonic: None,
        }
    }

    pub(crate) fn arm_waiter(&mut self, waiter: Waiter, deadline: Cycles) {
        if self.queue.arm(FIRST_WAITER + waiter as u8, deadline) {
            self.set_hardware(u64::MAX, LocalApic::in_handler());
        }
    }

    /// Sets the physical timer to the nearest of the next deadline, the end of the running task's
    /// budget, and `or`, rounded up so that it is never early.
    #[inline(always)]
    fn set_hardware(&mut self, or: u64, apic: LocalApic) {
        let next = self.queue.next().0.min(self.watched).min(or);
        self.armed_for = next;
        let wait = next.saturating_sub(time::now().0);
        let wait = u128::from(wait) * u128::from(self.apic_per_cycle);
        #[allow(clippy::cast_possible_truncation, reason = "bounded by LONGEST_WAIT")]
        let ticks = ((wait >> 32) as u64).min(LONGEST_WAIT) as u32 + 1;
        apic.start_timer(ticks);
    }

    /// Sets the timer anew if it is not set for what comes next.
    #[inline(always)]
    pub(crate) fn watch_anew(&mut self) {
        if self.queue.next().0.min(self.watched) != self.armed_for {
            self.set_hardware(u64::MAX, LocalApic::in_handler());
        }
    }

    /// Makes sure that the timer fires when the running task's budget ends. The timer's handler, which
    /// knows that it releases somebody, has seen to it already; other releases have not.
    #[inline(always)]
    pub(crate) fn watch(&mut self, end: u64) {
        self.watched = end;
        if end < self.armed_for {
            self.set_hardware(u64::MAX, LocalApic::in_handler());
        }
    }

    #[inline(always)]
    fn expire(&mut self, now: Cycles, apic: LocalApic) {
        if let Some(slot) = self.queue.pop_due(now) {
            if slot < FIRST_WAITER {
                apic.pend(Vector(FIRST_VECTOR | slot));
                self.timer_begin = now.0;
            } else {
                self.expire_waiter(slot);
            }
            if self.queue.next() <= now {
                self.expire_more(now);
            }
        }
    }

    /// What else is due at the same moment: each is in the trace, because it holds the first up.
    #[inline(never)]
    fn expire_more(&mut self, now: Cycles) {
        self.joint_begin = now.0;
        while let Some(slot) = self.queue.pop_due(now) {
            if slot < FIRST_WAITER {
                LocalApic::in_handler().pend(Vector(FIRST_VECTOR | slot));
                self.timer_begin = now.0;
                if let Some(control) = self.controls.get(usize::from(slot)) {
                    trace::record(time::now(), Kind::Release, u32::from(control.task.0));
                }
            } else {
                self.expire_waiter(slot);
            }
        }
    }

    /// The section that the timer's interrupt of `begin` was: one that had one expiry, or not.
    #[inline(always)]
    pub(crate) fn timer_section(&self, begin: u64) -> Section {
        if self.joint_begin == begin {
            Section::TimerJoint
        } else {
            Section::Timer
        }
    }

    #[inline(never)]
    fn expire_waiter(&mut self, slot: u8) {
        if let Some(task) = timer::note_expiry(slot - FIRST_WAITER, self.monotonic) {
            pend(task);
        }
    }

    /// Queues the next release of the periodic task behind vector number `number`, whose activation
    /// is over at `now`. Returns how many releases came before that.
    #[inline(always)]
    pub(crate) fn queue_next(&mut self, number: usize, now: Cycles) -> Option<u64> {
        let grid = self.controls.get_mut(number)?.grid.as_mut()?;
        // An activation starts after its release, so it is due.
        let release = grid.take(now)?;
        let slot = u8::try_from(number).ok()?;
        self.queue.insert(slot, release.next);
        Some(release.skipped)
    }

    /// Releases the task behind vector number `number` no more.
    pub(crate) fn stop(&mut self, number: usize) {
        if let (Some(control), Ok(slot)) = (self.controls.get_mut(number), u8::try_from(number)) {
            control.stop();
            self.queue.cancel(slot);
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
    // SAFETY: BOOT-ONCE, promised by the caller.
    unsafe { application::set(given.tasks, given.scale) };
    // SAFETY: BOOT-ONCE: interrupts are off, and nothing else uses the state yet.
    let kernel = unsafe { KERNEL.get() };
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
        let budget = given.scale.cycles(budget);
        kernel.least_budget = kernel.least_budget.min(budget.0);
        kernel.controls[usize::from(vector.0 - FIRST_VECTOR)] =
            Control::new(TaskId(slot), task, budget);
        let deadline = task.deadline.or(period);
        let deadline = deadline.map(|deadline| given.scale.cycles(deadline));
        accounts::set_up(TaskId(slot), deadline);
        trace::explain_class(task.priority.level());
    }
}

/// Places every periodic task's first release one period and its phase ahead, and starts the timer.
///
/// # Safety
/// Called once, after [`set_up`], before interrupts are first enabled (BOOT-ONCE).
pub unsafe fn start() {
    // SAFETY: BOOT-ONCE: interrupts are off, and nothing else uses the state yet.
    let kernel = unsafe { KERNEL.get() };
    let now = time::now();
    let scale = application::scale();
    for (task, declared) in (0..).map(TaskId).zip(application::tasks()) {
        if let Source::Periodic { period, phase } = declared.source
            && let Some(number) = number_of(task)
        {
            let period = scale.cycles(period);
            let first = Cycles(now.0 + period.0 + scale.cycles(phase).0);
            kernel.controls[usize::from(number)].grid = Some(Periodic::new(first, period));
            kernel.queue.insert(number, first);
        }
    }
    kernel.set_hardware(u64::MAX, LocalApic::in_handler());
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

/// A task's vector, less the first: where its control stands, and its slot in the timer's queue.
pub(crate) fn number_of(task: TaskId) -> Option<u8> {
    vector_of(task).map(|vector| vector.0.wrapping_sub(FIRST_VECTOR))
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

/// The timer's handler. All of it stands between a release and its task's first instruction, so
/// it does nothing that could be done later: if it released a task, that task's exit notes how long
/// it took.
#[unsafe(no_mangle)]
extern "C" fn rtos_timer_interrupt() {
    let begin = time::now();
    irq_off::count_interrupt();
    // SAFETY: IRQ-OFF: the stub is behind an interrupt gate.
    let kernel = unsafe { KERNEL.get() };
    kernel.expire(begin, LocalApic::in_handler());
    // A deadline that passed meanwhile is armed one tick ahead: a new interrupt, after the tasks
    // released here had their turn. The first look at their budgets is at the shortest one's end.
    // An earlier release may still wait for its task: that is none of this interrupt's.
    if kernel.timer_begin == begin.0 {
        let look = begin.0.wrapping_add(kernel.least_budget);
        // Asked anew: keeping it across the calls above would cost more.
        let apic = LocalApic::in_handler();
        kernel.set_hardware(look, apic);
        apic.end_of_interrupt();
    } else {
        nothing_released(kernel, begin);
    }
}

/// The timer fired for the GPOS, for the main loop, or for a budget.
#[inline(never)]
fn nothing_released(kernel: &mut Kernel, begin: Cycles) {
    let apic = LocalApic::in_handler();
    kernel.set_hardware(u64::MAX, apic);
    apic.end_of_interrupt();
    if begin.0 >= kernel.watched {
        faults::over_budget(kernel, begin);
    }
    let end = time::now();
    irq_off::note(kernel.timer_section(begin.0), end.saturating_since(begin));
    if kernel.timer_begin != 0 {
        kernel.joint_begin = kernel.timer_begin;
    }
    trace::record(begin, Kind::TimerBegin, 0);
    trace::record(end, Kind::TimerEnd, 0);
}
