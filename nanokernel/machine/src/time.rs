//! The time-stamp counter and its calibration.
//!
//! All of the nanokernel's time is the TSC. Its frequency is measured once at boot against the
//! ACPI power-management timer, which runs at exactly 3.579545 MHz (ACPI 4.8.3.3); measuring from
//! tick edge to tick edge keeps the error near one port read in the whole window.

use crate::port::{self, Width};
use darma_abi::units::Cycles;

/// Frequency of the ACPI power-management timer.
pub const PM_TIMER_HZ: u64 = 3_579_545;

/// Ticks of the calibration window: 40 ms.
const WINDOW_TICKS: u32 = 143_182;

/// Reads the time-stamp counter.
#[inline(always)]
pub fn now() -> Cycles {
    // SAFETY: RDTSC has no effect but its result; CR4.TSD is never set in the host.
    Cycles(unsafe { core::arch::x86_64::_rdtsc() })
}

/// What one calibration window saw.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// TSC increments in the window.
    pub tsc: u64,
    /// Power-management timer ticks in the window.
    pub pm_ticks: u64,
    /// Local APIC timer ticks in the window.
    pub apic: u64,
}

/// Runs the calibration window. Returns `None` if the timer at `pm_timer` stands still.
pub fn calibrate(pm_timer: u16, apic: &crate::local_apic::LocalApic) -> Option<Calibration> {
    // SAFETY: DEVICE-OWNER: reading the power-management timer has no side effect.
    let read = || unsafe { port::read(pm_timer, Width::Dword) } & 0xff_ffff;
    let edge = |from: u32| -> Option<u32> {
        // A tick lasts 279 ns; this many reads last far longer on any machine.
        (0..1_000_000u32).map(|_| read()).find(|&tick| tick != from)
    };
    let first = edge(read())?;
    apic.start_timer(u32::MAX);
    let (tsc_begin, apic_begin) = (now(), apic.timer_count());
    let mut last = first;
    while last.wrapping_sub(first) & 0xff_ffff < WINDOW_TICKS {
        last = edge(last)?;
    }
    let (tsc_end, apic_end) = (now(), apic.timer_count());
    apic.start_timer(0);
    Some(Calibration {
        tsc: tsc_end.saturating_since(tsc_begin).0,
        pm_ticks: u64::from(last.wrapping_sub(first) & 0xff_ffff),
        apic: u64::from(apic_begin.wrapping_sub(apic_end)),
    })
}
