//! The area in which the next kernel's `ramoops` driver finds the log of the one before.
//!
//! The area is in nobody's way: both sides map it, the GPOS's driver writes it while the GPOS runs, and
//! the nanokernel only while it does not. What and where is `darma_policy::boot::ramoops`' decision.

use super::Loader;
use darma_abi::units::{HostPhys, Nanos};
use darma_machine::memory;
use darma_policy::boot::ramoops::{self, GLANCE, Glance, Panicked, RECORD_BYTES, RECORDS};

/// The first bytes of every record at some moment.
pub(crate) struct RecordGlances([Glance; RECORDS]);

impl RecordGlances {
    /// Of empty records.
    pub(crate) const fn new() -> Self {
        Self([[0; GLANCE]; RECORDS])
    }
}

impl Loader<'_> {
    /// What stands in the records now.
    pub(crate) fn glance(&self) -> RecordGlances {
        let mut glances = RecordGlances::new();
        for (glance, at) in glances.0.iter_mut().zip(self.records()) {
            // SAFETY: SHARED-REGION: the plan gives the area to both sides; a copy is taken.
            unsafe { memory::read(at, glance) };
        }
        glances
    }

    /// Writes the record of a failure, unless the kernel itself did: its `log`, in start `boot`, found
    /// dead of `cause` at `at`. `before` is what stood there when the kernel was started.
    pub(crate) fn leave_record(
        &self,
        before: &RecordGlances,
        panicked: Panicked,
        boot: u32,
        cause: &str,
        at: Nanos,
        log: &[u8],
    ) {
        let place = ramoops::place(&before.0, &self.glance().0, panicked);
        let Some(record) = place.and_then(|index| self.records().nth(index)) else {
            return;
        };
        let head = ramoops::head(boot, cause, at, log.len());
        // The end of the log is what tells of the end.
        let from = log.len().saturating_sub(head.log_bytes);
        let tail = log.get(from..).unwrap_or_default();
        // SAFETY: SHARED-REGION, as above; the GPOS is stopped. Head and tail fit a record together by
        // the head's making.
        unsafe {
            memory::write(record, &head.bytes);
            memory::write(HostPhys(record.0 + head.bytes.len() as u64), tail);
        }
    }

    /// Where the records lie.
    fn records(&self) -> impl Iterator<Item = HostPhys> + use<> {
        let base = self.plan.ramoops().base();
        (0..RECORDS as u64).map(move |index| HostPhys(base + index * RECORD_BYTES))
    }
}
