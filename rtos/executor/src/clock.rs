//! The clock of async tasks: nanoseconds since its start, on the kernel's one timer.
//!
//! Instants count from [`Clock::start`], not from the time-stamp counter's zero. So it does not matter where
//! the counter stood, or that it wraps: differences are taken modulo 2^64 cycles, which last for more than 36
//! years on the fastest clock that is accepted.
//!
//! An expiry is set *relative to now*: the distance that is left, converted to cycles and rounded up. The two
//! conversions are each a little off, by up to one part in a million of what they convert. Of the distance
//! left, that error vanishes as the instant comes near; of the time since the start it would grow for ever,
//! and an expiry that is early by it would be set to the past again and again until the instant came.
//!
//! Concurrency: the timer's expiry pends a task, whose body is [`crate::Mono::serve`]; the queue of waiting
//! futures is in critical sections of its own. Nothing here runs in the timer's handler.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::marker::PhantomData;
use darma_abi::units::{Cycles, Nanos};
use darma_sched::TimeScale;
use rtic_time::timer_queue::{TimerQueue, TimerQueueBackend};

/// Nanoseconds since the clock's start.
pub type Instant = fugit::MonotonicInstant<u64, 1, 1_000_000_000>;
/// A number of nanoseconds.
pub type Duration = fugit::Duration<u64, 1, 1_000_000_000>;

/// The longest wait, in nanoseconds: 146 years. What asks for more waits that long.
pub const LONGEST_WAIT: u64 = 1 << 62;

/// The timer waits for nothing.
const NOT_SET: u64 = u64::MAX;

/// What the clock needs of the kernel.
pub trait Port: Sized + 'static {
    /// The time-stamp counter.
    fn now() -> Cycles;
    /// Its scale.
    fn scale() -> TimeScale;
    /// Arms the clock's timer for a point of the counter, or disarms it. When the point has come, or has
    /// passed already, the kernel pends the task that serves the clock.
    fn arm(deadline: Option<Cycles>);
    /// Pends the task that serves the clock.
    fn pend();
    /// The one clock of this port.
    fn clock() -> &'static Clock<Self>;
}

/// The state of the clock: a static of whoever implements [`Port`].
pub struct Clock<P: Port> {
    waiting: TimerQueue<Timer<P>>,
    started: AtomicBool,
    epoch: AtomicU64,
    /// What the timer is set for, in cycles; [`NOT_SET`] if it is not.
    set_for: AtomicU64,
    past: AtomicU32,
}

impl<P: Port> Default for Clock<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Port> Clock<P> {
    /// A clock that does not run yet.
    pub const fn new() -> Self {
        Self {
            waiting: TimerQueue::new(),
            started: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            set_for: AtomicU64::new(NOT_SET),
            past: AtomicU32::new(0),
        }
    }

    /// Starts the clock at zero. Later calls change nothing.
    pub fn start(&self) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.epoch.store(P::now().0, Ordering::Relaxed);
            self.waiting.initialize(Timer(PhantomData));
        }
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn now(&self) -> u64 {
        self.nanos_at(P::now())
    }

    /// The time of this clock at a point of the counter.
    #[inline]
    fn nanos_at(&self, counter: Cycles) -> u64 {
        let since = counter.0.wrapping_sub(self.epoch.load(Ordering::Relaxed));
        P::scale().nanos(Cycles(since)).0
    }

    /// How many delays and timeouts were asked for until a point that had passed.
    pub fn past(&self) -> u32 {
        self.past.load(Ordering::Relaxed)
    }

    /// What to wait for to reach `instant`: at most [`LONGEST_WAIT`] away. One that has passed is counted.
    pub(crate) fn at(&self, instant: u64) -> u64 {
        let now = self.now();
        if instant < now {
            self.past.fetch_add(1, Ordering::Relaxed);
        }
        instant.min(now.saturating_add(LONGEST_WAIT))
    }

    /// What to wait for to let at least `duration` pass, at most [`LONGEST_WAIT`]: one nanosecond more, because
    /// now is rounded down. Nothing, for a duration of zero.
    pub(crate) fn after(&self, duration: u64) -> u64 {
        let now = self.now();
        match duration.min(LONGEST_WAIT) {
            0 => now,
            wait => now.saturating_add(wait).saturating_add(1),
        }
    }

    /// The point that the timer was set for, if it has come. Once.
    pub(crate) fn take_expiry(&self) -> Option<Cycles> {
        let set_for = self.set_for.load(Ordering::Relaxed);
        // The counter wraps: what lies behind it by less than half its range has come.
        let come = set_for != NOT_SET && P::now().0.wrapping_sub(set_for) < 1 << 63;
        if come {
            self.set_for.store(NOT_SET, Ordering::Relaxed);
        }
        come.then_some(Cycles(set_for))
    }

    pub(crate) const fn waiting(&self) -> &TimerQueue<Timer<P>> {
        &self.waiting
    }
}

/// The kernel's timer as RTIC's timer queue sees it. Ticks are nanoseconds since the clock's start.
pub struct Timer<P>(PhantomData<P>);

impl<P: Port> TimerQueueBackend for Timer<P> {
    type Ticks = u64;

    fn now() -> u64 {
        P::clock().now()
    }

    fn set_compare(instant: u64) {
        let counter = P::now();
        let left = instant.saturating_sub(P::clock().nanos_at(counter));
        let distance = P::scale().cycles(Nanos(left)).0.saturating_add(1);
        let at = counter.0.wrapping_add(distance);
        P::clock().set_for.store(at, Ordering::Relaxed);
        P::arm(Some(Cycles(at)));
    }

    fn clear_compare_flag() {}

    fn pend_interrupt() {
        P::pend();
    }

    fn disable_timer() {
        P::clock().set_for.store(NOT_SET, Ordering::Relaxed);
        P::arm(None);
    }

    fn timer_queue() -> &'static TimerQueue<Self> {
        P::clock().waiting()
    }
}
