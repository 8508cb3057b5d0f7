//! The status block in the shared region: what the GPOS's user space may know.
//!
//! The region is written, never read: what the GPOS put there cannot mislead us.

use crate::explain::{self, Explainer};
use crate::once::Once;
use crate::paths::Paths;
use crate::report;
use core::fmt::Write;
use darma_abi::report::Event;
use darma_abi::shared::{
    FaultEntry, GposState, MAX_TASKS, Machinery, RegionStore, STAGE_WINDOW_OFFSET, StageBlock,
    StatusBody, StatusWriter, TaskEntry, Text,
};
use darma_abi::units::{Cycles, HostPhys};
use darma_histogram::Histogram;
use darma_machine::{boot, irq_off, memory, time};
use darma_rtos::{Measure, PHASES, Source, Task, TaskCounts, copy_histogram, time_scale};
use darma_sched::TimeScale;

static SUM: Once<Histogram> = Once::new(Histogram::new());
static PART: Once<Histogram> = Once::new(Histogram::new());

/// The region's host side.
struct Region {
    base: HostPhys,
}

impl RegionStore for Region {
    fn store_u32(&mut self, offset: usize, value: u32) {
        // SAFETY: SHARED-REGION: the plan gives the region to both sides; this side only stores,
        // and the offset is inside it by the trait's contract.
        unsafe {
            memory::write_register(HostPhys(self.base.0 + offset as u64), 4, u64::from(value))
        };
    }

    fn store(&mut self, offset: usize, bytes: &[u8]) {
        // SAFETY: SHARED-REGION, as above.
        unsafe { memory::write(HostPhys(self.base.0 + offset as u64), bytes) };
    }
}

/// How much of the tasks' figures is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The usual percentiles.
    Percentiles,
    /// Every bucket as well.
    Histograms,
}

/// The publisher of the status block.
pub(crate) struct Status {
    region: Region,
    writer: StatusWriter,
    scale: TimeScale,
    tsc_hz: u64,
    sum: &'static mut Histogram,
    part: &'static mut Histogram,
    explainer: Explainer,
    pub(crate) state: GposState,
    pub(crate) boots: u32,
    pub(crate) fault: Option<FaultEntry>,
    pub(crate) dump_bytes: u64,
    pub(crate) exits: u64,
    /// How many accesses outside the partition, and the last one's address.
    pub(crate) violations: (u64, u64),
}

impl Status {
    /// A publisher for the region at `base`; `stores` are the sizes of fault store and dump store.
    ///
    /// # Safety
    /// SHARED-REGION: `base` is the shared region of the memory plan.
    pub(crate) unsafe fn new(base: HostPhys, tsc_hz: u64, stores: (u64, u64)) -> Self {
        Self {
            region: Region { base },
            writer: StatusWriter::with_stores(stores.0, stores.1),
            scale: time_scale(),
            tsc_hz,
            sum: SUM.take(),
            part: PART.take(),
            explainer: Explainer::new(),
            state: GposState::Booting,
            boots: 0,
            fault: None,
            dump_bytes: 0,
            exits: 0,
            violations: (0, 0),
        }
    }

    /// Writes the region's header anew, for a new start of the GPOS, and the block.
    pub(crate) fn initialise(&mut self) {
        self.writer.initialise(&mut self.region);
        self.publish();
    }

    /// Writes the answer to a write of staging's.
    pub(crate) fn publish_stage(&mut self, block: &StageBlock) {
        block.store(&mut self.region);
    }

    /// The place of the window through which an image comes.
    pub(crate) const fn stage_window(&self) -> HostPhys {
        HostPhys(self.region.base.0 + STAGE_WINDOW_OFFSET as u64)
    }

    /// Brings the block up to date.
    pub(crate) fn publish(&mut self) {
        let mut body = StatusBody::zeroed();
        body.uptime_ns = self.now_ns();
        body.tsc_hz = self.tsc_hz;
        body.gpos_boots = self.boots;
        body.gpos_state = self.state.code();
        if let Some(fault) = self.fault {
            body.fault = fault;
        }
        let (section, cycles) = longest_section();
        body.machinery = Machinery {
            irq_off_max_ns: self.scale.nanos(cycles).0,
            irq_off_section: Text::new(section),
            dump_bytes: self.dump_bytes,
            exits: self.exits,
        };
        for (index, slot) in body.tasks.iter_mut().enumerate() {
            let Some(entry) = self.task_entry(index) else {
                break;
            };
            *slot = entry;
            body.task_count += 1;
        }
        self.writer.publish(&body, &mut self.region);
    }

    /// A task's line: its latencies over all phases.
    pub(crate) fn task_entry(&mut self, index: usize) -> Option<TaskEntry> {
        let counts = darma_rtos::counts(index)?;
        self.sum.clear();
        for phase in PHASES {
            if copy_histogram(index, Measure::Latency(phase), self.part) {
                self.sum.merge(self.part);
            }
        }
        let latency = self.sum.summary();
        Some(TaskEntry {
            name: Text::new(counts.task.name),
            class: u32::from(counts.task.priority.class()),
            reserved: 0,
            period_ns: period_ns(counts.task),
            runs: counts.runs,
            overruns: counts.overruns,
            missed: counts.missed.iter().sum(),
            min_ns: latency.min_ns,
            p50_ns: latency.p50_ns,
            p99_ns: latency.p99_ns,
            p999_ns: latency.p999_ns,
            max_ns: latency.max_ns,
        })
    }

    /// Prints every task's figures under every phase.
    pub(crate) fn report_tasks(&mut self, detail: Detail) {
        for index in 0..MAX_TASKS {
            let Some(counts) = darma_rtos::counts(index) else {
                break;
            };
            self.sum.clear();
            for (phase, missed) in PHASES.into_iter().zip(counts.missed) {
                copy_histogram(index, Measure::Latency(phase), self.part);
                self.sum.merge(self.part);
                if detail == Detail::Histograms {
                    explain::histogram(counts.task.name, phase, "latency", self.part);
                }
                let latency = self.part.summary();
                report::emit(&Event::Task {
                    name: Text::new(counts.task.name),
                    period_ns: period_ns(counts.task),
                    phase,
                    samples: latency.samples,
                    missed,
                    overruns: counts.overruns,
                    min_ns: latency.min_ns,
                    p50_ns: latency.p50_ns,
                    p99_ns: latency.p99_ns,
                    p999_ns: latency.p999_ns,
                    max_ns: latency.max_ns,
                });
            }
            self.report_response(index, &counts);
        }
    }

    /// Prints what a task did besides its latencies, which `sum` holds.
    fn report_response(&mut self, index: usize, counts: &TaskCounts) {
        let latency = self.sum.summary();
        copy_histogram(index, Measure::Response, self.part);
        let response = self.part.summary();
        report::emit(&Event::Response {
            name: Text::new(counts.task.name),
            activations: counts.activations,
            runs: counts.runs,
            budget_overruns: counts.budget_overruns,
            faults: counts.faults,
            jitter_ns: latency.max_ns.saturating_sub(latency.min_ns),
            p50_ns: response.p50_ns,
            p999_ns: response.p999_ns,
            max_ns: response.max_ns,
        });
    }

    /// Prints the faults of tasks that nobody was told of yet.
    pub(crate) fn report_faults(&self) {
        while let Some((fault, lost)) = darma_rtos::faults::take_fault() {
            if lost > 0 {
                log::warn!("{lost} faults of tasks before this one were not recorded");
            }
            let task = darma_rtos::counts(usize::from(fault.task.0)).map(|counts| counts.task.name);
            report::emit(&Event::TaskFault {
                name: Text::new(task.unwrap_or_default()),
                kind: Text::new(fault.kind.name()),
                action: Text::new(fault.action.name()),
                at_ns: self.scale.nanos(fault.at).0,
                rip: fault.rip,
                address: fault.address,
                in_lock: fault.in_lock,
                count: fault.count,
                line: Text::new(&fault.words),
            });
        }
    }

    /// Prints how often the GPOS was left, by kind.
    pub(crate) fn report_exits(&self, paths: &Paths) {
        let at_ns = self.now_ns();
        for (kind, count, _) in paths.all().filter(|(_, count, _)| *count > 0) {
            report::emit(&Event::Exits {
                kind: Text::new(kind.name()),
                count,
                at_ns,
            });
        }
    }

    /// Prints the longest run of each path that has a budget.
    pub(crate) fn report_paths(&self, paths: &Paths) {
        for (kind, _, longest) in paths.all().filter(|(_, _, longest)| longest.0 > 0) {
            let mut name: heapless::String<32> = heapless::String::new();
            // Every kind's name fits.
            let _ = write!(name, "emulate-{}", kind.name());
            self.report_path(&name, longest);
        }
        let [one, several] = darma_rtos::timer_to_task();
        self.report_path("timer-to-task", one);
        self.report_path("timer-to-task-joint", several);
    }

    #[inline(never)]
    fn report_path(&self, name: &str, longest: Cycles) {
        report::emit(&Event::Path {
            name: Text::new(name),
            max_ns: self.scale.nanos(longest).0,
        });
    }

    /// Prints the last events of the trace.
    pub(crate) fn report_last_events(&mut self) {
        self.explainer.report_last(&self.scale);
    }

    /// Prints that nothing follows.
    pub(crate) fn report_end(&self, reason: &str) {
        report::emit(&Event::End {
            at_ns: self.now_ns(),
            reason: Text::new(reason),
        });
    }

    /// Prints the figures: the tasks, every section with interrupts off, the machinery.
    pub(crate) fn report_figures(&mut self, reserved_bytes: u64) {
        self.report_tasks(Detail::Histograms);
        self.explainer.report(&self.scale);
        for (section, name) in irq_off::SECTIONS {
            let ns = self.scale.nanos(irq_off::longest(section)).0;
            report::emit(&Event::IrqOff {
                section: Text::new(name),
                ns,
            });
        }
        report::emit(&Event::Figures {
            text_bytes: boot::text_bytes(),
            ras_text_bytes: boot::ras_text_bytes(),
            start_text_bytes: boot::start_text_bytes(),
            reserved_bytes,
            tsc_hz: self.tsc_hz,
            exits: self.exits,
            violations: self.violations.0,
            last_violation: self.violations.1,
        });
    }

    /// Nanoseconds since the machine started.
    pub(crate) fn now_ns(&self) -> u64 {
        self.scale.nanos(time::now()).0
    }
}

/// A task's period; 0 if it has none.
fn period_ns(task: &Task) -> u64 {
    match task.source {
        Source::Periodic { period, .. } => period.0,
        Source::Software | Source::Interrupt(_) => 0,
    }
}

/// The longest section with interrupts off so far.
pub(crate) fn longest_section() -> (&'static str, Cycles) {
    irq_off::SECTIONS
        .iter()
        .map(|(section, name)| (*name, irq_off::longest(*section)))
        .max_by_key(|(_, cycles)| *cycles)
        .unwrap_or_default()
}
