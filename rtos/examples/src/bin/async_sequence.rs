//! An `async` task: a sequence written as one, that waits without a processor.
//!
//! `Mono::delay` waits for a time, a channel for a message, a signal for the latest value. While the task
//! waits it is not there at all: it has no stack, and others of its priority run. It is woken by
//! releasing it again, so it preempts and is preempted like every task of its priority.
//!
//! The channel and the signal are `rtic-sync`'s; the delays are `rtic-time`'s on this kernel's timer.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    use rtic_sync::channel::{Receiver, Sender};
    use rtic_sync::signal::{SignalReader, SignalWriter};
    use rtic_sync::{make_channel, make_signal};
    use rtos::prelude::*;

    const CAPACITY: usize = 2;

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        level: SignalWriter<'static, u32>,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        let (sender, receiver) = make_channel!(u32, CAPACITY);
        let (level, reader) = make_signal!(u32);
        // A spawn in init runs as soon as init is over.
        let _ = sequence::spawn(reader, sender);
        let _ = collect::spawn(receiver);
        (Shared {}, Local { level })
    }

    /// An ordinary task that feeds the sequence: the level of a tank, say.
    #[task(priority = 3, period = 2.millis(), local = [level, now: u32 = 0])]
    fn measure(cx: measure::Context) {
        *cx.local.now += 10;
        cx.local.level.write(*cx.local.now);
    }

    /// Open, wait until the level is reached, hold for three milliseconds, close: as it is said.
    #[task(priority = 2)]
    async fn sequence(
        _: sequence::Context,
        mut level: SignalReader<'static, u32>,
        mut done: Sender<'static, u32, CAPACITY>,
    ) {
        for target in [30, 80] {
            while level.wait().await < target {}
            Mono::delay(3.millis()).await;
            // Waits while the channel is full; gives the message back if nobody receives any more.
            if done.send(target).await.is_err() {
                return;
            }
        }
    }

    #[task(priority = 1)]
    async fn collect(_: collect::Context, mut done: Receiver<'static, u32, CAPACITY>) {
        let mut sum = 0;
        // The sender is gone when the sequence is over.
        while let Ok(target) = done.recv().await {
            sum += target;
        }
        assert_eq!(sum, 110);
        rtos::exit();
    }
}
