//! Histories of events as a report may carry them, and what is blamed for a wait in them.

use std::hint::black_box;

use super::input::Input;
use darma_abi::units::Cycles;
use darma_trace::{Event, Kind, culprit, segments};

/// A wait, its task, and events: time, kind, argument each, in any order.
pub fn trace(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (released, started) = (Cycles(input.quad()), Cycles(input.quad()));
    let task = u32::from(input.byte());
    let mut events = Vec::new();
    while !input.is_empty() {
        let at = Cycles(released.0.wrapping_add(u64::from(input.half())));
        let kind = Kind::ALL[usize::from(input.byte()) % Kind::ALL.len()];
        let argument = u32::from(input.byte());
        events.push(Event { at, kind, argument });
    }
    let mut at = released;
    segments(&events, released, started, task, |segment| {
        assert!(segment.from == at && segment.to > at);
        black_box(segment.what.named(&()).to_string());
        at = segment.to;
    });
    assert_eq!(at, started.max(released), "the segments are the wait");
    let found = culprit(&events, released, started, task);
    assert!(found.time <= found.wait);
}
