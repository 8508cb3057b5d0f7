//! Capture and judgement of a failed GPOS: the edge of `darma_ras_model`.
//!
//! It runs in the main loop, below every task, with interrupts on: a capture of hundreds of
//! megabytes delays nothing but the GPOS's return. Everything is kept in memory that the GPOS
//! cannot reach, and everything read from the GPOS is read through the partition's own check.

use crate::gpos::{Gpos, GuestMemory};
use crate::once::Once;
use darma_abi::codes::Cause;
use darma_abi::memory::GuestPhysRead;
use darma_abi::report::Line;
use darma_abi::units::{GuestPhys, HostPhys};
use darma_machine::{crc32c, memory};
use darma_policy::boot::span::Span;
use darma_ras_model::detect::Verdict;
use darma_ras_model::dump::{DumpWriter, Geometry, Origin, Progress, RANGES_MAX};
use darma_ras_model::fault_record::{
    FaultRecord, FaultStore, LOG_BYTES, Registers, SLOT_BYTES, Segment, Table,
};
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::memory::PAGE_BYTES;
use darma_ras_model::printk::{Log, panic_message};
use darma_ras_model::vmcoreinfo::{Note, Scan, Scanner, TEXT_MAX, VmcoreInfo};
use darma_svm::state::{FrozenState, SegmentState};
use heapless::Vec;

/// How many fault records are kept.
const RECORDS: usize = 8;
/// Pages looked at between two looks at anything else.
const SCAN_STEP: u32 = 256;

#[repr(align(16))]
struct RecordRoom([u8; RECORDS * SLOT_BYTES]);

static RECORD_ROOM: Once<RecordRoom> = Once::new(RecordRoom([0; RECORDS * SLOT_BYTES]));
static TEXT_ROOM: Once<[u8; TEXT_MAX]> = Once::new([0; TEXT_MAX]);

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
    pub(crate) sequence: u64,
    pub(crate) dump_bytes: u64,
    pub(crate) saved_pages: u64,
    pub(crate) lost_pages: u64,
}

/// What the log of the dead kernel brought.
pub(crate) struct LastWords {
    note: Option<Note>,
    /// Lines read.
    pub(crate) lines: u32,
}

/// The keeper of fault records and of the dump store.
pub(crate) struct Ras {
    store: FaultStore<'static>,
    text: &'static mut [u8; TEXT_MAX],
    dump_store: Span,
}

impl Ras {
    /// Takes the dump store of the memory plan into its care.
    pub(crate) fn new(dump_store: Span) -> Self {
        let store = FaultStore::new(&mut RECORD_ROOM.take().0, crc)
            .expect("room for eight records, 16-byte aligned");
        Self {
            store,
            text: TEXT_ROOM.take(),
            dump_store,
        }
    }

    /// Opens the record of a failure: cause, time, registers. The guest must not run any more.
    #[inline(never)] // stays in the RAS monitor's section of code
    pub(crate) fn open(
        &mut self,
        gpos: &mut Gpos,
        verdict: Verdict,
        boot: u32,
        at_ns: u64,
        detect_ns: u64,
        announced: u32,
    ) {
        let raw = gpos.cpu.raw_exit();
        let frozen = gpos.cpu.freeze();
        let (_, _, cpl) = gpos.cpu.code_segment();
        let Some(record) = self.store.open() else {
            return;
        };
        record.cause = verdict.cause.code();
        record.announced = announced;
        record.boot = u64::from(boot);
        record.detected_at_ns = at_ns;
        record.detect_ns = detect_ns;
        record.evidence = verdict.evidence.number();
        (record.exit_code, record.exit_info_1, record.exit_info_2) = raw;
        record.registers = registers(&frozen, gpos.cpu.task_priority(), cpl);
    }

    /// Keeps a record, without log and dump, of what the GPOS lives on with. Returns its number.
    pub(crate) fn note(
        &mut self,
        gpos: &mut Gpos,
        verdict: Verdict,
        boot: u32,
        at_ns: u64,
    ) -> Option<u64> {
        self.open(gpos, verdict, boot, at_ns, 0, 0);
        self.store.seal()
    }

    /// Reads the kernel's log into the open record, and returns its last words' description.
    #[inline(never)] // stays in the RAS monitor's section of code
    pub(crate) fn read_log(&mut self, memory: &GuestMemory, cr3: u64) -> LastWords {
        let mut words = LastWords {
            note: None,
            lines: 0,
        };
        let mut found: Option<Note> = None;
        for range in memory.ranges() {
            let mut scanner = Scanner::new(GuestPhys(range.base())..GuestPhys(range.end()));
            loop {
                match scanner.step(memory, SCAN_STEP) {
                    Scan::Done => break,
                    Scan::More => {}
                    Scan::Found(note) => {
                        let live = note
                            .read(memory, self.text)
                            .and_then(|info| KernelMap::new(&info))
                            .is_some_and(|map| map.is_mapped_by(memory, cr3));
                        if live {
                            found = Some(note);
                            break;
                        }
                        // A predecessor's note, or ruined page tables: better than nothing.
                        found = found.or(Some(note));
                    }
                }
            }
        }
        words.note = found;
        let Some(info) = found.and_then(|note| note.read(memory, self.text)) else {
            return words;
        };
        let Some(record) = self.store.opened() else {
            return words;
        };
        words.lines = read_tail(memory, &info, record);
        words
    }

    /// The reason that a panic gave, if the open record's log holds one.
    #[inline(never)] // stays in the RAS monitor's section of code
    pub(crate) fn panic_reason(&mut self) -> Option<&[u8]> {
        panic_message(self.store.opened()?.log_text())
    }

    /// The log of the last failure that was recorded whole and has one. What was only noted has none.
    pub(crate) fn last_log(&self) -> Option<&[u8]> {
        let end = self.store.next_sequence();
        let kept = end.saturating_sub(RECORDS as u64)..end;
        kept.rev()
            .filter_map(|sequence| Some(self.store.get(sequence)?.log_text()))
            .find(|log| !log.is_empty())
    }

    /// Calls `each` for every failure that is still recorded, oldest first: number, start, cause,
    /// when, and the reason that a panic gave.
    pub(crate) fn each_failure(&self, mut each: impl FnMut(u64, u64, &str, u64, &Line)) {
        let end = self.store.next_sequence();
        for sequence in end.saturating_sub(RECORDS as u64)..end {
            let Some(record) = self.store.get(sequence) else {
                continue;
            };
            let cause = Cause::from_code(record.cause).map_or("unknown", Cause::name);
            let line = Line::from_bytes(panic_message(record.log_text()).unwrap_or_default());
            each(sequence, record.boot, cause, record.detected_at_ns, &line);
        }
    }

    /// Saves the GPOS's memory to the dump store and seals the record.
    #[inline(never)] // stays in the RAS monitor's section of code
    pub(crate) fn save_memory(
        &mut self,
        memory_of_gpos: &GuestMemory,
        words: &LastWords,
        cr3: u64,
        at_ns: u64,
    ) -> Captured {
        let mut captured = Captured {
            sequence: self.store.next_sequence(),
            ..Captured::default()
        };
        if let Some((counts, bytes)) = self.dump(memory_of_gpos, words, cr3, at_ns) {
            captured.dump_bytes = bytes;
            captured.saved_pages = counts.saved;
            captured.lost_pages = counts.lost;
        }
        if let Some(record) = self.store.opened() {
            record.dump_offset = 0;
            record.dump_bytes = captured.dump_bytes;
            record.dump_saved_pages = captured.saved_pages;
            record.dump_lost_pages = captured.lost_pages;
        }
        if let Some(sequence) = self.store.seal() {
            captured.sequence = sequence;
        }
        // The next kernel may live in the same memory: it must not be taken for this one.
        if let Some(note) = words.note {
            memory_of_gpos.write(note.header(), &[0; 24]);
        }
        captured
    }

    fn dump(
        &self,
        guest: &GuestMemory,
        words: &LastWords,
        cr3: u64,
        at_ns: u64,
    ) -> Option<(darma_ras_model::dump::Counts, u64)> {
        let ranges: Vec<_, RANGES_MAX> = guest
            .ranges()
            .iter()
            .map(|range| GuestPhys(range.base())..GuestPhys(range.end()))
            .collect();
        let geometry = Geometry::new(&ranges).ok()?;
        let length = usize::try_from(self.dump_store.size()).ok()?;
        // SAFETY: OWNED-RANGE: the plan gives the dump store to the nanokernel alone; this is the
        // only view of it while it lives.
        let room = unsafe { memory::view_mut(HostPhys(self.dump_store.base()), length) };
        let origin = Origin {
            fault: self.store.next_sequence(),
            taken_at_ns: at_ns,
            cr3,
            vmcoreinfo: words.note.map_or(0, |note| note.text.0),
            vmcoreinfo_bytes: words.note.map_or(0, |note| u64::from(note.bytes)),
        };
        let mut writer = DumpWriter::start(room, geometry, origin, crc)?;
        let mut page = [0; PAGE_BYTES];
        while let Some(at) = writer.next_address() {
            let read = guest.read(at, &mut page);
            if writer.page(read.then_some(&page)) == Progress::Complete {
                break;
            }
        }
        Some(writer.finish())
    }
}

fn read_tail(memory: &GuestMemory, info: &VmcoreInfo<'_>, record: &mut FaultRecord) -> u32 {
    if let Some(release) = info.release() {
        record.set_release(release);
    }
    let Some(map) = KernelMap::new(info) else {
        return 0;
    };
    let log = match Log::open(memory, &map, info) {
        Ok(log) => log,
        Err(error) => {
            log::warn!("the dead kernel's log cannot be read: {error}");
            return 0;
        }
    };
    let tail = log.tail(&mut record.log);
    record.log_bytes = u32::try_from(tail.bytes.min(LOG_BYTES)).unwrap_or(0);
    record.log_records = tail.records;
    record.log_lost = tail.lost;
    tail.records
}

fn registers(frozen: &FrozenState, cr8: u8, cpl: u8) -> Registers {
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
