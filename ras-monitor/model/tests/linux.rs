//! Reading a kernel by its own tables: a synthetic one, whole, damaged, and lying.

#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

mod synthetic_kernel;

use darma_ras_model::linux::{
    ControlRegisters, End, FRAMES_MAX, Facts, Gatherer, Member, Progress, Start, Symbol, Trace,
};
use proptest::prelude::*;
use synthetic_kernel::{BYTES, CR3, DIRECT, MODULE, Memory, STACK, TEXT, function, kernel, place};

const CONTROL: ControlRegisters = ControlRegisters { cr3: CR3, cr4: 0 };
const BACKTRACE: usize = 2048;

fn gathered(memory: &Memory) -> Gatherer {
    let mut gatherer = Gatherer::new();
    assert_eq!(gatherer.finish(memory, CONTROL), Progress::Complete);
    gatherer
}

fn trace(facts: &Facts, memory: &Memory, start: &Start) -> (Trace, String) {
    let mut out = [0; BACKTRACE];
    let trace = facts.backtrace(memory, start, 3, &mut out);
    let text = out[..trace.bytes].to_vec();
    (trace, String::from_utf8(text).expect("ASCII"))
}

/// In the module, called from `vfs_write`, that from `sys_write`, that from user mode's entry.
fn failing(memory: &mut Memory) -> Start {
    let sp = STACK - 0x100;
    memory.push(sp + 8, function("vfs_write") + 0x55);
    memory.push(sp + 16, function("sys_write") + 0x10);
    memory.push(sp + 32, TEXT + 0x30);
    Start {
        ip: MODULE + 0x27,
        sp,
        ..Start::default()
    }
}

#[test]
fn symbols_and_members_are_found() {
    let memory = kernel();
    let gatherer = gathered(&memory);
    let facts = gatherer.facts().expect("complete");
    assert_eq!(facts.symbols().get(Symbol::TextStart), Some(TEXT));
    assert_eq!(facts.symbols().get(Symbol::RunQueues), Some(0x20));
    assert_eq!(facts.symbols().get(Symbol::VmcoreNote), None, "has none");
    assert_eq!(facts.members().bytes(Member::TaskName), Some(48));
    assert_eq!(facts.members().bits(Member::OrcType), Some(40));
    assert_eq!(facts.page_offset(&memory), Some(DIRECT));
}

#[test]
fn vital_signs_and_the_running_task_are_read() {
    let mut memory = kernel();
    let gatherer = gathered(&memory);
    let facts = gatherer.facts().expect("complete");
    let vitals = facts.vitals(&memory);
    assert_eq!(vitals.panicking, Some(false));
    assert_eq!((vitals.dies, vitals.taint), (Some(2), Some(0x280)));
    assert_eq!(
        (vitals.system_state, vitals.emergency),
        (Some(3), Some(false))
    );
    assert_eq!((vitals.switches, vitals.runnable), (Some(1234), Some(4)));
    assert_eq!(
        (vitals.jiffies, vitals.log),
        (Some(0x1_0000_0005), Some(77))
    );
    let task = facts.task(&memory).expect("one runs");
    assert_eq!((task.pid, task.name()), (42, &b"sh\x07"[..]));

    let at = facts.place(&memory, Symbol::PanicCpu).expect("known");
    memory.put_u32(at.0 as usize, 0);
    assert!(facts.vitals(&memory).is_panicking());
}

#[test]
fn slices_of_any_size_come_to_the_same_end() {
    let memory = kernel();
    let whole = gathered(&memory);
    let whole = whole.facts().expect("complete");
    for units in [1, 7, 100, 5000] {
        let mut gatherer = Gatherer::new();
        let mut slices = 0;
        while gatherer.step(&memory, CONTROL, units) == Progress::Working {
            slices += 1;
            assert!(slices < 200_000, "with {units} units");
        }
        let facts = gatherer.facts().expect("complete");
        assert_eq!(facts.tables(), whole.tables(), "with {units} units");
        assert_eq!(facts.vitals(&memory), whole.vitals(&memory));
    }
}

#[test]
fn calls_are_followed_out_of_a_module() {
    let mut memory = kernel();
    let start = failing(&mut memory);
    let gatherer = gathered(&memory);
    let (trace, text) = trace(gatherer.facts().expect("complete"), &memory, &start);
    assert_eq!(
        text,
        "task 42 (sh?)\nfails+0x7/0x40 [mod]\nvfs_write+0x55/0x100\nsys_write+0x10/0x100\n\
         _stext+0x30/0x100\nend: bottom of the stack\n"
    );
    assert_eq!((trace.frames, trace.end), (4, End::Bottom));
    let mut line = [0; 120];
    let used = trace.summary(text.as_bytes(), &mut line);
    assert_eq!(
        std::str::from_utf8(&line[..used]),
        Ok("fails+0x7 [mod] < vfs_write+0x55 < sys_write+0x10")
    );
    let short = trace.summary(text.as_bytes(), &mut line[..20]);
    assert_eq!(short, "fails+0x7 [mod]".len(), "whole frames or none");
}

/// `panic` was called by an exception's handler, which interrupted [`failing`].
fn panicked(memory: &mut Memory) -> Start {
    let interrupted = failing(memory);
    let sp = STACK - 0x800;
    memory.push(sp + 16, function("asm_exc_fault") + 0x20);
    let saved = sp + 24;
    memory.push(saved + 128, interrupted.ip);
    memory.push(saved + 136, 0x10);
    memory.push(saved + 152, interrupted.sp);
    Start {
        ip: function("panic") + 0x80,
        sp,
        ..Start::default()
    }
}

#[test]
fn the_place_is_what_the_exception_interrupted() {
    let mut memory = kernel();
    let start = panicked(&mut memory);
    let gatherer = gathered(&memory);
    let facts = gatherer.facts().expect("complete");
    let (through_panic, text) = trace(facts, &memory, &start);
    assert!(text.contains("panic+0x80/0x100\nasm_exc_fault+0x20/0x100\nfails+0x7/0x40 [mod]\n"));
    assert!(text[through_panic.place..].starts_with("fails+0x7"));
    let interrupted = failing(&mut memory);
    let (at_once, _) = trace(facts, &memory, &interrupted);
    assert_eq!(through_panic.fingerprint, at_once.fingerprint, "one origin");
    let mut out = [0; BACKTRACE];
    let other_cause = facts.backtrace(&memory, &start, 4, &mut out);
    assert_ne!(through_panic.fingerprint, other_cause.fingerprint);
}

#[test]
fn the_walk_ends_at_user_mode() {
    let mut memory = kernel();
    let start = panicked(&mut memory);
    memory.push(start.sp + 24 + 128, 0x40_1234);
    memory.push(start.sp + 24 + 136, 0x33);
    let gatherer = gathered(&memory);
    let facts = gatherer.facts().expect("complete");
    let (trace_of_kernel, text) = trace(facts, &memory, &start);
    assert_eq!(trace_of_kernel.end, End::UserMode(0x40_1234));
    assert!(text.ends_with("user mode at 0x401234\n"));
    let in_user_mode = Start {
        user: true,
        ip: 0x7f_0000,
        ..start
    };
    let (trace, text) = trace(facts, &memory, &in_user_mode);
    assert_eq!(
        (trace.frames, text.as_str()),
        (0, "task 42 (sh?)\nuser mode at 0x7f0000\n")
    );
}

#[test]
fn a_call_through_a_null_pointer_is_followed() {
    let mut memory = kernel();
    let sp = STACK - 0x100;
    memory.push(sp, function("idle") + 0x10);
    let gatherer = gathered(&memory);
    let start = Start {
        ip: 0,
        sp,
        ..Start::default()
    };
    let (_, text) = trace(gatherer.facts().expect("complete"), &memory, &start);
    assert!(
        text.starts_with("task 42 (sh?)\n? 0x0\nidle+0x10/0x100\n"),
        "{text}"
    );
}

#[test]
fn a_stack_that_bites_its_tail_ends() {
    let mut memory = kernel();
    let start = panicked(&mut memory);
    // The interrupted place is the handler's own caller, on the same stack, for ever.
    memory.push(start.sp + 24 + 128, start.ip);
    memory.push(start.sp + 24 + 152, start.sp);
    let gatherer = gathered(&memory);
    let (trace, _) = trace(gatherer.facts().expect("complete"), &memory, &start);
    assert_eq!((trace.end, trace.frames as usize), (End::Limit, FRAMES_MAX));
}

#[test]
fn text_that_does_not_fit_ends_with_a_whole_line() {
    let mut memory = kernel();
    let start = failing(&mut memory);
    let gatherer = gathered(&memory);
    let mut out = [0; 50];
    let facts = gatherer.facts().expect("complete");
    let trace = facts.backtrace(&memory, &start, 3, &mut out);
    assert_eq!(
        &out[..trace.bytes],
        b"task 42 (sh?)\nfails+0x7/0x40 [mod]\n"
    );
    assert_eq!(trace.frames, 4);
}

#[test]
fn memory_without_a_kernel_is_waited_for_and_given_up_if_it_lies() {
    let mut gatherer = Gatherer::new();
    let empty = Memory(vec![0; BYTES]);
    for _ in 0..100 {
        assert_eq!(gatherer.step(&empty, CONTROL, 2000), Progress::Waiting);
    }
    // An image is mapped, but there are no tables in it.
    let mut memory = kernel();
    memory.0[place(TEXT)..].fill(0);
    for _ in 0..1000 {
        if gatherer.step(&memory, CONTROL, 2000) == Progress::GaveUp {
            return;
        }
    }
    panic!("it goes on for ever");
}

#[test]
fn another_kernel_in_the_same_memory_is_noticed() {
    let memory = kernel();
    let mut gatherer = gathered(&memory);
    assert_eq!(gatherer.step(&memory, CONTROL, 2000), Progress::Complete);
    let mut other = memory.clone();
    // Its tables are elsewhere: what stood there is gone.
    let names = gatherer.facts().expect("complete").tables().names;
    other.put_u64(place(names) - 16, 0);
    assert_ne!(gatherer.step(&other, CONTROL, 2000), Progress::Complete);
    assert!(gatherer.facts().is_none());
    gatherer.restarted();
    assert_eq!(gatherer.finish(&memory, CONTROL), Progress::Complete);
}

/// A change that a dead or hostile kernel may have made.
fn damage() -> impl Strategy<Value = (usize, u64)> {
    let pointer = prop_oneof![
        any::<u64>(),
        (0..BYTES as u64).prop_map(|at| TEXT + at),
        (0..BYTES as u64).prop_map(|at| DIRECT + at),
        Just(0),
    ];
    // Where the tables begin, the variables and the module: not the thousands of dull names.
    let place = prop_oneof![
        0..0x6000usize,
        0x1_0000..0x1_9000usize,
        0x2_7000..0x3_2000usize,
        0x20_0000..0x22_1400usize,
        (0x23_4000..0x23_5000usize),
    ];
    (place, pointer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_damage_leads_astray(
        damages in prop::collection::vec(damage(), 1..40),
        before in any::<bool>(),
        ip in prop_oneof![Just(MODULE + 0x27), (0..0x700u64).prop_map(|at| TEXT + at), any::<u64>()],
        sp in prop_oneof![Just(STACK - 0x100), (0..0x1000u64).prop_map(|at| STACK - at), any::<u64>()],
    ) {
        let mut memory = kernel();
        failing(&mut memory);
        let mut gatherer = Gatherer::new();
        if !before {
            gatherer.finish(&memory, CONTROL);
        }
        for (at, value) in damages {
            memory.put_u64(at & !7, value);
        }
        if before {
            gatherer.finish(&memory, CONTROL);
        }
        if let Some(facts) = gatherer.facts() {
            let _ = facts.vitals(&memory);
            let _ = facts.note(&memory);
            let start = Start { ip, sp, bp: sp, others: [sp; 4], user: false };
            let (trace, text) = trace(facts, &memory, &start);
            prop_assert!(trace.frames as usize <= FRAMES_MAX);
            prop_assert!(text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
            prop_assert!(trace.place <= trace.bytes && trace.bytes <= BACKTRACE);
        }
    }
}
