//! What async tasks await, on the machine: the scenario `async-tasks` reads what they say.
//!
//! Each task checks one thing and says it once, as `name: key=value ..`; what a reader should see is in the
//! scenario. An example to learn from is in `rtos/examples`; this is a test.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtos::prelude::*;
    use rtos::sync::channel::{Receiver, Sender};
    use rtos::sync::make_channel;
    use rtos::sync::signal::Signal;

    /// What `pulse` counts; the latest value wins.
    static PULSE: Signal<u32> = Signal::new();

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        out: Sender<'static, u32, 2>,
        numbers: Receiver<'static, u32, 2>,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        let (out, numbers) = make_channel!(u32, 2);
        let spawned = produce::spawn().is_ok()
            && consume::spawn().is_ok()
            && follow::spawn().is_ok()
            && limits::spawn(7).is_ok()
            && fragile::spawn(0).is_ok();
        assert!(spawned, "each is spawned for the first time");
        (Shared {}, Local { out, numbers })
    }

    /// The distance between two numbers.
    const STEP_MS: u64 = 2;

    /// Sends a number every two milliseconds, on a grid, and says how late it woke at worst.
    #[task(priority = 2, local = [out])]
    async fn produce(cx: produce::Context) {
        let mut next = Mono::now();
        let mut worst = 0;
        for number in 1..=20 {
            next += STEP_MS.millis::<1, 1_000_000_000>();
            Mono::delay_until(next).await;
            worst = worst.max((Mono::now() - next).as_nanos());
            if cx.local.out.send(number).await.is_err() {
                log::info!("produce: nobody listens");
            }
        }
        log::info!("late_ns={worst} past={}", Mono::past());
    }

    /// Adds up what comes. Every fifth number it takes its time, so that numbers wait in the channel.
    #[task(priority = 1, local = [numbers])]
    async fn consume(cx: consume::Context) {
        let mut sum = 0;
        for turn in 1..=20u32 {
            match cx.local.numbers.recv().await {
                Ok(number) => sum += number,
                Err(_) => break,
            }
            if turn % 5 == 0 {
                Mono::delay((2 * STEP_MS).millis()).await;
            }
        }
        log::info!("sum={sum}");
    }

    /// Writes a new value each millisecond; it is an ordinary task.
    #[task(priority = 3, period = 1.millis(), budget = 20.micros(), local = [count: u32 = 0])]
    fn pulse(cx: pulse::Context) {
        *cx.local.count += 1;
        PULSE.writer().write(*cx.local.count);
    }

    /// Waits for the signal, and looks away for a while in between: it never sees an old value.
    #[task(priority = 1)]
    async fn follow(_: follow::Context) {
        let mut reader = PULSE.take_reader();
        let first = reader.wait().await;
        let second = reader.wait().await;
        Mono::delay(10.millis()).await;
        let third = reader.wait().await;
        log::info!(
            "next={} after_ten={}",
            second - first,
            (10..=11).contains(&(third - second))
        );
    }

    /// What cannot be waited for, and what need not be; `argument` comes back from a second spawn.
    #[task(priority = 2)]
    async fn limits(_: limits::Context, argument: u32) {
        let refused = limits::spawn(argument + 1) == Err(argument + 1);
        Mono::delay(1.millis()).await;
        let past = Mono::past();
        Mono::delay_until(rtos::Instant::from_ticks(1)).await;
        let counted = Mono::past() == past + 1;
        let never = core::future::pending::<()>();
        let before = Mono::now();
        let out = Mono::timeout_after(3.millis(), never).await.is_err();
        let waited = (3000..3010).contains(&(Mono::now() - before).as_micros());
        let within = Mono::timeout_after(3.millis(), Mono::delay(1.millis())).await;
        log::info!(
            "refused={refused} counted={counted} timeout={out} waited={waited} in_time={}",
            within.is_ok()
        );
    }

    /// Panics after a delay, with a timer set, as long as `fault` is under two.
    #[task(priority = 2)]
    async fn fragile(_: fragile::Context, fault: u32) {
        Mono::delay(2.millis()).await;
        // In the clock's list when the task is stopped.
        let other = core::pin::pin!(Mono::delay(4.millis()));
        let polled_once = Mono::timeout_after(100.micros(), other).await.is_err();
        assert!(fault >= 2, "fault {fault}");
        log::info!("ran={polled_once} faults={fault}");
    }

    /// Spawns `fragile` again when it is not there any more.
    #[task(priority = 1, period = 5.millis(), budget = 100.micros(), local = [faults: u32 = 0])]
    fn guard(cx: guard::Context) {
        if *cx.local.faults < 2 && fragile::spawn(*cx.local.faults + 1).is_ok() {
            *cx.local.faults += 1;
            log::info!("fragile was spawned again, faults={}", cx.local.faults);
        }
    }
}
