//! A controller in fixed point that balances a pendulum while Linux panics and comes back.
//!
//! The pendulum stands on its head and falls by itself, and somebody pushes it. It is simulated by the
//! clock, not by the controller: each run first lets it move by the time that really passed under the
//! force of the *last* run, however long that was. A controller that stays away for half a second finds
//! it on the floor; the dump of Linux's memory takes a quarter of one, its way back to user space four.
//!
//! Numbers are fixed point, 2^32 to the unit: tasks without `float` compute with integers. For control
//! laws with `f64` see `float_law`.
//!
//! This is the one example with a Linux below it: the scenario boots Debian's cloud kernel, lets it
//! panic, and the monitor reload it, all in the first eight seconds.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::prelude::*;
    use rtos::{Cycles, log};

    /// The unit.
    const ONE: i64 = 1 << 32;
    /// The simulation's step.
    const MICROS_PER_STEP: u64 = 100;
    const STEPS_PER_SECOND: i64 = 10_000;
    /// Runs of the controller in a second.
    const RATE: i64 = 1_000;
    /// Runs after which the start is forgotten.
    const SETTLED: u32 = 1_000;
    /// The run from which on the golden trace is taken, and the last one.
    const TRACED: u32 = 12_500;
    const LAST: u32 = TRACED + 10;

    /// A pendulum on its head, its angle small.
    struct Pendulum {
        angle: i64,
        speed: i64,
        /// When it was looked at last; none before the first time.
        seen: Option<Cycles>,
    }

    impl Pendulum {
        /// Moves it up to `now` under a constant force.
        fn fall(&mut self, now: Cycles, force: i64) {
            let Some(seen) = self.seen.replace(now) else {
                return;
            };
            let micros = rtos::nanos(now.saturating_since(seen)).0 / 1_000;
            // Rounded, so that the jitter of a start is no change of speed. Ten steps, if in time.
            let steps = (micros + MICROS_PER_STEP / 2) / MICROS_PER_STEP;
            for _ in 0..steps.min(20_000) {
                self.speed += (25 * self.angle + force) / STEPS_PER_SECOND;
                self.angle += self.speed / STEPS_PER_SECOND;
            }
            assert!(self.angle.abs() < ONE / 2, "the pendulum fell");
        }
    }

    /// Proportional, integral, derivative: three equal poles at 10/s for this pendulum.
    struct Pid {
        sum: i64,
        last: i64,
    }

    impl Pid {
        fn act(&mut self, angle: i64) -> i64 {
            self.sum += angle / RATE;
            let speed = (angle - core::mem::replace(&mut self.last, angle)) * RATE;
            -(325 * angle + 1_000 * self.sum + 30 * speed)
        }
    }

    #[shared]
    struct Shared {
        /// The largest deviation since the start was forgotten.
        worst: i64,
    }

    #[local]
    struct Local {
        pendulum: Pendulum,
        law: Pid,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        let pendulum = Pendulum {
            angle: ONE / 50,
            speed: 0,
            seen: None,
        };
        let law = Pid {
            sum: 0,
            last: ONE / 50,
        };
        (Shared { worst: 0 }, Local { pendulum, law })
    }

    #[task(priority = 3, period = 1.millis(), deadline = 500.micros(), budget = 200.micros(),
           on_fault = degrade, shared = [worst], local = [pendulum, law, force: i64 = 0, runs: u32 = 0])]
    fn control(mut cx: control::Context) {
        let runs = *cx.local.runs;
        // Somebody pushes it: to the left, not, to the right, not, a quarter of a second each.
        let push = [2, 0, -2, 0][(runs / 250 % 4) as usize] * ONE;
        cx.local
            .pendulum
            .fall(cx.run.started(), *cx.local.force + push);
        *cx.local.force = cx.local.law.act(cx.local.pendulum.angle);
        if runs > SETTLED {
            let deviation = cx.local.pendulum.angle.abs();
            cx.shared.worst.lock(|worst| *worst = deviation.max(*worst));
        }
        *cx.local.runs += 1;
        match runs {
            TRACED => rtos::mark(1),
            LAST => rtos::exit(),
            _ => {}
        }
    }

    /// Says once a second how well it goes, in millionths of the unit.
    #[task(priority = 1, period = 1.secs(), budget = 200.micros(), shared = [worst])]
    fn watch(mut cx: watch::Context) {
        let worst = cx.shared.worst.lock(|worst| *worst);
        log::info!("deviation at most {} ppm", worst * 1_000_000 / ONE);
    }
}
