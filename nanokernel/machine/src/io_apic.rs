//! A physical I/O APIC (82093AA data sheet; Intel ICH9 data sheet 13.5): an index and a data
//! window.
//!
//! The window is two accesses, so each function runs with interrupts off for those few
//! instructions: the device interrupt's handler masks pins through it as well.

use crate::irq_off::{self, Section};
use crate::time;
use darma_abi::units::HostPhys;
use x86_64::instructions::interrupts::without_interrupts;

/// Runs a section of the window's with interrupts off, and notes how long it took.
fn measured(section: impl FnOnce()) {
    without_interrupts(|| {
        let begin = time::now();
        section();
        irq_off::record(Section::IoApic, begin);
    });
}

const REDIRECTION: u32 = 0x10;

/// The I/O APIC whose registers lie at the given address.
#[derive(Clone, Copy, Debug)]
pub struct IoApic {
    base: HostPhys,
}

impl IoApic {
    /// Names the controller at `base`.
    ///
    /// # Safety
    /// An I/O APIC's registers lie at `base` (the MADT says so), inside the identity map, and the
    /// GPOS cannot reach them (invariant `APIC-OWNER`).
    pub const unsafe fn new(base: HostPhys) -> Self {
        Self { base }
    }

    /// The number of pins.
    pub fn pins(&self) -> u32 {
        (self.read(1) >> 16 & 0xff) + 1
    }

    /// The raw version register.
    pub fn version(&self) -> u32 {
        self.read(1)
    }

    /// Programs a pin's redirection entry, mask first or last so that no half entry ever fires.
    pub fn program(&self, pin: u8, low: u32, high: u32) {
        let register = REDIRECTION + 2 * u32::from(pin);
        measured(|| {
            self.write(register, 1 << 16);
            self.write(register + 1, high);
            self.write(register, low);
        });
    }

    /// Sets or clears a pin's mask bit.
    pub fn set_masked(&self, pin: u8, masked: bool) {
        let register = REDIRECTION + 2 * u32::from(pin);
        measured(|| {
            let low = self.read(register) & !(1 << 16);
            self.write(register, low | u32::from(masked) << 16);
        });
    }

    fn read(&self, register: u32) -> u32 {
        // SAFETY: APIC-OWNER, promised at `new`; index then data, both 32 bits wide.
        unsafe {
            (self.base.0 as *mut u32).write_volatile(register);
            ((self.base.0 + 0x10) as *const u32).read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as in `read`.
        unsafe {
            (self.base.0 as *mut u32).write_volatile(register);
            ((self.base.0 + 0x10) as *mut u32).write_volatile(value);
        }
    }
}
