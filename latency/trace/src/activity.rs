//! What the processor does at any moment of a history: a stack of activities.
//!
//! Events come in pairs that nest like the interrupts they are. A history begins anywhere and may
//! have gaps, so an end without its begin is taken for the end of what ran at the bottom, and a
//! begin whose end is missing leaves the stack with whatever it stood on.

use crate::event::{Event, Kind};

/// What the processor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// The history does not tell.
    Unknown,
    /// The GPOS's own code.
    Guest,
    /// The main loop: entry and exit of the GPOS, and its errands.
    MainLoop,
    /// The timer's handler.
    Timer,
    /// A task.
    Task(u32),
    /// A device's handler.
    Device(u32),
    /// A section with interrupts off.
    Section(u32),
    /// The emulation of an exit.
    Emulation(u32),
    /// Whatever is below, with CR8 raised to this ceiling.
    Lock(u32),
    /// A step of loading the GPOS.
    Load(u32),
    /// A step of capturing it.
    Capture(u32),
}

/// Deepest nesting that is followed: three classes, the timer, a device, a few locks and sections.
const DEPTH: usize = 24;

/// The activities that are under way, the innermost last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    bottom: Activity,
    held: [Activity; DEPTH],
    depth: usize,
}

impl Stack {
    /// What is known before the first event: what it ends, if it ends something.
    pub(crate) fn before(first: Option<&Event>) -> Self {
        let bottom = match first {
            Some(event) if event.kind == Kind::GuestExit => Activity::Guest,
            Some(event) => ended_by(*event).unwrap_or(Activity::Unknown),
            None => Activity::Unknown,
        };
        Self {
            bottom,
            held: [Activity::Unknown; DEPTH],
            depth: 0,
        }
    }

    /// What the processor does now.
    pub(crate) fn top(&self) -> Activity {
        self.depth
            .checked_sub(1)
            .and_then(|top| self.held.get(top).copied())
            .unwrap_or(self.bottom)
    }

    /// How many activities are nested above the main loop's own.
    pub(crate) const fn depth(&self) -> usize {
        self.depth
    }

    /// Follows one event.
    pub(crate) fn follow(&mut self, event: Event) {
        if let Some(begun) = begun_by(event) {
            self.push(begun);
        } else if let Some(ended) = ended_by(event) {
            self.pop(ended);
        } else {
            match event.kind {
                // The main loop's own changes: nothing can be below them.
                Kind::GuestEnter => self.restart(Activity::Guest),
                Kind::GuestExit => self.restart(Activity::MainLoop),
                Kind::LoadStep => self.restart(Activity::Load(event.argument)),
                Kind::CaptureStep => self.restart(Activity::Capture(event.argument)),
                _ => {}
            }
        }
    }

    fn restart(&mut self, bottom: Activity) {
        self.bottom = bottom;
        self.depth = 0;
    }

    fn push(&mut self, begun: Activity) {
        if let Some(place) = self.held.get_mut(self.depth) {
            *place = begun;
            self.depth += 1;
        }
    }

    fn pop(&mut self, ended: Activity) {
        let held = self.held.get(..self.depth).unwrap_or_default();
        if let Some(at) = held.iter().rposition(|one| *one == ended) {
            self.depth = at;
        } else if self.depth == 0 {
            self.bottom = Activity::MainLoop;
        }
    }
}

/// The activity that begins with this event.
fn begun_by(event: Event) -> Option<Activity> {
    let argument = event.argument;
    Some(match event.kind {
        Kind::TimerBegin => Activity::Timer,
        Kind::TaskBegin => Activity::Task(argument),
        Kind::DeviceInterrupt => Activity::Device(argument),
        Kind::SectionBegin => Activity::Section(argument),
        Kind::EmulateBegin => Activity::Emulation(argument),
        Kind::Lock => Activity::Lock(argument),
        _ => return None,
    })
}

/// The activity that ends with this event.
pub(crate) fn ended_by(event: Event) -> Option<Activity> {
    let argument = event.argument;
    Some(match event.kind {
        Kind::TimerEnd => Activity::Timer,
        Kind::TaskEnd | Kind::TaskFault => Activity::Task(argument),
        Kind::DeviceEnd => Activity::Device(argument),
        Kind::SectionEnd => Activity::Section(argument),
        Kind::EmulateEnd => Activity::Emulation(argument),
        Kind::Unlock => Activity::Lock(argument),
        _ => return None,
    })
}

/// Whether an interrupt's handler, or a task, begins with this event: what ran before it did not
/// stand in its way.
pub(crate) fn interrupts(event: Event) -> bool {
    matches!(
        event.kind,
        Kind::TimerBegin | Kind::TaskBegin | Kind::DeviceInterrupt
    )
}
