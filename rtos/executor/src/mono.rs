//! The monotonic clock as async tasks use it: `Mono::delay(10.millis()).await`.
//!
//! The names and meanings are `rtic-time`'s, and [`Mono`] implements its `Timebase` and with it `Monotonic`.
//! They are inherent functions too, so that a task needs no trait in scope.
//!
//! Rules for what cannot be waited for: a duration of zero and an instant that has come are done at the first
//! poll; an instant that has *passed* is so as well, and is counted ([`Mono::past`]), because it is usually a
//! loop that cannot keep up; a wait beyond [`LONGEST_WAIT`](crate::clock::LONGEST_WAIT) lasts that long.

use crate::clock::{Duration, Instant, Port, Timer};
use core::future::Future;
use core::marker::PhantomData;
use darma_abi::units::Cycles;
use rtic_time::timer_queue::{Delay, Timeout};
use rtic_time::{Timebase, TimeoutError};

/// The clock of the kernel behind `P`.
pub struct Mono<P>(PhantomData<P>);

impl<P: Port> Mono<P> {
    /// Starts the clock at zero, before the first task runs.
    pub fn start() {
        P::clock().start();
    }

    /// The time now.
    pub fn now() -> Instant {
        Instant::from_ticks(P::clock().now())
    }

    /// Waits for at least `duration`.
    ///
    /// # Panics
    /// If the clock was not started, which generated code does before `init`.
    pub fn delay(duration: Duration) -> Delay<'static, Timer<P>> {
        let clock = P::clock();
        clock
            .waiting()
            .delay_until(clock.after(duration.as_ticks()))
    }

    /// Waits until `instant`. Without drift, a loop adds its period to the last instant.
    ///
    /// # Panics
    /// As [`Self::delay`].
    pub fn delay_until(instant: Instant) -> Delay<'static, Timer<P>> {
        let clock = P::clock();
        clock.waiting().delay_until(clock.at(instant.as_ticks()))
    }

    /// Lets `future` run until `instant`.
    ///
    /// # Errors
    /// Its output is `Err(TimeoutError)` if the instant comes first; the future is dropped.
    pub fn timeout_at<F: Future>(instant: Instant, future: F) -> Timeout<'static, Timer<P>, F> {
        let clock = P::clock();
        clock
            .waiting()
            .timeout_at(clock.at(instant.as_ticks()), future)
    }

    /// Lets `future` run for at least `duration`.
    ///
    /// # Errors
    /// As [`Self::timeout_at`].
    pub fn timeout_after<F: Future>(
        duration: Duration,
        future: F,
    ) -> Timeout<'static, Timer<P>, F> {
        let clock = P::clock();
        clock
            .waiting()
            .timeout_at(clock.after(duration.as_ticks()), future)
    }

    /// How many delays and timeouts were asked for until an instant that had passed.
    pub fn past() -> u32 {
        P::clock().past()
    }

    /// The body of the task that the kernel pends when the clock's timer expires: wakes who has waited long
    /// enough, and arms the timer for the next. If it is the timer's expiry that it answers, it says by
    /// `answers` what the timer was set for.
    pub fn serve(answers: impl FnOnce(Cycles)) {
        if let Some(expiry) = P::clock().take_expiry() {
            answers(expiry);
        }
        // SAFETY: the queue's own sections make every call sound; it asks only that the timer's expiry
        // leads here, which `Port::arm` promises.
        unsafe { P::clock().waiting().on_monotonic_interrupt() }
    }
}

impl<P: Port> Timebase for Mono<P> {
    type Instant = Instant;
    type Duration = Duration;

    fn now() -> Instant {
        Self::now()
    }

    async fn delay(duration: Duration) {
        Self::delay(duration).await;
    }

    async fn delay_until(instant: Instant) {
        Self::delay_until(instant).await;
    }

    async fn timeout_at<F: Future>(instant: Instant, future: F) -> Result<F::Output, TimeoutError> {
        Self::timeout_at(instant, future).await
    }

    async fn timeout_after<F: Future>(
        duration: Duration,
        future: F,
    ) -> Result<F::Output, TimeoutError> {
        Self::timeout_after(duration, future).await
    }
}
