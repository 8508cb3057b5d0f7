//! Who is to blame for a wait.
//!
//! The longest of what stood in the way, however short it was. If nothing did, the wait was all path,
//! and the part of it is named that was longest beyond its shortest: the same history holds earlier
//! waits of the same task, and what every one of them has explains nothing. Only where all parts are
//! about as short as ever, or nothing is there to compare with, the path itself is the answer.

use darma_abi::units::Cycles;

use crate::blame::segments;
use crate::event::{Event, Kind};
use crate::what::{Path, What};

/// What stood longest in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// What. [`What::Timer`] means: nothing but the timer's path, from the interrupt to the task.
    pub what: What,
    /// How much of the wait went to it.
    pub time: Cycles,
    /// For a part of the path: how little went to that part in another wait; zero where it should not
    /// have been at all.
    pub least: Cycles,
    /// The whole wait.
    pub wait: Cycles,
}

/// Most different things that are told apart.
const CAUSES: usize = 24;

/// What a wait went to: each thing once, with all the time that it took.
struct Sums {
    sums: [(What, u64); CAUSES],
    used: usize,
}

impl Sums {
    fn of(events: &[Event], released: Cycles, started: Cycles, task: u32) -> Self {
        let mut all = Self {
            sums: [(What::Unknown, 0); CAUSES],
            used: 0,
        };
        segments(events, released, started, task, |segment| {
            let (what, time) = (segment.what, segment.length().0);
            let known = all.as_slice().iter().position(|(one, _)| *one == what);
            let place = known.unwrap_or(all.used);
            if let Some(sum) = all.sums.get_mut(place) {
                *sum = (what, sum.1.saturating_add(time));
                all.used = all.used.max(place + 1);
            }
        });
        all
    }

    fn as_slice(&self) -> &[(What, u64)] {
        self.sums.get(..self.used).unwrap_or_default()
    }

    /// The longest of some; of equals the first.
    fn longest(&self, among: impl Fn(What) -> bool) -> Option<(What, u64)> {
        let sums = self.as_slice().iter().rev();
        sums.filter(|(what, _)| among(*what))
            .max_by_key(|(_, time)| *time)
            .copied()
    }

    /// How long a part of the path took.
    fn path(&self, part: Path) -> u64 {
        let sums = self.as_slice().iter();
        let of_part = sums.filter(|(what, _)| what.path() == Some(part));
        of_part.fold(0, |all, (_, time)| all.saturating_add(*time))
    }
}

/// A part of the path is to blame if it was longer than its shortest by more than this part of the wait:
/// a few instructions more or less are in every wait.
const NOTABLE: u64 = 16;

const PARTS: [Path; Path::COUNT] = [Path::Leaving, Path::Handler, Path::Entry];

/// How short each part of the path was in the waits of `task` before `released` that are `like` this one:
/// nothing stood in the way, and they had the same parts. `None` if the history holds none.
fn least_path(
    events: &[Event],
    released: Cycles,
    task: u32,
    like: [u64; Path::COUNT],
) -> Option<[u64; Path::COUNT]> {
    let mut least: Option<[u64; Path::COUNT]> = None;
    let mut due = None;
    let earlier = events.iter().take_while(|event| event.at < released);
    for event in earlier.filter(|event| event.argument == task) {
        match event.kind {
            Kind::Release | Kind::Pend => due = Some(event.at),
            Kind::TaskBegin => {
                let Some(due) = due.take() else { continue };
                let sums = Sums::of(events, due, event.at, task);
                if sums.longest(What::stood_in_the_way).is_some() {
                    continue;
                }
                let parts = PARTS.map(|part| sums.path(part));
                // One that is recorded in another way is no measure.
                if parts.map(|part| part == 0) != like.map(|part| part == 0) {
                    continue;
                }
                let known = least.get_or_insert(parts);
                for (known, part) in known.iter_mut().zip(parts) {
                    *known = (*known).min(part);
                }
            }
            _ => {}
        }
    }
    least
}

/// What stood longest between the release of `task` and its first instruction. `events` are in the
/// order of their times (see [`crate::blame::sort_by_time`]).
pub fn culprit(events: &[Event], released: Cycles, started: Cycles, task: u32) -> Culprit {
    let sums = Sums::of(events, released, started, task);
    let named = |(what, time): (What, u64), least: u64| Culprit {
        what,
        time: Cycles(time),
        least: Cycles(least),
        wait: started.saturating_since(released),
    };
    if let Some(longest) = sums.longest(What::stood_in_the_way) {
        return named(longest, 0);
    }
    let parts = PARTS.map(|part| sums.path(part));
    if let Some(least) = least_path(events, released, task, parts) {
        let excess = |(part, least): (Path, u64)| {
            let beyond = sums.path(part).saturating_sub(least);
            let wait = started.saturating_since(released).0;
            (beyond > wait / NOTABLE).then_some((beyond, part, least))
        };
        let beyond = PARTS.into_iter().zip(least).filter_map(excess);
        if let Some((_, part, least)) = beyond.max_by_key(|(beyond, ..)| *beyond)
            && let Some(longest) = sums.longest(|what| what.path() == Some(part))
        {
            return named(longest, least);
        }
    }
    // The path alone: all of it from the interrupt on is one thing, unless leaving took longer.
    let handled = sums
        .path(Path::Handler)
        .saturating_add(sums.path(Path::Entry));
    match sums.longest(|what| what.path() == Some(Path::Leaving)) {
        Some(longest) if longest.1 > handled => named(longest, 0),
        _ => named((What::Timer, handled), 0),
    }
}

#[cfg(test)]
#[path = "culprit_tests.rs"]
mod tests;
