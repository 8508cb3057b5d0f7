//! The entry and the exit of a task's activation.
//!
//! Interrupt of the task's vector → entry section → body, interrupts on → exit section, where the
//! start and the finish are accounted, so that the accounting does not stand between the release
//! and the task's first instruction. The vector stays in service while the body runs: the APIC holds
//! back its class and all below.

use crate::accounts;
use crate::application;
use crate::float;
use crate::kernel::{KERNEL, Kernel, LONGEST_WAIT, PLACES, number_of, phase};
use crate::task::{Float, Run, Task, TaskId};
use crate::trace::{self, Ended};
use core::cell::Cell;
use core::mem::MaybeUninit;
use darma_abi::units::Cycles;
use darma_machine::irq_off::{self, Section};
use darma_machine::local_apic::{self, LocalApic};
use darma_machine::stacks;
use darma_machine::time;
use darma_sched::{Activation, Periodic};
use x86_64::instructions::interrupts;

/// What the entry needs to know of the task behind a vector.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Control {
    /// What runs: the body, or what stands in for it after a fault.
    pub(crate) entry: fn(&Run),
    /// The task's body, or what switches the FPU's state around it.
    pub(crate) body: fn(&Run),
    /// In cycles.
    pub(crate) budget: u64,
    pub(crate) task: TaskId,
    /// When it is released, if the timer does it.
    pub(crate) grid: Option<Periodic>,
    stopped: bool,
}

impl Control {
    pub(crate) const VACANT: Self = Self {
        entry: nothing,
        body: nothing,
        budget: LONGEST_WAIT,
        task: TaskId(u8::MAX),
        grid: None,
        stopped: false,
    };

    pub(crate) fn new(id: TaskId, task: &Task, budget: Cycles) -> Self {
        let body = match task.float {
            Float::Soft => task.body,
            Float::Hard => float::body,
        };
        Self {
            entry: body,
            body,
            budget: budget.0,
            task: id,
            grid: None,
            stopped: false,
        }
    }

    /// The next activation puts the task's state back first.
    pub(crate) fn restart(&mut self) {
        self.entry = reset_and_run;
    }

    /// There is no next activation.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.entry = nothing;
        self.grid = None;
    }

    /// A flag and no comparison of functions: two of the same code may have one address.
    fn is_stopped(&self) -> bool {
        self.stopped
    }
}

/// Stands in for a stopped task: a release that was pending when it was stopped.
fn nothing(_: &Run) {}

/// Stands in for a task that faulted: its state is put back, by itself and at its own priority.
fn reset_and_run(run: &Run) {
    let Some(number) = number_of(run.task) else {
        return;
    };
    let Some(task) = application::task(run.task) else {
        return;
    };
    (task.reset)();
    // Only now: a fault in the reset itself leads here again.
    let body = KERNEL.with(|kernel| {
        let control = kernel.controls.get_mut(usize::from(number))?;
        if !control.is_stopped() {
            control.entry = control.body;
        }
        Some(control.body)
    });
    if let Some(body) = body {
        body(run);
    }
}

/// The activation that runs on a class's stack, if one does.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Running {
    /// The vector, less the first.
    pub(crate) number: u8,
    /// The class that it interrupted, from 1; 0: none.
    pub(crate) previous: u8,
    /// CR8 when it began.
    pub(crate) ceiling: u8,
    pub(crate) begin: u64,
    /// Where its budget ends, moved on by every task that preempts it.
    pub(crate) budget_end: u64,
    /// When the timer's interrupt began that led straight to it; 0: something else did.
    timer_begin: u64,
    /// Its begin is in the trace already.
    pub(crate) traced: bool,
    /// How often the end of its budget was put off because it came inside a lock.
    pub(crate) grace: u32,
}

impl Running {
    pub(crate) const NONE: Self = Self {
        number: 0,
        previous: 0,
        ceiling: 0,
        begin: 0,
        budget_end: u64::MAX,
        timer_begin: 0,
        traced: false,
        grace: 0,
    };
}

/// Where the registers that the stub saved lie on the stack of class `class` (from 0).
pub(crate) fn task_stack_top(class: usize) -> Option<u64> {
    const FRAME: u64 = 5 * 8;
    const REGISTERS: u64 = 15 * 8;
    Some(stacks::top(*stacks::TASKS.get(class)?) - FRAME - REGISTERS)
}

/// The release that the running activation `run` answers, as far as the kernel knows.
pub(crate) fn release_of(run: &Run) -> Cycles {
    let on_grid = number_of(run.task).and_then(|number| {
        KERNEL.with(|kernel| Some(kernel.controls.get(usize::from(number))?.grid?.next()))
    });
    on_grid.unwrap_or(run.started)
}

/// Whether the task that `run` is an activation of computes with the FPU.
pub(crate) fn computes(run: &Run) -> bool {
    application::task(run.task).is_some_and(|task| task.float == Float::Hard)
}

/// The entry section of the task behind vector number `number`. Fills `run`.
#[unsafe(no_mangle)]
extern "C" fn rtos_task_enter(number: u32, run: &mut MaybeUninit<Run>) {
    let begin = time::now();
    irq_off::count_interrupt();
    // SAFETY: IRQ-OFF: the stub is behind an interrupt gate.
    let kernel = unsafe { KERNEL.get() };
    // The stubs number 48 vectors in three classes: the masks change nothing.
    let number = number as usize & (PLACES - 1);
    let class = number >> 4;
    let control = &kernel.controls[number];
    let running = &mut kernel.running[class];
    let end = begin.0.wrapping_add(control.budget);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below 48, and a class below 3"
    )]
    {
        running.number = number as u8;
        running.previous = core::mem::replace(&mut kernel.top, class as u8 + 1);
    }
    running.ceiling = local_apic::priority_class();
    running.begin = begin.0;
    running.budget_end = end;
    running.timer_begin = core::mem::take(&mut kernel.timer_begin);
    let (entry, task) = (control.entry, control.task);
    kernel.watch(end);
    run.write(Run {
        entry,
        task,
        released: Cell::new(None),
        started: time::now(),
    });
}

/// The body, interrupts on.
#[unsafe(no_mangle)]
extern "C" fn rtos_task_body(run: &Run) {
    (run.entry)(run);
}

/// After the body, interrupts on.
#[unsafe(no_mangle)]
extern "C" fn rtos_task_exit(number: u32, run: &Run) {
    // The vector is in service still: nothing of this class or below comes in between.
    let number = number as usize & (PLACES - 1);
    let class = number >> 4;
    interrupts::disable();
    let finished = time::now();
    // SAFETY: IRQ-OFF: switched off here, and on again behind the last use.
    let ended = unsafe { KERNEL.get() }.ended(number, class, run, finished);
    irq_off::record(Section::TaskExit, finished);
    interrupts::enable();
    if let Some(ended) = ended {
        let phase = phase();
        accounts::ran(&ended, phase);
        trace::activation(&ended, phase);
    }
    interrupts::disable();
    leave(number, class);
}

const _: () = assert!(size_of::<Run>() <= 48 && align_of::<Run>() <= 16);

/// The exit section: queues the next release and hands the class's stack back.
fn leave(number: usize, class: usize) {
    let begin = time::now();
    // SAFETY: IRQ-OFF: switched off by the caller, whose own borrow ended before the body.
    let kernel = unsafe { KERNEL.get() };
    kernel.return_from(number, class, begin);
    LocalApic::in_handler().end_of_interrupt();
    irq_off::record(Section::TaskExit, begin);
}

impl Kernel {
    /// What is to be accounted of an activation that came to its end; nothing of a stopped task's.
    /// Its budget is not watched any more.
    fn ended(&mut self, number: usize, class: usize, run: &Run, finished: Cycles) -> Option<Ended> {
        self.watched = u64::MAX;
        let running = *self.running.get(class)?;
        let control = self
            .controls
            .get(number)
            .filter(|found| !found.is_stopped())?;
        let released = match (&control.grid, run.released.get()) {
            (_, Some(said)) => said,
            (Some(grid), None) => grid.next(),
            (None, None) => Cycles(running.begin),
        };
        self.faults
            .finished(usize::from(run.task.0), run.released.get());
        let timer = self.timer_section(running.timer_begin);
        if running.timer_begin != 0 {
            let path = Cycles(run.started.0.saturating_sub(running.timer_begin));
            let longest = &mut self.timer_to_task[usize::from(timer == Section::TimerJoint)];
            *longest = (*longest).max(path);
        }
        let below = usize::from(running.previous).wrapping_sub(1);
        let preempted = self.running.get_mut(below).and_then(|below| {
            let new = !core::mem::replace(&mut below.traced, true);
            let task = self.controls.get(usize::from(below.number))?.task;
            new.then_some((task.0, Cycles(below.begin)))
        });
        Some(Ended {
            task: run.task.0,
            level: u8::try_from(class).unwrap_or(0) + 1,
            by_timer: control.grid.is_some(),
            entered: Cycles(running.begin),
            timer_begin: Cycles(running.timer_begin),
            timer,
            preempted,
            recorded: running.traced,
            times: Activation {
                released,
                started: run.started,
                finished,
            },
        })
    }

    /// The activation on the stack of `class` is over at `now`: its next release is queued, the one
    /// below goes on, and what that one was held up is not its own time.
    #[inline(always)]
    pub(crate) fn return_from(&mut self, number: usize, class: usize, now: Cycles) {
        if let Some(skipped) = self.queue_next(number, now)
            && skipped > 0
        {
            self.overran(number, skipped);
        }
        let Some(ended) = self.running.get_mut(class) else {
            return;
        };
        ended.grace = 0;
        ended.traced = false;
        self.timer_begin = 0;
        let (previous, held_up) = (ended.previous, now.0.saturating_sub(ended.begin));
        self.top = previous;
        self.watched = match self.running.get_mut(usize::from(previous).wrapping_sub(1)) {
            Some(below) => {
                below.budget_end = below.budget_end.saturating_add(held_up);
                below.budget_end
            }
            None => u64::MAX,
        };
        self.watch_anew();
    }

    #[cold]
    fn overran(&mut self, number: usize, releases: u64) {
        if let Some(control) = self.controls.get(number) {
            accounts::skipped(control.task, releases, phase());
        }
    }
}
