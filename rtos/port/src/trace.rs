//! The trace of what the processor does, and the histories of the worst latencies.
//!
//! Recording costs a dozen instructions, so whatever stands between a release and its task's first
//! instruction is recorded afterwards, by the task's exit, with the times that it had. A reader sorts
//! by time.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use darma_abi::report::Event as Line;
use darma_abi::shared::Phase;
use darma_abi::units::Cycles;
use darma_machine::irq_off::Section;
use darma_sched::Activation;
use darma_trace::report::{Room, group_of, last_events, worst_samples};
pub use darma_trace::{Event, Kind};
use darma_trace::{Names, Recorder, Sample};

const RINGS: usize = 16;
/// Events that one history holds at most.
pub const EVENTS: usize = 256;
/// Each phase, apart for releases by the timer and by others.
const GROUPS: usize = 6;

static TRACE: Recorder<RINGS, EVENTS, GROUPS> = Recorder::new();
/// The highest class of the application's tasks, from 1: theirs are the latencies to explain.
static EXPLAINED: AtomicU8 = AtomicU8::new(0);
/// The last events of tasks are wanted, not the worst samples' histories.
static KEEPS_LAST: AtomicBool = AtomicBool::new(false);

/// Records an event. From any context; out of line, because most of its callers have time.
#[inline(never)]
pub fn record(at: Cycles, kind: Kind, argument: u32) {
    if !KEEPS_LAST.load(Ordering::Relaxed) || is_of_tasks(kind) {
        TRACE.record(at, kind, argument);
    }
}

/// Whether such an event is about tasks and nothing else.
const fn is_of_tasks(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Release | Kind::Pend | Kind::TaskBegin | Kind::TaskEnd | Kind::TaskFault | Kind::Mark
    )
}

/// From now on records what is about tasks, locks included, and nothing else, and keeps no worst
/// samples: so [`report_last`] goes back as far as a ring holds, whatever the GPOS does.
pub fn keep_last() {
    EXPLAINED.store(u8::MAX, Ordering::Relaxed);
    KEEPS_LAST.store(true, Ordering::Relaxed);
}

/// Records a lock or its end, if locks are recorded.
#[inline(always)]
pub(crate) fn record_lock(kind: Kind, class: u8) {
    if KEEPS_LAST.load(Ordering::Relaxed) {
        TRACE.record(crate::now(), kind, u32::from(class));
    }
}

/// Puts a point of the caller's own into the trace.
pub fn mark(number: u32) {
    TRACE.record(crate::now(), Kind::Mark, number);
}

/// Gives the lines that report every kept sample to `emit`; see [`darma_trace::report`].
pub fn report_worst(
    room: &mut Room<EVENTS>,
    names: &impl Names,
    to_ns: impl Fn(Cycles) -> u64,
    emit: impl FnMut(&Line),
) {
    worst_samples(&TRACE, room, names, to_ns, emit);
}

/// Gives the lines that report the last events until now to `emit`.
pub fn report_last(
    room: &mut Room<EVENTS>,
    to_ns: impl Fn(Cycles) -> u64,
    emit: impl FnMut(&Line),
) {
    last_events(TRACE.recent(), room, to_ns, emit);
}

/// Gives the last events until now to `take`, oldest first.
pub fn recent(take: impl FnMut(Event)) {
    TRACE.recent().for_each(take);
}

/// Says which class's latencies are kept.
pub(crate) fn explain_class(level: u8) {
    EXPLAINED.fetch_max(level, Ordering::Relaxed);
}

/// What an exit knows of its activation.
pub(crate) struct Ended {
    pub(crate) task: u8,
    /// From 1.
    pub(crate) level: u8,
    pub(crate) by_timer: bool,
    /// Its interrupt.
    pub(crate) entered: Cycles,
    /// The interrupt of the timer that led straight to it; zero: none.
    pub(crate) timer_begin: Cycles,
    /// The section that it was.
    pub(crate) timer: Section,
    /// It preempted this task, whose begin is not recorded yet.
    pub(crate) preempted: Option<(u8, Cycles)>,
    /// Its own begin is recorded already: it was preempted.
    pub(crate) recorded: bool,
    pub(crate) times: Activation,
}

/// Records an activation, and keeps its history if it was among the latest to start.
pub(crate) fn activation(ended: &Ended, phase: Phase) {
    let task = u32::from(ended.task);
    if let Some((below, begin)) = ended.preempted {
        TRACE.record(begin, Kind::TaskBegin, u32::from(below));
    }
    if ended.timer_begin.0 != 0 && !KEEPS_LAST.load(Ordering::Relaxed) {
        TRACE.record(ended.timer_begin, Kind::TimerBegin, 0);
        TRACE.record(ended.entered, Kind::TimerEnd, 0);
    }
    let release = if ended.by_timer {
        Kind::Release
    } else {
        Kind::Pend
    };
    TRACE.record(ended.times.released, release, task);
    if !ended.recorded {
        TRACE.record(ended.times.started, Kind::TaskBegin, task);
    }
    TRACE.record(ended.times.finished, Kind::TaskEnd, task);
    let sample = Sample {
        task: ended.task,
        phase,
        group: group_of(phase) + if ended.by_timer { 0 } else { 3 },
        released: ended.times.released,
        started: ended.times.started,
    };
    if ended.level >= EXPLAINED.load(Ordering::Relaxed)
        && TRACE.would_keep(sample.group, sample.latency())
    {
        // One that comes while another is being kept is not: it preempted that one's exit.
        TRACE.freeze(sample);
    }
}
