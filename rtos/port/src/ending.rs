//! The application's wish that the machine end.
//!
//! A task may not end it by itself: the report is printed by the main loop, between two lines of its
//! own. So the wish is a flag, and the attention byte brings the main loop to it.

use core::sync::atomic::{AtomicBool, Ordering};

static WANTED: AtomicBool = AtomicBool::new(false);

/// Asks for the end: the final report is printed, the GPOS is stopped, and a test machine whose
/// `darma.conf` has `exit.on-poweroff = yes` ends; on any other the tasks run on. From any context.
pub fn exit() {
    WANTED.store(true, Ordering::Relaxed);
    darma_machine::ATTENTION.store(1, Ordering::Relaxed);
}

/// Whether an application asked for the end.
pub fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}
