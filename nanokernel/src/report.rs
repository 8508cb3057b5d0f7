//! Report lines on the debug console: one event, one line, `@` and JSON.

use core::fmt::Write;
use darma_abi::report::{Event, LINE_PREFIX, MAX_LINE_BYTES};
use darma_machine::console::Console;

/// Prints `event`. A line is never cut: the longest event fits by test.
pub(crate) fn emit(event: &Event) {
    let mut buffer = [0; MAX_LINE_BYTES];
    let Ok(length) = serde_json_core::to_slice(event, &mut buffer) else {
        return;
    };
    if let Some(Ok(text)) = buffer.get(..length).map(core::str::from_utf8) {
        let _ = writeln!(Console, "{LINE_PREFIX}{text}");
    }
}
