//! Reads a real kernel's memory by its own tables: vital signs, the running task, the stack.
//!
//! `DARMA_MEMORY_IMAGE` names the memory from address 0 in a raw file, `DARMA_REGISTERS` what QEMU's
//! monitor says to `info registers` (`monitor.log`). Without them there is nothing to do, and it
//! says so. `DARMA_CONSOLE` may name the kernel's console output: each function of its last "Call
//! Trace" that is not marked as a guess must then stand in the backtrace, in this order; those down
//! to `panic` itself, which had not come so far when it printed, are left out.
//! `DARMA_EXPECT_FRAMES` may name functions, separated by spaces, that must stand there in order.

#![allow(
    clippy::cast_possible_truncation,
    reason = "file offsets on a 64-bit host"
)]

use darma_abi::units::GuestPhys;
use darma_ras_model::GuestPhysRead;
use darma_ras_model::linux::{ControlRegisters, Facts, Gatherer, Progress, Start, Trace};
use std::cell::Cell;

/// A memory image that counts its reads.
struct Image {
    bytes: Vec<u8>,
    reads: Cell<u64>,
    read_bytes: Cell<u64>,
}

impl GuestPhysRead for Image {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        self.reads.set(self.reads.get() + 1);
        self.read_bytes
            .set(self.read_bytes.get() + out.len() as u64);
        let start = usize::try_from(at.0).ok();
        let bytes = start.and_then(|start| self.bytes.get(start..start.checked_add(out.len())?));
        bytes.is_some_and(|bytes| {
            out.copy_from_slice(bytes);
            true
        })
    }
}

/// The memory and the text of the registers, if they are named.
fn subject() -> Option<(Image, String)> {
    let (Some(image), Some(registers)) = (
        std::env::var_os("DARMA_MEMORY_IMAGE"),
        std::env::var_os("DARMA_REGISTERS"),
    ) else {
        eprintln!("skipped: DARMA_MEMORY_IMAGE and DARMA_REGISTERS name no memory and registers");
        return None;
    };
    let image = Image {
        bytes: std::fs::read(image).expect("the image is readable"),
        reads: Cell::new(0),
        read_bytes: Cell::new(0),
    };
    let registers = std::fs::read(registers).expect("the registers are readable");
    Some((image, String::from_utf8_lossy(&registers).into_owned()))
}

/// The value behind `NAME=` or `NAME =`.
fn register(text: &str, name: &str) -> u64 {
    let at = text
        .match_indices(name)
        .find(|(at, _)| {
            let behind = text[at + name.len()..].trim_start_matches(' ');
            let begins = text[..*at].ends_with([' ', '\n', '\r']);
            begins && behind.starts_with('=')
        })
        .unwrap_or_else(|| panic!("{name} is not among the registers"))
        .0;
    let behind = text[at + name.len()..].trim_start_matches([' ', '=']);
    let end = behind.find(|c: char| !c.is_ascii_hexdigit());
    u64::from_str_radix(&behind[..end.unwrap_or(behind.len())], 16).expect("hexadecimal")
}

fn start(text: &str) -> Start {
    Start {
        ip: register(text, "RIP"),
        sp: register(text, "RSP"),
        bp: register(text, "RBP"),
        others: ["RDX", "RDI", "R10", "R13"].map(|name| register(text, name)),
        user: register(text, "CS") & 3 == 3,
    }
}

fn gather(image: &Image, control: ControlRegisters, gatherer: &mut Gatherer) {
    let mut slices = 0;
    let mut largest = 0;
    let mut symbols_after = None;
    loop {
        let before = image.reads.get();
        let progress = gatherer.step(image, control, 2500);
        largest = largest.max(image.reads.get() - before);
        slices += 1;
        if gatherer.facts().is_some() {
            symbols_after.get_or_insert(slices);
        }
        match progress {
            Progress::Working => assert!(slices < 10_000),
            Progress::Complete => break,
            end => panic!("{end:?} after {slices} slices"),
        }
    }
    println!(
        "complete after {slices} slices, symbols after {symbols_after:?}; {} reads, {} bytes, at \
         most {largest} reads in a slice",
        image.reads.get(),
        image.read_bytes.get(),
    );
}

fn trace(image: &Image, facts: &Facts, start: &Start) -> (Trace, String) {
    let mut out = [0; 2048];
    let before = image.reads.get();
    let trace = facts.backtrace(image, start, 1, &mut out);
    println!("{trace:?}, {} reads", image.reads.get() - before);
    let text = std::str::from_utf8(&out[..trace.bytes]).expect("ASCII");
    let mut line = [0; 120];
    let used = trace.summary(text.as_bytes(), &mut line);
    println!("{text}summary: {}", String::from_utf8_lossy(&line[..used]));
    (trace, text.to_owned())
}

/// The functions of the console's last trace that its kernel was sure of.
fn told(console: &str) -> Vec<String> {
    let Some((_, last)) = console.rsplit_once("Call Trace:") else {
        return Vec::new();
    };
    let told: Vec<_> = last
        .lines()
        .filter_map(|line| line.split_once("] "))
        .map(|(_, text)| text)
        .take_while(|text| !text.starts_with("RIP: 0033") && !text.contains("</TASK>"))
        .filter(|text| text.starts_with("  ") || text.starts_with(" "))
        .map(str::trim)
        .filter(|text| !text.starts_with(['?', '<']) && text.contains("+0x"))
        .map(str::to_owned)
        .collect();
    let panic = told.iter().position(|frame| frame.starts_with("panic+"));
    told[panic.map_or(0, |at| at + 1)..].to_vec()
}

fn assert_in_order(text: &str, wanted: &[String]) {
    let mut lines = text.lines();
    for name in wanted {
        assert!(
            lines.any(|line| line.starts_with(name.as_str())),
            "{name:?} does not stand where it should in\n{text}"
        );
    }
}

#[test]
fn a_real_kernel_is_read_by_its_own_tables() {
    let Some((image, registers)) = subject() else {
        return;
    };
    let control = ControlRegisters {
        cr3: register(&registers, "CR3"),
        cr4: register(&registers, "CR4"),
    };
    let mut gatherer = Gatherer::new();
    gather(&image, control, &mut gatherer);
    let facts = gatherer.facts().expect("complete");
    assert!(facts.is_of(&image));
    let before = image.reads.get();
    let vitals = facts.vitals(&image);
    println!("{vitals:?}, {} reads", image.reads.get() - before);
    assert_eq!(vitals.system_state, Some(3), "running when it died");
    assert!(vitals.panicking.is_some() && vitals.dies.is_some() && vitals.taint.is_some());
    assert!(vitals.jiffies > Some(1 << 31) && vitals.switches > Some(100));
    assert!(vitals.runnable < Some(1000) && vitals.log > Some(100));
    let note = facts.note(&image).expect("by the kernel's own pointer");
    let mut text = [0; darma_ras_model::vmcoreinfo::TEXT_MAX];
    assert!(note.read(&image, &mut text).is_some());
    let task = facts.task(&image).expect("someone runs");
    println!("{} {:?}", task.pid, String::from_utf8_lossy(task.name()));

    let start = start(&registers);
    let (first, text) = trace(&image, facts, &start);
    assert!(first.frames > 0 || start.user);
    let expected = std::env::var("DARMA_EXPECT_FRAMES").unwrap_or_default();
    let expected: Vec<_> = expected.split_whitespace().map(str::to_owned).collect();
    assert_in_order(&text, &expected);
    if let Some(console) = std::env::var_os("DARMA_CONSOLE") {
        let console = std::fs::read(console).expect("the console's text is readable");
        let told = told(&String::from_utf8_lossy(&console));
        println!("the kernel's own trace has {} sure frames", told.len());
        assert!(!told.is_empty());
        assert_in_order(&text, &told);
    }
}
