//! What an application declares of a task, and what the task is given when it runs.

use core::cell::Cell;
use darma_abi::units::{Cycles, Nanos};
use darma_law::HardFloat;
use darma_sched::Priority;
use darma_sched::faults::OnFault;
pub use darma_sched::task::{Float, Line, Source, TaskId};

/// A task, declared in a static table.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its name in reports, at most 24 bytes of it are shown.
    pub name: &'static str,
    /// Static priority.
    pub priority: Priority,
    /// What releases it.
    pub source: Source,
    /// From the release to where the activation has to be finished; `None`: no deadline.
    pub deadline: Option<Nanos>,
    /// Execution time of one activation, preemption excluded, after which the task is stopped.
    /// `None`: the period, or [`LONGEST_RUN`] where there is none.
    pub budget: Option<Nanos>,
    /// What becomes of it after a fault.
    pub on_fault: OnFault,
    /// Whether it computes with the FPU.
    pub float: Float,
    /// What it does. It runs to completion with interrupts on.
    pub body: fn(&Run),
    /// Puts the task's own state back, before the first activation after a fault.
    pub reset: fn(),
}

/// The budget of a task without a period that declares none: what runs longer is taken for an
/// endless loop.
pub const LONGEST_RUN: Nanos = Nanos(1_000_000_000);

/// What a running task knows of its activation.
#[derive(Debug)]
pub struct Run {
    pub(crate) entry: fn(&Run),
    pub(crate) task: TaskId,
    /// What [`Self::answers`] said; until then the kernel knows.
    pub(crate) released: Cell<Option<Cycles>>,
    pub(crate) started: Cycles,
}

impl Run {
    /// The task that runs.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// The release that this activation answers: the point on the grid, what [`Self::answers`] said,
    /// or, where nobody knows better, when the interrupt was taken.
    pub fn released(&self) -> Cycles {
        self.released
            .get()
            .unwrap_or_else(|| crate::dispatch::release_of(self))
    }

    /// When its first instruction ran.
    pub fn started(&self) -> Cycles {
        self.started
    }

    /// The permission to call laws (`darma_law`), if the task is declared with [`Float::Hard`].
    pub fn float(&self) -> Option<HardFloat<'_>> {
        crate::dispatch::computes(self).then(|| {
            // SAFETY: FLOAT-STATE: the task behind this activation is one with hard floating point, and
            // the token lives no longer than the borrow of the activation.
            unsafe { HardFloat::of_activation() }
        })
    }

    /// Says which release this activation answers, where the kernel cannot know: when a message was
    /// sent, or a device raised its interrupt. Latency, response and deadline count from there.
    pub fn answers(&self, release: Cycles) {
        self.released.set(Some(release));
    }
}
