//! What an application declares of a task, and what the task is given when it runs.

use darma_abi::units::{Cycles, Nanos};
use darma_sched::Priority;

/// A periodic task, declared in a static table.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its name in reports, at most 24 bytes of it are shown.
    pub name: &'static str,
    /// Static priority.
    pub priority: Priority,
    /// Distance of two releases; the deadline is the next release.
    pub period: Nanos,
    /// What it does. It runs to completion with interrupts on.
    pub body: fn(&Context),
}

/// What a running task knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The release that this run answers.
    pub released: Cycles,
    /// When its first instruction ran.
    pub started: Cycles,
}
