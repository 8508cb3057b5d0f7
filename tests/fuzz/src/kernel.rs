//! A Linux kernel's own tables, damaged by whoever lives in its memory.

use std::hint::black_box;
use std::sync::LazyLock;

use super::input::Input;
use darma_ras_model::linux::{ControlRegisters, FRAMES_MAX, Gatherer, Progress, Start};
use synthetic_kernel::{CR3, Memory};

#[path = "../../../ras-monitor/model/tests/synthetic_kernel/mod.rs"]
mod synthetic_kernel;

const CONTROL: ControlRegisters = ControlRegisters { cr3: CR3, cr4: 0 };
/// Values of one input that are put into the memory.
const DAMAGES: usize = 256;

/// The kernel whole, and what is known of it.
static WHOLE: LazyLock<(Memory, Gatherer)> = LazyLock::new(|| {
    let memory = synthetic_kernel::kernel();
    let mut gatherer = Gatherer::new();
    assert_eq!(gatherer.finish(&memory, CONTROL), Progress::Complete);
    (memory, gatherer)
});

/// One byte: 1 if the tables are read after the damage. Then rip, rsp, rbp, and values of eight
/// bytes each behind the address where they go.
pub fn linux(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (memory, gatherer) = &*WHOLE;
    let (mut memory, mut gatherer) = (memory.clone(), gatherer.clone());
    let late = input.byte() == 1;
    let (ip, sp, bp) = (input.quad(), input.quad(), input.quad());
    for _ in 0..DAMAGES {
        if input.is_empty() {
            break;
        }
        let (at, value) = (input.word(), input.quad());
        let last = memory.0.len() - 8;
        memory.put_u64(usize::try_from(at).map_or(last, |at| at.min(last)), value);
    }
    if late {
        gatherer.restarted();
        gatherer.finish(&memory, CONTROL);
    }
    let Some(facts) = gatherer.facts() else {
        return;
    };
    black_box((
        facts.vitals(&memory),
        facts.note(&memory),
        facts.is_of(&memory),
    ));
    let start = Start {
        ip,
        sp,
        bp,
        others: [sp; 4],
        user: false,
    };
    let mut out = [0; 2048];
    let trace = facts.backtrace(&memory, &start, 1, &mut out);
    assert!(usize::try_from(trace.frames).is_ok_and(|frames| frames <= FRAMES_MAX));
    assert!(trace.place <= trace.bytes);
    let text = &out[..trace.bytes];
    assert!(text.iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
    black_box(trace.summary(text, &mut [0; 120]));
}
