#![no_std]
#![forbid(unsafe_code)]
//! Pure scheduling decisions: priorities, ceilings, timer queue, releases, accounting.
//!
//! The local APIC does the scheduling itself: it delivers the highest pending priority class and
//! holds back what CR8 masks. What is left to decide is decided here, and tested on the host:
//! which class a priority gets, which CR8 value a lock needs, which deadline comes next, when a
//! periodic task is released after an overrun, and what counts as late.
//!
//! Concurrency: nothing here is shared. The edge calls with interrupts off or at a ceiling that
//! keeps every other user of the same object out. Time is always an argument, in cycles of the
//! time-stamp counter.

pub mod accounting;
pub mod analysis;
pub mod faults;
pub mod priority;
pub mod release;
pub mod task;
pub mod time_scale;
pub mod timer_queue;

pub use accounting::{Accounting, Activation, PhaseRecord};
pub use priority::{Ceiling, Priority, TIMER_CLASS, TIMER_VECTOR};
pub use release::{Periodic, Release};
pub use task::MAX_TASKS;
pub use time_scale::TimeScale;
pub use timer_queue::TimerQueue;
