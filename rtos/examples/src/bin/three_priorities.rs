//! Resources shared across three priorities: each task preempts those below it, even inside their
//! locks, unless the lock is one that it takes part in.
//!
//! `log` is used by all three tasks, so its ceiling is the highest priority: while `low` holds it, none
//! of the others starts. `count` is used by `low` and `middle` alone, so `high` runs right through
//! their locks. Nobody ever waits for a lock: when a task runs, whatever it may lock is free (stack
//! resource policy). The golden trace beside this file shows both cases.
//!
//! The compiler refuses to hand out `log` without a lock, because here preemption is possible.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::prelude::*;

    #[shared]
    struct Shared {
        /// Who ran, as a checksum of the order. Used by all: ceiling 3.
        log: u32,
        /// Used by `low` and `middle`: ceiling 2.
        count: u32,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared { log: 1, count: 0 }, Local {})
    }

    #[task(priority = 1, period = 5.millis(), shared = [log, count], local = [round: u32 = 0])]
    fn low(mut cx: low::Context) {
        // Both preempt at once, each as soon as it is released: `middle`, and inside it `high`.
        let _ = middle::spawn();
        // `middle` is released inside this lock and has to wait for its end; `high` is not.
        cx.shared.count.lock(|count| {
            *count += 1;
            let _ = middle::spawn();
            let _ = high::spawn();
        });
        // Here `high` has to wait as well.
        cx.shared.log.lock(|log| {
            *log = log.wrapping_mul(31) + 1;
            let _ = high::spawn();
        });
        *cx.local.round += 1;
        if *cx.local.round == 3 {
            rtos::exit();
        }
    }

    #[task(priority = 2, capacity = 2, shared = [log, count])]
    fn middle(mut cx: middle::Context) {
        // A tuple of resources is locked one inside the other.
        (&mut cx.shared.count, &mut cx.shared.log).lock(|count, log| {
            *count += 1;
            *log = log.wrapping_mul(31) + 2;
        });
        let _ = high::spawn();
    }

    #[task(priority = 3, capacity = 2, shared = [log])]
    fn high(mut cx: high::Context) {
        cx.shared.log.lock(|log| *log = log.wrapping_mul(31) + 3);
    }
}
