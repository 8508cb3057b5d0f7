use super::*;
use crate::culprit::culprit;
use crate::what::Names;
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

const OWN: u32 = 1;
const OTHER: u32 = 2;

/// A history from its times, kinds and arguments.
fn history(events: &[(u64, Kind, u32)]) -> Vec<Event> {
    let event = |&(at, kind, argument): &(u64, Kind, u32)| Event {
        at: Cycles(at),
        kind,
        argument,
    };
    events.iter().map(event).collect()
}

fn cut(events: &[Event], released: u64, started: u64) -> Vec<(u64, What)> {
    let mut found = Vec::new();
    segments(events, Cycles(released), Cycles(started), OWN, |segment| {
        found.push((segment.length().0, segment.what));
    });
    found
}

fn blamed(events: &[Event], released: u64, started: u64) -> What {
    culprit(events, Cycles(released), Cycles(started), OWN).what
}

/// The usual wait: the guest is left for the timer, which releases the task.
fn usual() -> Vec<Event> {
    history(&[
        (50, Kind::GuestEnter, 0),
        (110, Kind::GuestExit, 0x60),
        (120, Kind::TimerBegin, 0),
        (200, Kind::Release, OWN),
        (230, Kind::TimerEnd, 0),
        (260, Kind::TaskBegin, OWN),
    ])
}

#[test]
fn the_usual_wait_is_the_path_alone() {
    let parts = [
        (10, What::GuestExit),
        (10, What::MainLoop),
        (80, What::Timer),
        (30, What::Timer),
        (30, What::TaskEntry),
    ];
    assert_eq!(cut(&usual(), 100, 260), parts);
    let found = culprit(&usual(), Cycles(100), Cycles(260), OWN);
    assert_eq!(found.what, What::Timer);
    assert_eq!((found.time, found.wait), (Cycles(140), Cycles(160)));
}

/// As [`usual`], with the release recorded at the moment at which the task was due.
fn recorded_afterwards(release: Kind) -> Vec<Event> {
    history(&[
        (50, Kind::GuestEnter, 0),
        (100, release, OWN),
        (110, Kind::GuestExit, 0x60),
        (120, Kind::TimerBegin, 0),
        (230, Kind::TimerEnd, 0),
        (260, Kind::TaskBegin, OWN),
    ])
}

#[test]
fn a_release_that_is_recorded_when_it_was_due_is_served_by_the_next_run_of_the_timer() {
    let mut events = recorded_afterwards(Kind::Release);
    assert_eq!(cut(&events, 100, 260)[2], (110, What::Timer));
    assert_eq!(blamed(&events, 100, 260), What::Timer);
    // Not by the one after.
    events.truncate(5);
    events.extend(history(&[
        (240, Kind::TimerBegin, 0),
        (300, Kind::TimerEnd, 0),
    ]));
    assert_eq!(blamed(&events, 100, 320), What::OtherExpiry);
    // Nor by the one before.
    events[3].at = Cycles(99);
    events.swap(1, 3);
    sort_by_time(&mut events);
    assert_eq!(cut(&events, 100, 320)[0].1, What::OtherExpiry);
}

#[test]
fn a_task_that_is_not_released_by_the_timer_is_held_up_by_it() {
    let events = recorded_afterwards(Kind::Pend);
    assert_eq!(blamed(&events, 100, 260), What::OtherExpiry);
}

#[test]
fn a_section_that_ends_inside_the_wait_is_to_blame_however_short_it_is() {
    let events = history(&[
        (80, Kind::SectionBegin, 4),
        (105, Kind::SectionEnd, 4),
        (107, Kind::TimerBegin, 0),
        (200, Kind::Release, OWN),
        (230, Kind::TimerEnd, 0),
    ]);
    assert_eq!(cut(&events, 100, 260)[0], (5, What::Section(4)));
    assert_eq!(blamed(&events, 100, 260), What::Section(4));
}

#[test]
fn a_section_whose_beginning_is_lost_is_known_by_its_end() {
    let events = history(&[(130, Kind::SectionEnd, 4), (140, Kind::TimerBegin, 0)]);
    assert_eq!(cut(&events, 100, 150)[0], (30, What::Section(4)));
}

#[test]
fn the_release_of_another_task_before_this_one_is_to_blame() {
    let events = history(&[
        (110, Kind::TimerBegin, 0),
        (180, Kind::Release, OTHER),
        (240, Kind::Release, OWN),
        (250, Kind::TimerEnd, 0),
    ]);
    assert_eq!(blamed(&events, 100, 270), What::Release(OTHER));
}

#[test]
fn an_expiry_that_serves_somebody_else_is_to_blame() {
    let events = history(&[
        (90, Kind::TimerBegin, 0),
        (140, Kind::TimerEnd, 0),
        (145, Kind::TimerBegin, 0),
        (180, Kind::Release, OWN),
        (190, Kind::TimerEnd, 0),
    ]);
    assert_eq!(cut(&events, 100, 210)[0], (40, What::OtherExpiry));
    assert_eq!(blamed(&events, 100, 210), What::OtherExpiry);
}

#[test]
fn a_task_that_runs_to_its_end_is_to_blame_with_all_that_it_did() {
    let events = history(&[
        (110, Kind::TimerBegin, 0),
        (150, Kind::Release, OWN),
        (160, Kind::TimerEnd, 0),
        (170, Kind::TaskBegin, OTHER),
        (190, Kind::TimerBegin, 0),
        (195, Kind::TimerEnd, 0),
        (400, Kind::TaskEnd, OTHER),
        (420, Kind::TaskBegin, OWN),
    ]);
    let parts = cut(&events, 100, 420);
    assert_eq!(parts.last(), Some(&(20, What::TaskEntry)));
    assert!(parts.contains(&(10, What::Task(OTHER))));
    assert!(parts.contains(&(205, What::Task(OTHER))));
    let found = culprit(&events, Cycles(100), Cycles(420), OWN);
    assert_eq!((found.what, found.time), (What::Task(OTHER), Cycles(235)));
}

#[test]
fn a_task_that_is_preempted_is_not_to_blame() {
    let events = history(&[
        (50, Kind::TaskBegin, OTHER),
        (110, Kind::TimerBegin, 0),
        (150, Kind::Release, OWN),
        (160, Kind::TimerEnd, 0),
        (180, Kind::TaskBegin, OWN),
        (300, Kind::TaskEnd, OWN),
        (310, Kind::TaskEnd, OTHER),
    ]);
    let parts = [
        (10, What::Delivery),
        (40, What::Timer),
        (10, What::Timer),
        (20, What::TaskEntry),
    ];
    assert_eq!(cut(&events, 100, 180), parts);
    assert_eq!(blamed(&events, 100, 180), What::Timer);
}

#[test]
fn a_lock_that_has_to_end_first_is_to_blame() {
    let events = history(&[
        (50, Kind::TaskBegin, OTHER),
        (60, Kind::Lock, 13),
        (110, Kind::TimerBegin, 0),
        (150, Kind::Release, OWN),
        (160, Kind::TimerEnd, 0),
        (260, Kind::Unlock, 13),
        (280, Kind::TaskBegin, OWN),
    ]);
    assert_eq!(blamed(&events, 100, 280), What::Lock(13));
    assert_eq!(cut(&events, 100, 280)[3], (100, What::Lock(13)));
}

#[test]
fn a_device_handler_is_to_blame_and_named_by_its_vector() {
    let events = history(&[
        (60, Kind::GuestExit, 0x60),
        (80, Kind::DeviceInterrupt, 0x41),
        (150, Kind::DeviceEnd, 0x41),
        (155, Kind::TimerBegin, 0),
        (200, Kind::Release, OWN),
        (210, Kind::TimerEnd, 0),
    ]);
    let what = blamed(&events, 100, 230);
    assert_eq!(what, What::Device(0x41));
    assert_eq!(what.named(&()).to_string(), "interrupt 0x41");
    // With the way out of it.
    let parts = cut(&events, 100, 230);
    assert_eq!(parts[..2], [(50, what), (5, what)]);
}

#[test]
fn an_emulation_that_is_interrupted_is_not_to_blame() {
    let mut events = usual();
    events[0] = Event {
        at: Cycles(60),
        kind: Kind::EmulateBegin,
        argument: 7,
    };
    events.remove(1);
    assert_eq!(blamed(&events, 100, 260), What::Timer);
    assert_eq!(cut(&events, 100, 260)[0], (20, What::OutOfEmulation(7)));
}

#[test]
fn a_guest_that_is_left_late_is_named() {
    let events = history(&[(50, Kind::GuestEnter, 0), (900, Kind::GuestExit, 0x60)]);
    assert_eq!(blamed(&events, 100, 1000), What::GuestExit);
}

#[test]
fn without_a_history_the_wait_is_unknown() {
    assert_eq!(cut(&[], 100, 160), [(60, What::Unknown)]);
    assert_eq!(blamed(&[], 100, 160), What::Unknown);
}

#[test]
fn no_wait_has_no_segments() {
    assert_eq!(cut(&usual(), 260, 100), []);
    let found = culprit(&usual(), Cycles(260), Cycles(100), OWN);
    assert_eq!((found.what, found.wait), (What::Timer, Cycles(0)));
}

#[test]
fn names_stand_for_numbers_where_they_are_known() {
    struct One;
    impl Names for One {
        fn name(&self, what: What) -> Option<&str> {
            (what == What::Section(4)).then_some("timer-queue")
        }
    }
    let said = |what: What| what.named(&One).to_string();
    assert_eq!(said(What::Section(4)), "section timer-queue");
    assert_eq!(said(What::Section(5)), "section 5");
}

fn soup() -> impl Strategy<Value = Vec<Event>> {
    let event = (0u64..400, 0..Kind::ALL.len(), 0u32..4).prop_map(|(at, kind, argument)| Event {
        at: Cycles(at),
        kind: Kind::ALL[kind],
        argument,
    });
    prop::collection::vec(event, 0..80)
}

proptest! {
    #[test]
    fn segments_follow_each_other_and_sum_to_the_wait(
        events in soup(), released in 0u64..400, wait in 0u64..400, sorted: bool,
    ) {
        let mut events = events;
        if sorted {
            sort_by_time(&mut events);
        }
        let started = released + wait;
        let mut at = released;
        segments(&events, Cycles(released), Cycles(started), OWN, |segment| {
            assert_eq!(segment.from.0, at);
            assert!(segment.to > segment.from);
            at = segment.to.0;
        });
        prop_assert_eq!(at, started);
        let found = culprit(&events, Cycles(released), Cycles(started), OWN);
        prop_assert_eq!(found.wait.0, wait);
        prop_assert!(found.time <= found.wait);
    }

    #[test]
    fn any_times_at_all_are_taken(
        times in prop::collection::vec(any::<u64>(), 0..40), released: u64, started: u64, kind in 0..Kind::ALL.len(),
    ) {
        let event = |at: &u64| Event { at: Cycles(*at), kind: Kind::ALL[kind], argument: u32::MAX };
        let events: Vec<Event> = times.iter().map(event).collect();
        let found = culprit(&events, Cycles(released), Cycles(started), OWN);
        prop_assert_eq!(found.wait.0, started.saturating_sub(released));
    }

    #[test]
    fn sorting_keeps_the_order_of_simultaneous_events(events in soup()) {
        let mut sorted = events.clone();
        sort_by_time(&mut sorted);
        let mut expected = events;
        expected.sort_by_key(|event| event.at);
        prop_assert_eq!(sorted, expected);
    }
}
