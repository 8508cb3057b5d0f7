//! What software and async tasks are made of: message queues, an executor per task, a clock to wait for.
//!
//! A task is an interrupt that runs to completion; nothing here schedules. A queue or a waker *pends* its
//! task, the local APIC runs it when its class is the highest, and its body takes one message or polls one
//! future. There is no allocation, no run queue, and no list of tasks: each task's memory is a static of its
//! own, and each knows how to pend itself.
//!
//! The crate touches no hardware. What it needs of the kernel comes in as function pointers ([`Kernel`]) or
//! as a trait ([`Port`]), so everything is tested on the host: by simulated interrupts at every point where
//! one can matter, by loom where memory order matters, and under Miri.
//!
//! Concurrency: one processor (ONE-CPU). Tasks of higher classes interrupt those below at any instruction.
//! Shared state is an atomic, or lies behind a critical section, in which no task starts
//! (CRITICAL-SECTION). Decision 0017 says why it is built this way and what each rule for bad input is.
#![no_std]

pub mod cells;
pub mod clock;
pub mod executor;
mod kernel;
pub mod mono;
pub mod queue;
mod slot;
mod wake;

/// The atomics, under a name that the model checks replace by loom's.
mod sync {
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
}

pub use cells::size_of_future;
pub use clock::{Clock, Duration, Instant, Port};
pub use executor::Executor;
pub use kernel::Kernel;
pub use mono::Mono;
pub use queue::{Message, Queue};
pub use rtic_time::TimeoutError;
