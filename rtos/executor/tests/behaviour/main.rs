//! How queues, executors and the clock behave on a simulated processor, with interrupts everywhere.
//!
//! `machine` is the processor: it runs the real code of this crate, of `rtic-time` and of `rtic-sync`, and
//! takes an interrupt wherever the test's choices say so. `explorer` makes every choice in turn.

mod channels;
mod clock;
mod declared;
mod executor;
mod explorer;
mod machine;
mod queue;
