//! The clock that async tasks wait for: `darma-executor`'s, on the kernel's one timer.

use core::sync::atomic::{AtomicU8, Ordering};
use darma_abi::units::Cycles;
use darma_executor::{Clock, Port};
use darma_sched::TimeScale;

use crate::export;

/// `Mono::delay(10.millis()).await` and the rest of `rtic-time`'s names.
pub type Mono = darma_executor::Mono<KernelTimer>;

/// The kernel's timer, as the clock sees it.
#[derive(Debug)]
pub struct KernelTimer(());

static CLOCK: Clock<KernelTimer> = Clock::new();
/// The task that serves the clock. Written before any task runs, so no order with other memory matters.
static SERVANT: AtomicU8 = AtomicU8::new(u8::MAX);

impl Port for KernelTimer {
    fn now() -> Cycles {
        export::now()
    }

    fn scale() -> TimeScale {
        export::time_scale()
    }

    fn arm(deadline: Option<Cycles>) {
        export::arm(deadline);
    }

    fn pend() {
        export::pend(export::TaskId(SERVANT.load(Ordering::Relaxed)));
    }

    fn clock() -> &'static Clock<Self> {
        &CLOCK
    }
}

/// Starts the clock, which `task` serves from now on.
pub(crate) fn start(task: export::TaskId) {
    SERVANT.store(task.0, Ordering::Relaxed);
    Mono::start();
}
