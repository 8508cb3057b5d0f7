//! The wake mark and the slot under every interleaving and every memory order that C11 allows.
//!
//! Stronger than needed: here contexts are threads that run at once, on the processor they are interrupts
//! that nest. What holds here holds there, and keeps holding on several processors. The two files are
//! compiled as they are, with loom's atomics in place of the processor's.

#[path = "../src/slot.rs"]
#[allow(dead_code, reason = "each file is used in part")]
mod slot;
#[path = "../src/wake.rs"]
mod wake;

/// What `wake` and `slot` take for the processor's atomics.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU64, Ordering};
}

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use loom::thread;

/// A task without a future: what it is woken for is a flag per waker.
struct Task {
    mark: AtomicU64,
    /// The pending bit of its vector in the local APIC.
    pending: AtomicBool,
    ready: [AtomicBool; 2],
}

impl Task {
    fn new() -> Self {
        Self {
            mark: AtomicU64::new(wake::NOT_WOKEN),
            pending: AtomicBool::new(false),
            ready: [AtomicBool::new(false), AtomicBool::new(false)],
        }
    }

    fn wake(&self, number: usize) {
        // Relaxed: the mark alone has to carry it to the task.
        self.ready[number].store(true, Ordering::Relaxed);
        wake::mark(&self.mark, 10 + number as u64);
        // An interrupt orders nothing by itself; and it sets its bit and no other, so it is an exchange.
        self.pending.swap(true, Ordering::Relaxed);
    }

    /// One delivery, if the vector is pending. What the poll saw, if there was one.
    fn run(&self) -> Option<[bool; 2]> {
        if !self.pending.swap(false, Ordering::Relaxed) {
            return None;
        }
        wake::take(&self.mark)?;
        Some([0, 1].map(|number| self.ready[number].load(Ordering::Relaxed)))
    }
}

#[test]
fn what_every_waker_made_ready_is_seen_by_a_poll_after_it() {
    loom::model(|| {
        let task = Arc::new(Task::new());
        let wakers: Vec<_> = (0..2)
            .map(|number| {
                let task = Arc::clone(&task);
                thread::spawn(move || task.wake(number))
            })
            .collect();
        // The task runs while they wake, once or not at all ...
        let mut last = task.run();
        for waker in wakers {
            waker.join().expect("it ends");
        }
        // ... and as often as its vector is pending after.
        while let Some(seen) = task.run() {
            last = Some(seen);
        }
        assert_eq!(last, Some([true, true]), "a wake was lost");
    });
}

#[test]
fn the_time_of_a_wake_is_the_earliest_since_the_last_look() {
    loom::model(|| {
        let mark = Arc::new(AtomicU64::new(wake::NOT_WOKEN));
        let other = Arc::clone(&mark);
        let waker = thread::spawn(move || wake::mark(&other, 5));
        wake::mark(&mark, 7);
        let first = wake::take(&mark);
        waker.join().expect("it ends");
        let second = wake::take(&mark);
        assert!(
            (first, second) == (Some(5), None) || (first, second) == (Some(7), Some(5)),
            "{first:?}, then {second:?}"
        );
        assert_eq!(wake::take(&mark), None);
    });
}

/// An executor reduced to its slot and memory; loom's cell panics when two touch it at once.
struct Executor {
    state: AtomicU8,
    future: UnsafeCell<u32>,
}

impl Executor {
    fn spawn(&self, value: u32) -> bool {
        if !slot::reserve(&self.state) {
            return false;
        }
        // SAFETY: FUTURE-CELL: the state is `Filling`, by us; loom checks that.
        self.future.with_mut(|place| unsafe { *place = value });
        slot::publish(&self.state);
        true
    }

    /// Polls a future that is done when it reaches zero.
    fn poll(&self) -> bool {
        if !slot::begin(&self.state) {
            return false;
        }
        let left = self.future.with_mut(|place| {
            // SAFETY: FUTURE-CELL: the state is `Polling`, by us; loom checks that.
            let future = unsafe { &mut *place };
            *future -= 1;
            *future
        });
        let next = if left == 0 {
            slot::VACANT
        } else {
            slot::SUSPENDED
        };
        slot::end(&self.state, next);
        true
    }
}

#[test]
fn spawners_and_the_task_never_touch_the_future_at_once() {
    loom::model(|| {
        let executor = Arc::new(Executor {
            state: AtomicU8::new(slot::VACANT),
            future: UnsafeCell::new(0),
        });
        let other = Arc::clone(&executor);
        let spawner = thread::spawn(move || u32::from(other.spawn(1)));
        let other = Arc::clone(&executor);
        let task = thread::spawn(move || u32::from(other.poll()) + u32::from(other.poll()));
        let spawned = u32::from(executor.spawn(1));
        let spawned = spawned + spawner.join().expect("it ends");
        let mut polled = task.join().expect("it ends");
        while executor.poll() {
            polled += 1;
        }
        assert!((1..=2).contains(&spawned));
        assert_eq!(polled, spawned, "each future is polled to its end, once");
    });
}
