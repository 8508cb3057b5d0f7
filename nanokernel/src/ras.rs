//! Capture of a failed GPOS: the edge of `darma_ras_model`.
//!
//! It runs in the main loop, below every task, with interrupts on: a capture of hundreds of
//! megabytes delays nothing but the GPOS's return. Everything is kept in memory that the GPOS
//! cannot reach, and everything read from the GPOS is read through the partition's own check.
//! What can wait is done when the GPOS is back: packing the dump, a page at a time, where it sleeps.

mod frozen;
mod kernel;
mod save;

pub(crate) use frozen::functions;

pub(crate) use kernel::Kernel;

use crate::gpos::{Gpos, GuestMemory};
use crate::once::Once;
use crate::status::Status;
use crate::watch::words;
use darma_abi::codes::Cause;
use darma_abi::memory::GuestPhysRead;
use darma_abi::report::Line;
use darma_abi::units::{GuestPhys, HostPhys};
use darma_machine::{crc32c, memory};
use darma_policy::boot::memory_plan::MemoryPlan;
use darma_policy::boot::span::Span;
use darma_ras_model::detect::Verdict;
use darma_ras_model::dump::{
    Compressor, DumpStore, FunctionNote, Geometry, NOTES_BYTES, Packer, Packing, RANGES_MAX,
};
use darma_ras_model::fault_record::{
    EventKind, FaultRecord, FaultStore, LOG_BYTES, MiniDump, Registers,
};
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::printk::{Log, panic_message};
use darma_ras_model::vmcoreinfo::{Note, Scan, Scanner, TEXT_MAX, VmcoreInfo};
use heapless::Vec;

/// Pages looked at between two looks at anything else.
const SCAN_STEP: u32 = 256;

static TEXT_ROOM: Once<[u8; TEXT_MAX]> = Once::new([0; TEXT_MAX]);
static NOTES_ROOM: Once<[u8; NOTES_BYTES]> = Once::new([0; NOTES_BYTES]);
static COMPRESSOR: Once<Compressor> = Once::new(Compressor::new());

/// The running CRC-32C in the model's form: from 0, continuable.
fn crc(state: u32, data: &[u8]) -> u32 {
    if crc32c::available() {
        !crc32c::update(!state, data)
    } else {
        darma_ras_model::crc32c::software(state, data)
    }
}

/// What a capture brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Captured {
    /// The fault record's number.
    pub(crate) sequence: u64,
    pub(crate) dump_bytes: u64,
    pub(crate) saved_pages: u64,
    pub(crate) lost_pages: u64,
    /// How long it took to look through the memory.
    pub(crate) scan_ns: u64,
    /// How long it took to save what was found.
    pub(crate) save_ns: u64,
}

/// A failure as it was judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) verdict: Verdict,
    pub(crate) boot: u32,
    pub(crate) at_ns: u64,
    pub(crate) detect_ns: u64,
    /// The code of the crash that was announced, or 0.
    pub(crate) announced: u32,
}

/// What the log of the dead kernel brought.
pub(crate) struct LastWords {
    note: Option<Note>,
    /// Lines read.
    pub(crate) lines: u32,
}

/// The keeper of fault records and of the dump store.
pub(crate) struct Ras {
    faults: FaultStore<'static>,
    dumps: Option<DumpStore<'static>>,
    compressor: &'static mut Compressor,
    packer: Packer,
    text: &'static mut [u8; TEXT_MAX],
    notes: &'static mut [u8; NOTES_BYTES],
    notes_used: usize,
}

/// The whole of a range of the plan that is the nanokernel's.
///
/// # Safety
/// OWNED-RANGE: the plan gives `span` to the nanokernel alone, and this is asked for once.
unsafe fn room(span: Span) -> &'static mut [u8] {
    let length = usize::try_from(span.size()).unwrap_or(0);
    // SAFETY: OWNED-RANGE, promised by the caller.
    unsafe { memory::view_mut(HostPhys(span.base()), length) }
}

impl Ras {
    /// Takes the stores of the memory plan into its care, with what is in them.
    ///
    /// # Safety
    /// OWNED-RANGE: called once: nobody else has views of the dump store and the fault store.
    pub(crate) unsafe fn new(plan: &MemoryPlan, guest: &GuestMemory, slots: u32) -> Self {
        // SAFETY: OWNED-RANGE, promised by the caller.
        let faults = FaultStore::new(unsafe { room(plan.fault_store()) }, crc)
            .expect("the plan rounds the fault store up to 2 MiB");
        let dumps = geometry(guest).and_then(|geometry| {
            // SAFETY: OWNED-RANGE, promised by the caller.
            DumpStore::open(unsafe { room(plan.dump_store()) }, slots, geometry, crc)
        });
        if dumps.is_none() && !plan.dump_store().is_empty() {
            log::warn!("the dump store is too small for any dump: raise dump.size");
        }
        let mut ras = Self {
            faults,
            dumps,
            compressor: COMPRESSOR.take(),
            packer: Packer::new(),
            text: TEXT_ROOM.take(),
            notes: NOTES_ROOM.take(),
            notes_used: 0,
        };
        if ras.faults.generation() > 1 {
            let dumps = ras.dumps.as_ref().map_or(0, |store| store.dumps().count());
            let last = ras.faults.faults.next_sequence() - 1;
            log::info!("found fault records up to {last} and {dumps} dumps of an earlier start");
        }
        ras.event(0, EventKind::MachineStart, 0, 0);
        ras
    }

    /// Adds a point to the timeline.
    pub(crate) fn event(&mut self, at_ns: u64, kind: EventKind, boot: u32, fault: u64) {
        self.faults.note(at_ns, kind, boot, fault);
    }

    /// Opens the record of a failure: cause, time, registers, and all that is frozen with them. The
    /// guest must not run any more. The trace comes first: every task that runs pushes events out of it.
    pub(crate) fn open(
        &mut self,
        gpos: &mut Gpos,
        status: &mut Status,
        failure: &Failure,
        functions: &[FunctionNote],
    ) {
        let registers = frozen::registers(gpos);
        self.notes_used = frozen::notes(self.notes, gpos, status, &registers, functions);
        let Some((record, minidump)) = self.faults.open() else {
            return;
        };
        fill(record, gpos, failure, &registers);
        minidump.registers = registers;
    }

    /// Keeps a small record, without log, minidump and dump, of what the GPOS lives on with. Returns
    /// its number.
    pub(crate) fn note(&mut self, gpos: &Gpos, failure: &Failure) -> Option<u64> {
        let registers = frozen::registers(gpos);
        let record = self.faults.open_small()?;
        fill(record, gpos, failure, &registers);
        record.survived = 1;
        self.faults.seal_small()
    }

    /// Reads the kernel's log and stack into the open record, and returns the log's description. Its
    /// note is looked for if nobody told where it is.
    #[inline(never)] // stays in the RAS monitor's section of code
    pub(crate) fn read_log(
        &mut self,
        memory: &GuestMemory,
        cr3: u64,
        told: Option<Note>,
    ) -> LastWords {
        let found = told.or_else(|| find_note(memory, self.text, cr3));
        let mut words = LastWords {
            note: found,
            lines: 0,
        };
        let Some(info) = found.and_then(|note| note.read(memory, self.text)) else {
            return words;
        };
        let Some((record, minidump)) = self.faults.opened() else {
            return words;
        };
        words.lines = read_tail(memory, &info, record, minidump);
        words
    }

    /// The reason that a panic gave, if the open record's log holds one.
    pub(crate) fn panic_reason(&mut self) -> Option<&[u8]> {
        panic_message(self.faults.opened()?.1.log_text())
    }

    /// The log of the last failure that was recorded whole and has one. What was only noted has none.
    pub(crate) fn last_log(&self) -> Option<&[u8]> {
        let minidumps = self.faults.minidumps.reader().records();
        let with_log = minidumps.filter(|(_, minidump)| minidump.log_bytes > 0);
        let (_, last) = with_log.max_by_key(|(sequence, _)| *sequence)?;
        Some(last.log_text())
    }

    /// Calls `each` for every failure that is still recorded, oldest first: number, start, cause,
    /// when, and the reason that it gave.
    pub(crate) fn each_failure(&self, mut each: impl FnMut(u64, u64, &str, u64, &Line)) {
        let ring = &self.faults.faults;
        let end = ring.next_sequence();
        let slots = u64::try_from(ring.slots()).unwrap_or(0);
        for sequence in end.saturating_sub(slots)..end {
            let Some(record) = ring.reader().get(sequence) else {
                continue;
            };
            let cause = Cause::from_code(record.cause).map_or("unknown", Cause::name);
            let line = Line::new(record.line_text().unwrap_or_default());
            each(sequence, record.boot, cause, record.detected_at_ns, &line);
        }
    }

    /// Puts the reason, or what stands for one, into the open record.
    pub(crate) fn set_line(&mut self, line: &str) {
        if let Some((record, _)) = self.faults.opened() {
            record.set_line(line);
        }
    }

    /// Packs a little more of the newest dump; false when there is nothing to pack. At most 0.3 ms.
    pub(crate) fn pack(&mut self) -> bool {
        let Some(store) = self.dumps.as_mut() else {
            return false;
        };
        let more = self.packer.step(store, self.compressor) == Packing::Worked;
        if !more && let Some(newest) = store.newest_slot().and_then(|slot| store.reader(slot)) {
            let (number, _) = newest.version();
            log::info!("dump {number} is packed: {} bytes", newest.data_bytes());
        }
        more
    }
}

/// What a dump of this memory covers.
fn geometry(guest: &GuestMemory) -> Option<Geometry> {
    let ranges: Vec<_, RANGES_MAX> = guest
        .ranges()
        .iter()
        .map(|range| GuestPhys(range.base())..GuestPhys(range.end()))
        .collect();
    Geometry::new(&ranges).ok()
}

/// Looks for the running kernel's VMCOREINFO note.
fn find_note(memory: &GuestMemory, text: &mut [u8; TEXT_MAX], cr3: u64) -> Option<Note> {
    let mut found: Option<Note> = None;
    for range in memory.ranges() {
        let mut scanner = Scanner::new(GuestPhys(range.base())..GuestPhys(range.end()));
        loop {
            match scanner.step(memory, SCAN_STEP) {
                Scan::Done => break,
                Scan::More => {}
                Scan::Found(note) => {
                    let live = note
                        .read(memory, text)
                        .and_then(|info| KernelMap::new(&info))
                        .is_some_and(|map| map.is_mapped_by(memory, cr3));
                    if live {
                        return Some(note);
                    }
                    // A predecessor's note, or ruined page tables: better than nothing.
                    found = found.or(Some(note));
                }
            }
        }
    }
    found
}

fn read_tail(
    memory: &GuestMemory,
    info: &VmcoreInfo<'_>,
    record: &mut FaultRecord,
    minidump: &mut MiniDump,
) -> u32 {
    if let Some(release) = info.release() {
        record.set_release(release);
    }
    let Some(map) = KernelMap::new(info) else {
        return 0;
    };
    read_stack(memory, &map, minidump);
    let log = match Log::open(memory, &map, info) {
        Ok(log) => log,
        Err(error) => {
            log::warn!("the dead kernel's log cannot be read: {error}");
            return 0;
        }
    };
    let tail = log.tail(&mut minidump.log);
    minidump.log_bytes = u32::try_from(tail.bytes.min(LOG_BYTES)).unwrap_or(0);
    record.log_records = tail.records;
    record.log_lost = tail.lost;
    tail.records
}

/// Keeps the stack from its pointer up, as far as it can be read.
fn read_stack(memory: &impl GuestPhysRead, map: &KernelMap, minidump: &mut MiniDump) {
    const PIECE: usize = 256;
    let mut at = minidump.registers.rsp;
    for piece in minidump.stack.chunks_mut(PIECE) {
        if !map.read(memory, darma_abi::units::GuestVirt(at), piece) {
            piece.fill(0);
            break;
        }
        at = at.wrapping_add(256);
        minidump.stack_bytes += 256;
    }
}

/// The record's plain fields.
fn fill(record: &mut FaultRecord, gpos: &Gpos, failure: &Failure, registers: &Registers) {
    let verdict = &failure.verdict;
    record.cause = verdict.cause.code();
    record.announced = failure.announced;
    record.boot = u64::from(failure.boot);
    record.detected_at_ns = failure.at_ns;
    record.detect_ns = failure.detect_ns;
    record.evidence = verdict.evidence.number();
    record.set_evidence(words(&verdict.evidence).as_str());
    let raw = gpos.cpu.raw_exit();
    (record.exit_code, record.exit_info_1, record.exit_info_2) = raw;
    (record.rip, record.rsp, record.cr3) = (registers.rip, registers.rsp, registers.cr3);
}
