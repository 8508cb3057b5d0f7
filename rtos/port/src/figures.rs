//! What the kernel counted, for reports.

use crate::accounts;
use crate::application;
use crate::faults;
use crate::kernel::KERNEL;
use crate::task::Task;
use darma_abi::shared::Phase;
use darma_abi::units::Cycles;
use darma_histogram::Histogram;

/// The phases in the order of [`TaskCounts::missed`].
pub const PHASES: [Phase; 3] = [Phase::Idle, Phase::Loaded, Phase::Recovery];

/// The counts of one task.
#[derive(Clone, Copy, Debug)]
pub struct TaskCounts {
    /// The task.
    pub task: &'static Task,
    /// How often it was released, skipped releases included.
    pub activations: u64,
    /// How often it ran to its end.
    pub runs: u64,
    /// Releases that found the last one unfinished.
    pub overruns: u64,
    /// Missed deadlines by phase: idle, loaded, recovery.
    pub missed: [u64; 3],
    /// Activations that were stopped because their budget was over.
    pub budget_overruns: u64,
    /// Faults, budget overruns included.
    pub faults: u32,
}

/// Which of a task's histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Release to first instruction, under one phase.
    Latency(Phase),
    /// Release to end, under all phases.
    Response,
}

/// The counts of task `index`, in the order of declaration; `None` past the last.
pub fn counts(index: usize) -> Option<TaskCounts> {
    let task = application::tasks().get(index)?;
    KERNEL.with(|kernel| {
        accounts::with(index, |account| TaskCounts {
            task,
            activations: account.activations(),
            runs: account.runs(),
            overruns: account.overruns(),
            missed: PHASES.map(|phase| account.phase(phase).missed),
            budget_overruns: account.budget_overruns(),
            faults: faults::count_of(kernel, index),
        })
    })
}

/// Copies one of a task's histograms into `out`; false past the last task.
///
/// A histogram is 13 KiB, too much for one section with interrupts off, so it is copied in pieces of
/// 256 bytes. A sample recorded between two pieces may be in the count and not in a bucket, or the
/// other way round: one in thousands, in a figure that is out of date at once.
pub fn copy_histogram(index: usize, measure: Measure, out: &mut Histogram) -> bool {
    const PIECE: usize = 256;
    let whole = size_of::<Histogram>();
    if index >= application::tasks().len() {
        return false;
    }
    for offset in (0..whole).step_by(PIECE) {
        let copied = KERNEL.with(|_| {
            let from = accounts::with(index, |account| {
                let histogram = match measure {
                    Measure::Latency(phase) => &account.phase(phase).latency,
                    Measure::Response => account.response(),
                };
                (&raw const *histogram).cast::<u8>()
            })?;
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

/// The longest run of the path from the timer's interrupt to the first instruction of the task that it
/// released: where that was the only expiry, and where others fell together with it.
pub fn timer_to_task() -> [Cycles; 2] {
    KERNEL.with(|kernel| kernel.timer_to_task)
}
