//! Tasks declared as an application's generated code declares them: statics and plain functions.
//!
//! The size of a future depends on its body. If the body named the executor's static, whose type has that
//! size in it, the compiler would turn in a circle; so the static is reached through functions only. With
//! them, a task may spawn itself.

use crate::machine::{idle, kernel, power_on, task};
use darma_executor::{Executor, Queue, size_of_future};
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

static SUM: AtomicU32 = AtomicU32::new(0);

/// `async fn count(cx, from: u32, step: u8)`, as the application wrote it.
async fn count(from: u32, step: u8) {
    let pause = std::future::ready(step);
    SUM.fetch_add(from + u32::from(pause.await), Ordering::Relaxed);
    // Refused: this run is not finished.
    assert_eq!(count_task::spawn(0, 0), Err((0, 0)));
    assert_eq!(log_task::spawn(from), Ok(()));
}

/// What is generated for it.
mod count_task {
    use super::{Executor, Future, kernel, size_of_future};

    fn make((from, step): (u32, u8)) -> impl Future {
        super::count(from, step)
    }

    static EXECUTOR: Executor<{ size_of_future(&make) }, 2> = Executor::new(kernel::<0>());

    pub(super) fn spawn(from: u32, step: u8) -> Result<(), (u32, u8)> {
        EXECUTOR.spawn((from, step), make)
    }

    pub(super) fn body() {
        // SAFETY: the task's body, the only caller.
        unsafe { EXECUTOR.poll(|_| ()) };
    }

    pub(super) const SIZE: usize = size_of_future(&make);
}

static LAST: AtomicU32 = AtomicU32::new(0);

/// `fn log(cx, line: u32)`, as the application wrote it.
fn log(line: u32) {
    LAST.store(line, Ordering::Relaxed);
}

/// What is generated for it.
mod log_task {
    use super::{Queue, kernel};

    static QUEUE: Queue<(u32,), 4> = Queue::new(kernel::<1>());

    pub(super) fn spawn(line: u32) -> Result<(), u32> {
        QUEUE.send((line,)).map_err(|(line,)| line)
    }

    pub(super) fn body() {
        if let Some(message) = QUEUE.receive() {
            let (line,) = message.value;
            super::log(line);
        }
    }
}

#[test]
fn tasks_that_spawn_each_other_and_themselves_are_plain_statics() {
    power_on();
    task(0, 2, count_task::body);
    task(1, 1, log_task::body);
    assert_eq!(count_task::spawn(40, 2), Ok(()));
    idle();
    assert_eq!(SUM.load(Ordering::Relaxed), 42);
    assert_eq!(LAST.load(Ordering::Relaxed), 40);
    assert_eq!(count_task::spawn(1, 1), Ok(()), "vacant again");
    idle();
    const {
        assert!(
            count_task::SIZE < 64,
            "arguments, a flag or two, and what it waits for"
        )
    };
}
