//! The high-precision event timer (HPET 1.0a) as a task's own interrupt source, on a pin of the I/O
//! APIC.
//!
//! One of its timers compares the main counter with a value and interrupts when they meet, which
//! makes the time at which the interrupt was due a fact of the hardware: [`HpetTimer::fired`] returns
//! it in cycles, to within one tick of the counter (10 ns on QEMU). The comparator is set anew at
//! each interrupt, not left to the timer's periodic mode: periodic mode loses the due time, and the
//! emulator's interrupts twice when it is exactly on time (`hpet_timer` in `hw/timer/hpet.c`, QEMU
//! 7.2: a comparator that equals the counter counts as still to come).
//!
//! Cycles are derived from ticks over the time since the interrupt only, a few microseconds, so that
//! the two clocks' rates need not agree over hours.

use core::fmt;
use core::ptr::NonNull;

use darma_abi::units::{Cycles, HostPhys, Nanos};
use darma_machine::time;
use darma_sched::TimeScale;

use crate::devices::NotOwned;
use crate::layout;
use crate::mmio::{Mmio, ReadPure, ReadPureWrite, field, field_shared};

/// How many timers are looked at; the specification allows 32, chip sets have three to eight.
const TIMERS: usize = 8;

#[repr(C)]
struct Timer {
    configuration: ReadPureWrite<u32>,
    /// A bit for each pin to which the timer can be routed.
    pins: ReadPure<u32>,
    comparator_low: ReadPureWrite<u32>,
    comparator_high: ReadPureWrite<u32>,
    /// The message route, which is nobody's to write: it could name any vector.
    message: [u32; 4],
}

#[repr(C)]
struct Registers {
    capabilities: ReadPure<u32>,
    /// Femtoseconds per tick.
    tick_fs: ReadPure<u32>,
    reserved_08: [u32; 2],
    configuration: ReadPureWrite<u32>,
    reserved_14: [u32; 3],
    status: ReadPureWrite<u32>,
    reserved_24: [u32; 51],
    counter_low: ReadPure<u32>,
    counter_high: ReadPure<u32>,
    reserved_f8: [u32; 2],
    timers: [Timer; TIMERS],
}

layout!(Timer, 0x20; configuration @ 0, pins @ 4, comparator_low @ 8, comparator_high @ 12);
layout!(Registers, 0x200;
    capabilities @ 0x00, tick_fs @ 0x04, configuration @ 0x10, status @ 0x20,
    counter_low @ 0xf0, counter_high @ 0xf4, timers @ 0x100,
);

/// General configuration (HPET 2.3.5): the counter runs.
const RUN: u32 = 1;
/// Timer configuration (HPET 2.3.8): interrupts on; 64 bits wide; where the route's five bits begin.
const INTERRUPT: u32 = 1 << 2;
const IS_WIDE: u32 = 1 << 5;
const ROUTE_SHIFT: u32 = 9;
/// All that software sets: level, interrupts, periodic, setting its value, 32 bits, route, messages.
const SETTINGS: u32 = 0x7f4e;
/// The slowest tick that the specification allows: 100 ns.
const SLOWEST_TICK_FS: u32 = 100_000_000;
const FEMTOS_PER_NANO: u64 = 1_000_000;
/// A comparator is set at least this far ahead: setting it takes a few accesses to the device.
const AHEAD: Nanos = Nanos(2_000);
/// A reading of both clocks that took longer was interrupted, and is taken again.
const READING: Nanos = Nanos(500);
const READINGS: u32 = 4;

/// Why the timer cannot be had or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpetError {
    /// It is not the application's.
    NotOwned(NotOwned),
    /// Its tick's length is nothing that the specification allows.
    Tick {
        /// Femtoseconds.
        femtoseconds: u32,
    },
    /// No timer of 64 bits can be routed to the pin.
    Pin {
        /// The pin.
        pin: u8,
        /// A bit for each pin to which some timer can be routed.
        possible: u32,
    },
    /// The period is shorter than what a task can answer, or longer than an hour.
    Period(Nanos),
}

impl fmt::Display for HpetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwned(error) => error.fmt(f),
            Self::Tick { femtoseconds } => write!(
                f,
                "the HPET says that a tick lasts {femtoseconds} fs: use another timer, or update the firmware"
            ),
            Self::Pin { pin, possible } => write!(
                f,
                "no 64-bit timer of the HPET reaches pin {pin}: its pins are the bits of {possible:#x}"
            ),
            Self::Period(period) => write!(
                f,
                "a period of {period} ns is none for the HPET: choose 10 us to 1 h"
            ),
        }
    }
}

/// The whole timer, stopped.
#[derive(Debug)]
pub struct Hpet {
    registers: Mmio<Registers>,
    tick_fs: u32,
    scale: TimeScale,
}

impl Hpet {
    /// Stops the timer at `base`.
    ///
    /// # Safety
    /// An HPET's registers lie there, inside the identity map, and are nobody else's (invariant
    /// `DEVICE-OWNER`).
    pub(crate) unsafe fn new(base: HostPhys, scale: TimeScale) -> Result<Self, HpetError> {
        let none = HpetError::NotOwned(NotOwned::Hpet);
        let registers = NonNull::new(base.0 as *mut Registers).filter(|at| at.is_aligned());
        // SAFETY: DEVICE-OWNER, promised by the caller. No field names memory or a vector: the
        // message routes are not among them, and this module never switches messages on.
        let mut registers = unsafe { Mmio::new(registers.ok_or(none)?) };
        let femtoseconds = field_shared!(registers, tick_fs).read();
        if femtoseconds == 0 || femtoseconds > SLOWEST_TICK_FS {
            return Err(HpetError::Tick { femtoseconds });
        }
        field!(registers, configuration).write(0);
        let mut hpet = Self {
            registers,
            tick_fs: femtoseconds,
            scale,
        };
        for index in 0..hpet.timers() {
            hpet.configure(index, 0);
        }
        Ok(hpet)
    }

    /// Starts the counter and one timer: an edge on `pin` each `period`, of which the task calls
    /// [`HpetTimer::fired`]. The first comes one period from now.
    ///
    /// # Errors
    /// [`HpetError::Pin`], [`HpetError::Period`].
    pub fn start(mut self, pin: u8, period: Nanos) -> Result<HpetTimer, HpetError> {
        const HOUR: u64 = 3_600_000_000_000;
        if !(10_000..=HOUR).contains(&period.0) {
            return Err(HpetError::Period(period));
        }
        let mut possible = 0;
        let mut chosen = None;
        for index in 0..self.timers() {
            let (pins, is_wide) = self.with_timer(index, |timer| {
                let configuration = field_shared!(timer, configuration).read();
                (
                    field_shared!(timer, pins).read(),
                    configuration & IS_WIDE != 0,
                )
            });
            if is_wide {
                possible |= pins;
                if 1_u32.checked_shl(u32::from(pin)).unwrap_or(0) & pins != 0 {
                    chosen = chosen.or(Some(index));
                }
            }
        }
        let index = chosen.ok_or(HpetError::Pin { pin, possible })?;
        let ticks = |nanos: Nanos| {
            u128::from(nanos.0) * u128::from(FEMTOS_PER_NANO) / u128::from(self.tick_fs)
        };
        let (period, ahead) = (ticks(period), ticks(AHEAD));
        let mut timer = HpetTimer {
            period: u64::try_from(period).unwrap_or(u64::MAX),
            ahead: u64::try_from(ahead).unwrap_or(u64::MAX),
            due: 0,
            skipped: 0,
            index,
            hpet: self,
        };
        let route = u32::from(pin) << ROUTE_SHIFT;
        timer.hpet.configure(index, route);
        field!(timer.hpet.registers, configuration).write(RUN);
        timer.due = timer.hpet.counter();
        // Its reset value is all ones, in both halves.
        let [_, high] = halves(timer.due);
        timer.hpet.with_timer(index, |mut registers| {
            field!(registers, comparator_high).write(high);
        });
        timer.set_next();
        timer.skipped = 0;
        timer.hpet.configure(index, route | INTERRUPT);
        Ok(timer)
    }

    fn timers(&self) -> usize {
        let [_, last, ..] = field_shared!(self.registers, capabilities)
            .read()
            .to_le_bytes();
        TIMERS.min(usize::from(last & 0x1f) + 1)
    }

    fn configure(&mut self, index: usize, settings: u32) {
        self.with_timer(index, |mut timer| {
            field!(timer, configuration).modify(|old| old & !SETTINGS | settings);
        });
    }

    fn with_timer<T>(
        &mut self,
        index: usize,
        use_it: impl FnOnce(crate::mmio::UniqueMmioPointer<'_, Timer>) -> T,
    ) -> T {
        let timers = field!(self.registers, timers);
        let [first, ..] = timers.split_some([index.min(TIMERS - 1)]);
        use_it(first)
    }

    /// The main counter. Its halves are two reads, so the upper one is read on both sides.
    fn counter(&self) -> u64 {
        let high = || field_shared!(self.registers, counter_high).read();
        let mut before = high();
        loop {
            let low = field_shared!(self.registers, counter_low).read();
            let after = high();
            if before == after {
                return u64::from(after) << 32 | u64::from(low);
            }
            before = after;
        }
    }

    /// Both clocks at one moment.
    fn reading(&self) -> (Cycles, u64) {
        let limit = self.scale.cycles(READING);
        let mut reading = (time::now(), self.counter());
        for _ in 0..READINGS {
            if time::now().saturating_since(reading.0) <= limit {
                break;
            }
            reading = (time::now(), self.counter());
        }
        reading
    }

    fn cycles(&self, ticks: u64) -> Cycles {
        let femtos = u128::from(ticks) * u128::from(self.tick_fs);
        let nanos = u64::try_from(femtos / u128::from(FEMTOS_PER_NANO)).unwrap_or(u64::MAX);
        self.scale.cycles(Nanos(nanos))
    }
}

/// A timer that interrupts on its grid.
#[derive(Debug)]
pub struct HpetTimer {
    hpet: Hpet,
    index: usize,
    /// In ticks, as the following two.
    period: u64,
    ahead: u64,
    due: u64,
    skipped: u64,
}

impl HpetTimer {
    /// Takes note of the interrupt and sets the next one: when it was due, or `None` if nothing was.
    pub fn fired(&mut self) -> Option<Cycles> {
        let (now, counter) = self.hpet.reading();
        let since = counter.checked_sub(self.due)?;
        let due = Cycles(now.0.saturating_sub(self.hpet.cycles(since).0));
        self.set_next();
        Some(due)
    }

    /// How many interrupts were left out because their time had passed when they could be set.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Sets the comparator to the next point of the grid that can be met.
    fn set_next(&mut self) {
        loop {
            let soonest = self.hpet.counter().saturating_add(self.ahead);
            let behind = soonest.saturating_sub(self.due) / self.period;
            let old = self.due;
            self.due = old.saturating_add((behind + 1).saturating_mul(self.period));
            self.skipped = self.skipped.saturating_add(behind);
            self.set_comparator(old, self.due);
            // A one-shot comparator that is set too late waits for the counter to come round.
            if self.hpet.counter() < self.due {
                return;
            }
        }
    }

    /// The upper half first, and only if it changes: in between the comparator then holds the old
    /// lower half, which is far ahead, and never a value that is past.
    fn set_comparator(&mut self, old: u64, new: u64) {
        let [low, high] = halves(new);
        self.hpet.with_timer(self.index, |mut timer| {
            if halves(old)[1] != high {
                field!(timer, comparator_high).write(high);
            }
            field!(timer, comparator_low).write(low);
        });
    }
}

/// The lower and the upper 32 bits.
const fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::boxed::Box;

    /// Registers of plain memory: three timers of 64 bits for pins 2, 8 and 16 to 23, 10 ns a tick.
    fn plain(first: impl FnOnce(&mut Registers)) -> Result<Hpet, HpetError> {
        // SAFETY: registers are integers, of which zeros are a value.
        let mut registers: Box<Registers> = Box::new(unsafe { core::mem::zeroed() });
        registers.capabilities = ReadPure(0x8086_a201);
        registers.tick_fs = ReadPure(10_000_000);
        registers.configuration = ReadPureWrite(3);
        for timer in registers.timers.iter_mut().take(3) {
            timer.configuration = ReadPureWrite(0x7e34);
            timer.pins = ReadPure(0x00ff_0104);
            timer.comparator_low = ReadPureWrite(u32::MAX);
            timer.comparator_high = ReadPureWrite(u32::MAX);
        }
        first(&mut registers);
        let base = HostPhys(Box::leak(registers) as *mut Registers as u64);
        // SAFETY: memory of this test alone, which is never given back.
        unsafe { Hpet::new(base, TimeScale::GIGAHERTZ) }
    }

    fn set_counter(timer: &mut HpetTimer, counter: u64) {
        let [low, high] = halves(counter);
        let registers = timer.hpet.registers.ptr_mut();
        // SAFETY: the plain memory of `plain`, which nothing borrows here.
        unsafe {
            (*registers).counter_low = ReadPure(low);
            (*registers).counter_high = ReadPure(high);
        }
    }

    fn comparator(timer: &mut HpetTimer) -> u64 {
        timer.hpet.with_timer(timer.index, |timer| {
            u64::from(field_shared!(timer, comparator_high).read()) << 32
                | u64::from(field_shared!(timer, comparator_low).read())
        })
    }

    /// 1 kHz.
    fn running() -> HpetTimer {
        plain(|_| ())
            .and_then(|hpet| hpet.start(20, Nanos(1_000_000)))
            .expect("pin 20 can be reached")
    }

    #[test]
    fn taking_it_stops_it_and_starting_routes_one_timer_as_an_edge() {
        let mut hpet = plain(|_| ()).expect("plausible");
        assert_eq!(field_shared!(hpet.registers, configuration).read(), 0);
        let configuration = |hpet: &mut Hpet, index| {
            hpet.with_timer(index, |timer| field_shared!(timer, configuration).read())
        };
        // What it can do is the timer's to say.
        let able = IS_WIDE | 0x10;
        assert_eq!(configuration(&mut hpet, 0), able);
        let mut timer = running();
        let chosen = configuration(&mut timer.hpet, timer.index);
        assert_eq!(chosen, able | 20 << 9 | 4);
        assert_eq!(comparator(&mut timer), 100_000);
    }

    #[test]
    fn what_the_hardware_cannot_do_is_refused() {
        let slow = plain(|registers| registers.tick_fs = ReadPure(SLOWEST_TICK_FS + 1));
        let femtoseconds = SLOWEST_TICK_FS + 1;
        assert_eq!(slow.err(), Some(HpetError::Tick { femtoseconds }));
        let start = |pin, period| plain(|_| ()).and_then(|hpet| hpet.start(pin, Nanos(period)));
        for pin in [0, 15, 24, 32, 255] {
            let possible = 0x00ff_0104;
            let refused = HpetError::Pin { pin, possible };
            assert_eq!(start(pin, 1_000_000).err(), Some(refused));
        }
        for period in [0, 9_999, u64::MAX] {
            let refused = HpetError::Period(Nanos(period));
            assert_eq!(start(20, period).err(), Some(refused));
        }
    }

    #[test]
    fn the_grid_does_not_drift_and_a_late_answer_skips() {
        let mut timer = running();
        set_counter(&mut timer, 99_999);
        assert_eq!(timer.fired(), None, "nothing was due");
        set_counter(&mut timer, 100_030);
        let now = time::now();
        let due = timer.fired().expect("it is due");
        // 300 ns before, give or take what the reading itself took on this host.
        assert!(now.0.abs_diff(due.0 + 300) < 1_000_000_000);
        assert_eq!((comparator(&mut timer), timer.skipped()), (200_000, 0));
        // Its successor can be met no more: 2 us are what setting may take.
        set_counter(&mut timer, 299_900);
        assert!(timer.fired().is_some());
        assert_eq!((comparator(&mut timer), timer.skipped()), (400_000, 1));
        set_counter(&mut timer, 1_000_000_000);
        assert!(timer.fired().is_some());
        assert_eq!(comparator(&mut timer) % 100_000, 0);
    }

    #[test]
    fn the_comparator_crosses_32_bits() {
        let mut timer = running();
        set_counter(&mut timer, 0xffff_ffff);
        assert!(timer.fired().is_some());
        let next = comparator(&mut timer);
        assert_eq!(next % 100_000, 0);
        assert!(next > 0xffff_ffff && next < 0x1_0003_0000, "{next:#x}");
    }
}
