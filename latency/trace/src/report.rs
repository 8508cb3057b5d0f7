//! The kept histories as report lines: each sample, its events, the names of their numbers.
//!
//! For the main loop, interrupts on. Whatever is displaced while it is read is left out: its
//! successor is in the next report.

use core::fmt::Write;

use darma_abi::codes::Phase;
use darma_abi::list::List;
use darma_abi::report::{Event as Line, LAST_EVENTS, Name, Phrase, TraceItems};
use darma_abi::text::Text;
use darma_abi::units::Cycles;

use crate::blame::sort_by_time;
use crate::culprit::{Culprit, culprit};
use crate::event::{Event, Kind};
use crate::recorder::{Kept, Recorder};
use crate::what::{Names, What};

/// Events of one sample, between ring and report. 16 bytes each: it belongs in a static.
pub type Room<const N: usize> = [Event; N];

/// An empty room.
pub const fn room<const N: usize>() -> Room<N> {
    let nothing = Event {
        at: Cycles(0),
        kind: Kind::Mark,
        argument: 0,
    };
    [nothing; N]
}

/// Gives every kept sample to `emit`, numbered from 0, each followed by its trace and by the names of
/// the numbers in it. `to_ns` turns a point of the counter into nanoseconds since the start.
pub fn worst_samples<const K: usize, const N: usize, const G: usize>(
    recorder: &Recorder<K, N, G>,
    room: &mut Room<N>,
    names: &impl Names,
    to_ns: impl Fn(Cycles) -> u64,
    mut emit: impl FnMut(&Line),
) {
    let mut index = 0;
    for kept in recorder.kept() {
        let mut used = 0;
        for (place, event) in room.iter_mut().zip(recorder.events(&kept)) {
            *place = event;
            used += 1;
        }
        if !recorder.is_kept(&kept) {
            continue;
        }
        let events = room.get_mut(..used).unwrap_or_default();
        sort_by_time(events);
        emit(&sample_line(index, &kept, events, names, &to_ns));
        trace_lines(index, events, &to_ns, &mut emit);
        name_lines(events, names, &mut emit);
        index += 1;
    }
}

/// Gives the events of a history that belongs to no sample to `emit`: as many as `room` has place for.
pub fn last_events<const N: usize>(
    events: impl Iterator<Item = Event>,
    room: &mut Room<N>,
    to_ns: impl Fn(Cycles) -> u64,
    mut emit: impl FnMut(&Line),
) {
    let mut used = 0;
    for (place, event) in room.iter_mut().zip(events) {
        *place = event;
        used += 1;
    }
    let events = room.get_mut(..used).unwrap_or_default();
    sort_by_time(events);
    trace_lines(LAST_EVENTS, events, &to_ns, &mut emit);
}

fn sample_line(
    index: u32,
    kept: &Kept,
    events: &[Event],
    names: &impl Names,
    to_ns: &impl Fn(Cycles) -> u64,
) -> Line {
    let sample = kept.sample;
    let task = u32::from(sample.task);
    let Culprit {
        what, time, least, ..
    } = culprit(events, sample.released, sample.started, task);
    // Differences of points, so that they agree with what a reader makes of the events.
    let since_release = |cycles: Cycles| {
        let to = Cycles(sample.released.0.saturating_add(cycles.0));
        to_ns(to).saturating_sub(to_ns(sample.released))
    };
    Line::WorstSample {
        index,
        task: Text::new(names.name(What::Task(task)).unwrap_or("")),
        task_number: task,
        phase: sample.phase,
        released_at_ns: to_ns(sample.released),
        latency_ns: since_release(sample.latency()),
        culprit: phrase(what, names),
        culprit_ns: since_release(time),
        culprit_least_ns: since_release(least),
    }
}

/// A cause in words, cut to the room that a line has.
pub fn phrase(what: What, names: &impl Names) -> Phrase {
    struct Bytes {
        bytes: [u8; 48],
        used: usize,
    }
    impl Write for Bytes {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for (place, byte) in self.bytes.iter_mut().skip(self.used).zip(text.bytes()) {
                *place = byte;
                self.used += 1;
            }
            Ok(())
        }
    }
    let mut out = Bytes {
        bytes: [0; 48],
        used: 0,
    };
    let _ = write!(out, "{}", what.named(names));
    Phrase::from_bytes(&out.bytes)
}

fn trace_lines(
    index: u32,
    events: &[Event],
    to_ns: &impl Fn(Cycles) -> u64,
    emit: &mut impl FnMut(&Line),
) {
    let mut line: Option<(u64, TraceItems)> = None;
    let mut write = |(from_ns, events): (u64, TraceItems)| {
        emit(&Line::TraceEvents {
            index,
            from_ns,
            events,
        });
    };
    for event in events {
        let at = to_ns(event.at);
        let item = |from: u64| {
            let offset = u32::try_from(at.saturating_sub(from)).ok()?;
            Some((offset, event.kind.code(), event.argument))
        };
        if let Some((from, items)) = &mut line
            && let Some(item) = item(*from)
            && items.push(item).is_ok()
        {
            continue;
        }
        // Full, or too far from the line's first event: the next line begins here.
        if let Some(full) = line.take() {
            write(full);
        }
        let mut items = List::new();
        let _ = items.push((0, event.kind.code(), event.argument));
        line = Some((at, items));
    }
    if let Some(last) = line {
        write(last);
    }
}

fn name_lines(events: &[Event], names: &impl Names, emit: &mut impl FnMut(&Line)) {
    for (at, event) in events.iter().enumerate() {
        let Some((kind, what)) = named_number(event.kind, event.argument) else {
            continue;
        };
        let mut earlier = events.iter().take(at);
        let known = earlier.any(|event| {
            named_number(event.kind, event.argument).is_some_and(|(_, other)| other == what)
        });
        if let Some(name) = names.name(what)
            && !known
        {
            emit(&Line::TraceName {
                kind: kind.code(),
                number: event.argument,
                name: Name::new(name),
            });
        }
    }
}

/// Whose name the argument of such an event is: the kind under which a report carries it, and the
/// cause that is named by it.
pub const fn named_number(kind: Kind, argument: u32) -> Option<(Kind, What)> {
    Some(match kind {
        Kind::Release | Kind::Pend | Kind::TaskBegin | Kind::TaskEnd | Kind::TaskFault => {
            (Kind::TaskBegin, What::Task(argument))
        }
        Kind::DeviceInterrupt | Kind::DeviceEnd => (Kind::DeviceInterrupt, What::Device(argument)),
        Kind::SectionBegin | Kind::SectionEnd => (Kind::SectionBegin, What::Section(argument)),
        Kind::GuestExit | Kind::EmulateBegin | Kind::EmulateEnd => {
            (Kind::EmulateBegin, What::Emulation(argument))
        }
        Kind::Lock | Kind::Unlock => (Kind::Lock, What::Lock(argument)),
        Kind::LoadStep => (Kind::LoadStep, What::Load(argument)),
        Kind::CaptureStep => (Kind::CaptureStep, What::Capture(argument)),
        Kind::GuestEnter | Kind::TimerBegin | Kind::TimerEnd | Kind::Mark => {
            return None;
        }
    })
}

/// The group under which a sample of this phase competes, where each phase has its own.
pub const fn group_of(phase: Phase) -> u8 {
    match phase {
        Phase::Idle => 0,
        Phase::Loaded => 1,
        Phase::Recovery => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Sample;
    use proptest::prelude::*;
    use std::vec::Vec;

    struct Few;
    impl Names for Few {
        fn name(&self, what: What) -> Option<&str> {
            match what {
                What::Task(1) | What::Release(1) => Some("control"),
                What::Section(4) => Some("timer-queue"),
                _ => None,
            }
        }
    }

    fn lines(recorder: &Recorder<4, 32>) -> Vec<Line> {
        let mut out = Vec::new();
        let to_ns = |at: Cycles| at.0 * 2;
        worst_samples(recorder, &mut room(), &Few, to_ns, |line| {
            out.push(line.clone());
        });
        out
    }

    #[test]
    fn a_sample_comes_with_its_trace_and_the_names_in_it() {
        let recorder = Recorder::<4, 32>::new();
        for (at, kind, argument) in [
            (80, Kind::SectionBegin, 4),
            (105, Kind::SectionEnd, 4),
            (107, Kind::TimerBegin, 0),
            (200, Kind::Release, 1),
            (230, Kind::TimerEnd, 0),
            (250, Kind::TaskBegin, 1),
        ] {
            recorder.record(Cycles(at), kind, argument);
        }
        assert!(recorder.freeze(Sample {
            task: 1,
            phase: Phase::Loaded,
            group: 0,
            released: Cycles(100),
            started: Cycles(250),
        }));
        let lines = lines(&recorder);
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[0],
            Line::WorstSample {
                index: 0,
                task: Text::new("control"),
                task_number: 1,
                phase: Phase::Loaded,
                released_at_ns: 200,
                latency_ns: 300,
                culprit: Text::new("section timer-queue"),
                culprit_ns: 10,
                culprit_least_ns: 0,
            }
        );
        let Line::TraceEvents {
            from_ns: 160,
            events,
            ..
        } = &lines[1]
        else {
            panic!("{lines:?}");
        };
        assert_eq!(events.as_slice()[1], (50, Kind::SectionEnd.code(), 4));
        let Line::TraceName {
            kind, number: 4, ..
        } = &lines[2]
        else {
            panic!("{lines:?}");
        };
        assert_eq!(*kind, Kind::SectionBegin.code());
    }

    proptest! {
        #[test]
        fn every_event_is_in_the_report_once(
            times in prop::collection::vec(prop_oneof![0u64..100, any::<u32>().prop_map(u64::from), 0u64..1 << 40], 1..32),
        ) {
            let recorder = Recorder::<4, 32>::new();
            for at in &times {
                recorder.record(Cycles(*at), Kind::Mark, 9);
            }
            let sample = Sample {
                task: 1, phase: Phase::Idle, group: 0, released: Cycles(0), started: Cycles(1),
            };
            prop_assert!(recorder.freeze(sample));
            let mut seen = Vec::new();
            for line in lines(&recorder) {
                if let Line::TraceEvents { from_ns, events, .. } = line {
                    seen.extend(events.as_slice().iter().map(|item| from_ns + u64::from(item.0)));
                }
            }
            let mut expected: Vec<u64> = times.iter().map(|at| at * 2).collect();
            expected.sort_unstable();
            prop_assert_eq!(seen, expected);
        }
    }
}
