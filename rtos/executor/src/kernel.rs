//! What a queue or an executor asks of the kernel on its task's behalf.
//!
//! Function pointers and not a trait, because each task has its own: the generated code closes over the
//! task's number, and this crate needs no notion of a task table.

use darma_abi::units::Cycles;

/// The kernel as one task's queue or executor sees it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Makes the task pending. Called at any priority, also from the task itself: it then runs once more
    /// after it ends. Several calls before it starts are one.
    pub pend: fn(),
    /// The time now, by the clock that releases are accounted in.
    pub now: fn() -> Cycles,
}
