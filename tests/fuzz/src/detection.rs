//! What the failure detector is given: a dead guest's tables, and a living one's looks and acts.

use std::hint::black_box;

use super::input::{Input, read_flat};
use darma_abi::units::{GuestPhys, GuestVirt, Nanos, Vector};
use darma_policy::mmio::Paging;
use darma_ras_model::GuestPhysRead;
use darma_ras_model::detect::{
    Detector, Event, Foreign, Heartbeat, Look, ResetRoute, Ruin, Severity, TableRegister, Vitals,
    Watch, ruin,
};

/// Guest memory from address 0 on.
struct Memory<'a>(&'a [u8]);

impl GuestPhysRead for Memory<'_> {
    fn read(&self, at: GuestPhys, out: &mut [u8]) -> bool {
        read_flat(self.0, at.0, out)
    }
}

/// The way to the fault handlers: CR3, both table registers, RIP, and then the memory.
pub fn tables(bytes: &[u8]) {
    let mut input = Input(bytes);
    let paging = Paging {
        cr0: 1 << 31,
        cr3: input.quad(),
        cr4: 1 << 5,
        efer: 1 << 10,
    };
    let mut register = || TableRegister {
        base: GuestVirt(input.quad()),
        limit: u32::from(input.half()),
    };
    let (idt, gdt) = (register(), register());
    let rip = GuestVirt(input.quad());
    match ruin(&Memory(input.rest()), &paging, idt, gdt, rip) {
        Ruin::NoHandlers => assert_eq!(idt.limit, 0),
        Ruin::Descriptors { idt: base, .. } => assert_eq!(base, idt.base),
        Ruin::Pages { cr3, .. } => assert_eq!(cr3, paging.cr3),
        Ruin::Nothing => assert!(idt.limit >= 14 * 16 + 15),
    }
}

/// A life in looks and acts: whatever it shows, one start has at most one end, and each cause is
/// recorded eight times at most.
pub fn looks(bytes: &[u8]) {
    const RECORDED: u32 = 8;
    let mut input = Input(bytes);
    let mut detector = Detector::new(Watch::default());
    let mut ends = 0;
    while !input.is_empty() {
        let vitals = vitals(&mut input);
        let verdict = match input.byte() {
            0..=31 => detector.observe(event(&mut input), &vitals),
            32 => {
                ends = 0;
                detector.restarted();
                None
            }
            flags => {
                let exits = [u64::from(input.word())];
                detector.look(&look(&mut input, flags, &exits, vitals))
            }
        };
        assert!((1_000_000..=50_000_000).contains(&detector.next_look().0));
        let Some(verdict) = verdict else {
            continue;
        };
        if verdict.severity == Severity::Recorded {
            assert!(verdict.count <= RECORDED);
        } else {
            ends += 1;
            assert_eq!(ends, 1, "a second end: {verdict:?}");
        }
        let words = verdict.evidence.to_string();
        assert!(words.len() <= 120, "{words}");
        black_box(verdict.evidence.number());
    }
}

fn look<'a>(input: &mut Input<'_>, flags: u8, exits: &'a [u64], vitals: Vitals) -> Look<'a> {
    let flag = |bit: u8| flags >> bit & 1 != 0;
    let vector = Vector(input.byte());
    Look {
        at: Nanos(input.quad()),
        rip: GuestVirt(input.quad()),
        in_user_mode: flag(0),
        idle: flag(1),
        interrupts_on: flag(2),
        in_nmi: flag(3),
        waiting: flag(4).then_some(vector),
        accepted: u64::from(input.byte()),
        last_vector: flag(5).then_some(vector),
        entries: u64::from(input.byte()),
        halts: u64::from(input.byte()),
        exits,
        kinds: &["cpuid"],
        vitals,
    }
}

fn vitals(input: &mut Input<'_>) -> Vitals {
    let known = input.byte();
    let flag = |bit: u8| known >> bit & 1 != 0;
    let (byte, word) = (input.byte(), u64::from(input.byte()));
    Vitals {
        panicking: flag(0).then_some(byte & 1 != 0),
        dies: flag(1).then_some(u32::from(byte)),
        taint: flag(2).then_some(word << 7),
        system_state: flag(3).then_some(u32::from(byte & 7)),
        emergency: flag(3).then_some(byte & 8 != 0),
        switches: flag(4).then_some(word),
        runnable: flag(5).then_some(u32::from(byte)),
        jiffies: flag(6).then_some(word),
        log: flag(7).then_some(word),
    }
}

fn event(input: &mut Input<'_>) -> Event {
    let what = input.byte();
    match what % 9 {
        0 => Event::PvPanic(input.byte()),
        1 => Event::Shutdown(Ruin::Nothing),
        2 => Event::Halt {
            nmi_pending: input.byte() & 1 != 0,
        },
        3 => Event::Reset(ResetRoute::Acpi),
        4 => Event::PowerOff,
        5 => Event::Foreign {
            what: Foreign::Port,
            at: input.quad(),
            rip: GuestVirt(input.quad()),
        },
        6 => Event::InvalidState {
            exit_code: input.quad(),
        },
        7 => Event::Heartbeat(Heartbeat::Beat),
        _ => Event::Heartbeat(Heartbeat::End),
    }
}
