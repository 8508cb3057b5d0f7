//! Who had the processor while a task waited.
//!
//! The wait from the release to the task's first instruction is cut into segments at every event;
//! each goes to what the processor was doing. Two rules decide whether that stood in the way:
//!
//! * What was interrupted did not stand in the way; what had to come to its end did. A task, a lock or
//!   an emulation is to blame only if it ended, or began, inside the wait. Handlers and sections run
//!   with interrupts off and always are.
//! * What belongs to every wait is the path: leaving the guest, the timer's handler as far as it serves
//!   this task's release, the way to the task's first instruction.
//!
//! Times are of any unit, if all are of the same: the image counts cycles, a report nanoseconds. A
//! history may have gaps and begin anywhere; times that run backwards are taken for the latest one
//! before. Whatever the history says, the segments follow each other without gap or overlap and sum to
//! the wait.

use darma_abi::units::Cycles;

use crate::activity::{Activity, Stack, ended_by, interrupts};
use crate::event::{Event, Kind};
use crate::what::What;

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
            (_, None) => self
                .way_out(next, at)
                .unwrap_or_else(|| self.blame_interruptible(stack, next, at)),
        }
    }

    /// Between two handlers, the way out of the first is its own.
    fn way_out(&self, next: Option<Event>, at: usize) -> Option<What> {
        let last = self.within.get(at.checked_sub(1)?)?;
        match (last.kind, next?.kind) {
            (Kind::DeviceEnd, Kind::TimerBegin | Kind::DeviceInterrupt) => {
                Some(What::Device(last.argument))
            }
            (Kind::TimerEnd, Kind::TimerBegin | Kind::DeviceInterrupt) => Some(What::OtherExpiry),
            _ => None,
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
            Activity::Emulation(kind) if path == What::Delivery => What::OutOfEmulation(kind),
            Activity::Task(_) | Activity::Lock(_) | Activity::Emulation(_) => path,
            _ if arrives && at > 0 => What::TaskEntry,
            Activity::Guest => What::GuestExit,
            Activity::Load(step) if next.is_none_or(interrupts) => What::OutOfLoad(step),
            Activity::Capture(step) if next.is_none_or(interrupts) => What::OutOfCapture(step),
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

#[cfg(test)]
#[path = "blame_tests.rs"]
mod tests;
