//! The kernel: releases, the timer's handler, the entry and exit of tasks.
//!
//! Life of a periodic task's run: the timer fires (class 0xF) → the release is taken from its grid and
//! accounted → self-IPI on the task's vector → end of the timer's interrupt → the APIC delivers the
//! task's vector as soon as its class is the highest → entry section → body, interrupts on →
//! exit section, where the start and the finish are accounted, so that the accounting does not
//! stand between the release and the task's first instruction.

use crate::cell::InterruptCell;
use crate::task::{Context, Task};
use crate::timer;
use core::sync::atomic::{AtomicU32, Ordering};
use darma_abi::shared::Phase;
use darma_abi::units::{Cycles, Vector};
use darma_histogram::Histogram;
use darma_machine::descriptors;
use darma_machine::irq_off::{self, Section};
use darma_machine::local_apic::LocalApic;
use darma_machine::time;
use darma_sched::{
    Accounting, Activation, Periodic, Priority, TIMER_VECTOR, TimeScale, TimerQueue,
};
use x86_64::instructions::interrupts;

core::arch::global_asm!(include_str!("stubs.S"));

unsafe extern "C" {
    fn rtos_timer_stub();
    fn rtos_spurious_stub();
    static rtos_task_stubs: [u64; VECTORS];
}

/// Most tasks of one application.
pub(crate) const MAX_TASKS: usize = 16;
const WAITERS: usize = 2;
const SLOTS: usize = MAX_TASKS + WAITERS;
const FIRST_VECTOR: u8 = 0xc0;
const VECTORS: usize = 48;
const NO_TASK: u8 = u8::MAX;
/// The one-shot timer is never set further ahead than this many of its ticks; it then fires early,
/// finds nothing due, and is set again.
const LONGEST_WAIT: u64 = 1 << 31;

pub(crate) static KERNEL: InterruptCell<Kernel> = InterruptCell::new(Kernel::new());
static PHASE: AtomicU32 = AtomicU32::new(0);

/// What the RTOS is started with.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The application's tasks, at most [`MAX_TASKS`].
    pub tasks: &'static [Task],
    /// The time-stamp counter's scale.
    pub scale: TimeScale,
    /// Local APIC timer ticks per TSC cycle, times 2^32.
    pub apic_per_cycle: u64,
}

pub(crate) struct Kernel {
    queue: TimerQueue<SLOTS>,
    tasks: &'static [Task],
    releases: [Periodic; MAX_TASKS],
    accounts: [Accounting; MAX_TASKS],
    vectors: [u8; MAX_TASKS],
    task_of_vector: [u8; VECTORS],
    released: [Cycles; MAX_TASKS],
    scale: TimeScale,
    apic_per_cycle: u64,
}

impl Kernel {
    const fn new() -> Self {
        Self {
            queue: TimerQueue::new(),
            tasks: &[],
            releases: [Periodic::new(Cycles(u64::MAX), Cycles(1)); MAX_TASKS],
            accounts: [const { Accounting::new(Cycles(0)) }; MAX_TASKS],
            vectors: [0; MAX_TASKS],
            task_of_vector: [NO_TASK; VECTORS],
            released: [Cycles(0); MAX_TASKS],
            scale: TimeScale::GIGAHERTZ,
            apic_per_cycle: 1 << 32,
        }
    }

    pub(crate) fn arm_waiter(&mut self, waiter: usize, deadline: Cycles, now: Cycles) {
        if self.queue.arm(MAX_TASKS + waiter, deadline) {
            self.set_hardware(now);
        }
    }

    /// Sets the physical timer to the nearest deadline, rounded up so that it is never early.
    fn set_hardware(&self, now: Cycles) {
        let Some(next) = self.queue.next() else {
            return;
        };
        let wait = u128::from(next.saturating_since(now).0) * u128::from(self.apic_per_cycle);
        #[allow(clippy::cast_possible_truncation, reason = "bounded by LONGEST_WAIT")]
        let ticks = ((wait >> 32) as u64).min(LONGEST_WAIT) as u32 + 1;
        LocalApic::in_handler().start_timer(ticks);
    }

    fn expire(&mut self, now: Cycles) {
        let phase = phase();
        while let Some(due) = self.queue.pop_due(now) {
            if due.slot < MAX_TASKS {
                self.release(due.slot, now, phase);
            } else {
                timer::note_expiry(due.slot - MAX_TASKS);
            }
        }
        // A deadline that passed meanwhile is armed one tick ahead: a new interrupt, after the
        // tasks released here had their turn.
        self.set_hardware(time::now());
    }

    fn release(&mut self, slot: usize, now: Cycles, phase: Phase) {
        let (Some(grid), Some(account)) =
            (self.releases.get_mut(slot), self.accounts.get_mut(slot))
        else {
            return;
        };
        let Some(release) = grid.take(now) else {
            return;
        };
        self.queue.arm(slot, release.next);
        if release.skipped > 0 {
            account.skip(release.skipped, phase);
        }
        if account.activate(release.at, phase) == Activation::Pended {
            self.released[slot] = release.at;
            LocalApic::in_handler().pend(Vector(self.vectors[slot]));
        }
    }
}

/// Installs the handlers, places every task's first release one period ahead, and starts the timer.
///
/// # Safety
/// Called once, before interrupts are first enabled (BOOT-ONCE), with the local APIC initialised.
///
/// # Panics
/// With more than [`MAX_TASKS`] tasks or more than 16 of one priority: a wrong application.
pub unsafe fn start(start: Start) {
    assert!(start.tasks.len() <= MAX_TASKS, "more than 16 tasks");
    // SAFETY: BOOT-ONCE, promised by the caller; the stubs restore what they change.
    unsafe {
        descriptors::set_gate(TIMER_VECTOR.0, rtos_timer_stub as *const () as u64);
        descriptors::set_gate(0xff, rtos_spurious_stub as *const () as u64);
        for (index, stub) in (0u8..).zip(rtos_task_stubs) {
            descriptors::set_gate(FIRST_VECTOR + index, stub);
        }
    }
    KERNEL.with(|kernel| {
        kernel.tasks = start.tasks;
        kernel.scale = start.scale;
        kernel.apic_per_cycle = start.apic_per_cycle;
        let now = time::now();
        let mut used = [0u8; Priority::COUNT];
        for (slot, task) in start.tasks.iter().enumerate() {
            let of_priority = &mut used[usize::from(task.priority.level()) - 1];
            // Of one class the APIC delivers the higher vector first: the table's order decides.
            let vector = task
                .priority
                .vector(15 - *of_priority)
                .expect("16 tasks of one priority");
            *of_priority += 1;
            let period = kernel.scale.cycles(task.period);
            kernel.vectors[slot] = vector.0;
            #[allow(clippy::cast_possible_truncation, reason = "at most 16 tasks")]
            {
                kernel.task_of_vector[usize::from(vector.0 - FIRST_VECTOR)] = slot as u8;
            }
            kernel.accounts[slot].set_deadline(period);
            kernel.releases[slot] = Periodic::new(Cycles(now.0 + period.0), period);
            kernel.queue.arm(slot, Cycles(now.0 + period.0));
        }
        kernel.set_hardware(now);
    });
}

/// The phase under which latencies are recorded now.
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

/// The counts of one task.
#[derive(Clone, Copy, Debug)]
pub struct TaskCounts {
    /// The task.
    pub task: &'static Task,
    /// How often it ran.
    pub runs: u64,
    /// Releases that found the last one unfinished.
    pub overruns: u64,
    /// Missed deadlines by phase: idle, loaded, recovery.
    pub missed: [u64; 3],
}

/// The phases in the order of [`TaskCounts::missed`].
pub const PHASES: [Phase; 3] = [Phase::Idle, Phase::Loaded, Phase::Recovery];

/// The counts of task `index`, in the order of declaration; `None` past the last.
pub fn counts(index: usize) -> Option<TaskCounts> {
    KERNEL.with(|kernel| {
        let (task, account) = (kernel.tasks.get(index)?, kernel.accounts.get(index)?);
        Some(TaskCounts {
            task,
            runs: account.runs(),
            overruns: account.overruns(),
            missed: PHASES.map(|phase| account.phase(phase).missed),
        })
    })
}

/// Copies a task's latencies under `phase` into `out`; false past the last task.
///
/// A histogram is 13 KiB, too much for one section with interrupts off, so it is copied in pieces of
/// 512 bytes. A sample recorded between two pieces may be in the count and not in a bucket, or the
/// other way round: one in thousands, in a figure that is out of date at once.
pub fn copy_latency(index: usize, phase: Phase, out: &mut Histogram) -> bool {
    const PIECE: usize = 512;
    let whole = size_of::<Histogram>();
    for offset in (0..whole).step_by(PIECE) {
        let copied = KERNEL.with(|kernel| {
            let account = kernel
                .accounts
                .get(index)
                .filter(|_| index < kernel.tasks.len())?;
            let from = (&raw const account.phase(phase).latency).cast::<u8>();
            let to = (&raw mut *out).cast::<u8>();
            let length = PIECE.min(whole - offset);
            // SAFETY: both are histograms, plain integers of which any bytes are a value; the piece
            // lies inside both, and `out` is an exclusive borrow of other memory.
            unsafe {
                to.add(offset)
                    .copy_from_nonoverlapping(from.add(offset), length)
            };
            Some(())
        });
        if copied.is_none() {
            return false;
        }
    }
    true
}

/// The timer's handler. All of it stands between a release and its task's first instruction, so
/// it does nothing that could be done later.
#[unsafe(no_mangle)]
extern "C" fn rtos_timer_interrupt() {
    let begin = time::now();
    // SAFETY: the stub is behind an interrupt gate: interrupts are off.
    unsafe { KERNEL.with_interrupts_off(|kernel| kernel.expire(begin)) };
    LocalApic::in_handler().end_of_interrupt();
    irq_off::record(Section::Timer, begin);
}

/// A task's interrupt. What the account needs is noted after the body.
#[unsafe(no_mangle)]
extern "C" fn rtos_task_interrupt(number: u32) {
    let begin = time::now();
    let find = |kernel: &mut Kernel| {
        let slot = usize::from(*kernel.task_of_vector.get(number as usize)?);
        Some((
            slot,
            kernel.tasks.get(slot)?.body,
            *kernel.released.get(slot)?,
        ))
    };
    // SAFETY: the stub is behind an interrupt gate: interrupts are off.
    let Some((slot, body, released)) = (unsafe { KERNEL.with_interrupts_off(find) }) else {
        LocalApic::in_handler().end_of_interrupt();
        return;
    };
    let started = time::now();
    interrupts::enable();
    body(&Context { released, started });
    interrupts::disable();
    let finish = time::now();
    let phase = phase();
    // SAFETY: interrupts were switched off three lines above.
    unsafe {
        KERNEL.with_interrupts_off(|kernel| {
            let scale = kernel.scale;
            if let Some(account) = kernel.accounts.get_mut(slot) {
                account.start(started, phase, &scale);
                account.finish(finish, phase, &scale);
            }
        });
    }
    LocalApic::in_handler().end_of_interrupt();
    irq_off::note(Section::TaskEntry, started.saturating_since(begin));
    irq_off::record(Section::TaskExit, finish);
}
