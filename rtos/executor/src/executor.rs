//! One async task: its future, its waker, its turn.
//!
//! The executor of a task is a static of its own: the future's memory, a wake mark, and the way to pend the
//! task. Waking sets the mark and pends; the APIC runs the task's body, which polls once. So async tasks
//! are preempted, accounted and stopped like every other task, and between two polls they cost nothing.
//!
//! A task runs one future at a time. [`Executor::spawn`] gives the arguments back while the last one is not
//! finished: its memory is there once, by declaration, and waiting for it would block the spawner.
//!
//! Concurrency: `spawn` and the wakers may be called at any priority, from `init` and from the main loop;
//! `poll` is the body of the one task.

use crate::cells::{ALIGNMENT, Cell, PollAt, poll_at};
use crate::kernel::Kernel;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::{slot, wake};
use core::cell::UnsafeCell;
use core::future::Future;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use darma_abi::units::Cycles;

/// What a waker points to.
struct Wake {
    mark: AtomicU64,
    kernel: Kernel,
}

impl Wake {
    fn wake(&self) {
        wake::mark(&self.mark, (self.kernel.now)().0);
        (self.kernel.pend)();
    }

    fn waker(&'static self) -> Waker {
        let data = core::ptr::from_ref(self).cast();
        // SAFETY: the table's functions take `data` for the `&'static Wake` that it is, and wakers of the
        // same task share it, so that `will_wake` knows them as equal.
        unsafe { Waker::from_raw(RawWaker::new(data, &WAKER)) }
    }
}

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());

unsafe fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &WAKER)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: `data` was made of a `&'static Wake`, by `Wake::waker`, the only user of the table.
    unsafe { &*data.cast::<Wake>() }.wake();
}

/// The executor of one async task: room for one future of at most `SIZE` bytes
/// ([`size_of_future`](crate::size_of_future)), and for `CELLS - 1` more that a fault may cost.
pub struct Executor<const SIZE: usize, const CELLS: usize> {
    wake: Wake,
    state: AtomicU8,
    cell: AtomicU8,
    refused: AtomicU32,
    poll_at: UnsafeCell<Option<PollAt>>,
    cells: [Cell<SIZE>; CELLS],
}

// SAFETY: FUTURE-CELL: cells and `poll_at` are reached by whoever made the transition to `Filling` or
// `Polling`, one at a time. The future itself stays with one task: it is made of arguments that are `Send`,
// inside a section that no task interrupts, and polled by the one body that may call `poll`.
unsafe impl<const SIZE: usize, const CELLS: usize> Sync for Executor<SIZE, CELLS> {}

impl<const SIZE: usize, const CELLS: usize> Executor<SIZE, CELLS> {
    /// A vacant executor of the task that `kernel` pends. No cell, or more than 255, do not compile.
    pub const fn new(kernel: Kernel) -> Self {
        const {
            assert!(
                CELLS >= 1 && CELLS <= 255,
                "an executor has 1 to 255 cells: one, and one for each fault that it shall outlive"
            )
        };
        Self {
            wake: Wake {
                mark: AtomicU64::new(wake::NOT_WOKEN),
                kernel,
            },
            state: AtomicU8::new(slot::VACANT),
            cell: AtomicU8::new(0),
            refused: AtomicU32::new(0),
            poll_at: UnsafeCell::new(None),
            cells: [const { Cell::new() }; CELLS],
        }
    }

    /// Makes a future of `arguments` and starts it: the task is pended, and polls it when it is its turn.
    ///
    /// `make` runs in a critical section and must only build the future, as an `async fn` does.
    ///
    /// # Errors
    /// The arguments, while the last future is not finished, or when every cell was lost to a fault. It is
    /// counted ([`Self::refused`]).
    pub fn spawn<A: Send, F: Future + 'static>(
        &'static self,
        arguments: A,
        make: impl FnOnce(A) -> F + Send,
    ) -> Result<(), A> {
        const {
            assert!(
                size_of::<F>() <= SIZE && align_of::<F>() <= ALIGNMENT,
                "the future does not fit: declare the executor with size_of_future of what makes it"
            );
        }
        // One section: a spawner that is stopped cannot leave the slot reserved or the future unwoken.
        critical_section::with(|_| {
            let Some(cell) = self.reserve() else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(arguments);
            };
            // SAFETY: FUTURE-CELL: the state is `Filling`, by us; the cell holds no future, and fits one.
            unsafe {
                cell.place().cast::<F>().write(make(arguments));
                *self.poll_at.get() = Some(poll_at::<F>);
            }
            slot::publish(&self.state);
            self.wake.wake();
            Ok(())
        })
    }

    fn reserve(&self) -> Option<&Cell<SIZE>> {
        if !slot::reserve(&self.state) {
            return None;
        }
        self.current()
    }

    fn current(&self) -> Option<&Cell<SIZE>> {
        self.cells
            .get(usize::from(self.cell.load(Ordering::Relaxed)))
    }

    /// The body of the task: if it was woken, says since when by `answers`, and polls the future once.
    ///
    /// A wake during the poll pends the task again. Without a wake, or without a future, nothing happens.
    ///
    /// # Safety
    /// Called by the body of the one task that this executor belongs to, and by nobody else; so never
    /// inside itself, and always at one priority.
    pub unsafe fn poll(&'static self, answers: impl FnOnce(Cycles)) {
        let Some(since) = wake::take(&self.wake.mark) else {
            return;
        };
        if !slot::begin(&self.state) {
            return;
        }
        answers(Cycles(since));
        let waker = self.wake.waker();
        let mut context = Context::from_waker(&waker);
        // SAFETY: FUTURE-CELL: the state is `Polling`, by us, and came from `Suspended`: a future lies in
        // the cell, `poll_at` is its own, and it stays there until it is done.
        let poll = unsafe {
            match (self.current(), *self.poll_at.get()) {
                (Some(cell), Some(poll_at)) => poll_at(cell.place(), &mut context),
                _ => Poll::Ready(()),
            }
        };
        let next = if poll.is_ready() {
            slot::VACANT
        } else {
            slot::SUSPENDED
        };
        slot::end(&self.state, next);
    }

    /// Puts the executor in order after its task was stopped by a fault.
    ///
    /// A future that was being polled is given up together with its cell: never polled, never dropped, never
    /// overwritten. Its variables may be half moved, so dropping it is no option; lists of timers and
    /// channels may have links in it, so its memory must stay as it is. The next spawn uses the next cell;
    /// after the last, every spawn is refused. A future that was not being polled is sound, and is woken in
    /// case the fault swallowed a wake.
    ///
    /// # Safety
    /// STOPPED-TASK: the task was stopped, and what it was in the middle of never goes on. Called before
    /// the task's next activation, while it cannot run.
    pub unsafe fn abandon(&'static self) {
        match self.state.load(Ordering::Acquire) {
            slot::POLLING => {
                let next = self.cell.load(Ordering::Relaxed).saturating_add(1);
                self.cell.store(next, Ordering::Relaxed);
                let left = usize::from(next) < CELLS;
                slot::end(&self.state, if left { slot::VACANT } else { slot::SPENT });
            }
            slot::SUSPENDED => self.wake.wake(),
            _ => {}
        }
    }

    /// Whether a future is there that is not finished.
    pub fn is_running(&self) -> bool {
        matches!(
            self.state.load(Ordering::Relaxed),
            slot::FILLING | slot::SUSPENDED | slot::POLLING
        )
    }

    /// How many futures were given up after a fault.
    pub fn abandoned(&self) -> u8 {
        self.cell.load(Ordering::Relaxed)
    }

    /// How many spawns got their arguments back.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }
}
