//! What is not a switch alone: interrupts, messages, locks, memory.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use darma_rtos::lock::Resource;
use darma_rtos::{Ceiling, Priority, Run, TaskId, pend};
use heapless::Deque;

use crate::pool::Pool;

const INTERRUPT: TaskId = TaskId(3);
const RESUMED: TaskId = TaskId(4);

/// Four words, as the suite's messages.
type Message = [u64; 4];

static QUEUE: Resource<Deque<Message, 10>> =
    Resource::new(Deque::new(), Ceiling::of(Priority::MIDDLE));
static COUNT: Resource<u64> = Resource::new(0, Ceiling::of(Priority::HIGH));
static BLOCKS: Resource<Pool> = Resource::new(Pool::new(), Ceiling::of(Priority::MIDDLE));

/// The semaphore that the interrupt raises.
static RAISED: AtomicBool = AtomicBool::new(false);
/// Whether it resumes a task as well.
static RESUMES: AtomicBool = AtomicBool::new(false);
static RESUMPTIONS: AtomicU32 = AtomicU32::new(0);

/// An interrupt is a task here; a device's differs from this one only in who makes it pending.
pub(crate) fn interrupt(_: &Run) {
    if RESUMES.load(Ordering::Relaxed) {
        pend(RESUMED);
    } else {
        RAISED.store(true, Ordering::Relaxed);
    }
}

/// What the interrupt resumes: more urgent than what was interrupted.
pub(crate) fn resumed(_: &Run) {
    RESUMPTIONS.store(RESUMPTIONS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Measures and logs.
pub(crate) fn measure_all() {
    super::measure("interrupt-processing", 1, || {
        pend(INTERRUPT);
        assert!(RAISED.swap(false, Ordering::Relaxed));
    });
    RESUMES.store(true, Ordering::Relaxed);
    super::measure("interrupt-preemption", 1, || pend(INTERRUPT));
    assert_eq!(
        RESUMPTIONS.load(Ordering::Relaxed),
        super::OPERATIONS * super::ROUNDS
    );
    super::measure("message-passing", 1, || {
        let sent = [1, 2, 3, 4];
        let refused = QUEUE.lock(|queue| queue.push_back(sent).is_err());
        let received = QUEUE.lock(Deque::pop_front);
        assert!(!refused && received == Some(sent));
    });
    super::measure("synchronisation", 1, || COUNT.lock(|count| *count += 1));
    super::measure("memory-allocation", 1, || {
        let block = BLOCKS.lock(Pool::allocate);
        let Some(block) = block else {
            panic!("a pool without a block, though all were given back");
        };
        BLOCKS.lock(|pool| pool.free(block));
    });
}
