//! The state of the stopped machine: registers for the record, notes for the dump.

use crate::gpos::Gpos;
use crate::status::Status;
use darma_abi::shared::MAX_TASKS;
use darma_machine::port::Width;
use darma_machine::{float, pci};
use darma_policy::devices::functions::MAX_FUNCTIONS;
use darma_ras_model::dump::{FunctionNote, NoteKind, NotesWriter, PendingNote, TraceNote};
use darma_ras_model::fault_record::{Registers, Segment, Table};
use darma_rtos::{time_scale, trace};
use darma_svm::state::{FrozenState, SegmentState};
use heapless::Vec;
use zerocopy::IntoBytes;

/// The processor's registers as the record keeps them.
pub(super) fn registers(gpos: &Gpos) -> Registers {
    let (_, _, cpl) = gpos.cpu.code_segment();
    convert(&gpos.cpu.freeze(), gpos.cpu.task_priority(), cpl)
}

/// Puts the notes together in `room`, the most fleeting first. Returns how many bytes they take.
pub(super) fn notes(
    room: &mut [u8],
    gpos: &mut Gpos,
    status: &mut Status,
    registers: &Registers,
    functions: &[FunctionNote],
) -> usize {
    let mut notes = NotesWriter::new(room);
    notes.add(NoteKind::Trace, last_events().as_bytes());
    notes.add(NoteKind::Registers, registers.as_bytes());
    notes.add(NoteKind::FloatingPoint, &float::save().0);
    notes.add(NoteKind::Msrs, gpos.own_msrs().as_bytes());
    notes.add(NoteKind::LocalApic, gpos.local_apic_registers().as_bytes());
    let io_apic: Vec<u64, 256> = (0..gpos.io_apic.pin_count())
        .filter_map(|pin| gpos.io_apic.entry(pin))
        .collect();
    notes.add(NoteKind::IoApic, io_apic.as_bytes());
    let pending = gpos.cpu.pending();
    let pending = PendingNote {
        injection: pending.injection,
        interrupted: pending.interrupted,
        virtual_interrupt: pending.virtual_interrupt,
        shadow: u64::from(pending.shadow),
        offered: pending.offered.map_or(0, |vector| u64::from(vector.0)),
        injected: gpos.counters.interrupts,
        exits: gpos.counters.exits,
    };
    notes.add(NoteKind::Pending, pending.as_bytes());
    notes.add(NoteKind::Functions, functions.as_bytes());
    let tasks = (0..MAX_TASKS).map_while(|index| status.task_entry(index));
    let tasks: Vec<_, MAX_TASKS> = tasks.collect();
    notes.add(NoteKind::Tasks, tasks.as_bytes());
    notes.used()
}

/// The GPOS's functions as they are programmed now: before they are stopped. Reading changes nothing.
pub(crate) fn functions(gpos: &Gpos) -> Vec<FunctionNote, MAX_FUNCTIONS> {
    let owned = gpos.devices.pci.owned();
    owned.map(|(_, facts)| function(facts.bdf.0)).collect()
}

fn function(bdf: u16) -> FunctionNote {
    let dword = |offset| pci::read(bdf, offset, Width::Dword);
    let [c0, c1, s0, s1] = dword(4).to_le_bytes();
    let mut note = FunctionNote {
        bdf,
        command: u16::from_le_bytes([c0, c1]),
        status: u16::from_le_bytes([s0, s1]),
        id: dword(0),
        ..FunctionNote::default()
    };
    for (bar, number) in note.bars.iter_mut().zip(0u8..) {
        *bar = dword(0x10 + 4 * number);
    }
    note
}

fn last_events() -> Vec<TraceNote, { trace::EVENTS }> {
    let mut events = Vec::new();
    trace::recent(|event| {
        let _ = events.push(TraceNote {
            at_ns: time_scale().nanos(event.at).0,
            kind: u32::from(event.kind.code()),
            argument: event.argument,
        });
    });
    events
}

fn convert(frozen: &FrozenState, cr8: u8, cpl: u8) -> Registers {
    let segment = |s: SegmentState| Segment {
        selector: s.selector,
        attributes: s.attributes,
        limit: s.limit,
        base: s.base,
    };
    let table = |s: SegmentState| Table {
        limit: u64::from(s.limit),
        base: s.base,
    };
    let [
        rax,
        rcx,
        rdx,
        rbx,
        rsp,
        rbp,
        rsi,
        rdi,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
    ] = frozen.registers;
    let [es, cs, ss, ds, fs, gs] = frozen.segments.map(segment);
    Registers {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip: frozen.rip,
        rflags: frozen.rflags,
        cr0: frozen.cr0,
        cr2: frozen.cr2,
        cr3: frozen.cr3,
        cr4: frozen.cr4,
        cr8: u64::from(cr8),
        efer: frozen.efer,
        dr6: frozen.dr6,
        dr7: frozen.dr7,
        es,
        cs,
        ss,
        ds,
        fs,
        gs,
        ldtr: segment(frozen.ldtr),
        tr: segment(frozen.tr),
        gdtr: table(frozen.gdtr),
        idtr: table(frozen.idtr),
        star: frozen.star,
        lstar: frozen.lstar,
        cstar: frozen.cstar,
        sfmask: frozen.sfmask,
        kernel_gs_base: frozen.kernel_gs_base,
        sysenter_cs: frozen.sysenter_cs,
        sysenter_esp: frozen.sysenter_esp,
        sysenter_eip: frozen.sysenter_eip,
        pat: frozen.pat,
        cpl: u64::from(cpl),
        ..Registers::default()
    }
}
