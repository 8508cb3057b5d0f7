//! What an application says of its tasks, the same on the machine and on a host.

use darma_abi::units::Nanos;

/// Most tasks of one application: as many as the status block shows.
pub const MAX_TASKS: usize = darma_abi::shared::MAX_TASKS;

/// What releases a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The timer, on a fixed grid: one period after the start, plus `phase`, and then every `period`.
    Periodic {
        /// Distance of two releases.
        period: Nanos,
        /// Shift of the whole grid.
        phase: Nanos,
    },
    /// Another task's or the application's call.
    Software,
    /// A device.
    Interrupt(Line),
}

/// Where a device's interrupt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A pin of the first I/O APIC.
    Pin(u8),
    /// The message-signalled interrupt of the PCI function with these identifiers.
    Pci {
        /// PCI vendor identifier.
        vendor: u16,
        /// PCI device identifier.
        device: u16,
    },
}

/// Whether a task may touch the FPU's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// It does not; nothing is switched.
    Soft,
    /// It does: the interrupted context's x87 and SSE state is put aside while it runs, and it may call
    /// laws.
    Hard,
}

/// A task by its place in the application's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(pub u8);
