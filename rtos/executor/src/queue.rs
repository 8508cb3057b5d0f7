//! The messages of a software task.
//!
//! A bounded first-in first-out queue: senders of any priority and `init` on one side, the task's body on
//! the other. Each message carries the time it was sent, from which latency and deadline count. A full
//! queue gives the message back at once, and counts: nothing waits, nothing is overwritten.
//!
//! It is `heapless::Deque` in a critical section, which lasts for the copy of one message. Rejected:
//!
//! * *heapless's lock-free many-producer queue.* Its senders claim a place and then publish it. A sender
//!   that is interrupted between the two hides every later message from the task, also those of more urgent
//!   senders, until it is resumed: an inversion of unknown length instead of a section of known length.
//! * *its single-producer queue.* `spawn` may be called from several tasks.
//! * *a ceiling of the queue's own users.* As in RTIC 2 any task may spawn any other without declaring it,
//!   so the users are not known; the highest task class covers them all.
//!
//! One activation of the task handles one message, so that each message is one run in the accounts, with a
//! latency, a deadline and a budget of its own.

use crate::kernel::Kernel;
use crate::sync::{AtomicU32, Ordering};
use core::cell::UnsafeCell;
use darma_abi::units::Cycles;
use heapless::Deque;

/// What was sent, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// The arguments of the run.
    pub value: T,
    /// When it was sent: the release that the run answers.
    pub sent: Cycles,
}

/// Room for `N` messages to one task.
pub struct Queue<T, const N: usize> {
    kernel: Kernel,
    refused: AtomicU32,
    messages: UnsafeCell<Deque<Message<T>, N>>,
}

// SAFETY: CRITICAL-SECTION: `messages` is reached only through `with`, inside a section; what goes through
// it may be handed from one task to another.
unsafe impl<T: Send, const N: usize> Sync for Queue<T, N> {}

impl<T, const N: usize> Queue<T, N> {
    /// An empty queue of the task that `kernel` pends. Room for no message does not compile.
    pub const fn new(kernel: Kernel) -> Self {
        const { assert!(N > 0, "a queue has room for at least one message") };
        Self {
            kernel,
            refused: AtomicU32::new(0),
            messages: UnsafeCell::new(Deque::new()),
        }
    }

    /// Sends a message and pends the task.
    ///
    /// # Errors
    /// The message, if the queue is full. It is counted ([`Self::refused`]).
    pub fn send(&self, value: T) -> Result<(), T> {
        let sent = (self.kernel.now)();
        match self.with(|messages| messages.push_back(Message { value, sent })) {
            Ok(()) => {
                (self.kernel.pend)();
                Ok(())
            }
            Err(message) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(message.value)
            }
        }
    }

    /// Takes the oldest message, for the body of the task. If more are left, the task is pended again: they
    /// are not lost when this run is stopped by a fault.
    pub fn receive(&self) -> Option<Message<T>> {
        let (message, more) = self.with(|messages| (messages.pop_front(), !messages.is_empty()));
        if more {
            (self.kernel.pend)();
        }
        message
    }

    /// Pends the task if messages wait: for the restart of a task that was stopped, which may have
    /// swallowed its pending interrupt.
    pub fn resume(&self) {
        if self.waiting() > 0 {
            (self.kernel.pend)();
        }
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.with(|messages| messages.len())
    }

    /// How many messages were given back because the queue was full.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    fn with<R>(&self, use_it: impl FnOnce(&mut Deque<Message<T>, N>) -> R) -> R {
        // SAFETY: CRITICAL-SECTION: no other task starts while the borrow lives, and no `use_it` of this
        // file calls back into the queue.
        critical_section::with(|_| use_it(unsafe { &mut *self.messages.get() }))
    }
}
