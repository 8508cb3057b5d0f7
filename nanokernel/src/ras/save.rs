//! Saving the GPOS's memory, and sealing the record that belongs to it.

use super::{Captured, LastWords, Ras};
use crate::gpos::GuestMemory;
use darma_machine::time;
use darma_ras_model::dump::{Finished, Origin, Progress, vital};
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::printk::Log;
use darma_rtos::{time_scale, trace};

/// The capture's step in the trace that begins with the copying.
const STEP_SAVE: u32 = 3;

impl Ras {
    /// Saves the GPOS's memory to the dump store and seals the record.
    pub(crate) fn save_memory(
        &mut self,
        guest: &GuestMemory,
        words: &LastWords,
        processor: &vital::Processor,
        at_ns: u64,
    ) -> Captured {
        let mut captured = Captured {
            sequence: self.faults.faults.next_sequence(),
            ..Captured::default()
        };
        let dump = self.dump(guest, words, processor, at_ns, &mut captured);
        if let Some((record, _)) = self.faults.opened() {
            if let Some(dump) = dump {
                captured.dump_bytes = dump.data_bytes;
                captured.saved_pages = dump.counts.saved;
                captured.lost_pages = dump.counts.lost;
                record.dump = dump.sequence;
            }
            record.dump_bytes = captured.dump_bytes;
            record.dump_saved_pages = captured.saved_pages;
            record.dump_lost_pages = captured.lost_pages;
            record.capture_ns = time_scale().nanos(time::now()).0.saturating_sub(at_ns);
        }
        if let Some(sequence) = self.faults.seal() {
            captured.sequence = sequence;
        }
        // The next kernel may live in the same memory: it must not be taken for this one.
        if let Some(note) = words.note {
            guest.write(note.header(), &[0; 24]);
        }
        captured
    }

    fn dump(
        &mut self,
        guest: &GuestMemory,
        words: &LastWords,
        processor: &vital::Processor,
        at_ns: u64,
        captured: &mut Captured,
    ) -> Option<Finished> {
        let info = words.note.and_then(|note| note.read(guest, self.text));
        let map = info.as_ref().and_then(KernelMap::new);
        let log = info.as_ref().zip(map.as_ref()).and_then(|(info, map)| {
            let log = Log::open(guest, map, info).ok()?;
            Some(log.parts())
        });
        let origin = Origin {
            fault: captured.sequence,
            taken_at_ns: at_ns,
            cr3: processor.cr3,
            vmcoreinfo: words.note.map_or(0, |note| note.text.0),
            vmcoreinfo_bytes: words.note.map_or(0, |note| u64::from(note.bytes)),
        };
        let mut writer = self.dumps.as_mut()?.begin(origin);
        let begin = time::now();
        while writer.classify(guest) == Progress::More {}
        if writer.is_tight() {
            vital::mark_all(guest, processor, map.as_ref(), log, |kind, at| {
                writer.mark(kind, at)
            });
        }
        let looked = time::now();
        trace::record(looked, trace::Kind::CaptureStep, STEP_SAVE);
        writer.set_notes(self.notes.get(..self.notes_used).unwrap_or(&[]));
        while writer.save(guest, self.compressor) == Progress::More {}
        let finished = writer.finish();
        let nanos =
            |from, to: darma_abi::units::Cycles| time_scale().nanos(to.saturating_since(from)).0;
        captured.scan_ns = nanos(begin, looked);
        captured.save_ns = nanos(looked, time::now());
        Some(finished)
    }
}
