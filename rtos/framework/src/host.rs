//! The kernel's interface on a host: the same names as `darma_rtos` has, over a simulated machine.
//!
//! An application's module compiles and runs here, so its logic is tested by plain `cargo test`:
//! `init`, releases, messages, delays, locks and the order in which priorities preempt each other. What
//! is simulated is the local APIC's rule: of the pending tasks the highest runs, at once if it is above
//! what runs. Time passes only in [`Simulation::advance`]; a body takes none. Faults are not simulated,
//! but [`Simulation::restart`] does to a task's state what the kernel does after one.
//!
//! Each thread has a machine of its own. The application's statics are one set per process, though:
//! test one application in one test at a time.

mod section;

use core::cell::{Cell, RefCell};
use darma_abi::units::{Cycles, Nanos};
use darma_device::Devices;
pub use darma_sched::faults::OnFault;
pub use darma_sched::task::{Float, Line, MAX_TASKS, Source, TaskId};
use darma_sched::{Ceiling, Priority, TimeScale};
use std::string::String;
use std::vec::Vec;

/// A task, declared in a static table.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its name in reports.
    pub name: &'static str,
    /// Static priority.
    pub priority: Priority,
    /// What releases it.
    pub source: Source,
    /// From the release to where the activation has to be finished.
    pub deadline: Option<Nanos>,
    /// Execution time of one activation.
    pub budget: Option<Nanos>,
    /// What becomes of it after a fault.
    pub on_fault: OnFault,
    /// Whether it computes with the FPU.
    pub float: Float,
    /// What it does.
    pub body: fn(&Run),
    /// Puts its own state back.
    pub reset: fn(),
}

/// What a running task knows of its activation.
#[derive(Debug)]
pub struct Run {
    task: TaskId,
    released: Cell<Cycles>,
    started: Cycles,
}

impl Run {
    /// The task that runs.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// The release that this activation answers.
    pub fn released(&self) -> Cycles {
        self.released.get()
    }

    /// When its first instruction ran.
    pub fn started(&self) -> Cycles {
        self.started
    }

    /// Says which release this activation answers.
    pub fn answers(&self, release: Cycles) {
        self.released.set(release);
    }
}

/// What an application brings.
#[derive(Clone, Copy, Debug)]
pub struct Application {
    /// Shown in reports.
    pub name: &'static str,
    /// Its tasks.
    pub tasks: &'static [Task],
    /// Called once, before the first release. Here there are no devices.
    pub init: fn(&mut Devices),
    /// The task that runs the queue of the application's delays, if it has one.
    pub monotonic: Option<TaskId>,
}

/// One of the machine's tasks.
struct Slot {
    task: &'static Task,
    pending: Option<Cycles>,
    /// The next release of its grid.
    next: Option<u64>,
    runs: u64,
}

#[derive(Default)]
struct Machine {
    slots: Vec<Slot>,
    now: u64,
    /// The class in service, raised by locks: 0 is the GPOS, 1 to 3 are priorities.
    level: u8,
    /// The priority of the task that runs, without its locks.
    running: u8,
    timer: Option<u64>,
    monotonic: Option<TaskId>,
    begun: Vec<String>,
    marks: Vec<u32>,
    exit_wanted: bool,
}

std::thread_local! {
    static MACHINE: RefCell<Machine> = RefCell::new(Machine::default());
}

/// Nothing is delivered while the application's `init` runs.
const IN_INIT: u8 = u8::MAX;

fn machine<R>(use_it: impl FnOnce(&mut Machine) -> R) -> R {
    MACHINE.with_borrow_mut(use_it)
}

/// Runs what is pending above the level that runs, highest first, earliest in the table first.
fn deliver() {
    loop {
        let next = machine(|machine| {
            let level = machine.level;
            let slots = machine.slots.iter_mut().enumerate();
            let (index, slot) = slots
                .filter(|(_, slot)| slot.pending.is_some() && slot.task.priority.level() > level)
                .max_by_key(|(index, slot)| (slot.task.priority, core::cmp::Reverse(*index)))?;
            let released = slot.pending.take()?;
            slot.runs += 1;
            machine.begun.push(slot.task.name.into());
            let before = (level, machine.running);
            machine.running = slot.task.priority.level();
            machine.level = machine.running;
            let run = Run {
                task: TaskId(u8::try_from(index).ok()?),
                released: Cell::new(released),
                started: Cycles(machine.now),
            };
            Some((slot.task.body, run, before))
        });
        let Some((body, run, before)) = next else {
            return;
        };
        body(&run);
        machine(|machine| (machine.level, machine.running) = before);
    }
}

/// Makes a task run as soon as nothing of its priority or above does.
pub fn pend(task: TaskId) {
    machine(|machine| {
        let now = Cycles(machine.now);
        if let Some(slot) = machine.slots.get_mut(usize::from(task.0)) {
            slot.pending.get_or_insert(now);
        }
    });
    deliver();
}

/// The simulated time, in nanoseconds.
pub fn now() -> Cycles {
    machine(|machine| Cycles(machine.now))
}

/// A cycle is a nanosecond.
pub fn time_scale() -> TimeScale {
    TimeScale::GIGAHERTZ
}

/// Sets the timer of the delays.
pub fn arm(deadline: Option<Cycles>) {
    machine(|machine| machine.timer = deadline.map(|deadline| deadline.0));
}

/// Asks for the end of the machine. The simulation only notes it.
pub fn exit() {
    machine(|machine| machine.exit_wanted = true);
}

/// Puts a point of the caller's own into the trace.
pub fn mark(number: u32) {
    machine(|machine| machine.marks.push(number));
}

/// Calls `use_it` with the value while no other of its users can run.
///
/// # Safety
/// As `darma_rtos::lock`.
///
/// # Panics
/// When the task that runs is above the ceiling: the macro computed it wrongly.
pub unsafe fn lock<T, R>(value: *mut T, ceiling: Ceiling, use_it: impl FnOnce(&mut T) -> R) -> R {
    let ceiling = (1..=3)
        .filter_map(Priority::new)
        .find(|priority| Ceiling::of(*priority) == ceiling)
        .map_or(0, Priority::level);
    let before = machine(|machine| {
        let before = machine.level;
        assert!(before <= 3, "a lock inside init");
        let running = machine.running;
        assert!(
            running <= ceiling,
            "a task of priority {running} locks what has the ceiling {ceiling}"
        );
        machine.level = before.max(ceiling);
        before
    });
    // SAFETY: the level keeps every other user out, the caller promises the rest.
    let result = use_it(unsafe { &mut *value });
    machine(|machine| machine.level = before);
    deliver();
    result
}

/// A simulated machine with an application on it.
#[derive(Debug)]
pub struct Simulation(());

impl Simulation {
    /// Starts the application at time zero: its `init`, and then what that released.
    pub fn start(application: &'static Application) -> Self {
        machine(|machine| {
            *machine = Machine {
                level: IN_INIT,
                monotonic: application.monotonic,
                ..Machine::default()
            };
            machine.slots = application
                .tasks
                .iter()
                .map(|task| Slot {
                    task,
                    pending: None,
                    next: match task.source {
                        Source::Periodic { period, phase } => Some(period.0 + phase.0),
                        Source::Software | Source::Interrupt(_) => None,
                    },
                    runs: 0,
                })
                .collect();
        });
        (application.init)(&mut Devices::none(TimeScale::GIGAHERTZ));
        machine(|machine| machine.level = 0);
        deliver();
        Self(())
    }

    /// Lets time pass, and everything happen that falls due, in order.
    pub fn advance(&mut self, time: Nanos) {
        let end = machine(|machine| machine.now.saturating_add(time.0));
        loop {
            let due = machine(|machine| {
                let next = machine.slots.iter().filter_map(|slot| slot.next);
                let next = next.chain(machine.timer).min();
                let at = next.filter(|at| *at <= end);
                machine.now = at.unwrap_or(end).max(machine.now);
                at.map(|_| machine.expire())
            });
            match due {
                Some(()) => deliver(),
                None => return,
            }
        }
    }

    /// Raises the interrupt of a line.
    pub fn interrupt(&mut self, line: Line) {
        let bound = machine(|machine| {
            machine
                .slots
                .iter()
                .position(|slot| slot.task.source == Source::Interrupt(line))
        });
        if let Some(Ok(index)) = bound.map(u8::try_from) {
            pend(TaskId(index));
        }
    }

    /// Puts the task of this name back to its beginning, as after a fault.
    pub fn restart(&mut self, name: &str) {
        let reset = machine(|machine| {
            let slot = machine.slots.iter().find(|slot| slot.task.name == name);
            slot.map(|slot| slot.task.reset)
        });
        if let Some(reset) = reset {
            reset();
        }
    }

    /// How often the task of this name ran.
    pub fn runs(&self, name: &str) -> u64 {
        machine(|machine| {
            let slot = machine.slots.iter().find(|slot| slot.task.name == name);
            slot.map_or(0, |slot| slot.runs)
        })
    }

    /// Whether a task asked for the end of the machine.
    pub fn exit_wanted(&self) -> bool {
        machine(|machine| machine.exit_wanted)
    }

    /// The application's marks since the last call, in order.
    pub fn marks(&mut self) -> Vec<u32> {
        machine(|machine| core::mem::take(&mut machine.marks))
    }

    /// The names of the tasks that began since the last call, in order.
    pub fn begun(&mut self) -> Vec<String> {
        machine(|machine| core::mem::take(&mut machine.begun))
    }
}

impl Machine {
    /// Pends what is due now.
    fn expire(&mut self) {
        let now = self.now;
        for slot in &mut self.slots {
            if let (Some(next), Source::Periodic { period, .. }) = (slot.next, slot.task.source)
                && next <= now
            {
                slot.pending.get_or_insert(Cycles(next));
                slot.next = Some(next.saturating_add(period.0.max(1)));
            }
        }
        if self.timer.is_some_and(|timer| timer <= now) {
            self.timer = None;
            let timer_task = self.monotonic.map(|task| usize::from(task.0));
            if let Some(slot) = timer_task.and_then(|index| self.slots.get_mut(index)) {
                slot.pending.get_or_insert(Cycles(now));
            }
        }
    }
}
