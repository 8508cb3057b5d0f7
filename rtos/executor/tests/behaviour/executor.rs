//! Executors: spawning, waking, being preempted, and being stopped in mid-poll.

use crate::machine::{Simulated, counter};
use crate::machine::{
    clock_task, device, idle, keep, kernel, on_every_schedule, pend, power_on, runs, sleep, task,
};
use darma_executor::{Executor, Mono};
use fugit::ExtU64;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Poll, Waker};

type Small = Executor<512, 2>;

/// An executor as task `NUMBER`, whose body does what the kernel does around it: a panic stops the task,
/// the reset puts the executor in order.
pub(crate) fn async_task<const NUMBER: usize>(priority: u8) -> &'static Small {
    let executor: &'static Small = keep(Executor::new(kernel::<NUMBER>()));
    task(NUMBER, priority, move || {
        // SAFETY: this is the task's body, the only caller; the machine never runs a task inside itself.
        let poll = || unsafe { executor.poll(|_| ()) };
        if catch_unwind(AssertUnwindSafe(poll)).is_err() {
            // SAFETY: STOPPED-TASK: the poll was unwound, it will not go on.
            unsafe { executor.abandon() };
        }
    });
    executor
}

/// Gives way once: pends itself and is polled again.
async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// One fact that one task waits for and another makes true.
struct Event {
    happened: AtomicBool,
    waker: critical_section::Mutex<RefCell<Option<Waker>>>,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            happened: AtomicBool::new(false),
            waker: critical_section::Mutex::new(RefCell::new(None)),
        }
    }
}

impl Event {
    async fn wait(&self) {
        poll_fn(|context| {
            let waker = context.waker().clone();
            critical_section::with(|section| self.waker.borrow(section).replace(Some(waker)));
            if self.happened.load(Ordering::Relaxed) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn happen(&self) {
        self.happened.store(true, Ordering::Relaxed);
        let waker = critical_section::with(|section| self.waker.borrow(section).take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[test]
fn a_future_runs_in_its_task_one_poll_per_activation() {
    power_on();
    let executor = async_task::<0>(1);
    let done = Arc::new(AtomicBool::new(false));
    let started = executor.spawn(Arc::clone(&done), |done| async move {
        give_way().await;
        give_way().await;
        done.store(true, Ordering::Relaxed);
    });
    assert!(started.is_ok());
    idle();
    assert!(done.load(Ordering::Relaxed));
    assert_eq!(runs(0), 3);
    assert!(!executor.is_running());
    assert_eq!(Arc::strong_count(&done), 1, "the future was dropped");
}

#[test]
fn spawning_a_task_that_still_runs_gives_the_arguments_back() {
    power_on();
    let executor = async_task::<0>(1);
    let wait = |_: String| std::future::pending::<()>();
    assert_eq!(executor.spawn("first".into(), wait), Ok(()));
    idle();
    assert_eq!(executor.spawn("second".into(), wait), Err("second".into()));
    assert_eq!(executor.refused(), 1);
    assert!(executor.is_running());
}

#[test]
fn a_task_may_spawn_itself_only_after_its_end() {
    power_on();
    let executor = async_task::<0>(1);
    let refused = Arc::new(AtomicU32::new(0));
    let make = |refused: Arc<AtomicU32>| async move {
        let again = executor.spawn((), |()| async {});
        refused.fetch_add(u32::from(again.is_err()), Ordering::Relaxed);
    };
    assert!(executor.spawn(Arc::clone(&refused), make).is_ok());
    idle();
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    assert!(executor.spawn(Arc::clone(&refused), make).is_ok());
}

#[test]
fn a_run_answers_the_first_wake_since_the_last() {
    power_on();
    let executor: &'static Small = keep(Executor::new(kernel::<0>()));
    let answered = Rc::new(Cell::new(0));
    let answer = Rc::clone(&answered);
    task(0, 1, move || {
        // SAFETY: the task's body, the only caller.
        unsafe { executor.poll(|since| answer.set(since.0)) };
    });
    let event = Arc::new(Event::default());
    task(1, 2, {
        let event = Arc::clone(&event);
        move || {
            event.happen();
            // Time goes by, and more wakes come, before the less urgent task has its turn.
            for _ in 0..10 {
                (kernel::<0>().now)();
            }
            pend(0);
        }
    });
    let before = counter();
    let wait = |event: Arc<Event>| async move { event.wait().await };
    assert!(executor.spawn(event, wait).is_ok());
    idle();
    assert_eq!(answered.get(), before + 1);
    let before = counter();
    pend(1);
    idle();
    assert_eq!(answered.get(), before + 1);
    assert!(!executor.is_running());
}

#[test]
fn no_wake_is_lost_wherever_it_interrupts() {
    for waiting in 1..=3 {
        let schedules = on_every_schedule(|| {
            let executor = async_task::<0>(waiting);
            let events: [Arc<Event>; 2] = Default::default();
            for (number, priority, event) in [(1, 3, 0), (2, 2, 1)] {
                let event = Arc::clone(&events[event]);
                task(number, priority, move || event.happen());
                device(number);
            }
            let both = |[first, second]: [Arc<Event>; 2]| async move {
                first.wait().await;
                second.wait().await;
            };
            assert!(executor.spawn(events, both).is_ok());
            idle();
            assert!(!executor.is_running(), "both events were seen");
        });
        assert!(schedules > 50, "{schedules} schedules");
    }
}

#[test]
fn of_spawners_that_interrupt_each_other_each_succeeds_or_gets_its_arguments_back() {
    let schedules = on_every_schedule(|| {
        let executor = async_task::<0>(1);
        let ran = Arc::new(AtomicU32::new(0));
        let back = Rc::new(Cell::new(0));
        let spawn = {
            let (ran, back) = (Arc::clone(&ran), Rc::clone(&back));
            move || {
                let make = |ran: Arc<AtomicU32>| async move {
                    give_way().await;
                    ran.fetch_add(1, Ordering::Relaxed);
                };
                if executor.spawn(Arc::clone(&ran), make).is_err() {
                    back.set(back.get() + 1);
                }
            }
        };
        task(1, 2, spawn.clone());
        task(2, 3, spawn.clone());
        device(1);
        device(2);
        spawn();
        idle();
        assert_eq!(ran.load(Ordering::Relaxed) + back.get(), 3);
        assert_eq!(executor.refused(), back.get());
    });
    assert!(schedules > 20, "{schedules} schedules");
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A panic that the test wants, without its message on the terminal.
fn fault() {
    resume_unwind(Box::new("fault"));
}

#[test]
fn a_future_that_faulted_is_never_touched_again_and_costs_its_cell() {
    power_on();
    let executor = async_task::<0>(1);
    let drops = Arc::new(AtomicU32::new(0));
    // Not dropped by unwinding, which the kernel does not do either.
    let fail = |guard: Dropped| async move {
        let _guard = ManuallyDrop::new(guard);
        give_way().await;
        fault();
    };
    assert!(executor.spawn(Dropped(Arc::clone(&drops)), fail).is_ok());
    idle();
    assert_eq!(executor.abandoned(), 1);
    assert!(!executor.is_running());
    // In the second cell another future does as it should.
    let work = |guard: Dropped| async move {
        give_way().await;
        drop(guard);
    };
    assert!(executor.spawn(Dropped(Arc::clone(&drops)), work).is_ok());
    idle();
    assert_eq!(
        drops.load(Ordering::Relaxed),
        1,
        "the second, not the first"
    );
    // The last cell is lost: from now on the arguments come back.
    assert!(executor.spawn(Dropped(Arc::clone(&drops)), fail).is_ok());
    idle();
    assert_eq!(executor.abandoned(), 2);
    assert!(executor.spawn(Dropped(Arc::clone(&drops)), work).is_err());
    assert!(!executor.is_running());
}

#[test]
fn a_timer_that_a_faulted_future_had_set_expires_without_harm() {
    power_on();
    clock_task(5, 3);
    let executor = async_task::<0>(1);
    let fail = |()| async {
        let mut delay = pin!(ManuallyDrop::new(Mono::<Simulated>::delay(1.millis())));
        poll_fn(|context| {
            // SAFETY: the projection of a pin to the one thing inside.
            let delay = unsafe { delay.as_mut().map_unchecked_mut(|delay| &mut **delay) };
            // From here on the clock's list has a link in this future's memory.
            assert!(delay.poll(context).is_pending());
            fault();
            Poll::Ready(())
        })
        .await;
    };
    assert!(executor.spawn((), fail).is_ok());
    idle();
    assert_eq!(executor.abandoned(), 1);
    let polls = Arc::new(AtomicU32::new(0));
    let next = |polls: Arc<AtomicU32>| {
        poll_fn(move |_| {
            polls.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        })
    };
    assert!(executor.spawn(Arc::clone(&polls), next).is_ok());
    assert!(sleep(), "the forgotten delay is still waited for");
    // The old waker wakes the new future once for nothing, which a future must bear.
    assert_eq!(polls.load(Ordering::Relaxed), 2);
    assert!(executor.is_running());
}

#[test]
fn a_future_that_was_waiting_when_its_task_faulted_goes_on() {
    power_on();
    let executor = async_task::<0>(1);
    let event = Arc::new(Event::default());
    let wait = |event: Arc<Event>| async move { event.wait().await };
    assert!(executor.spawn(Arc::clone(&event), wait).is_ok());
    idle();
    event.happened.store(true, Ordering::Relaxed);
    // The kernel stopped the task before its body came to the poll, and the wake was lost with it.
    // SAFETY: STOPPED-TASK: nothing of it runs.
    unsafe { executor.abandon() };
    idle();
    assert!(!executor.is_running());
    assert_eq!(executor.abandoned(), 0);
}
