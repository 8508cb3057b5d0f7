//! The RTOS on the local APIC: tasks are interrupts, priorities are APIC priority classes.
//!
//! A periodic task's release makes its vector pending by a self-IPI; the APIC delivers it as soon as
//! nothing of its class or above runs. Tasks run to completion on the one stack of the processor,
//! nested like the interrupts they are. What a task shares is locked by raising CR8 to the
//! resource's ceiling (Stack Resource Policy). Decisions are `darma_sched`'s; this crate holds the
//! stubs, the self-IPI, and the cells that the decisions live in.
//!
//! Concurrency: one processor. The timer's handler and the entry and exit of every task run with
//! interrupts off, and nothing else touches the kernel's state except [`timer`], which switches
//! them off for a counted section.
#![no_std]

mod cell;
mod kernel;
pub mod resource;
pub mod task;
pub mod timer;

pub use darma_sched::{Ceiling, Priority};
pub use kernel::{
    PHASES, Start, TaskCounts, copy_latency, counts, phase, set_phase, start, time_scale,
};
pub use task::{Context, Task};
