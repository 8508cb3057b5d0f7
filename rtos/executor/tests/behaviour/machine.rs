//! A processor with a local APIC, as far as tasks can tell.
//!
//! One context runs at a time; an interrupt runs its task nested, on top of what it interrupts, and to its
//! end. Delivered is the highest pending task whose priority is above the running one's and above the
//! ceiling that a critical section sets (APM2 16.6.4). The timer is above all ceilings; it only pends.
//!
//! *Where* an interrupt arrives matters only between accesses to what contexts share. All of that goes
//! through critical sections and the hooks of [`Kernel`] and [`Port`], so those are the points at which the
//! machine takes one: before and after every section, and at every hook. Which devices interrupt at which
//! point is up to the [`Choices`].

use crate::explorer::{Choices, explore};
use critical_section::RawRestoreState;
use darma_abi::units::Cycles;
use darma_executor::{Clock, Kernel, Port};
use darma_sched::TimeScale;
use std::cell::RefCell;

/// Most tasks of a machine. Task numbers are constants, because a [`Kernel`]'s hooks carry no data.
pub(crate) const TASKS: usize = 6;

/// Code is never dropped, and what it captured is as good as a static.
type Body = &'static dyn Fn();

struct Task {
    priority: u8,
    body: Body,
}

/// The state of the processor of this thread.
pub(crate) struct Machine {
    tasks: Vec<Option<Task>>,
    pending: [bool; TASKS],
    /// How often each task ran.
    runs: [u32; TASKS],
    /// Priorities of what runs, innermost last. The main loop is 0.
    in_service: Vec<u8>,
    sections: usize,
    /// How many sections were opened.
    opened: u32,
    counter: u64,
    /// What the counter gains at each look.
    step: u64,
    scale: TimeScale,
    timer: Option<u64>,
    expiries: u32,
    /// Which expiries the clock's task said that it answers.
    answered: Vec<u64>,
    /// Devices that have not interrupted yet: each pends a task once.
    devices: Vec<usize>,
    choices: Choices,
    clock: &'static Clock<Simulated>,
    clock_task: usize,
}

/// Priority that a critical section holds back, and the highest of a task.
const HIGHEST: u8 = 3;

thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::new(Machine::new(Choices::default()));
}

impl Machine {
    fn new(choices: Choices) -> Self {
        Self {
            tasks: (0..TASKS).map(|_| None).collect(),
            pending: [false; TASKS],
            runs: [0; TASKS],
            in_service: vec![0],
            sections: 0,
            opened: 0,
            counter: 1000,
            step: 1,
            scale: TimeScale::GIGAHERTZ,
            timer: None,
            expiries: 0,
            answered: Vec::new(),
            devices: Vec::new(),
            choices,
            clock: keep(Clock::new()),
            clock_task: usize::MAX,
        }
    }

    /// What may run now: the highest pending task above what runs and what is held back.
    fn deliverable(&self) -> Option<(usize, u8, Body)> {
        if self.sections > 0 {
            return None;
        }
        let running = self.in_service.last().copied().unwrap_or(0);
        let pending = (0..TASKS).filter(|&task| self.pending[task]);
        let waiting = pending.filter_map(|task| Some((task, self.tasks[task].as_ref()?)));
        let (number, task) = waiting.max_by_key(|(number, task)| (task.priority, *number))?;
        (task.priority > running).then_some((number, task.priority, task.body))
    }

    fn look_at_timer(&mut self) {
        // The counter wraps: what lies behind it by less than half its range has passed.
        let passed = |deadline: u64| self.counter.wrapping_sub(deadline) < 1 << 63;
        if self.timer.is_some_and(passed) {
            self.expire();
        }
    }

    fn expire(&mut self) {
        self.timer = None;
        self.expiries += 1;
        self.pending[self.clock_task] = true;
    }
}

/// Static memory for one run, as a task's declaration has it.
pub(crate) fn keep<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn with<R>(use_it: impl FnOnce(&mut Machine) -> R) -> R {
    MACHINE.with_borrow_mut(use_it)
}

/// A machine without devices, that has just been switched on.
pub(crate) fn power_on() {
    power_on_with(Choices::default());
}

fn power_on_with(choices: Choices) {
    with(|machine| *machine = Machine::new(choices));
}

/// Runs `program` on a new machine for every way in which its devices can interrupt it.
pub(crate) fn on_every_schedule(program: impl Fn()) -> usize {
    explore(|choices| {
        power_on_with(choices);
        program();
        idle();
        with(|machine| {
            assert!(machine.devices.is_empty(), "every device had its turn");
            assert_eq!((machine.sections, machine.in_service.len()), (0, 1));
            std::mem::take(&mut machine.choices)
        })
    })
}

/// Declares task `number`.
pub(crate) fn task(number: usize, priority: u8, body: impl Fn() + 'static) {
    assert!((1..=HIGHEST).contains(&priority));
    let body: Body = keep(body);
    with(|machine| machine.tasks[number] = Some(Task { priority, body }));
}

/// A device that will interrupt once, at any point from here on, and pends `task`.
pub(crate) fn device(task: usize) {
    with(|machine| machine.devices.push(task));
}

/// Declares the task that serves the clock, and starts the clock.
pub(crate) fn clock_task(number: usize, priority: u8) {
    task(number, priority, || {
        darma_executor::Mono::<Simulated>::serve(|expiry| {
            with(|machine| machine.answered.push(expiry.0));
        });
    });
    with(|machine| machine.clock_task = number);
    darma_executor::Mono::<Simulated>::start();
}

/// Sets the counter, and what it gains at each look at it.
pub(crate) fn set_counter(counter: u64, step: u64, scale: TimeScale) {
    with(|machine| (machine.counter, machine.step, machine.scale) = (counter, step, scale));
}

/// How often the timer has expired.
pub(crate) fn expiries() -> u32 {
    with(|machine| machine.expiries)
}

/// Which expiries the clock's task said that it answers.
pub(crate) fn answered() -> Vec<u64> {
    with(|machine| machine.answered.clone())
}

/// How often task `number` ran.
pub(crate) fn runs(number: usize) -> u32 {
    with(|machine| machine.runs[number])
}

/// How many critical sections were opened.
pub(crate) fn sections() -> u32 {
    with(|machine| machine.opened)
}

/// The counter, without a look at it.
pub(crate) fn counter() -> u64 {
    with(|machine| machine.counter)
}

/// Nothing is left to do at this time: the devices that are left interrupt, everything pending runs.
pub(crate) fn idle() {
    while let Some(task) = with(|machine| machine.devices.pop()) {
        with(|machine| machine.pending[task] = true);
        deliver();
    }
    deliver();
}

/// Lets time pass to where the timer is set, if it is, and runs what that releases. Whether it was.
pub(crate) fn sleep() -> bool {
    idle();
    let Some(deadline) = with(|machine| machine.timer) else {
        return false;
    };
    with(|machine| {
        if deadline.wrapping_sub(machine.counter) < 1 << 63 {
            machine.counter = deadline;
        }
        machine.expire();
    });
    idle();
    true
}

/// Point at which interrupts may arrive.
fn interruptible() {
    with(|machine| {
        machine.look_at_timer();
        let ways = machine.devices.len();
        if ways == 0 || machine.sections > 0 {
            return;
        }
        let choice = machine.choices.choose(ways + 1);
        if choice > 0 {
            let task = machine.devices.remove(choice - 1);
            machine.pending[task] = true;
        }
    });
    deliver();
}

/// Runs what may run now, nested on what runs.
fn deliver() {
    while let Some((number, priority, body)) = with(|machine| machine.deliverable()) {
        with(|machine| {
            machine.pending[number] = false;
            machine.runs[number] += 1;
            machine.in_service.push(priority);
        });
        body();
        with(|machine| machine.in_service.pop());
    }
}

/// The hooks of task `NUMBER`.
pub(crate) const fn kernel<const NUMBER: usize>() -> Kernel {
    Kernel {
        pend: || pend(NUMBER),
        now,
    }
}

/// Pends a task.
pub(crate) fn pend(number: usize) {
    interruptible();
    with(|machine| machine.pending[number] = true);
    interruptible();
}

fn now() -> Cycles {
    interruptible();
    with(|machine| {
        machine.counter = machine.counter.wrapping_add(machine.step);
        Cycles(machine.counter)
    })
}

/// The port of the simulated kernel.
pub(crate) struct Simulated;

impl Port for Simulated {
    fn now() -> Cycles {
        now()
    }

    fn scale() -> TimeScale {
        with(|machine| machine.scale)
    }

    fn arm(deadline: Option<Cycles>) {
        with(|machine| machine.timer = deadline.map(|at| at.0));
        interruptible();
    }

    fn pend() {
        pend(with(|machine| machine.clock_task));
    }

    fn clock() -> &'static Clock<Self> {
        with(|machine| machine.clock)
    }
}

struct Section;
critical_section::set_impl!(Section);

// SAFETY: the machine has one context at a time and starts no other while a section is open.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() -> RawRestoreState {
        interruptible();
        with(|machine| {
            machine.sections += 1;
            machine.opened += 1;
        });
        RawRestoreState::default()
    }

    unsafe fn release(_: RawRestoreState) {
        with(|machine| machine.sections -= 1);
        interruptible();
    }
}
