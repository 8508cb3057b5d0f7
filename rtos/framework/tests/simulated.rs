//! Applications on the simulated machine: what the macro generates does what was declared.

use rtos::Nanos;
use rtos::host::{Line, Simulation};

const MILLI: u64 = 1_000_000;

/// Every kind of task, and every way to a resource.
#[rtos::app]
mod everything {
    use rtos::prelude::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(super) static SEEN: AtomicU32 = AtomicU32::new(0);
    pub(super) static RESTARTED_AT: AtomicU32 = AtomicU32::new(u32::MAX);

    /// Not `Copy` and not `Sync`, as drivers are.
    struct Device {
        reads: core::cell::Cell<u32>,
    }

    #[shared]
    struct Shared {
        total: u64,
        other: u64,
        factor: u64,
        #[lock_free]
        order: Vec<&'static str>,
        #[cfg(target_os = "none")]
        only_on_the_machine: u8,
    }

    #[local]
    struct Local {
        device: Device,
    }

    #[init(local = [calls: u32 = 40])]
    fn init(cx: init::Context) -> (Shared, Local) {
        *cx.local.calls += 2;
        assert_eq!(*cx.local.calls, 42);
        add::spawn(5).unwrap();
        let shared = Shared {
            total: 0,
            other: 0,
            factor: 2,
            order: Vec::new(),
            #[cfg(target_os = "none")]
            only_on_the_machine: 0,
        };
        let device = Device {
            reads: core::cell::Cell::new(0),
        };
        (shared, Local { device })
    }

    #[task(priority = 3, period = 1.millis(), phase = 500.micros(), budget = 10.micros(),
           shared = [total, other, &factor], local = [device, count: u32 = 0])]
    fn control(cx: control::Context) {
        *cx.local.count += 1;
        RESTARTED_AT.fetch_min(*cx.local.count, Ordering::Relaxed);
        cx.local.device.reads.set(cx.local.device.reads.get() + 1);
        assert_eq!(cx.run.released(), cx.run.started());
        let step = *cx.shared.factor;
        (cx.shared.total, cx.shared.other).lock(|total, other| {
            *total += step;
            *other += 1;
        });
    }

    #[task(priority = 2, binds = pin(8), shared = [order])]
    fn key_pressed(cx: key_pressed::Context) {
        cx.shared.order.push("key");
        assert_eq!(pair::spawn(1, "one"), Ok(()));
        assert_eq!(pair::spawn(2, "two"), Ok(()));
        assert_eq!(pair::spawn(3, "three"), Err((3, "three")));
    }

    #[task(priority = 2, capacity = 2, shared = [order], on_fault = degrade)]
    fn pair(cx: pair::Context, number: u32, text: &'static str) {
        assert!(number > 0);
        cx.shared.order.push(text);
    }

    #[task(shared = [total], name = "adder")]
    fn add(mut cx: add::Context, amount: u64) {
        cx.shared.total.lock(|total| *total += amount);
    }

    #[cfg(target_os = "none")]
    #[task(shared = [only_on_the_machine])]
    fn absent(_: absent::Context) {}

    #[task(priority = 1, binds = pci(0x1234, 0x11e8), shared = [total, &factor])]
    fn report(mut cx: report::Context) {
        let total = cx.shared.total.lock(|total| *total);
        SEEN.store(u32::try_from(total).unwrap(), Ordering::Relaxed);
    }
}

#[test]
fn every_kind_of_task_runs_when_it_is_released_and_reaches_what_it_lists() {
    use everything::{RESTARTED_AT, SEEN};
    use std::sync::atomic::Ordering;

    let mut machine = Simulation::start(&everything::__RTOS_APPLICATION);
    assert_eq!(machine.begun(), ["adder"], "spawned by init");
    machine.advance(Nanos(MILLI));
    assert_eq!(machine.runs("control"), 0, "one period and the phase");
    machine.advance(Nanos(10 * MILLI));
    assert_eq!(machine.runs("control"), 10);
    machine.begun();

    machine.interrupt(Line::Pin(8));
    assert_eq!(machine.begun(), ["key-pressed", "pair", "pair"]);

    let edu = Line::Pci {
        vendor: 0x1234,
        device: 0x11e8,
    };
    machine.interrupt(edu);
    assert_eq!(SEEN.load(Ordering::Relaxed), 5 + 10 * 2);

    RESTARTED_AT.store(u32::MAX, Ordering::Relaxed);
    machine.restart("control");
    machine.advance(Nanos(MILLI));
    assert_eq!(
        RESTARTED_AT.load(Ordering::Relaxed),
        1,
        "its count begins again"
    );
    machine.interrupt(edu);
    assert_eq!(SEEN.load(Ordering::Relaxed), 27, "what is shared stays");
}

/// Three priorities around one resource.
#[rtos::app]
mod ceilings {
    use rtos::prelude::*;

    #[shared]
    struct Shared {
        log: Vec<&'static str>,
        private_to_low: u32,
    }

    #[local]
    struct Local {}

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        let shared = Shared {
            log: Vec::new(),
            private_to_low: 0,
        };
        (shared, Local {})
    }

    #[task(binds = pin(1), shared = [log, private_to_low])]
    fn low(mut cx: low::Context) {
        // Ceiling 2: only the middle one waits.
        cx.shared.log.lock(|log| {
            assert!(high::spawn().is_ok() && middle::spawn().is_ok());
            log.push("low");
        });
        cx.shared.private_to_low.lock(|own| {
            // Ceiling 1: nobody above waits.
            assert!(high::spawn().is_ok());
            *own += 1;
        });
    }

    #[task(priority = 2, shared = [log])]
    fn middle(mut cx: middle::Context) {
        cx.shared.log.lock(|log| {
            assert_eq!(log.as_slice(), ["low"], "the whole lock came before");
            log.push("middle");
        });
    }

    #[task(priority = 3)]
    fn high(_: high::Context) {}
}

#[test]
fn a_lock_holds_back_the_users_of_its_resource_and_nobody_else() {
    let mut machine = Simulation::start(&ceilings::__RTOS_APPLICATION);
    machine.interrupt(Line::Pin(1));
    assert_eq!(machine.begun(), ["low", "high", "middle", "high"]);
}

/// Async tasks.
#[rtos::app]
mod sequence {
    use rtos::prelude::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(super) static STEPS: AtomicU32 = AtomicU32::new(0);

    #[shared]
    struct Shared {
        steps: u32,
    }

    #[local]
    struct Local {
        limit: u32,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        assert!(blink::spawn(3).is_ok());
        assert_eq!(blink::spawn(4), Err(4), "it runs already");
        (Shared { steps: 0 }, Local { limit: 3 })
    }

    #[task(priority = 2, shared = [steps], local = [limit, rounds: u32 = 0])]
    async fn blink(mut cx: blink::Context, times: u32) {
        assert_eq!(times, *cx.local.limit);
        for _ in 0..times {
            Mono::delay(10.millis()).await;
            *cx.local.rounds += 1;
            cx.shared.steps.lock(|steps| *steps += 1);
        }
    }

    #[task(period = 1.millis(), shared = [steps])]
    fn look(mut cx: look::Context) {
        let steps = cx.shared.steps.lock(|steps| *steps);
        STEPS.store(steps, Ordering::Relaxed);
    }
}

#[test]
fn an_async_task_goes_on_after_each_delay_and_can_be_spawned_again() {
    use sequence::STEPS;
    use std::sync::atomic::Ordering;

    let mut machine = Simulation::start(&sequence::__RTOS_APPLICATION);
    machine.advance(Nanos(12 * MILLI));
    assert_eq!(STEPS.load(Ordering::Relaxed), 1);
    machine.advance(Nanos(30 * MILLI));
    assert_eq!(STEPS.load(Ordering::Relaxed), 3);
    assert!(sequence::blink::spawn(3).is_ok(), "it has ended");
    machine.advance(Nanos(40 * MILLI));
    assert_eq!(STEPS.load(Ordering::Relaxed), 6);
}
