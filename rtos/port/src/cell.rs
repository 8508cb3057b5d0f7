//! State that is touched only with interrupts off.

use crate::trace::{self, Kind};
use core::cell::UnsafeCell;
use darma_abi::units::Cycles;
use darma_machine::irq_off::{self, Section};
use darma_machine::time;
use x86_64::instructions::interrupts;

/// A cell whose content is reached only while the processor's interrupt flag is clear.
pub(crate) struct InterruptCell<T>(UnsafeCell<T>);

// SAFETY: one processor (ONE-CPU), and `with` holds interrupts off while the borrow lives, so no
// two contexts ever hold it; the one remaining way, a nested call, is what IRQ-OFF forbids.
unsafe impl<T: Send> Sync for InterruptCell<T> {}

impl<T> InterruptCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Calls `use_it` with the content, interrupts off. `use_it` calls nothing that comes here again:
    /// the closures of this crate call decisions of `darma_sched` and registers (IRQ-OFF).
    #[inline]
    pub(crate) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        self.with_as(Section::KernelState, use_it)
    }

    /// The same, as a section of another name.
    #[inline]
    pub(crate) fn with_as<R>(&self, section: Section, use_it: impl FnOnce(&mut T) -> R) -> R {
        let (begin, end, result) = interrupts::without_interrupts(|| {
            let begin = time::now();
            // SAFETY: IRQ-OFF: the closure runs with interrupts off and is the only one.
            let result = use_it(unsafe { self.get() });
            (begin, time::now(), result)
        });
        note(section, begin, end);
        result
    }

    /// The content, for an interrupt handler, whose interrupts are off already.
    ///
    /// # Safety
    /// IRQ-OFF: the processor's interrupt flag is clear while the borrow lives, and no other lives.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the caller promises the only borrow")]
    pub(crate) unsafe fn get(&self) -> &mut T {
        // SAFETY: promised by the caller.
        unsafe { &mut *self.0.get() }
    }
}

/// Notes a section. Out of line: there are many.
#[inline(never)]
fn note(section: Section, begin: Cycles, end: Cycles) {
    irq_off::note(section, end.saturating_since(begin));
    trace::record(begin, Kind::SectionBegin, section as u32);
    trace::record(end, Kind::SectionEnd, section as u32);
}
