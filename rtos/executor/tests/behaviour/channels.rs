//! RTIC's channels, signals and arbiter between our tasks, with interrupts everywhere.

use crate::executor::async_task;
use crate::machine::{
    Simulated, clock_task, device, idle, keep, on_every_schedule, power_on, sleep, task,
};
use fugit::ExtU64;
use rtic_sync::arbiter::Arbiter;
use rtic_sync::channel::{Channel, ReceiveError, TrySendError};
use rtic_sync::signal::Signal;
use std::cell::RefCell;
use std::sync::{Arc, Mutex};

type Mono = darma_executor::Mono<Simulated>;
type Seen<T> = Arc<Mutex<Vec<T>>>;

/// A channel as its users have it: in static memory, split once.
fn channel<T, const N: usize>() -> (
    rtic_sync::channel::Sender<'static, T, N>,
    rtic_sync::channel::Receiver<'static, T, N>,
) {
    Box::leak(Box::new(Channel::new())).split()
}

#[test]
fn a_channel_carries_what_interrupts_send_in_order() {
    for receiver_priority in [1, 3] {
        let schedules = on_every_schedule(|| {
            let (sender, receiver) = channel::<u32, 4>();
            let seen: Seen<u32> = Arc::default();
            let executor = async_task::<0>(receiver_priority);
            let take = |(mut receiver, seen): (
                rtic_sync::channel::Receiver<'static, u32, 4>,
                Seen<u32>,
            )| async move {
                while let Ok(value) = receiver.recv().await {
                    seen.lock().expect("not poisoned").push(value);
                }
            };
            assert!(executor.spawn((receiver, Arc::clone(&seen)), take).is_ok());
            let interrupt = RefCell::new(sender.clone());
            task(1, 2, move || {
                for value in [20, 21] {
                    assert_eq!(interrupt.borrow_mut().try_send(value), Ok(()));
                }
            });
            device(1);
            let mut sender = sender;
            for value in [10, 11] {
                assert_eq!(sender.try_send(value), Ok(()));
            }
            idle();
            let mut all = seen.lock().expect("not poisoned").clone();
            for of_one in [1, 2] {
                let its: Vec<u32> = all.iter().copied().filter(|n| n / 10 == of_one).collect();
                assert!(its.is_sorted(), "{all:?}");
            }
            all.sort_unstable();
            assert_eq!(all, [10, 11, 20, 21]);
        });
        assert!(schedules > 10, "{schedules} schedules");
    }
}

#[test]
fn a_full_channel_gives_the_value_back_or_lets_an_async_sender_wait() {
    power_on();
    clock_task(5, 3);
    let (mut sender, mut receiver) = channel::<u32, 1>();
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    let executor = async_task::<0>(2);
    let send = |mut sender: rtic_sync::channel::Sender<'static, u32, 1>| async move {
        assert!(sender.send(3).await.is_ok());
    };
    assert!(executor.spawn(sender.clone(), send).is_ok());
    idle();
    assert!(executor.is_running(), "it waits for room");
    assert_eq!(receiver.try_recv(), Ok(1));
    idle();
    assert!(!executor.is_running());
    assert_eq!(receiver.try_recv(), Ok(3));
    assert_eq!(receiver.try_recv(), Err(ReceiveError::Empty));
}

#[test]
fn a_sender_that_stops_waiting_leaves_the_line() {
    power_on();
    clock_task(5, 3);
    let (mut sender, mut receiver) = channel::<u32, 1>();
    assert_eq!(sender.try_send(1), Ok(()));
    let executor = async_task::<0>(2);
    let send = |mut sender: rtic_sync::channel::Sender<'static, u32, 1>| async move {
        let late = Mono::timeout_after(1.millis(), sender.send(2)).await;
        assert!(late.is_err());
    };
    assert!(executor.spawn(sender.clone(), send).is_ok());
    assert!(sleep());
    assert!(!executor.is_running());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(sender.try_send(4), Ok(()), "the room is nobody's");
    assert_eq!(receiver.try_recv(), Ok(4));
}

#[test]
fn of_a_signals_values_the_latest_is_seen_wherever_it_is_written() {
    let schedules = on_every_schedule(|| {
        let signal: &'static Signal<u32> = keep(Signal::new());
        let (mut writer, reader) = signal.split();
        let seen: Seen<u32> = Arc::default();
        let executor = async_task::<0>(1);
        let watch = |(mut reader, seen): (
            rtic_sync::signal::SignalReader<'static, u32>,
            Seen<u32>,
        )| async move {
            loop {
                let value = reader.wait().await;
                seen.lock().expect("not poisoned").push(value);
            }
        };
        assert!(executor.spawn((reader, Arc::clone(&seen)), watch).is_ok());
        let interrupt = RefCell::new(writer.clone());
        task(1, 3, move || {
            for value in [2, 3] {
                interrupt.borrow_mut().write(value);
            }
        });
        device(1);
        writer.write(1);
        idle();
        let seen = seen.lock().expect("not poisoned").clone();
        // Either the interrupt came first and the 1 last, or the 3 was last; the 2 is never seen, because
        // the less urgent reader cannot run between it and the 3.
        assert!(
            seen.last() == Some(&3) || seen == [1] || seen == [3, 1],
            "{seen:?}"
        );
        assert!(!seen.contains(&2));
    });
    assert!(schedules > 5, "{schedules} schedules");
}

#[test]
fn an_arbiter_lets_one_in_and_keeps_the_line() {
    let schedules = on_every_schedule(|| {
        clock_task(5, 3);
        let arbiter: &'static Arbiter<Vec<u8>> = keep(Arbiter::new(Vec::new()));
        let hold = move |mark: u8| async move {
            let mut access = arbiter.access().await;
            access.push(mark);
            Mono::delay(50.nanos()).await;
            // Nobody came in between.
            assert_eq!(access.last(), Some(&mark));
            access.push(mark);
        };
        let low = async_task::<0>(1);
        let high = async_task::<1>(2);
        task(2, 3, move || assert!(high.spawn(b'h', hold).is_ok()));
        device(2);
        assert!(low.spawn(b'l', hold).is_ok());
        while sleep() {}
        let marks = arbiter.try_access().expect("free again").clone();
        assert!(marks == *b"llhh" || marks == *b"hhll", "{marks:?}");
    });
    assert!(schedules > 5, "{schedules} schedules");
}
