//! The admin queues of an NVMe controller (NVM Express 1.4, 3.1 and 4.1), and one command.
//!
//! Memory that the controller writes is never borrowed: entries are read and written volatile. One
//! command is under way at a time.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

use rtos::device::mmio::{Mmio, ReadPure, ReadPureWrite, WriteOnly, field, field_shared};
use rtos::device::{BarError, Devices, NotOwned, layout};

#[repr(C)]
struct Registers {
    capabilities: ReadPure<u64>,
    version: ReadPure<u32>,
    mask_set: WriteOnly<u32>,
    mask_clear: WriteOnly<u32>,
    configuration: ReadPureWrite<u32>,
    reserved_18: u32,
    status: ReadPure<u32>,
    subsystem_reset: WriteOnly<u32>,
    queue_sizes: ReadPureWrite<u32>,
    submissions: ReadPureWrite<u64>,
    completions: ReadPureWrite<u64>,
    reserved_38: [u32; 1010],
    submission_tail: WriteOnly<u32>,
    completion_head: WriteOnly<u32>,
}

layout!(Registers, 0x1008;
    configuration @ 0x14, status @ 0x1c, queue_sizes @ 0x24, submissions @ 0x28, completions @ 0x30,
    submission_tail @ 0x1000, completion_head @ 0x1004,
);

const ENTRIES: usize = 16;
/// Controller Configuration: on; submissions of 2^6 bytes, completions of 2^4.
const ON: u32 = 1 | 6 << 16 | 4 << 20;
/// Controller Status: ready; fatal.
const READY: u32 = 1;
const FATAL: u32 = 2;
/// How often the status is looked at. The emulator is ready at once.
const LOOKS: u32 = 1_000_000;
/// Get Features, of the number of queues: needs no memory for an answer.
const GET_FEATURES: u32 = 0x0a;
const NUMBER_OF_QUEUES: u32 = 7;
/// In the last word of a completion: which way round the queue was when it was written.
const PHASE: u32 = 1 << 16;

#[repr(C, align(4096))]
struct Page<T>(UnsafeCell<T>);

// SAFETY: only the one `Admin` touches it, and the controller that it drives.
unsafe impl<T: Send> Sync for Page<T> {}

static SUBMISSIONS: Page<[[u32; 16]; ENTRIES]> = Page(UnsafeCell::new([[0; 16]; ENTRIES]));
static COMPLETIONS: Page<[[u32; 4]; ENTRIES]> = Page(UnsafeCell::new([[0; 4]; ENTRIES]));

/// The controller's admin queues.
pub(crate) struct Admin {
    registers: Mmio<Registers>,
    tail: usize,
    head: usize,
    phase: u32,
}

/// Why there is no controller to drive.
pub(crate) enum AdminError {
    NotOwned(NotOwned),
    Registers(BarError),
    Status(u32),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwned(error) => error.fmt(f),
            Self::Registers(error) => error.fmt(f),
            Self::Status(status) => write!(f, "the controller does not start, status {status:#x}"),
        }
    }
}

impl Admin {
    /// Takes the controller and starts it with these queues.
    pub(crate) fn take(devices: &mut Devices) -> Result<Self, AdminError> {
        let mut function = devices
            .function(0x1b36, 0x0010)
            .map_err(AdminError::NotOwned)?;
        // SAFETY: DEVICE-DMA: the addresses that are written are those of the two pages above, which
        // are the controller's for good, with room for all entries; the one command has no others.
        let registers = unsafe { function.bar(0) }.map_err(AdminError::Registers)?;
        let mut admin = Self {
            registers,
            tail: 0,
            head: 0,
            phase: PHASE,
        };
        admin.switch(0, 0)?;
        let last = u32::try_from(ENTRIES - 1).unwrap_or(0);
        field!(admin.registers, queue_sizes).write(last << 16 | last);
        field!(admin.registers, submissions).write(SUBMISSIONS.0.get() as u64);
        field!(admin.registers, completions).write(COMPLETIONS.0.get() as u64);
        admin.switch(ON, READY)?;
        Ok(admin)
    }

    fn switch(&mut self, configuration: u32, ready: u32) -> Result<(), AdminError> {
        field!(self.registers, configuration).write(configuration);
        let mut status = 0;
        for _ in 0..LOOKS {
            status = field_shared!(self.registers, status).read();
            if status & (READY | FATAL) == ready {
                return Ok(());
            }
        }
        Err(AdminError::Status(status))
    }

    /// Sends the command.
    pub(crate) fn ask(&mut self) {
        let mut entry = [0; 16];
        entry[0] = GET_FEATURES;
        entry[10] = NUMBER_OF_QUEUES;
        let entries = SUBMISSIONS.0.get().cast::<[u32; 16]>();
        // SAFETY: DEVICE-OWNER: the place is inside the queue, and the controller reads it only once
        // the tail is past it.
        unsafe { entries.add(self.tail).write_volatile(entry) };
        fence(Ordering::Release);
        self.tail = (self.tail + 1) % ENTRIES;
        let tail = u32::try_from(self.tail).unwrap_or(0);
        field!(self.registers, submission_tail).write(tail);
    }

    /// Takes the next answer: its status, 0 for success. `None` if there is none.
    pub(crate) fn answer(&mut self) -> Option<u32> {
        let entries = COMPLETIONS.0.get().cast::<[u32; 4]>();
        // SAFETY: DEVICE-OWNER: the place is inside the queue; the controller may write it meanwhile,
        // but the phase, which is in the same word as the status, says whether it has.
        let [.., last] = unsafe { entries.add(self.head).read_volatile() };
        if last & PHASE != self.phase {
            return None;
        }
        self.head = (self.head + 1) % ENTRIES;
        if self.head == 0 {
            self.phase ^= PHASE;
        }
        let head = u32::try_from(self.head).unwrap_or(0);
        field!(self.registers, completion_head).write(head);
        Some(last >> 17)
    }
}
