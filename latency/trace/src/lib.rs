#![no_std]
#![forbid(unsafe_code)]
//! What the processor did before a task was late: recorded always, kept for the worst samples.
//!
//! A maximum without a cause is a number nobody can act on. So every change of what the processor
//! does is recorded ([`Recorder::record`], ten to twelve instructions); when a latency is among the
//! worst so far, its history is kept by exchanging the ring that is written ([`Recorder::freeze`]:
//! nothing is copied); and afterwards, at leisure, [`culprit()`] names what stood between the release
//! and the task's first instruction.
//!
//! ```text
//!   interrupt handlers, tasks, main loop              main loop, when there is time
//!        record ──► current ring                      kept ──► events ──► segments ──► culprit
//!                        │ freeze: becomes a kept one    ▲
//!                        ▼                               │
//!                   ring of a worst sample ──────────────┘
//! ```
//!
//! | module | question |
//! |---|---|
//! | [`event`] | what is recorded, and how is it packed into two words? |
//! | [`recorder`] | how is it recorded from nested interrupts, and kept, without a lock? |
//! | `activity` | what does the processor do at any moment of a history? |
//! | [`blame`] | who had the processor while the task waited? |
//! | [`culprit`](mod@culprit) | who is to blame? |
//! | [`what`] | which words are there for it? |
//! | [`report`] | how does a report carry the kept histories? |
//!
//! Concurrency: one processor. Recording works at every interrupt level, nested in itself at any
//! instruction; freezing is refused inside itself; reading recognises whatever was overwritten
//! meanwhile. On the host the same code explains the events that a report carries.

#[cfg(test)]
extern crate std;

mod activity;
pub mod blame;
pub mod culprit;
pub mod event;
pub mod recorder;
pub mod report;
pub mod what;

pub use blame::{Segment, segments};
pub use culprit::{Culprit, culprit};
pub use event::{Event, Kind};
pub use recorder::{Kept, Recorder, Ring, Sample};
pub use what::{Names, What};
