//! The entry and the exit of a task's activation.
//!
//! Interrupt of the task's vector → entry section → body, interrupts on → exit section, where the
//! start and the finish are accounted, so that the accounting does not stand between the release
//! and the task's first instruction. The vector stays in service while the body runs: the APIC holds
//! back its class and all below.

use crate::kernel::{KERNEL, phase};
use crate::task::{Float, Run, Source, Task, TaskId};
use core::cell::Cell;
use darma_abi::units::Cycles;
use darma_machine::irq_off::{self, Section};
use darma_machine::local_apic::{self, LocalApic};
use darma_machine::stacks;
use darma_machine::time;
use x86_64::instructions::interrupts;

/// What the entry needs to know of the task behind a vector.
#[derive(Clone, Copy)]
pub(crate) struct Control {
    /// What runs: the task's body, or what stands in for it after a fault.
    pub(crate) entry: fn(&Run),
    pub(crate) body: fn(&Run),
    budget: u64,
    pub(crate) task: TaskId,
    /// Released by the timer: its release is in its account already.
    periodic: bool,
    #[allow(dead_code, reason = "read by the FPU switch")]
    pub(crate) float: bool,
}

impl Control {
    pub(crate) const VACANT: Self = Self {
        entry: nothing,
        body: nothing,
        budget: u64::MAX,
        task: TaskId(u8::MAX),
        periodic: false,
        float: false,
    };

    pub(crate) fn new(id: TaskId, task: &Task, budget: Cycles) -> Self {
        Self {
            entry: task.body,
            body: task.body,
            budget: budget.0,
            task: id,
            periodic: matches!(task.source, Source::Periodic { .. }),
            float: task.float == Float::Hard,
        }
    }

    /// The next activation puts the task's state back first.
    pub(crate) fn restart(&mut self) {
        self.entry = reset_and_run;
    }

    /// There is no next activation.
    pub(crate) fn stop(&mut self) {
        self.entry = nothing;
    }

    fn is_stopped(&self) -> bool {
        core::ptr::fn_addr_eq(self.entry, nothing as fn(&Run))
    }
}

/// Stands in for a stopped task: a release that was pending when it was stopped.
fn nothing(_: &Run) {}

/// Stands in for a task that faulted: its state is put back, by itself and at its own priority.
fn reset_and_run(run: &Run) {
    let body = KERNEL.with(|kernel| {
        let task = kernel.tasks.get(usize::from(run.task.0))?;
        let control = kernel
            .controls
            .iter_mut()
            .find(|control| control.task == run.task)?;
        Some((task.reset, control.body))
    });
    if let Some((reset, body)) = body {
        reset();
        // Only now: a fault in the reset itself leads here again.
        KERNEL.with(|kernel| {
            for control in &mut kernel.controls {
                if control.task == run.task && !control.is_stopped() {
                    control.entry = control.body;
                }
            }
        });
        body(run);
    }
}

/// The activation that runs on a class's stack, if one does.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    /// The vector, less the first.
    pub(crate) number: u8,
    /// The class that it interrupted, from 1; 0: none.
    pub(crate) previous: u8,
    /// CR8 when it began.
    pub(crate) ceiling: u8,
    pub(crate) begin: u64,
    /// Its number among the interrupts.
    serial: u32,
    /// Where its budget ends, moved on by every task that preempts it.
    pub(crate) budget_end: u64,
    /// How often the end of a budget was put off because it came inside a lock.
    pub(crate) grace: u32,
}

impl Running {
    pub(crate) const NONE: Self = Self {
        number: 0,
        previous: 0,
        ceiling: 0,
        begin: 0,
        serial: 0,
        budget_end: u64::MAX,
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
    KERNEL.with(|kernel| {
        let slot = usize::from(run.task.0);
        let control = kernel
            .controls
            .iter()
            .find(|control| control.task == run.task);
        let periodic = control.is_some_and(|control| control.periodic);
        let on_grid = kernel.accounts.get(slot).filter(|_| periodic);
        on_grid.map_or(run.started, |account| account.released())
    })
}

/// A task's interrupt; `number` is its vector, less the first of the tasks'.
#[unsafe(no_mangle)]
extern "C" fn rtos_task_interrupt(number: u32) {
    let begin = time::now();
    irq_off::count_interrupt();
    let class = (number >> 4) as usize;
    // SAFETY: IRQ-OFF: the stub is behind an interrupt gate.
    let kernel = unsafe { KERNEL.get() };
    let (Some(control), Some(running)) = (
        kernel.controls.get(number as usize),
        kernel.running.get_mut(class),
    ) else {
        // The stubs number 48 vectors in three classes: not reached.
        return;
    };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below 48, and a class below 3"
    )]
    let (vector, level) = (number as u8, class as u8 + 1);
    let end = begin.0.saturating_add(control.budget);
    *running = Running {
        number: vector,
        previous: kernel.top,
        ceiling: local_apic::priority_class(),
        begin: begin.0,
        serial: irq_off::interrupts(),
        budget_end: end,
        grace: 0,
    };
    let (entry, task) = (control.entry, control.task);
    kernel.top = level;
    kernel.watch_budget(end);
    let started = time::now();
    let run = Run {
        task,
        released: Cell::new(None),
        started,
    };
    interrupts::enable();
    entry(&run);
    interrupts::disable();
    let finish = time::now();
    leave(number as usize, class, &run, finish);
    irq_off::note(Section::TaskEntry, started.saturating_since(begin));
    irq_off::record(Section::TaskExit, finish);
}

/// The exit section: accounts, and hands the class's stack back.
fn leave(number: usize, class: usize, run: &Run, finish: Cycles) {
    // SAFETY: IRQ-OFF: switched off by the caller, whose own borrow ended before the body.
    let kernel = unsafe { KERNEL.get() };
    let Some(control) = kernel.controls.get(number).copied() else {
        return;
    };
    let phase = phase();
    let Some(running) = kernel.running.get(class).copied() else {
        return;
    };
    kernel.note_path(running.serial, run.started);
    let slot = usize::from(run.task.0);
    kernel.faults.finished(slot);
    if let Some(account) = kernel
        .accounts
        .get_mut(slot)
        .filter(|_| !control.is_stopped())
    {
        if !control.periodic {
            account.activate(run.released.get().unwrap_or(Cycles(running.begin)), phase);
        }
        account.start(run.started, phase, &kernel.scale);
        account.finish(finish, phase, &kernel.scale);
    }
    kernel.return_from(class, finish);
    LocalApic::in_handler().end_of_interrupt();
}

impl crate::kernel::Kernel {
    /// The activation on the stack of `class` is over at `finish`: the one below goes on, and what
    /// it was held up is not its own time.
    pub(crate) fn return_from(&mut self, class: usize, finish: Cycles) {
        let Some(ended) = self.running.get(class).copied() else {
            return;
        };
        self.top = ended.previous;
        let below = usize::from(ended.previous).wrapping_sub(1);
        if let Some(below) = self.running.get_mut(below) {
            let held_up = finish.0.saturating_sub(ended.begin);
            below.budget_end = below.budget_end.saturating_add(held_up);
        }
        self.watch_anew();
    }
}
