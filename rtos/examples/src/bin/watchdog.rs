//! A task that fails and is started again, and a watchdog that notices.
//!
//! A fault (here a division by zero, then an endless loop) stops the task that made it, alone: it is
//! recorded, the task's own state (`local` with initial values) is put back, and with `on_fault =
//! restart` its next release finds it as new. The others miss nothing, and neither does Linux.
//!
//! The kernel contains a task that breaks. Whether it does its *work* is the application's to know: the
//! worker reports each finished piece, and the watchdog counts the periods without one.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use core::hint::black_box;
    use rtos::prelude::*;

    #[shared]
    struct Shared {
        /// Pieces finished since the watchdog looked last.
        finished: u32,
    }

    #[local]
    struct Local {
        /// Runs of the worker since the machine started: a value from `init`, which a restart keeps.
        runs: u32,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { finished: 0 }, Local { runs: 0 })
    }

    /// `since_start` begins anew after each fault, `runs` goes on.
    #[task(priority = 1, period = 1.millis(), budget = 100.micros(), on_fault = restart,
           shared = [finished], local = [runs, since_start: u32 = 0])]
    fn work(mut cx: work::Context) {
        *cx.local.runs += 1;
        *cx.local.since_start += 1;
        match *cx.local.runs {
            4 => {
                // black_box: the compiler must not see that this cannot work.
                black_box(1 / black_box(*cx.local.since_start - 4));
            }
            9 => loop {
                black_box(&cx.local.since_start);
            },
            _ => {}
        }
        cx.shared.finished.lock(|finished| *finished += 1);
    }

    /// Half a period behind the worker. A mark in the trace says which runs it missed.
    #[task(priority = 3, period = 1.millis(), phase = 500.micros(), shared = [finished],
           local = [looks: u32 = 0])]
    fn watchdog(mut cx: watchdog::Context) {
        *cx.local.looks += 1;
        if cx.shared.finished.lock(core::mem::take) == 0 {
            rtos::mark(*cx.local.looks);
        }
        if *cx.local.looks == 12 {
            rtos::exit();
        }
    }
}
