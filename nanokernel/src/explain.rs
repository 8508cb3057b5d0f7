//! Reports of the longest waits and of whole histograms.
//!
//! In the main loop, interrupts on: hundreds of lines, and the tasks go on meanwhile.

use crate::once::Once;
use crate::report;
use darma_abi::report::{Buckets, Event, Name};
use darma_abi::shared::{Phase, Text};
use darma_histogram::Histogram;
use darma_machine::irq_off;
use darma_rtos::trace::{self, EVENTS};
use darma_sched::TimeScale;
use darma_trace::report::{Room, room};
use darma_trace::{Names, What};

static ROOM: Once<Room<EVENTS>> = Once::new(room());

/// Names of the numbers in the trace.
struct ImageNames;

impl Names for ImageNames {
    fn name(&self, what: What) -> Option<&str> {
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        match what {
            What::Task(task) | What::Release(task) => {
                darma_rtos::counts(index(task)).map(|counts| counts.task.name)
            }
            What::Section(section) => irq_off::SECTIONS.get(index(section)).map(|(_, name)| *name),
            What::Emulation(kind) => crate::paths::name_of(index(kind)),
            What::Load(step) => LOAD_STEPS.get(index(step)).copied(),
            What::Capture(step) => CAPTURE_STEPS.get(index(step)).copied(),
            _ => None,
        }
    }
}

/// Steps of a load, by their number in the trace.
const LOAD_STEPS: [&str; 1] = ["verify-and-copy"];
/// Steps of a capture, by their number in the trace.
const CAPTURE_STEPS: [&str; 3] = ["quiesce", "kernel-log", "memory"];

/// Prints the longest waits with their histories.
pub(crate) struct Explainer {
    room: &'static mut Room<EVENTS>,
}

impl Explainer {
    /// Takes the room for one history.
    pub(crate) fn new() -> Self {
        Self { room: ROOM.take() }
    }

    /// Prints every kept sample.
    pub(crate) fn report(&mut self, scale: &TimeScale) {
        let to_ns = |at| scale.nanos(at).0;
        trace::report_worst(self.room, &ImageNames, to_ns, report::emit);
    }

    /// Prints the last events.
    pub(crate) fn report_last(&mut self, scale: &TimeScale) {
        let to_ns = |at| scale.nanos(at).0;
        trace::report_last(self.room, to_ns, report::emit);
    }
}

/// Prints what a histogram holds, in parts.
pub(crate) fn histogram(task: &str, phase: Phase, of: &str, histogram: &Histogram) {
    let mut buckets = Buckets::new();
    let flush = |buckets: &mut Buckets| {
        report::emit(&Event::Histogram {
            task: Text::new(task),
            phase,
            of: Name::new(of),
            buckets: core::mem::take(buckets),
        });
    };
    for bucket in histogram.iter() {
        let high = u32::try_from(bucket.high_ns).unwrap_or(u32::MAX);
        if buckets.push((high, bucket.count)).is_err() {
            flush(&mut buckets);
            let _ = buckets.push((high, bucket.count));
        }
    }
    if !buckets.as_slice().is_empty() {
        flush(&mut buckets);
    }
}
