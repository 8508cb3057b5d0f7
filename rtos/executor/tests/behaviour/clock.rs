//! The clock: delays and timeouts, what cannot be waited for, counters that wrap, rates that do not divide.

use crate::executor::async_task;
use crate::machine::{
    Simulated, answered, clock_task, counter, device, expiries, idle, keep, kernel,
    on_every_schedule, power_on, set_counter, sleep, task,
};
use darma_abi::units::Cycles;
use darma_executor::{Executor, Instant};
use darma_sched::TimeScale;
use fugit::ExtU64;
use proptest::prelude::*;
use rtic_time::Timebase;
use std::sync::{Arc, Mutex};

type Mono = darma_executor::Mono<Simulated>;

/// Polls `make`'s future in task 0 and lets time pass until it is done.
fn run<F: Future<Output = ()> + 'static>(make: impl FnOnce(()) -> F + Send) {
    let executor: &'static Executor<1024, 1> = keep(Executor::new(kernel::<0>()));
    // SAFETY: this is the task's body, the only caller.
    task(0, 1, move || unsafe { executor.poll(|_| ()) });
    assert!(executor.spawn((), make).is_ok());
    idle();
    let mut waits = 0;
    while executor.is_running() {
        assert!(sleep(), "somebody waits and no timer is set");
        waits += 1;
        assert!(waits < 1000, "the timer is set again and again");
    }
}

#[test]
fn a_delay_lasts_at_least_its_time_and_hardly_more() {
    power_on();
    clock_task(5, 3);
    run(|()| async {
        let before = Mono::now();
        Mono::delay(10.millis()).await;
        let waited = (Mono::now() - before).as_nanos();
        assert!((10_000_000..10_000_100).contains(&waited), "{waited} ns");
    });
}

#[test]
fn who_serves_the_clock_answers_what_the_timer_was_set_for() {
    power_on();
    clock_task(5, 3);
    let set_up = counter();
    run(|()| async {
        Mono::delay(1.millis()).await;
        Mono::delay(1.millis()).await;
    });
    // Served four times: a new sleeper pends it as well, and that answers no expiry.
    let answered = answered();
    assert_eq!(answered.len(), 2);
    let near = |at: u64, due: u64| (due..due + 100).contains(&(at - set_up));
    assert!(near(answered[0], 1_000_000) && near(answered[1], 2_000_000));
}

#[test]
fn a_loop_that_adds_its_period_does_not_drift() {
    power_on();
    clock_task(5, 3);
    run(|()| async {
        let start = Mono::now();
        let mut next = start;
        for _ in 0..100 {
            next += 1.millis::<1, 1_000_000_000>();
            Mono::delay_until(next).await;
        }
        let late = (Mono::now() - start).as_nanos() - 100_000_000;
        assert!(late < 100, "{late} ns");
        assert_eq!(Mono::past(), 0);
    });
}

#[test]
fn what_has_passed_is_done_at_once_and_counted() {
    power_on();
    clock_task(5, 3);
    run(|()| async {
        Mono::delay(1.millis()).await;
        Mono::delay_until(Instant::from_ticks(500_000)).await;
        assert_eq!(Mono::past(), 1);
        let timeout = Mono::timeout_at(Instant::from_ticks(5), std::future::pending::<()>()).await;
        assert!(timeout.is_err());
        assert_eq!(Mono::past(), 2);
        // What is ready counts, however late it is.
        let ready = Mono::timeout_at(Instant::from_ticks(5), std::future::ready(7)).await;
        assert_eq!(ready.ok(), Some(7));
        // Nothing was asked of the past here.
        Mono::delay(0.millis()).await;
        assert_eq!(Mono::past(), 3);
    });
    assert_eq!(expiries(), 1);
}

#[test]
fn a_wait_of_centuries_is_no_wait_of_nothing() {
    power_on();
    clock_task(5, 3);
    for ticks in [u64::MAX, u64::MAX / 2 + 2, 1 << 62] {
        run(move |()| async move {
            let duration = darma_executor::Duration::from_ticks(ticks);
            let never = Mono::timeout_after(1.millis(), Mono::delay(duration)).await;
            assert!(never.is_err(), "{ticks} ns passed within a millisecond");
            let instant = Instant::from_ticks(ticks);
            let never = Mono::timeout_after(1.millis(), Mono::delay_until(instant)).await;
            assert!(never.is_err(), "{ticks} ns were taken for the past");
        });
    }
    assert_eq!(Mono::past(), 0);
}

#[test]
fn a_timeout_that_is_not_needed_leaves_nothing_behind() {
    power_on();
    clock_task(5, 3);
    run(|()| async {
        let inner = async {
            Mono::delay(1.millis()).await;
            "in time"
        };
        let outcome = Mono::timeout_after(1.secs(), inner).await;
        assert_eq!(outcome.ok(), Some("in time"));
    });
    // At most one expiry, for nobody: the next head of an emptied list is not armed.
    assert!(!sleep() || !sleep());
}

#[test]
fn rtics_trait_is_the_same_clock() {
    fn is_monotonic<M: rtic_time::Monotonic>() {}
    is_monotonic::<Mono>();
    power_on();
    clock_task(5, 3);
    run(|()| async {
        <Mono as Timebase>::delay(1.millis()).await;
        <Mono as Timebase>::delay_until(Instant::from_ticks(3)).await;
        assert_eq!(Mono::past(), 1);
        let never = std::future::pending::<()>();
        assert!(
            <Mono as Timebase>::timeout_after(1.millis(), never)
                .await
                .is_err()
        );
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_instants() {
    power_on();
    clock_task(5, 3);
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks = [
        async_task::<0>(1),
        async_task::<1>(2),
        async_task::<2>(3),
        async_task::<3>(1),
    ];
    for (executor, millis) in tasks.iter().zip([30, 10, 40, 20]) {
        let order = Arc::clone(&order);
        let started = executor.spawn((order, millis), |(order, millis)| async move {
            Mono::delay(millis.millis()).await;
            order.lock().expect("not poisoned").push(millis);
        });
        assert!(started.is_ok());
    }
    while sleep() {}
    assert_eq!(*order.lock().expect("not poisoned"), [10, 20, 30, 40]);
}

#[test]
fn the_counter_may_wrap_while_somebody_waits() {
    power_on();
    set_counter(u64::MAX - 1_500_000, 1, TimeScale::GIGAHERTZ);
    clock_task(5, 3);
    run(|()| async {
        for lap in 1..=5u64 {
            Mono::delay(1.millis()).await;
            let now = Mono::now().as_ticks();
            assert!((lap * 1_000_000..lap * 1_000_500).contains(&now), "{now}");
        }
    });
    assert!(counter() < 4_000_000, "it has wrapped");
    assert_eq!(Mono::past(), 0);
}

#[test]
fn sleepers_are_woken_wherever_interrupts_arrive() {
    let schedules = on_every_schedule(|| {
        clock_task(5, 3);
        let done = Arc::new(Mutex::new(0));
        let nap = |done: Arc<Mutex<u32>>| async move {
            Mono::delay(20.nanos()).await;
            *done.lock().expect("not poisoned") += 1;
        };
        // Two interrupts, each of which starts a task that sleeps as well.
        let sleepers = [async_task::<1>(2), async_task::<2>(1)];
        for (number, sleeper) in [(3, sleepers[0]), (4, sleepers[1])] {
            let started = Arc::clone(&done);
            task(number, 3, move || {
                assert!(sleeper.spawn(Arc::clone(&started), nap).is_ok());
            });
            device(number);
        }
        let executor = async_task::<0>(1);
        assert!(executor.spawn(Arc::clone(&done), nap).is_ok());
        while sleep() {}
        assert_eq!(*done.lock().expect("not poisoned"), 3);
    });
    assert!(schedules > 50, "{schedules} schedules");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: if cfg!(miri) { 4 } else { 64 }, ..ProptestConfig::default() })]
    #[test]
    fn on_any_clock_a_delay_is_never_early_and_needs_few_expiries(
        hz in TimeScale::SLOWEST_HZ..=TimeScale::FASTEST_HZ,
        start in any::<u64>(),
        uptime in 0u64..1 << 56,
        nanos in 1u64..100_000_000_000,
    ) {
        power_on();
        let scale = TimeScale::from_hz(hz).expect("in range");
        set_counter(start, 1, scale);
        clock_task(5, 3);
        // Long after the start, where the conversions' error in the whole time is large.
        set_counter(start.wrapping_add(uptime), 1, scale);
        let before = counter();
        run(move |()| async move {
            let from = Mono::now();
            Mono::delay(nanos.nanos()).await;
            assert!((Mono::now() - from).as_nanos() >= nanos);
        });
        let elapsed = scale.nanos(Cycles(counter().wrapping_sub(before))).0;
        // One part in a million, a few looks at the counter, and the resolution of the slowest clock.
        let most = nanos + nanos / 1_000_000 + 40 * (1_000_000_000 / hz + 1);
        prop_assert!(elapsed <= most, "{elapsed} of {most} ns");
        prop_assert!(expiries() <= 3, "{} expiries", expiries());
    }
}
