//! The physical local APIC (APM2 chapter 16), by MMIO (xAPIC) or by MSR (x2APIC), whichever the
//! firmware left on.
//!
//! It belongs to the nanokernel: the GPOS sees a virtual one. All functions are a few instructions,
//! callable with interrupts on or off.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use darma_abi::units::Vector;
use x86_64::registers::model_specific::Msr;

const APIC_BASE_MSR: u32 = 0x1b;
const XAPIC_BASE: u64 = 0xfee0_0000;

const ID: u32 = 0x20;
const EOI: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const ICR_LOW: u32 = 0x300;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const INITIAL_COUNT: u32 = 0x380;
const CURRENT_COUNT: u32 = 0x390;
const DIVIDE: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const SELF_SHORTHAND: u32 = 1 << 18;
const ASSERT: u32 = 1 << 14;

static X2APIC: AtomicBool = AtomicBool::new(false);

/// The running processor's local APIC.
///
/// A token that knows how the registers are reached. It exists only after [`LocalApic::init`], so
/// that nothing touches the controller before it is set up.
#[derive(Clone, Copy, Debug)]
pub struct LocalApic {
    x2apic: bool,
}

/// The firmware left the local APIC off or at an address other than the architectural one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnusableApic {
    /// The value of the APIC base MSR.
    pub base_msr: u64,
}

impl LocalApic {
    /// Takes the controller over: enabled, every local source masked, the timer one-shot.
    ///
    /// # Errors
    /// [`UnusableApic`] where the base MSR says that it is off or was moved.
    pub fn init(timer: Vector, spurious: Vector) -> Result<Self, UnusableApic> {
        // SAFETY: the APIC base MSR exists on every processor with long mode.
        let base = unsafe { Msr::new(APIC_BASE_MSR).read() };
        if base & (1 << 11) == 0 || base & 0x000f_ffff_ffff_f000 != XAPIC_BASE {
            return Err(UnusableApic { base_msr: base });
        }
        X2APIC.store(base & (1 << 10) != 0, Ordering::Relaxed);
        let apic = Self::in_handler();
        apic.write(LVT_LINT0, MASKED);
        apic.write(LVT_LINT1, MASKED);
        apic.write(LVT_ERROR, MASKED);
        apic.write(LVT_TIMER, u32::from(timer.0));
        apic.write(DIVIDE, 0b1011);
        apic.write(SPURIOUS, 1 << 8 | u32::from(spurious.0));
        Ok(apic)
    }

    /// The token again, for an interrupt handler, which can run only after `init`.
    #[inline(always)]
    pub fn in_handler() -> Self {
        Self {
            x2apic: X2APIC.load(Ordering::Relaxed),
        }
    }

    /// This processor's APIC ID, which is what interrupt messages name as destination.
    pub fn id(&self) -> u32 {
        let id = self.read(ID);
        if self.x2apic { id } else { id >> 24 }
    }

    /// Ends the highest interrupt in service.
    #[inline(always)]
    pub fn end_of_interrupt(&self) {
        self.write(EOI, 0);
    }

    /// Makes `vector` pending on this processor: the hardware then orders it by priority class.
    #[inline(always)]
    pub fn pend(&self, vector: Vector) {
        self.write(ICR_LOW, SELF_SHORTHAND | ASSERT | u32::from(vector.0));
    }

    /// Starts the one-shot timer; 0 stops it. Ticks as calibrated.
    #[inline(always)]
    pub fn start_timer(&self, ticks: u32) {
        self.write(INITIAL_COUNT, ticks);
    }

    /// Ticks left on the timer.
    pub fn timer_count(&self) -> u32 {
        self.read(CURRENT_COUNT)
    }

    #[inline(always)]
    fn write(&self, register: u32, value: u32) {
        if self.x2apic {
            // SAFETY: an architectural APIC register; the nanokernel owns the controller (APIC-OWNER).
            unsafe { Msr::new(0x800 + (register >> 4)).write(u64::from(value)) };
        } else {
            let at = (XAPIC_BASE + u64::from(register)) as *mut u32;
            // SAFETY: IDENTITY-MAP and APIC-OWNER; `register` is one of the constants above.
            unsafe { at.write_volatile(value) };
        }
    }

    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "these registers have 32 bits"
    )]
    fn read(&self, register: u32) -> u32 {
        if self.x2apic {
            // SAFETY: as in `write`.
            unsafe { Msr::new(0x800 + (register >> 4)).read() as u32 }
        } else {
            let at = (XAPIC_BASE + u64::from(register)) as *const u32;
            // SAFETY: as in `write`.
            unsafe { at.read_volatile() }
        }
    }
}

/// The task-priority register: interrupts of this class and below are held back (APM2 16.6.4).
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "CR8 has four bits")]
pub fn priority_class() -> u8 {
    let class: u64;
    // SAFETY: reading CR8 has no effect.
    unsafe { asm!("mov {}, cr8", out(reg) class, options(nomem, nostack, preserves_flags)) };
    class as u8
}

/// Sets the task-priority register.
#[inline(always)]
pub fn set_priority_class(class: u8) {
    // SAFETY: CR8 only delays interrupts. No `nomem`: memory accesses stay on their side of it.
    unsafe {
        asm!("mov cr8, {}", in(reg) u64::from(class & 0xf), options(nostack, preserves_flags))
    };
}
