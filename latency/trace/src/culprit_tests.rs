use super::*;
use std::vec::Vec;

const OWN: u32 = 1;

/// Waits of the task, a millisecond apart, in which it takes so long to leave the guest.
fn waits(leaving: &[u64]) -> (Vec<Event>, Cycles, Cycles) {
    let mut events = Vec::new();
    let mut last = (0, 0);
    for (number, leaving) in (1u64..).zip(leaving) {
        let due = number * 1_000_000;
        let begin = due + leaving;
        for (at, kind, argument) in [
            (due - 500, Kind::GuestEnter, 0),
            (due, Kind::Release, OWN),
            (begin, Kind::TimerBegin, 0),
            (begin + 168, Kind::TimerEnd, 0),
            (begin + 228, Kind::TaskBegin, OWN),
            (begin + 330, Kind::TaskEnd, OWN),
            (begin + 1_400, Kind::GuestExit, 0),
        ] {
            events.push(Event {
                at: Cycles(at),
                kind,
                argument,
            });
        }
        last = (due, begin + 228);
    }
    (events, Cycles(last.0), Cycles(last.1))
}

fn last_of(leaving: &[u64]) -> Culprit {
    let (events, released, started) = waits(leaving);
    culprit(&events, released, started, OWN)
}

#[test]
fn a_part_of_the_path_that_was_longer_than_before_is_to_blame() {
    let found = last_of(&[70, 68, 220]);
    assert_eq!(found.what, What::GuestExit);
    assert_eq!((found.time, found.least), (Cycles(220), Cycles(68)));
    assert_eq!(found.wait, Cycles(448));
}

#[test]
fn a_wait_like_every_other_is_the_path_alone() {
    let found = last_of(&[66, 58, 68]);
    assert_eq!((found.what, found.time), (What::Timer, Cycles(228)));
    assert_eq!(found.least, Cycles(0));
}

#[test]
fn the_first_wait_has_nothing_to_compare_with() {
    assert_eq!(last_of(&[68]).what, What::Timer);
    assert_eq!(last_of(&[5_000]).what, What::GuestExit);
}

#[test]
fn a_wait_with_something_in_the_way_is_no_measure_of_the_path() {
    let (mut events, released, started) = waits(&[10, 68, 100]);
    // The first wait, the only short one, had a section in it.
    for (at, kind) in [
        (1_000_002, Kind::SectionBegin),
        (1_000_005, Kind::SectionEnd),
    ] {
        events.push(Event {
            at: Cycles(at),
            kind,
            argument: 4,
        });
    }
    crate::blame::sort_by_time(&mut events);
    let found = culprit(&events, released, started, OWN);
    assert_eq!((found.what, found.least), (What::GuestExit, Cycles(68)));
}

#[test]
fn what_stood_in_the_way_is_to_blame_before_any_part_of_the_path() {
    let (mut events, released, started) = waits(&[68, 500]);
    for (at, kind) in [(1, Kind::SectionBegin), (4, Kind::SectionEnd)] {
        events.push(Event {
            at: Cycles(released.0 + at),
            kind,
            argument: 4,
        });
    }
    crate::blame::sort_by_time(&mut events);
    let found = culprit(&events, released, started, OWN);
    assert_eq!((found.what, found.time), (What::Section(4), Cycles(3)));
}
