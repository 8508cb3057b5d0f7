//! The definitions, asked at every tick.

use crate::{Case, Counts, HORIZON, Outcome, Source, Times, What};
use darma_sched::faults::{FAULTS_IN_A_ROW, FaultKind, OnFault};
use std::collections::VecDeque;

#[derive(Default)]
struct Task {
    /// The release that waits to be run, if one does. A software task's are in `messages`.
    pending: Option<u64>,
    messages: VecDeque<u64>,
    active: bool,
    stopped: bool,
    /// Its state is to be put back.
    faulted: bool,
    faults_in_a_row: u32,
    activations: u32,
    since_reset: u32,
    /// Releases that found it busy.
    early: u64,
    counts: Counts,
}

struct Activation {
    task: usize,
    released: u64,
    began: u64,
    work: u64,
    panics: Option<u64>,
    executed: u64,
    /// Nothing but the reset of a software task's state.
    empty: bool,
}

struct Model<'c> {
    case: &'c Case,
    tasks: Vec<Task>,
    /// Who runs, innermost last.
    stack: Vec<Activation>,
    trace: Vec<(u64, usize, What)>,
}

pub(crate) fn run(case: &Case) -> Outcome {
    let mut model = Model {
        case,
        tasks: case.tasks.iter().map(|_| Task::default()).collect(),
        stack: Vec::new(),
        trace: Vec::new(),
    };
    for now in 0..HORIZON {
        model.release(now);
        while model.end_or_begin(now) {}
        if let Some(top) = model.stack.last_mut() {
            top.executed += 1;
        }
    }
    Outcome {
        trace: model.trace,
        counts: model.tasks.into_iter().map(|task| task.counts).collect(),
    }
}

impl Model<'_> {
    fn release(&mut self, now: u64) {
        for (task, declared) in self.tasks.iter_mut().zip(&self.case.tasks) {
            if let Source::Periodic { period, phase } = declared.source {
                let on_grid = now >= period + phase && (now - phase).is_multiple_of(period);
                if on_grid && !task.stopped {
                    if task.active || task.pending.is_some() {
                        task.early += 1;
                    } else {
                        task.pending = Some(now);
                    }
                }
            }
        }
        for &(_, to) in self.case.sends.iter().filter(|(at, _)| *at == now) {
            let task = &mut self.tasks[to];
            if let Source::Software { capacity } = self.case.tasks[to].source {
                if task.messages.len() < capacity {
                    task.messages.push_back(now);
                } else {
                    task.counts.refused += 1;
                }
            }
        }
    }

    /// One thing that has to happen now, if there is one.
    fn end_or_begin(&mut self, now: u64) -> bool {
        if let Some(top) = self.stack.last() {
            let budget = self.case.tasks[top.task].budget;
            let fault = if top.executed == top.work {
                None
            } else if top.panics == Some(top.executed) {
                Some(FaultKind::Panic)
            } else if Some(top.executed) == budget {
                Some(FaultKind::Budget)
            } else {
                return self.begin(now);
            };
            let top = self.stack.pop().expect("there is one");
            self.end(&top, fault, now);
            return true;
        }
        self.begin(now)
    }

    fn end(&mut self, ended: &Activation, fault: Option<FaultKind>, now: u64) {
        let declared = &self.case.tasks[ended.task];
        let task = &mut self.tasks[ended.task];
        task.active = false;
        let what = fault.map_or(What::End, What::Fault);
        self.trace.push((now, ended.task, what));
        let Some(kind) = fault else {
            if !task.stopped {
                task.counts.runs += 1;
                if !ended.empty {
                    task.faults_in_a_row = 0;
                }
                task.counts.latency.record(ended.began - ended.released);
                task.counts.response.record(now - ended.released);
                let late = declared
                    .deadline
                    .is_some_and(|most| now - ended.released > most);
                task.counts.missed += u64::from(late);
            }
            task.settle_early();
            return;
        };
        task.counts.abandoned += 1;
        task.counts.missed += 1;
        task.counts.budget_overruns += u64::from(kind == FaultKind::Budget);
        task.faults_in_a_row += 1;
        task.faulted = true;
        match declared.on_fault {
            OnFault::Restart if task.faults_in_a_row < FAULTS_IN_A_ROW => {}
            OnFault::StopAll => self.tasks.iter_mut().for_each(Task::stop),
            OnFault::Restart | OnFault::Degrade => task.stop(),
        }
        self.tasks[ended.task].settle_early();
    }

    fn begin(&mut self, now: u64) -> bool {
        let running = self
            .stack
            .last()
            .map_or(0, |top| self.case.tasks[top.task].level);
        let ready = |task: &Task, source: &Source| match source {
            Source::Periodic { .. } => task.pending.is_some(),
            // After a fault it runs once, message or not.
            Source::Software { .. } => !task.messages.is_empty() || task.faulted,
        };
        let level = |index: usize| self.case.tasks[index].level;
        let most_urgent = (0..self.tasks.len())
            .filter(|&index| {
                let task = &self.tasks[index];
                !task.stopped && !task.active && ready(task, &self.case.tasks[index].source)
            })
            .max_by_key(|&index| (level(index), std::cmp::Reverse(index)));
        let Some(index) = most_urgent.filter(|&index| level(index) > running) else {
            return false;
        };
        let task = &mut self.tasks[index];
        if std::mem::take(&mut task.faulted) {
            task.since_reset = 0;
        }
        let answered = task.pending.take().or_else(|| task.messages.pop_front());
        let (work, panics) = if answered.is_some() {
            task.activations += 1;
            self.case.tasks[index].program(task.activations)
        } else {
            (0, None)
        };
        self.trace.push((now, index, What::Begin(task.since_reset)));
        task.since_reset += 1;
        task.active = true;
        self.stack.push(Activation {
            task: index,
            released: answered.unwrap_or(now),
            began: now,
            work,
            panics,
            executed: 0,
            empty: answered.is_none(),
        });
        true
    }
}

impl Task {
    fn stop(&mut self) {
        self.stopped = true;
    }

    /// Releases that found it busy are overruns, unless it is stopped and has no releases.
    fn settle_early(&mut self) {
        let early = std::mem::take(&mut self.early);
        if !self.stopped {
            self.counts.overruns += early;
            self.counts.missed += early;
        }
    }
}

impl Times {
    fn record(&mut self, time: u64) {
        self.count += 1;
        self.sum += time;
        self.max = self.max.max(time);
    }
}
