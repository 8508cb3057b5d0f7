//! Log lines of tasks.
//!
//! A task may preempt the main loop in the middle of a line of its own, so what a task logs is kept
//! here, bounded, until the main loop prints it between two lines.

use core::cell::RefCell;
use core::fmt::Write;
use critical_section::Mutex;
use heapless::{Deque, String};

/// Lines that wait; what comes on top is counted and lost.
const LINES: usize = 32;

struct Waiting {
    lines: Deque<String<120>, LINES>,
    lost: u32,
}

static WAITING: Mutex<RefCell<Waiting>> = Mutex::new(RefCell::new(Waiting {
    lines: Deque::new(),
    lost: 0,
}));

/// Keeps a line of `task`, cut to the room that there is.
pub(crate) fn keep(task: &str, words: core::fmt::Arguments<'_>) {
    let mut line = String::new();
    // What does not fit is cut.
    let _ = write!(line, "{task}: {words}");
    critical_section::with(|section| {
        let mut waiting = WAITING.borrow_ref_mut(section);
        if waiting.lines.push_back(line).is_err() {
            waiting.lost = waiting.lost.saturating_add(1);
        }
    });
    darma_machine::ATTENTION.store(1, core::sync::atomic::Ordering::Relaxed);
}

/// Prints what waits. Returns whether that was anything.
pub(crate) fn print() -> bool {
    let mut printed = false;
    loop {
        let (line, lost) = critical_section::with(|section| {
            let mut waiting = WAITING.borrow_ref_mut(section);
            (
                waiting.lines.pop_front(),
                core::mem::take(&mut waiting.lost),
            )
        });
        let Some(line) = line else {
            return printed;
        };
        printed = true;
        if lost > 0 {
            log::warn!("{lost} lines of tasks were lost: they log faster than is printed");
        }
        log::info!("{line}");
    }
}
