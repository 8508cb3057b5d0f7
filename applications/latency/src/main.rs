//! The latency laboratory's application: what lies between a deadline, or a device's interrupt, and a
//! task's first instruction.
//!
//! The measured tasks do next to nothing, so that their figures are the kernel's. Below them runs what a
//! control program has besides: a task that shares data with them under a ceiling lock, and one that only
//! computes. Both are short: what they take is taken from Linux, whose own latency is measured as well.
//!
//! The device is the high-precision event timer on a pin of the I/O APIC, an interrupt from outside whose
//! due time is known. Its period is that of the timer task, and the two are never due together: which of
//! two that are waits for the other is the response-time analysis' subject, not this one's.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::Nanos;
    use rtos::device::hpet::HpetTimer;
    use rtos::prelude::*;

    /// A pin that the HPET reaches and that no device of the emulated machine uses: the SD card of the load is
    /// at 23, the AHCI controller at 16.
    const PIN: u8 = 22;
    const PERIOD: Nanos = Nanos(1_000_000);

    #[shared]
    struct Shared {
        activations: u64,
    }

    #[local]
    struct Local {
        seen: u64,
        hpet: Option<HpetTimer>,
    }

    #[init]
    fn init(cx: init::Context) -> (Shared, Local) {
        let hpet = match cx.devices.hpet().and_then(|hpet| hpet.start(PIN, PERIOD)) {
            Ok(timer) => Some(timer),
            Err(error) => {
                log::error!("hpet: {error}");
                None
            }
        };
        (Shared { activations: 0 }, Local { seen: 0, hpet })
    }

    /// Measured: from the deadline on its grid.
    #[task(name = "timer-1khz", priority = 3, period = 1.millis(), phase = 500.micros(), budget = 20.micros(), shared = [activations])]
    fn timer(mut cx: timer::Context) {
        cx.shared.activations.lock(|count| *count += 1);
    }

    /// Measured: from the moment at which the device had to interrupt.
    #[task(name = "device-1khz", priority = 3, binds = pin(22), every = 1.millis(), budget = 20.micros(), local = [hpet])]
    fn device(cx: device::Context) {
        if let Some(due) = cx.local.hpet.as_mut().and_then(HpetTimer::fired) {
            cx.run.answers(due);
        }
    }

    /// Reads under the lock: for those few instructions the timer's task has to wait.
    #[task(name = "reader-250hz", priority = 2, period = 4.millis(), phase = 300.micros(), budget = 20.micros(), shared = [activations], local = [seen])]
    fn reader(mut cx: reader::Context) {
        *cx.local.seen = cx.shared.activations.lock(|count| *count);
    }

    /// Computes for some 5 us.
    #[task(name = "background-100hz", priority = 1, period = 10.millis(), phase = 700.micros(), budget = 50.micros())]
    fn background(_: background::Context) {
        let mut state = 1_u64;
        for _ in 0..400 {
            state = core::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) ^ 1);
        }
        core::hint::black_box(state);
    }
}
