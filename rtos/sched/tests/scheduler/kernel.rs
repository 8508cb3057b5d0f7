//! The crate's parts, put together as `rtos/port` puts them, with time as a number.

use crate::{Case, Counts, HORIZON, Outcome, Source, Times, What};
use darma_abi::shared::Phase;
use darma_abi::units::{Cycles, Vector};
use darma_histogram::Histogram;
use darma_sched::faults::{Action, FaultHistory, FaultKind, Place};
use darma_sched::{Accounting, Activation, Periodic, Priority, TimeScale, TimerQueue};
use std::collections::VecDeque;

const FIRST_VECTOR: u8 = 0xc0;

struct Control {
    vector: Vector,
    grid: Option<Periodic>,
    account: Box<Accounting>,
    history: FaultHistory,
    messages: VecDeque<u64>,
    refused: u64,
    stopped: bool,
    /// The next activation puts the task's state back first.
    reset: bool,
    activations: u32,
    since_reset: u32,
}

/// An activation on its class's stack.
struct Running {
    task: usize,
    /// It found a message.
    answered: bool,
    released: u64,
    began: u64,
    budget_end: u64,
    left: u64,
    panics_in: Option<u64>,
    /// When it last went on.
    resumed: u64,
}

impl Running {
    /// When it ends by itself, or panics.
    fn stops_at(&self) -> u64 {
        let own = self
            .panics_in
            .map_or(self.left, |panics| panics.min(self.left));
        self.resumed.saturating_add(own)
    }

    /// It ran until now.
    fn stand(&mut self, now: u64) {
        let ran = now - std::mem::replace(&mut self.resumed, now);
        self.left -= ran;
        self.panics_in = self.panics_in.map(|panics| panics - ran);
    }
}

struct Kernel<'c> {
    case: &'c Case,
    queue: TimerQueue,
    controls: Vec<Control>,
    /// Pending vectors, less the first: the local APIC's request register.
    pending: u64,
    stack: Vec<Running>,
    trace: Vec<(u64, usize, What)>,
}

pub(crate) fn run(case: &Case) -> Outcome {
    let mut kernel = Kernel::new(case);
    let (mut now, end) = (case.start, case.start + HORIZON);
    let mut sends = case.sends.iter().peekable();
    while now < end {
        while let Some(number) = kernel.queue.pop_due(Cycles(now)) {
            kernel.pending |= 1 << number;
        }
        while let Some((_, to)) = sends.next_if(|(at, _)| case.start + at <= now) {
            kernel.send(*to, now);
        }
        while kernel.end_or_deliver(now) {}
        let top = kernel.stack.last();
        now = kernel.queue.next().0;
        if let Some(top) = top {
            now = now.min(top.stops_at()).min(top.budget_end);
        }
        if let Some((at, _)) = sends.peek() {
            now = now.min(case.start + at);
        }
    }
    kernel.outcome()
}

impl<'c> Kernel<'c> {
    fn new(case: &'c Case) -> Self {
        let mut used = [0; Priority::COUNT];
        let mut queue = TimerQueue::new();
        let mut controls = Vec::new();
        for task in &case.tasks {
            let priority = Priority::new(task.level).expect("1 to 3");
            let of_priority = &mut used[usize::from(task.level) - 1];
            // The first of the table has the highest vector of its class.
            let vector = priority.vector(15 - *of_priority).expect("few tasks");
            *of_priority += 1;
            let mut account = Box::new(Accounting::new());
            account.set_deadline(task.deadline.map(Cycles));
            let grid = match task.source {
                Source::Software { .. } => None,
                Source::Periodic { period, phase } => {
                    let first = Cycles(case.start.saturating_add(period + phase));
                    queue.insert(vector.0 - FIRST_VECTOR, first);
                    Some(Periodic::new(first, Cycles(period)))
                }
            };
            controls.push(Control {
                vector,
                grid,
                account,
                history: FaultHistory::new(),
                messages: VecDeque::new(),
                refused: 0,
                stopped: false,
                reset: false,
                activations: 0,
                since_reset: 0,
            });
        }
        Self {
            case,
            queue,
            controls,
            pending: 0,
            stack: Vec::new(),
            trace: Vec::new(),
        }
    }

    fn pend(&mut self, task: usize) {
        self.pending |= 1 << (self.controls[task].vector.0 - FIRST_VECTOR);
    }

    fn send(&mut self, to: usize, now: u64) {
        let Source::Software { capacity } = self.case.tasks[to].source else {
            return;
        };
        let control = &mut self.controls[to];
        if control.messages.len() < capacity {
            control.messages.push_back(now);
            self.pend(to);
        } else {
            control.refused += 1;
        }
    }

    fn end_or_deliver(&mut self, now: u64) -> bool {
        let Some(top) = self.stack.last_mut() else {
            return self.deliver(now);
        };
        top.stand(now);
        let fault = if top.left == 0 {
            None
        } else if top.panics_in == Some(0) {
            Some(FaultKind::Panic)
        } else if now >= top.budget_end {
            Some(FaultKind::Budget)
        } else {
            return self.deliver(now);
        };
        let ended = self.stack.pop().expect("there is one");
        let what = fault.map_or(What::End, What::Fault);
        self.trace.push((now - self.case.start, ended.task, what));
        match fault {
            None => self.finish(&ended, now),
            Some(kind) => self.abandon(&ended, kind),
        }
        self.return_from(&ended, now);
        true
    }

    fn finish(&mut self, ended: &Running, now: u64) {
        let control = &mut self.controls[ended.task];
        if control.stopped {
            return;
        }
        if ended.answered {
            control.history.finished();
        } else {
            control.history.finished_silently();
        }
        let times = Activation {
            released: Cycles(ended.released),
            started: Cycles(ended.began),
            finished: Cycles(now),
        };
        control
            .account
            .ran(&times, Phase::Idle, &TimeScale::GIGAHERTZ);
    }

    fn abandon(&mut self, ended: &Running, kind: FaultKind) {
        let declared = &self.case.tasks[ended.task];
        let control = &mut self.controls[ended.task];
        control.account.abandon(Phase::Idle, kind);
        match control.history.faulted(declared.on_fault, Place::Ordinary) {
            Action::Restarted => {
                control.reset = true;
                if matches!(declared.source, Source::Software { .. }) {
                    control.history.released_for_reset();
                    self.pend(ended.task);
                }
            }
            Action::Stopped | Action::GivenUp => self.stop(ended.task),
            Action::AllStopped => (0..self.controls.len()).for_each(|task| self.stop(task)),
        }
    }

    fn stop(&mut self, task: usize) {
        let control = &mut self.controls[task];
        control.stopped = true;
        control.grid = None;
        self.queue.cancel(control.vector.0 - FIRST_VECTOR);
    }

    fn return_from(&mut self, ended: &Running, now: u64) {
        let control = &mut self.controls[ended.task];
        if let Some(release) = control
            .grid
            .as_mut()
            .and_then(|grid| grid.take(Cycles(now)))
        {
            self.queue
                .insert(control.vector.0 - FIRST_VECTOR, release.next);
            if release.skipped > 0 {
                control.account.skip(release.skipped, Phase::Idle);
            }
        }
        if let Some(below) = self.stack.last_mut() {
            below.budget_end = below.budget_end.saturating_add(now - ended.began);
            below.resumed = now;
        }
    }

    /// The APIC delivers the highest pending vector, if its class is above the one in service.
    fn deliver(&mut self, now: u64) -> bool {
        let Some(number) = self.pending.checked_ilog2() else {
            return false;
        };
        let in_service = self
            .stack
            .last()
            .map_or(0, |top| self.controls[top.task].vector.class());
        let highest = |control: &Control| u32::from(control.vector.0 - FIRST_VECTOR) == number;
        let task = self.controls.iter().position(highest).expect("a task's");
        if self.controls[task].vector.class() <= in_service {
            return false;
        }
        self.pending &= !(1 << number);
        self.enter(task, now);
        true
    }

    fn enter(&mut self, task: usize, now: u64) {
        let control = &mut self.controls[task];
        if control.stopped {
            // Nothing stands in for it.
            return;
        }
        if std::mem::take(&mut control.reset) {
            control.since_reset = 0;
        }
        let released = match &control.grid {
            Some(grid) => Some(grid.next().0),
            None => control.messages.pop_front(),
        };
        let (left, panics_in) = if released.is_some() {
            control.activations += 1;
            self.case.tasks[task].program(control.activations)
        } else {
            (0, None)
        };
        let begin = What::Begin(control.since_reset);
        control.since_reset += 1;
        let more = !control.messages.is_empty();
        self.trace.push((now - self.case.start, task, begin));
        let budget = self.case.tasks[task].budget;
        self.stack.push(Running {
            task,
            answered: self.controls[task].grid.is_none() && released.is_some(),
            released: released.unwrap_or(now),
            began: now,
            budget_end: budget.map_or(u64::MAX, |budget| now.saturating_add(budget)),
            left,
            panics_in,
            resumed: now,
        });
        if more {
            self.pend(task);
        }
    }

    fn outcome(self) -> Outcome {
        let times = |histogram: &Histogram| Times {
            count: histogram.count(),
            sum: histogram.sum_ns(),
            max: histogram.max_ns().unwrap_or(0),
        };
        let counts = self.controls.into_iter().map(|control| Counts {
            runs: control.account.runs(),
            abandoned: control.account.abandoned(),
            budget_overruns: control.account.budget_overruns(),
            overruns: control.account.overruns(),
            missed: control.account.missed(),
            refused: control.refused,
            latency: times(&control.account.phase(Phase::Idle).latency),
            response: times(control.account.response()),
        });
        Outcome {
            trace: self.trace,
            counts: counts.collect(),
        }
    }
}
