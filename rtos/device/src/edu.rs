//! QEMU's teaching device (`-device edu`, 1234:11e8), as a source of interrupts whose time is known.
//!
//! A transfer between memory and the device ends 100 ms after the millisecond in which it was begun
//! and then interrupts; both are of the emulator's virtual clock (`hw/misc/edu.c`, QEMU 7.2). Under
//! instruction counting that clock and the time-stamp counter are one and the same, so a transfer's
//! end is known to the nanosecond before it comes, and what lies between it and a task's first
//! instruction is the latency of an interrupt from outside. [`Edu::take`] finds out by one transfer
//! whether the clocks agree; where they do not, transfers have no known end.
//!
//! The other interrupts of the device are no use for that: one is raised by the processor's own
//! write, the other by a thread of the emulator, on the host's time.
//!
//! Memory is only read: eight bytes of the image.

use core::fmt;

use darma_abi::units::{Cycles, Nanos};
use darma_machine::time;
use darma_policy::devices::task_function::BarError;

use crate::devices::{Devices, NotOwned};
use crate::layout;
use crate::mmio::{Mmio, ReadPure, ReadPureWrite, ReadWrite, WriteOnly, field, field_shared};

/// The function's vendor.
pub const VENDOR: u16 = 0x1234;
/// The function's device.
pub const DEVICE: u16 = 0x11e8;

#[repr(C)]
struct Registers {
    identity: ReadPure<u32>,
    complement: ReadPureWrite<u32>,
    factorial: ReadWrite<u32>,
    reserved_0c: [u32; 5],
    status: ReadPureWrite<u32>,
    interrupt_status: ReadPure<u32>,
    reserved_28: [u32; 14],
    raise: WriteOnly<u32>,
    acknowledge: WriteOnly<u32>,
    reserved_68: [u32; 6],
    source: ReadPureWrite<u64>,
    destination: ReadPureWrite<u64>,
    count: ReadPureWrite<u64>,
    command: ReadPureWrite<u64>,
}

layout!(Registers, 0xa0;
    identity @ 0x00, complement @ 0x04, factorial @ 0x08, status @ 0x20, interrupt_status @ 0x24,
    raise @ 0x60, acknowledge @ 0x64,
    source @ 0x80, destination @ 0x88, count @ 0x90, command @ 0x98,
);

/// Two numbers of the version, 0xed below.
const IDENTITY: u32 = 0x0100_00ed;
/// `interrupt_status`: a transfer has ended.
const TRANSFER: u32 = 0x100;
/// `command`: run; from memory to the device; interrupt at the end.
const RUN: u64 = 1;
const INTERRUPT: u64 = 4;
/// Where its buffer begins among the device's addresses.
const BUFFER: u64 = 0x4_0000;
/// It drives this many address lines.
const ADDRESS_LINES: u32 = 28;

/// A nanosecond of the emulator, in cycles, where [`Edu::is_exact`].
const MILLISECOND: u64 = 1_000_000;
/// From the beginning of the millisecond in which it was begun to the end of a transfer.
const TRANSFER_TIME: u64 = 100 * MILLISECOND;
/// No transfer is begun later in a millisecond than this before its end, lest it be begun in the
/// next.
const CLOSE: u64 = 2_000;
/// What the trial's end may be late: a few turns of a loop.
const TRIAL_TOLERANCE: u64 = 1_000;

/// What the device reads: any eight bytes of the image.
static PATTERN: u64 = 0x0123_4567_89ab_cdef;

/// The device, ready to transfer.
#[derive(Debug)]
pub struct Edu {
    registers: Mmio<Registers>,
    exact: bool,
    due: Option<Cycles>,
}

/// Why there is no device to drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EduError {
    /// It is not the application's.
    NotOwned(NotOwned),
    /// Its registers cannot be had.
    Registers(BarError),
    /// It says that it is another version.
    Version(u32),
    /// The trial transfer did not end.
    Stuck,
}

impl fmt::Display for EduError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwned(error) => error.fmt(f),
            Self::Registers(error) => error.fmt(f),
            Self::Version(found) => write!(
                f,
                "the edu device calls itself {found:#010x}, {IDENTITY:#010x} was expected: use QEMU 7.2 or later"
            ),
            Self::Stuck => write!(
                f,
                "the edu device did not end a transfer within a second: its time stands still"
            ),
        }
    }
}

/// A transfer that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When the device interrupted, if that is known.
    pub due: Option<Cycles>,
}

impl Edu {
    /// Takes the device and tries one transfer, which takes 100 ms.
    ///
    /// # Errors
    /// [`EduError`].
    pub fn take(devices: &mut Devices) -> Result<Self, EduError> {
        let second = devices.time_scale().cycles(Nanos(1_000_000_000));
        let mut function = devices
            .function(VENDOR, DEVICE)
            .map_err(EduError::NotOwned)?;
        // SAFETY: DEVICE-DMA: `Registers` is the device's own layout. The only addresses that this
        // module writes are that of `PATTERN`, to be read, and an offset in the device's buffer; the
        // command never says "to memory".
        let registers = unsafe { function.bar::<Registers>(0) }.map_err(EduError::Registers)?;
        // SAFETY: DEVICE-DMA, as above.
        unsafe { function.master_bus() };
        let identity = field_shared!(registers, identity).read();
        if identity != IDENTITY {
            return Err(EduError::Version(identity));
        }
        let mut edu = Self {
            registers,
            exact: true,
            due: None,
        };
        edu.exact = edu.trial(second)?;
        Ok(edu)
    }

    /// Whether transfers end when this driver says: the time-stamp counter is the emulator's clock.
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// Begins a transfer, whose end interrupts. Does nothing while one is under way.
    pub fn start(&mut self) {
        self.due = self.transfer(RUN | INTERRUPT).filter(|_| self.exact);
    }

    /// Takes note of the interrupt: the transfer that has ended, or `None` if none has.
    pub fn ended(&mut self) -> Option<Ended> {
        let status = field_shared!(self.registers, interrupt_status).read();
        if status & TRANSFER == 0 {
            return None;
        }
        field!(self.registers, acknowledge).write(status);
        Some(Ended {
            due: self.due.take(),
        })
    }

    /// One transfer without an interrupt: whether it ended when it should have.
    fn trial(&mut self, second: Cycles) -> Result<bool, EduError> {
        let begun = time::now();
        let due = self.transfer(RUN);
        loop {
            let running = field_shared!(self.registers, command).read() & RUN != 0;
            let now = time::now();
            if !running {
                let late = due.map(|due| now.0.wrapping_sub(due.0));
                return Ok(late.is_some_and(|late| late < TRIAL_TOLERANCE));
            }
            if now.saturating_since(begun) > second {
                return Err(EduError::Stuck);
            }
        }
    }

    /// Returns the end, unless a millisecond began meanwhile.
    fn transfer(&mut self, command: u64) -> Option<Cycles> {
        let pattern = &raw const PATTERN as u64;
        debug_assert!(pattern >> ADDRESS_LINES == 0, "the image is low in memory");
        field!(self.registers, source).write(pattern);
        field!(self.registers, destination).write(BUFFER);
        field!(self.registers, count).write(8);
        let mut before = time::now().0;
        while before % MILLISECOND > MILLISECOND - CLOSE {
            before = time::now().0;
        }
        field!(self.registers, command).write(command);
        let after = time::now().0;
        let same = before / MILLISECOND == after / MILLISECOND;
        same.then_some(Cycles(before - before % MILLISECOND + TRANSFER_TIME))
    }
}
