//! What the GPOS's kernel says of itself, in its own tables and variables: read at looks, and once
//! it has failed.
//!
//! The tables are gathered in slices, one at each look from a start's first look on, until they are
//! known; after that a look reads the vital signs only. Runs in the main loop with interrupts on
//! while the GPOS stands still: a slice costs the GPOS about a millisecond, the tasks nothing.

use super::Ras;
use crate::gpos::{Gpos, GuestMemory};
use crate::once::Once;
use darma_abi::report::Line;
use darma_abi::units::Cycles;
use darma_machine::time;
use darma_ras_model::detect::Vitals;
use darma_ras_model::linux::{ControlRegisters, Gatherer, Progress, Start};
use darma_ras_model::vmcoreinfo::Note;
use darma_rtos::time_scale;

/// How much of the tables is read at a look, in the gatherer's units.
const SLICE: u32 = 4096;

static ROOM: Once<Gatherer> = Once::new(Gatherer::new());

/// The reader of the GPOS's kernel.
pub(crate) struct Kernel {
    gatherer: &'static mut Gatherer,
    /// Slices so far, and the longest, in cycles; `None` once that was told.
    slices: Option<(u32, u64)>,
}

impl Kernel {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self {
            gatherer: ROOM.take(),
            slices: Some((0, 0)),
        }
    }

    /// The GPOS is started anew: what was known was its predecessor's.
    pub(crate) fn restarted(&mut self) {
        self.gatherer.restarted();
        self.slices = Some((0, 0));
    }

    /// Reads a slice of the tables, if any is left to read.
    pub(crate) fn gather(&mut self, gpos: &Gpos) {
        let begin = time::now();
        let progress = self.gatherer.step(&gpos.memory, control(gpos), SLICE);
        let Some((slices, longest)) = &mut self.slices else {
            return;
        };
        *slices += 1;
        *longest = (*longest).max(time::now().saturating_since(begin).0);
        if progress == Progress::Complete {
            let longest = time_scale().nanos(Cycles(*longest)).0;
            log::info!("the kernel's tables: read in {slices} looks of at most {longest} ns");
            self.slices = None;
        }
    }

    /// Reads what is left of the tables, now that the kernel has failed.
    pub(crate) fn finish(&mut self, gpos: &Gpos) {
        let begin = time::now();
        let progress = self.gatherer.finish(&gpos.memory, control(gpos));
        if progress != Progress::Complete {
            log::warn!("the kernel's own tables cannot be read: no backtrace ({progress:?})");
        } else if self.slices.take().is_some() {
            let took = time_scale().nanos(time::now().saturating_since(begin)).0;
            log::info!("the kernel's tables: read in {took} ns after its end");
        }
    }

    /// What it is at: of the vital signs, those that tell what an act of it means.
    pub(crate) fn stage(&self, memory: &GuestMemory) -> Vitals {
        let facts = self.gatherer.facts();
        facts.map_or(Vitals::default(), |facts| facts.stage(memory))
    }

    /// The vital signs, as far as it is known where they are.
    pub(crate) fn vitals(&self, memory: &GuestMemory) -> Vitals {
        let facts = self.gatherer.facts();
        facts.map_or(Vitals::default(), |facts| facts.vitals(memory))
    }

    /// Its VMCOREINFO note, by its own pointer.
    pub(crate) fn note(&self, memory: &GuestMemory) -> Option<Note> {
        self.gatherer.facts()?.note(memory)
    }
}

/// Where a failure happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// The function and its callers.
    pub(crate) line: Line,
    /// What failures of the same origin have in common; 0: not known.
    pub(crate) fingerprint: u64,
}

impl Ras {
    /// Writes the dead kernel's stack into the open record and the log. Its tables have to be known.
    pub(crate) fn trace_stack(&mut self, memory: &GuestMemory, kernel: &Kernel) -> Place {
        let Some((facts, (record, minidump))) = kernel.gatherer.facts().zip(self.faults.opened())
        else {
            return Place::default();
        };
        let start = Start::from(&minidump.registers);
        let trace = facts.backtrace(memory, &start, record.cause, &mut record.backtrace);
        record.fingerprint = trace.fingerprint;
        record.backtrace_bytes = u32::try_from(trace.bytes).unwrap_or(0);
        for line in record.backtrace_text().split(|byte| *byte == b'\n') {
            if let Ok(line) = core::str::from_utf8(line)
                && !line.is_empty()
            {
                log::info!("| {line}");
            }
        }
        let mut line = [0; 120];
        let used = trace.summary(record.backtrace_text(), &mut line);
        Place {
            line: Line::from_bytes(line.get(..used).unwrap_or(&[])),
            fingerprint: trace.fingerprint,
        }
    }
}

fn control(gpos: &Gpos) -> ControlRegisters {
    let (_, cr3, cr4, _) = gpos.cpu.paging();
    ControlRegisters { cr3, cr4 }
}
