//! A producer and a consumer with a bounded queue between them.
//!
//! A task with a `capacity` is a software task: `NAME::spawn(message)` puts a message into its queue and
//! releases it; it runs once per message, in the order of sending. The queue is as long as the task
//! says. When it is full, `spawn` gives the message back and the sender decides: here it keeps the
//! message for the next time. Nothing is ever lost without the sender knowing.
//!
//! The producer makes bursts of three, the consumer's queue holds two: the golden trace shows the
//! refused spawns as marks.
#![no_std]
#![no_main]

#[rtos::app]
mod app {
    /// Samples in a burst, one more than the queue holds.
    const BURST: u32 = 3;
    const BURSTS: u32 = 4;

    #[shared]
    struct Shared {}

    #[local]
    struct Local {
        /// What did not fit the last time.
        kept: Option<u32>,
    }

    #[init]
    fn init(_: init::Context) -> (Shared, Local) {
        (Shared {}, Local { kept: None })
    }

    /// More urgent than the consumer: it makes its whole burst before the consumer runs.
    #[task(priority = 3, period = 2.millis(), local = [kept, made: u32 = 0, bursts: u32 = 0])]
    fn produce(cx: produce::Context) {
        let kept = cx.local.kept;
        *cx.local.bursts += 1;
        let mut room = BURST;
        // What was given back goes first, so that the order stays.
        if let Some(sample) = kept.take() {
            room -= 1;
            *kept = consume::spawn(sample).err();
        }
        while room > 0 && kept.is_none() {
            room -= 1;
            *cx.local.made += 1;
            if let Err(sample) = consume::spawn(*cx.local.made) {
                rtos::mark(sample);
                *kept = Some(sample);
            }
        }
        if *cx.local.bursts == BURSTS {
            let _ = finish::spawn();
        }
    }

    #[task(priority = 2, capacity = 2, local = [expected: u32 = 1])]
    fn consume(cx: consume::Context, sample: u32) {
        assert_eq!(
            sample, *cx.local.expected,
            "samples come in the order of sending"
        );
        *cx.local.expected += 1;
    }

    /// Less urgent than the consumer: it runs when the queue is empty.
    #[task(priority = 1, capacity = 1)]
    fn finish(_: finish::Context) {
        rtos::exit();
    }
}
