//! The RTOS on the local APIC: tasks are interrupts, priorities are APIC priority classes.
//!
//! A release makes a task's vector pending by a self-IPI or is a device's interrupt itself; the APIC
//! delivers it as soon as nothing of its class or above runs. Tasks run to completion, each class on a
//! stack of its own, nested like the interrupts they are. What a task shares is locked by raising CR8
//! to the resource's ceiling (Stack Resource Policy). Decisions are `darma_sched`'s; this crate
//! holds the stubs, the self-IPI, the containment, and the cells that the decisions live in.
//!
//! Concurrency: one processor. The timer's handler and the entry and exit of every task run with
//! interrupts off, and nothing else touches the kernel's state except short sections that switch
//! them off ([`timer::arm`], the figures).
#![no_std]

mod accounts;
mod application;
mod cell;
mod dispatch;
pub mod ending;
pub mod faults;
mod figures;
mod float;
mod kernel;
pub mod lock;
pub mod task;
pub mod timer;
pub mod trace;

pub use application::time_scale;
pub use darma_sched::faults::OnFault;
pub use darma_sched::{Ceiling, MAX_TASKS, Priority, TimeScale};
pub use figures::{Measure, PHASES, TaskCounts, copy_histogram, counts, timer_to_task};
pub use kernel::{SetUp, now, pend, phase, set_phase, set_up, start, vector_of};
pub use lock::lock;
pub use task::{Float, Line, Run, Source, Task, TaskId};
pub use timer::Waiter;
