//! The ceiling protocol, checked against its promises on randomly generated task sets.
//!
//! The simulated machine has one processor and a local APIC with the rules of APM2 16.6.4: it
//! delivers the highest pending vector whose class is above both CR8 and the class in service. Tasks
//! run to completion on one stack; a lock raises CR8 to the resource's ceiling and restores it after.
//! Checked at every step, for every schedule that proptest finds:
//!
//! 1. mutual exclusion: no two tasks are ever inside the same resource;
//! 2. no task waits once it has started, so one stack is enough and deadlock cannot arise;
//! 3. a pending task waits for at most *one* section of a less urgent task;
//! 4. everything that was pended runs, and a task always ends with the CR8 that it began with.

use darma_abi::units::Vector;
use darma_sched::{Ceiling, Priority};
use proptest::prelude::*;

const RESOURCES: usize = 3;

/// What a task does, one step each.
#[derive(Clone, Copy, Debug)]
enum Step {
    Work,
    Lock(usize),
    Unlock,
}

#[derive(Clone, Debug)]
struct Task {
    priority: Priority,
    vector: Vector,
    program: Vec<Step>,
    arrives: usize,
}

/// A task on the stack.
struct Frame {
    task: usize,
    next: usize,
    /// The resources it is inside, each with the ceiling to restore.
    held: Vec<(usize, Ceiling)>,
    /// The step at which it took the outermost of them.
    section: usize,
}

struct Machine<'t> {
    tasks: &'t [Task],
    ceilings: [Ceiling; RESOURCES],
    pending: Vec<usize>,
    stack: Vec<Frame>,
    cr8: Ceiling,
    /// Per task: for which sections (owner, first step) of less urgent tasks it has waited.
    blocked_by: Vec<Vec<(usize, usize)>>,
    finished: usize,
}

impl<'t> Machine<'t> {
    fn new(tasks: &'t [Task]) -> Self {
        let ceiling = |resource: usize| {
            let uses = |step: &Step| matches!(step, Step::Lock(used) if *used == resource);
            let users: Vec<Priority> = tasks
                .iter()
                .filter(|task| task.program.iter().any(uses))
                .map(|task| task.priority)
                .collect();
            Ceiling::of_users(&users)
        };
        Self {
            tasks,
            ceilings: std::array::from_fn(ceiling),
            pending: Vec::new(),
            stack: Vec::new(),
            cr8: Ceiling::OPEN,
            blocked_by: vec![Vec::new(); tasks.len()],
            finished: 0,
        }
    }

    /// What the APIC delivers now: the processor priority is the higher of CR8 and the class in
    /// service.
    fn deliver(&mut self) {
        let in_service = self
            .stack
            .last()
            .map_or(0, |frame| self.tasks[frame.task].priority.class());
        let best = self
            .pending
            .iter()
            .copied()
            .max_by_key(|task| self.tasks[*task].vector);
        let Some(task) = best else { return };
        let vector = self.tasks[task].vector;
        if self.cr8.holds_back(vector) || vector.class() <= in_service {
            self.note_blocking(task);
            return;
        }
        self.pending.retain(|pending| *pending != task);
        self.stack.push(Frame {
            task,
            next: 0,
            held: Vec::new(),
            section: 0,
        });
    }

    /// The waiting task is blocked, not merely preempted, while the running one is less urgent.
    fn note_blocking(&mut self, waiting: usize) {
        let Some(running) = self.stack.last() else {
            return;
        };
        if self.tasks[running.task].priority < self.tasks[waiting].priority {
            assert!(
                !running.held.is_empty(),
                "promise 3: only a section holds anybody back"
            );
            let section = (running.task, running.section);
            if self.blocked_by[waiting].last() != Some(&section) {
                self.blocked_by[waiting].push(section);
            }
        }
    }

    fn run_one_step(&mut self) {
        let Some(frame) = self.stack.last_mut() else {
            return;
        };
        let Some(step) = self.tasks[frame.task].program.get(frame.next).copied() else {
            assert!(
                frame.held.is_empty(),
                "generated programs close their sections"
            );
            self.stack.pop();
            self.finished += 1;
            return;
        };
        frame.next += 1;
        match step {
            Step::Work => {}
            Step::Lock(resource) => {
                if frame.held.is_empty() {
                    frame.section = frame.next;
                }
                frame.held.push((resource, self.cr8));
                self.cr8 = self.cr8.or_stricter(self.ceilings[resource]);
                let inside = self
                    .stack
                    .iter()
                    .flat_map(|frame| frame.held.iter())
                    .filter(|(held, _)| *held == resource)
                    .count();
                assert_eq!(
                    inside, 1,
                    "promises 1 and 2: the resource is free when it is taken"
                );
            }
            Step::Unlock => {
                let (_, before) = frame.held.pop().expect("sections are nested");
                self.cr8 = before;
            }
        }
    }
}

fn run(tasks: &[Task]) {
    let mut machine = Machine::new(tasks);
    let mut time = 0;
    while machine.finished < tasks.len() {
        assert!(time < 10_000, "promise 4: everything pended runs");
        for (number, task) in tasks.iter().enumerate() {
            if task.arrives == time {
                machine.pending.push(number);
            }
        }
        machine.deliver();
        machine.run_one_step();
        time += 1;
    }
    assert_eq!(machine.cr8, Ceiling::OPEN, "promise 4: CR8 is restored");
    for blocked_by in &machine.blocked_by {
        assert!(blocked_by.len() <= 1, "promise 3: {blocked_by:?}");
    }
}

/// A program of work and properly nested sections, no resource taken twice at once.
fn program() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0usize..RESOURCES + 2, 1usize..4), 0..8).prop_map(|choices| {
        let mut steps = vec![Step::Work];
        let mut held = Vec::new();
        for (choice, work) in choices {
            if choice < RESOURCES && !held.contains(&choice) {
                held.push(choice);
                steps.push(Step::Lock(choice));
            } else if held.pop().is_some() {
                steps.push(Step::Unlock);
            }
            steps.extend(std::iter::repeat_n(Step::Work, work));
        }
        steps.extend(held.iter().map(|_| Step::Unlock));
        steps
    })
}

fn tasks() -> impl Strategy<Value = Vec<Task>> {
    prop::collection::vec((1u8..=3, program(), 0usize..60), 1..8).prop_map(|specs| {
        (0u8..)
            .zip(specs)
            .map(|(slot, (level, program, arrives))| {
                let priority = Priority::new(level).expect("1 to 3");
                let vector = priority.vector(slot).expect("few tasks");
                Task {
                    priority,
                    vector,
                    program,
                    arrives,
                }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn the_protocol_keeps_its_promises(tasks in tasks()) {
        run(&tasks);
    }
}

#[test]
fn a_more_urgent_task_waits_for_the_section_and_then_runs_at_once() {
    let task = |level, slot, program: &[Step], arrives| {
        let priority = Priority::new(level).expect("1 to 3");
        let vector = priority.vector(slot).expect("in range");
        Task {
            priority,
            vector,
            program: program.to_vec(),
            arrives,
        }
    };
    let section = [
        Step::Lock(0),
        Step::Work,
        Step::Work,
        Step::Unlock,
        Step::Work,
    ];
    let tasks = [
        task(1, 0, &section, 0),
        task(3, 1, &section, 2),
        task(2, 2, &[Step::Work], 2),
    ];
    run(&tasks);
    let mut machine = Machine::new(&tasks);
    machine.pending = vec![0];
    machine.deliver();
    machine.run_one_step();
    machine.pending = vec![1, 2];
    machine.deliver();
    assert_eq!(machine.stack.len(), 1, "the section holds both back");
    for _ in 0..3 {
        machine.run_one_step();
    }
    machine.deliver();
    assert_eq!(
        machine.stack.last().map(|frame| frame.task),
        Some(1),
        "the most urgent first"
    );
}
