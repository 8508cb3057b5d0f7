//! Who had the processor while a task waited, and who is to blame for the wait.
//!
//! The wait from the release to the task's first instruction is cut into segments at every event;
//! each goes to what the processor was doing. Two rules decide whether that stood in the way:
//!
//! * What was interrupted did not stand in the way; what had to come to its end did. A task, a lock or
//!   an emulation is to blame only if it ended, or began, inside the wait. Handlers and sections run
//!   with interrupts off and always are.
//! * What belongs to every wait is the path: leaving the guest, the timer's handler as far as it serves
//!   this task's release, the way to the task's first instruction. It is named only when nothing else
//!   stood in the way.
//!
//! Times are of any unit, if all are of the same: the image counts cycles, a report nanoseconds. A
//! history may have gaps and begin anywhere; times that run backwards are taken for the latest one
//! before. Whatever the history says, the segments follow each other without gap or overlap and sum to
//! the wait.

use core::fmt;

use darma_abi::units::{Cycles, Vector};

use crate::activity::{Activity, Stack, ended_by, interrupts};
use crate::event::{Event, Kind};

/// What a stretch of the wait went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The history does not reach back far enough.
    Unknown,
    /// Path: from the timer's expiry to its handler, out of code that could be interrupted.
    Delivery,
    /// Path: the guest had the processor until it was left.
    GuestExit,
    /// The main loop: entering and leaving the guest, with interrupts off.
    MainLoop,
    /// Path: the timer's handler, serving this task's release.
    Timer,
    /// Path: from the end of the last handler or task to this task's first instruction.
    TaskEntry,
    /// The timer's handler for an expiry that was not this task's.
    OtherExpiry,
    /// The timer's handler, serving this other task's release.
    Release(u32),
    /// This other task, or an earlier run of the same.
    Task(u32),
    /// The handler of the device interrupt with this vector.
    Device(u32),
    /// This section with interrupts off.
    Section(u32),
    /// A lock with this ceiling.
    Lock(u32),
    /// The emulation of an exit of this kind.
    Emulation(u32),
    /// This step of loading the GPOS.
    Load(u32),
    /// This step of capturing it.
    Capture(u32),
}

impl What {
    /// Whether it is a part of every wait.
    pub const fn is_path(self) -> bool {
        matches!(
            self,
            Self::Delivery | Self::GuestExit | Self::Timer | Self::TaskEntry
        )
    }

    /// Whether it stood in the way: something that others do and that could be shorter or absent.
    pub const fn stood_in_the_way(self) -> bool {
        !self.is_path() && !matches!(self, Self::MainLoop | Self::Unknown)
    }

    /// Its text, with the names that are known.
    pub const fn named<N: Names>(self, names: &N) -> Named<'_, N> {
        Named { what: self, names }
    }
}

/// Names for the numbers in a history. A number without a name is written as a number.
pub trait Names {
    /// The name of what `what` has a number for: task, section, vector, exit kind or step.
    fn name(&self, what: What) -> Option<&str>;
}

/// No names at all.
impl Names for () {
    fn name(&self, _: What) -> Option<&str> {
        None
    }
}

/// A [`What`] with its names, for printing.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a, N> {
    what: What,
    names: &'a N,
}

impl<N: Names> fmt::Display for Named<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match self.what {
            What::Unknown => return f.write_str("before the history"),
            What::Delivery => return f.write_str("interrupt delivery"),
            What::GuestExit => return f.write_str("guest exit"),
            What::MainLoop => return f.write_str("guest entry/exit path"),
            What::Timer => return f.write_str("timer path"),
            What::TaskEntry => return f.write_str("task entry"),
            What::OtherExpiry => return f.write_str("another timer expiry"),
            What::Release(task) => ("release of", task),
            What::Task(task) => ("task", task),
            What::Device(vector) => ("interrupt", vector),
            What::Section(section) => ("section", section),
            What::Lock(ceiling) => ("lock at ceiling", ceiling),
            What::Emulation(kind) => ("emulation of", kind),
            What::Load(step) => ("load step", step),
            What::Capture(step) => ("capture step", step),
        };
        match (self.names.name(self.what), self.what) {
            (Some(name), _) => write!(f, "{word} {name}"),
            (None, What::Device(vector)) => match u8::try_from(vector) {
                Ok(vector) => write!(f, "{word} {}", Vector(vector)),
                Err(_) => write!(f, "{word} {vector}"),
            },
            (None, _) => write!(f, "{word} {number}"),
        }
    }
}

/// A stretch of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins.
    pub from: Cycles,
    /// Where it ends.
    pub to: Cycles,
    /// What it went to.
    pub what: What,
}

impl Segment {
    /// Its length.
    pub const fn length(&self) -> Cycles {
        self.to.saturating_since(self.from)
    }
}

/// What stood longest in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// What. [`What::Timer`] means: nothing but the timer's path.
    pub what: What,
    /// How much of the wait went to it.
    pub time: Cycles,
    /// The whole wait.
    pub wait: Cycles,
}

/// Sorts events by time. Those of one time keep their order. For histories in which some events
/// were recorded after the fact; fast if few were.
pub fn sort_by_time(events: &mut [Event]) {
    for end in 1..events.len() {
        let mut at = end;
        while at > 0
            && events
                .get(at - 1..=at)
                .is_some_and(|pair| pair[0].at > pair[1].at)
        {
            events.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// Cuts the wait of `task` from `released` to `started` into segments, in order; each is given to
/// `each`. Empty ones are left out.
pub fn segments(
    events: &[Event],
    released: Cycles,
    started: Cycles,
    task: u32,
    mut each: impl FnMut(Segment),
) {
    let inside = events
        .iter()
        .position(|event| event.at > released)
        .unwrap_or(events.len());
    let (before, rest) = events.split_at(inside);
    let mut stack = Stack::before(events.first());
    for event in before {
        stack.follow(*event);
    }
    let length = rest
        .iter()
        .position(|event| event.at > started)
        .unwrap_or(rest.len());
    let within = rest.get(..length).unwrap_or_default();
    let mut wait = Wait {
        task,
        released,
        before,
        within,
        lowest: stack.depth(),
    };
    let mut from = released;
    for at in 0..=length {
        let to = within.get(at).map_or(started, |event| event.at);
        // Clamped: a time that runs backwards makes an empty segment.
        let to = Cycles(to.0.clamp(from.0, started.0.max(from.0)));
        if to > from {
            let what = wait.blame(&stack, at);
            each(Segment { from, to, what });
            from = to;
        }
        if let Some(event) = within.get(at) {
            stack.follow(*event);
            wait.lowest = wait.lowest.min(stack.depth());
        }
    }
}

/// The wait that is being cut.
struct Wait<'a> {
    task: u32,
    released: Cycles,
    before: &'a [Event],
    within: &'a [Event],
    /// The least depth of the stack since the release: what is above it began inside the wait.
    lowest: usize,
}

impl Wait<'_> {
    /// What the segment that ends with event `at` of the wait goes to.
    fn blame(&self, stack: &Stack, at: usize) -> What {
        let next = self.within.get(at).copied();
        let other = next
            .filter(|event| event.kind == Kind::TaskBegin && event.argument != self.task)
            .map(|event| event.argument);
        match (stack.top(), other) {
            (Activity::Timer, _) => self.blame_timer(next, at),
            (Activity::Device(vector), _) => What::Device(vector),
            (Activity::Section(section), _) => What::Section(section),
            // Another task is on its way in; the path to it is its own.
            (_, Some(other)) => What::Task(other),
            (_, None) => self.blame_interruptible(stack, next, at),
        }
    }

    /// The same for what an interrupt can interrupt.
    fn blame_interruptible(&self, stack: &Stack, next: Option<Event>, at: usize) -> What {
        let arrives = next.is_none_or(|event| self.is_own(event, Kind::TaskBegin));
        let path = if arrives && at > 0 {
            What::TaskEntry
        } else {
            What::Delivery
        };
        let began_inside = stack.depth() > self.lowest;
        let held = began_inside || self.ends_inside(stack.top(), at);
        match stack.top() {
            Activity::Task(task) if task == self.task && began_inside => What::TaskEntry,
            Activity::Task(task) if held => What::Task(task),
            Activity::Lock(ceiling) if held => What::Lock(ceiling),
            Activity::Emulation(kind) if held => What::Emulation(kind),
            Activity::Task(_) | Activity::Lock(_) | Activity::Emulation(_) => path,
            _ if arrives && at > 0 => What::TaskEntry,
            Activity::Guest => What::GuestExit,
            Activity::Load(_) | Activity::Capture(_) if next.is_none_or(interrupts) => path,
            Activity::Load(step) => What::Load(step),
            Activity::Capture(step) => What::Capture(step),
            Activity::Unknown => What::Unknown,
            // The others run with interrupts off and are answered for by the caller.
            Activity::MainLoop | Activity::Timer | Activity::Device(_) | Activity::Section(_) => {
                What::MainLoop
            }
        }
    }

    fn blame_timer(&self, next: Option<Event>, at: usize) -> What {
        match next {
            Some(event) if event.kind == Kind::Release && event.argument != self.task => {
                What::Release(event.argument)
            }
            _ if self.timer_serves_this_task(at) => What::Timer,
            _ => What::OtherExpiry,
        }
    }

    /// Whether the run of the timer's handler around event `at` releases this task: it says so, or it
    /// is the first that began after the task was due by the timer.
    fn timer_serves_this_task(&self, at: usize) -> bool {
        let done = self.within.get(..at).unwrap_or_default();
        let ahead = self.within.get(at..).unwrap_or_default();
        // At the moment of the release itself no handler can have served it yet.
        let back = done.iter().rev();
        let earlier = back.take_while(|event| event.kind != Kind::TimerBegin);
        let later = ahead
            .iter()
            .take_while(|event| event.kind != Kind::TimerEnd);
        let says_so = earlier
            .chain(later)
            .any(|event| self.is_own(*event, Kind::Release));
        says_so || (self.first_run(done) && self.due_by_timer())
    }

    /// Whether the last of these events that begin the timer's handler is the first since the release.
    fn first_run(&self, done: &[Event]) -> bool {
        let at_release = self.since_due();
        let begins = at_release.chain(done.iter());
        begins
            .filter(|event| event.kind == Kind::TimerBegin)
            .count()
            == 1
    }

    /// Whether the timer was to release this task, and no run of its handler says that it did: then the
    /// release was recorded with the time at which the task was due.
    fn due_by_timer(&self) -> bool {
        let own = |kind: Kind| {
            let mut events = self.since_due().chain(self.within.iter());
            events.any(|event| self.is_own(*event, kind))
        };
        let mut inside = false;
        let in_a_run = self.within.iter().any(|event| {
            match event.kind {
                Kind::TimerBegin => inside = true,
                Kind::TimerEnd => inside = false,
                _ => {}
            }
            inside && self.is_own(*event, Kind::Release)
        });
        !in_a_run && !own(Kind::Pend)
    }

    /// The events at the very moment of the release.
    fn since_due(&self) -> impl Iterator<Item = &Event> {
        let before = self.before.iter().rev();
        before.take_while(|event| event.at == self.released)
    }

    fn ends_inside(&self, activity: Activity, at: usize) -> bool {
        let ahead = self.within.get(at..).unwrap_or_default();
        ahead.iter().any(|event| ended_by(*event) == Some(activity))
    }

    fn is_own(&self, event: Event, kind: Kind) -> bool {
        event.kind == kind && event.argument == self.task
    }
}

/// Most different things that are told apart when a culprit is sought.
const CAUSES: usize = 24;

/// What stood longest between the release of `task` and its first instruction. `events` are in the
/// order of their times (see [`sort_by_time`]).
pub fn culprit(events: &[Event], released: Cycles, started: Cycles, task: u32) -> Culprit {
    let mut sums = [(What::Timer, 0u64); CAUSES];
    let mut used = 1;
    segments(events, released, started, task, |segment| {
        // The path is one thing.
        let what = match segment.what {
            What::Delivery | What::Timer | What::TaskEntry => What::Timer,
            other => other,
        };
        let known = sums.iter().take(used).position(|(one, _)| *one == what);
        let place = known.unwrap_or(used);
        if let Some(sum) = sums.get_mut(place) {
            *sum = (what, sum.1.saturating_add(segment.length().0));
            used = used.max(place + 1);
        }
    });
    let longest = |among: fn(What) -> bool| {
        let sums = sums.iter().take(used).rev();
        sums.filter(|(what, time)| among(*what) && *time > 0)
            .max_by_key(|(_, time)| *time)
            .copied()
    };
    let (what, time) = longest(What::stood_in_the_way)
        .or_else(|| longest(|_| true))
        .unwrap_or((What::Timer, 0));
    Culprit {
        what,
        time: Cycles(time),
        wait: started.saturating_since(released),
    }
}

#[cfg(test)]
#[path = "blame_tests.rs"]
mod tests;
