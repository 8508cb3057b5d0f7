use super::*;
use proptest::prelude::*;
use std::thread;
use std::vec::Vec;

fn sample(group: u8, released: u64, started: u64) -> Sample {
    Sample {
        task: 3,
        phase: Phase::Loaded,
        group,
        released: Cycles(released),
        started: Cycles(started),
    }
}

fn times<const K: usize, const N: usize, const G: usize>(
    recorder: &Recorder<K, N, G>,
    kept: &Kept,
) -> Vec<u64> {
    recorder.events(kept).map(|event| event.at.0).collect()
}

fn mark<const K: usize, const N: usize, const G: usize>(recorder: &Recorder<K, N, G>, at: u64) {
    recorder.record(Cycles(at), Kind::Mark, 7);
}

#[test]
fn a_ring_keeps_the_last_events_in_their_order() {
    static RING: Ring<8> = Ring::new();
    for at in 0..20 {
        mark(&RING, at);
    }
    let seen: Vec<u64> = RING.recent().map(|event| event.at.0).collect();
    assert_eq!(seen, (12..20).collect::<Vec<_>>());
}

#[test]
fn a_ring_without_places_for_samples_keeps_none() {
    let ring = Ring::<8>::new();
    assert!(!ring.freeze(sample(0, 0, 100)));
    assert_eq!(ring.kept().count(), 0);
}

#[test]
fn a_frozen_history_stays_while_others_are_written() {
    let recorder = Recorder::<4, 8>::new();
    for at in 0..10 {
        mark(&recorder, at);
    }
    assert!(recorder.freeze(sample(0, 5, 9)));
    for at in 100..200 {
        mark(&recorder, at);
    }
    let kept = recorder.kept().next().unwrap();
    assert_eq!(kept.sample, sample(0, 5, 9));
    assert_eq!(times(&recorder, &kept), (2..10).collect::<Vec<_>>());
    assert_eq!(recorder.recent().count(), 8);
}

#[test]
fn a_history_reaches_back_into_the_ring_that_was_frozen_before_it() {
    let recorder = Recorder::<4, 8>::new();
    for at in 0..10 {
        mark(&recorder, at);
    }
    assert!(recorder.freeze(sample(0, 0, 1)));
    mark(&recorder, 10);
    mark(&recorder, 11);
    assert!(recorder.freeze(sample(0, 0, 2)));
    let kept = recorder
        .kept()
        .find(|kept| kept.sample.latency() == Cycles(2));
    assert_eq!(
        times(&recorder, &kept.unwrap()),
        (4..12).collect::<Vec<_>>()
    );
}

#[test]
fn a_smaller_sample_than_the_kept_ones_is_refused_once_all_places_are_taken() {
    let recorder = Recorder::<4, 8>::new();
    for latency in [30, 10, 20] {
        assert!(recorder.freeze(sample(0, 0, latency)));
    }
    assert!(!recorder.would_keep(0, Cycles(10)));
    assert!(!recorder.freeze(sample(0, 0, 10)));
    assert!(recorder.freeze(sample(0, 0, 11)));
    let mut kept: Vec<_> = recorder
        .kept()
        .map(|kept| kept.sample.latency().0)
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [11, 20, 30]);
}

#[test]
fn a_displaced_history_is_recognised_by_whoever_reads_it() {
    let recorder = Recorder::<2, 8>::new();
    mark(&recorder, 1);
    assert!(recorder.freeze(sample(0, 0, 5)));
    let old = recorder.kept().next().unwrap();
    mark(&recorder, 2);
    assert!(recorder.freeze(sample(0, 0, 6)));
    assert!(!recorder.is_kept(&old));
    assert_eq!(recorder.events(&old).count(), 0);
}

#[test]
fn groups_do_not_displace_each_other() {
    let recorder = Recorder::<8, 4, 3>::new();
    assert_eq!(Recorder::<8, 4, 3>::PER_GROUP, 2);
    for latency in 100..150 {
        assert!(recorder.freeze(sample(1, 0, latency)));
    }
    assert!(recorder.freeze(sample(0, 0, 1)));
    assert!(recorder.freeze(sample(2, 0, 2)));
    let mut kept: Vec<_> = recorder
        .kept()
        .map(|kept| (kept.sample.group, kept.sample.latency().0))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [(0, 1), (1, 148), (1, 149), (2, 2)]);
    assert!(!recorder.freeze(sample(3, 0, 1_000_000)));
}

#[test]
fn the_number_of_an_event_may_pass_the_range_of_its_tag() {
    let recorder = Recorder::<2, 8>::new();
    recorder
        .counter
        .store(((1 << 24) - 4) << TAG_SHIFT, Ordering::Relaxed);
    for at in 0..8 {
        mark(&recorder, at);
    }
    let seen: Vec<u64> = recorder.recent().map(|event| event.at.0).collect();
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
}

#[test]
fn an_interrupted_writer_costs_its_own_event_and_no_other() {
    let recorder = Recorder::<2, 8>::new();
    for at in 0..6 {
        mark(&recorder, at);
    }
    // A claim without its stores: what an interrupt that freezes would find.
    recorder.counter.fetch_add(STEP, Ordering::Relaxed);
    mark(&recorder, 7);
    assert!(recorder.freeze(sample(0, 0, 5)));
    let kept = recorder.kept().next().unwrap();
    assert_eq!(times(&recorder, &kept), [0, 1, 2, 3, 4, 5, 7]);
}

#[test]
fn whatever_a_reader_gets_was_recorded_like_that() {
    // Time, kind and argument of every event depend on each other, so a mixed one would show.
    static RECORDER: Recorder<4, 16> = Recorder::new();
    const ROUNDS: u64 = if cfg!(miri) { 300 } else { 200_000 };
    thread::scope(|scope| {
        for lane in 0..2u64 {
            scope.spawn(move || {
                for at in 0..ROUNDS {
                    let time = at * 2 + lane;
                    let argument = u32::try_from(time).unwrap() ^ 0x5a5a_5a5a;
                    RECORDER.record(Cycles(time), Kind::Release, argument);
                    if lane == 0 && at % 64 == 0 {
                        RECORDER.freeze(sample(0, 0, at + 1));
                    }
                }
            });
        }
        let check = |event: Event| {
            let expected = u32::try_from(event.at.0).unwrap() ^ 0x5a5a_5a5a;
            assert_eq!((event.kind, event.argument), (Kind::Release, expected));
        };
        scope.spawn(move || {
            for _ in 0..ROUNDS / 100 {
                RECORDER.recent().for_each(check);
                for kept in RECORDER.kept() {
                    RECORDER.events(&kept).for_each(check);
                }
            }
        });
    });
}

proptest! {
    #[test]
    fn the_worst_of_each_group_are_kept(
        latencies in prop::collection::vec((0u8..2, 1u64..1000), 1..60),
    ) {
        let recorder = Recorder::<8, 4, 2>::new();
        for (at, (group, latency)) in (0u64..).zip(&latencies) {
            mark(&recorder, at);
            let expected = recorder.would_keep(*group, Cycles(*latency));
            prop_assert_eq!(recorder.freeze(sample(*group, 0, *latency)), expected);
        }
        for group in 0..2 {
            let of_group = latencies.iter().filter(|(of, _)| *of == group);
            let mut worst: Vec<u64> = of_group.map(|(_, latency)| *latency).collect();
            worst.sort_unstable_by(|a, b| b.cmp(a));
            worst.truncate(3);
            let mut kept: Vec<u64> = recorder.kept()
                .filter(|kept| kept.sample.group == group)
                .map(|kept| kept.sample.latency().0)
                .collect();
            kept.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert_eq!(kept, worst);
        }
    }

    #[test]
    fn a_kept_history_is_the_events_before_it_as_far_as_they_are_kept(
        steps in prop::collection::vec(prop::option::weighted(0.2, 1u64..50), 1..120),
    ) {
        let recorder = Recorder::<4, 8>::new();
        let mut written = 0u64;
        for step in &steps {
            match step {
                None => { mark(&recorder, written); written += 1; }
                Some(latency) => {
                    let before: Vec<u64> = (written.saturating_sub(8)..written).collect();
                    if recorder.freeze(sample(0, 0, *latency)) {
                        let same = |kept: &Kept| kept.end == written
                            && kept.sample.latency().0 == *latency;
                        let kept = recorder.kept().find(same).unwrap();
                        let read = times(&recorder, &kept);
                        // All of it, except what a displaced ring took along.
                        prop_assert!(before.ends_with(&read[..]) || read.iter().all(|at| before.contains(at)));
                        prop_assert!(read.is_sorted());
                    }
                }
            }
        }
    }
}
