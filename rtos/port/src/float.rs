//! The FPU state that an activation with hard floating point puts aside.
//!
//! At any moment the x87 and SSE registers hold what the interrupted context left there: Linux's
//! state, or that of a task of a lower class. The entry of a task with [`crate::Float::Hard`] is not its
//! body but [`body`], which puts that state aside, calls the body, and brings it back; so other tasks
//! pay nothing for it, not even a test. Tasks of one class never nest: one [`Area`] per class is enough.
//!
//! FXSAVE64 and FXRSTOR64 (APM2 11.4) and nothing newer, because a task cannot change more than they
//! keep: its code is checked (`darma-build`) to hold neither x87 nor MMX instructions nor any with a
//! VEX or EVEX prefix. Legacy SSE instructions leave the upper parts of the YMM and ZMM registers as
//! they are (APM2 11.4), and so does FXRSTOR. So AVX state stays in place, without XSAVE, which
//! would need the guest's XCR0 and leave its traces in what XSAVEOPT knows of the guest's areas.
//! There is no FNINIT either: the x87 state is never used, and on processors without XSaveErPtr FXSAVE
//! keeps the last instruction's address only while an exception is pending (APM2 11.4); FNINIT would
//! clear it for good.
//!
//! Neither instruction can fault here: CR0 and CR4 are the host's (`darma_machine::float`), the area is
//! aligned, an MXCSR that was read from the processor has no reserved bit set, and pending exceptions
//! of the guest are raised by waiting x87 instructions only, which are not among these.
//!
//! Concurrency: with interrupts on, as the body itself. What preempts in between brings back every
//! register that it changes. An activation that is abandoned has its state brought back by
//! [`abandon`], with interrupts off.

use crate::application;
use crate::kernel::number_of;
use crate::task::Run;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use darma_sched::Priority;

/// MXCSR as reset leaves it: round to nearest, every exception masked, denormals honoured. Results are
/// those of IEEE 754, bit for bit what the same code computes on another machine.
const MXCSR: u32 = 0x1f80;

/// The put-aside state of one class.
#[repr(C, align(16))]
struct Area {
    state: UnsafeCell<[u8; 512]>,
    /// It holds the state of an interrupted context.
    held: AtomicBool,
}

// SAFETY: FLOAT-STATE: the state is touched by the one activation of its class, and by who abandons it.
unsafe impl Sync for Area {}

static AREAS: [Area; Priority::COUNT] = [const {
    Area {
        state: UnsafeCell::new([0; 512]),
        held: AtomicBool::new(false),
    }
}; Priority::COUNT];

impl Area {
    /// Puts the interrupted context's state aside and sets the rounding and the masks of a fresh
    /// activation. The XMM registers keep what they held; compiled code reads none before it wrote it.
    ///
    /// # Safety
    /// An activation of this class is about to run its body.
    #[inline(always)]
    unsafe fn enter(&self) {
        // SAFETY: FLOAT-STATE: the area is this activation's, large enough and aligned.
        unsafe {
            asm!("fxsave64 [{}]", in(reg) self.state.get(), options(nostack, preserves_flags))
        };
        self.held.store(true, Ordering::Relaxed);
        let mxcsr = MXCSR;
        // SAFETY: FLOAT-STATE: what this changes has been put aside; no reserved bit is set.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags, readonly));
        }
    }

    /// Brings the interrupted context's state back, if it is put aside. Interrupted in the middle and
    /// abandoned then, it brings back the same again.
    #[inline(always)]
    fn leave(&self) {
        if self.held.load(Ordering::Relaxed) {
            // SAFETY: FLOAT-STATE: the area holds what FXSAVE64 stored when this class's activation began.
            unsafe {
                asm!("fxrstor64 [{}]", in(reg) self.state.get(), options(nostack, preserves_flags, readonly));
            }
            self.held.store(false, Ordering::Relaxed);
        }
    }
}

/// The entry of a task with hard floating point.
pub(crate) fn body(run: &Run) {
    let task = application::task(run.task);
    let area = number_of(run.task).and_then(|number| AREAS.get(usize::from(number >> 4)));
    if let (Some(task), Some(area)) = (task, area) {
        // SAFETY: FLOAT-STATE: the body is called next, in the activation of its class.
        unsafe { area.enter() };
        (task.body)(run);
        area.leave();
    }
}

/// The activation on the stack of `class` is abandoned, interrupts off: the FPU state that it put
/// aside, if it did, comes back.
pub(crate) fn abandon(class: usize) {
    if let Some(area) = AREAS.get(class) {
        area.leave();
    }
}
