//! Linux's side: a consistent copy of the status block out of memory that changes meanwhile.
//!
//! Every byte is hostile until checked: the header says whether this is the region and the layout
//! that this reader knows, the sequence lock says whether the copy is whole, and each field's
//! meaning is checked where it is asked for. Reading ends after [`MAX_ATTEMPTS`], whatever the
//! memory does.

use core::fmt;
use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::layout::{
    FaultEntry, LAYOUT_VERSION, MAGIC, MAX_TASKS, RegionHeader, STATUS_OFFSET, StatusBlock,
    StatusBody, TaskEntry,
};
use crate::codes::{Cause, CrashKind, GposState};

/// How often a torn copy is taken again before the reader gives up.
pub const MAX_ATTEMPTS: usize = 64;

/// Loads from the shared region.
///
/// The implementation makes the loads volatile and in program order, and answers an access outside
/// the region with `false` or `None`.
pub trait RegionRead {
    /// The 32-bit word at `offset`, a multiple of 4, in one access.
    fn load_u32(&self, offset: usize) -> Option<u32>;
    /// Fills `out` from `offset` on, in any number of accesses; `false` if it is not all there.
    fn load(&self, offset: usize, out: &mut [u8]) -> bool;
}

/// Why there is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The region is smaller than its own header says, or than this layout needs.
    TooSmall,
    /// The region does not begin with [`MAGIC`]: this is another kind of shared memory.
    NotDarma,
    /// The nanokernel speaks another version of the layout.
    LayoutVersion {
        /// The version in the header.
        found: u32,
    },
    /// The header contradicts the layout of its own version.
    Inconsistent,
    /// The writer never left a whole block for [`MAX_ATTEMPTS`] attempts.
    Torn,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall => f.write_str("the shared region is too small for the status block"),
            Self::NotDarma => {
                f.write_str("the shared region does not begin with DARMASHM: not Darma's memory")
            }
            Self::LayoutVersion { found } => write!(
                f,
                "the nanokernel's layout version is {found}, this program knows {LAYOUT_VERSION}: \
                 use the program of the same release"
            ),
            Self::Inconsistent => f.write_str("the shared region's header contradicts itself"),
            Self::Torn => {
                write!(
                    f,
                    "the status block was being written at each of {MAX_ATTEMPTS} attempts"
                )
            }
        }
    }
}

impl core::error::Error for ReadError {}

/// A whole, unchanging copy of the status block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSnapshot {
    body: StatusBody,
}

impl StatusSnapshot {
    /// Takes a snapshot of `region`, which starts with the header.
    ///
    /// # Errors
    /// Each way in which the region is not what this layout says; see [`ReadError`].
    pub fn read<R: RegionRead + ?Sized>(region: &R) -> Result<Self, ReadError> {
        check_header(region)?;
        let sequence_at = STATUS_OFFSET + offset_of!(StatusBlock, sequence);
        let mut body = StatusBody::zeroed();
        for _ in 0..MAX_ATTEMPTS {
            let before = region.load_u32(sequence_at).ok_or(ReadError::TooSmall)?;
            if before & 1 == 0 {
                if !region.load(
                    STATUS_OFFSET + offset_of!(StatusBlock, body),
                    body.as_mut_bytes(),
                ) {
                    return Err(ReadError::TooSmall);
                }
                if region.load_u32(sequence_at) == Some(before) {
                    return Ok(Self { body });
                }
            }
            core::hint::spin_loop();
        }
        Err(ReadError::Torn)
    }

    /// The fields that carry no meaning beyond their number.
    pub const fn body(&self) -> &StatusBody {
        &self.body
    }

    /// What the GPOS is doing; `None` for a state that this reader does not know.
    pub const fn gpos_state(&self) -> Option<GposState> {
        GposState::from_code(self.body.gpos_state)
    }

    /// The last failure, or `None` if there was none.
    pub const fn last_fault(&self) -> Option<&FaultEntry> {
        if self.body.fault.sequence == 0 {
            None
        } else {
            Some(&self.body.fault)
        }
    }

    /// The tasks in use, never more than [`MAX_TASKS`].
    pub fn tasks(&self) -> &[TaskEntry] {
        let count = usize::try_from(self.body.task_count)
            .unwrap_or(MAX_TASKS)
            .min(MAX_TASKS);
        self.body.tasks.get(..count).unwrap_or_default()
    }
}

impl FaultEntry {
    /// Why it failed; `None` for a cause that this reader does not know.
    pub const fn known_cause(&self) -> Option<Cause> {
        Cause::from_code(self.cause)
    }

    /// The crash that was announced before it, if one was.
    pub const fn announced_kind(&self) -> Option<CrashKind> {
        CrashKind::from_code(self.announced)
    }
}

fn check_header<R: RegionRead + ?Sized>(region: &R) -> Result<(), ReadError> {
    let mut bytes = [0; size_of::<RegionHeader>()];
    if !region.load(0, &mut bytes) {
        return Err(ReadError::TooSmall);
    }
    let header = RegionHeader::read_from_bytes(&bytes).unwrap_or(RegionHeader::new_zeroed());
    if header.magic != MAGIC {
        return Err(ReadError::NotDarma);
    }
    if header.layout_version != LAYOUT_VERSION {
        return Err(ReadError::LayoutVersion {
            found: header.layout_version,
        });
    }
    let expected = RegionHeader {
        // The machine's, not the layout's.
        fault_store_bytes: header.fault_store_bytes,
        dump_store_bytes: header.dump_store_bytes,
        ..RegionHeader::CURRENT
    };
    if header != expected {
        return Err(ReadError::Inconsistent);
    }
    Ok(())
}

/// Memory that nobody else writes: a file, a test's buffer.
impl RegionRead for [u8] {
    fn load_u32(&self, offset: usize) -> Option<u32> {
        let mut bytes = [0; 4];
        self.load(offset, &mut bytes)
            .then(|| u32::from_le_bytes(bytes))
    }

    fn load(&self, offset: usize, out: &mut [u8]) -> bool {
        match self.get(offset..offset.saturating_add(out.len())) {
            Some(from) => {
                out.copy_from_slice(from);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use core::cell::Cell;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::shared::{RegionStore, StatusWriter, Text};

    const NEEDED: usize = STATUS_OFFSET + size_of::<StatusBlock>();

    fn body() -> StatusBody {
        let mut body = StatusBody::zeroed();
        body.uptime_ns = 5;
        body.gpos_boots = 2;
        body.gpos_state = GposState::Up.code();
        body.task_count = 1;
        body.tasks[0].name = Text::new("control");
        body.tasks[0].max_ns = 912;
        body
    }

    fn region() -> Vec<u8> {
        let mut region = vec![0; NEEDED];
        let mut writer = StatusWriter::with_stores(1 << 20, 64 << 20);
        writer.initialise(region.as_mut_slice());
        writer.publish(&body(), region.as_mut_slice());
        region
    }

    /// Memory whose sequence word follows a script of values, one per load.
    struct Scripted {
        bytes: Vec<u8>,
        loads: Cell<u32>,
        sequence: fn(u32) -> u32,
    }

    impl RegionRead for Scripted {
        fn load_u32(&self, _: usize) -> Option<u32> {
            self.loads.set(self.loads.get() + 1);
            Some((self.sequence)(self.loads.get()))
        }

        fn load(&self, offset: usize, out: &mut [u8]) -> bool {
            self.bytes.load(offset, out)
        }
    }

    #[test]
    fn what_was_published_is_read() {
        let snapshot = StatusSnapshot::read(region().as_slice()).unwrap();
        assert_eq!(*snapshot.body(), body());
        assert_eq!(snapshot.gpos_state(), Some(GposState::Up));
        assert_eq!(snapshot.last_fault(), None);
        assert_eq!(snapshot.tasks().len(), 1);
        assert_eq!(snapshot.tasks()[0].name.as_str(), "control");
    }

    #[test]
    fn a_block_that_is_always_being_written_is_given_up() {
        let odd = Scripted {
            bytes: region(),
            loads: Cell::new(0),
            sequence: |_| 7,
        };
        assert_eq!(StatusSnapshot::read(&odd), Err(ReadError::Torn));
        let moving = Scripted {
            bytes: region(),
            loads: Cell::new(0),
            sequence: |load| load * 2,
        };
        assert_eq!(StatusSnapshot::read(&moving), Err(ReadError::Torn));
    }

    #[test]
    fn a_torn_copy_is_taken_again() {
        let settles = Scripted {
            bytes: region(),
            loads: Cell::new(0),
            sequence: |load| load.min(8) * 2,
        };
        assert!(StatusSnapshot::read(&settles).is_ok());
    }

    #[test]
    fn another_kind_of_memory_is_named() {
        assert_eq!(
            StatusSnapshot::read(vec![0; NEEDED].as_slice()),
            Err(ReadError::NotDarma)
        );
        assert_eq!(
            StatusSnapshot::read([0; 8].as_slice()),
            Err(ReadError::TooSmall)
        );
        let mut other = region();
        other[8] = 9;
        let found = StatusSnapshot::read(other.as_slice());
        assert_eq!(found, Err(ReadError::LayoutVersion { found: 9 }));
    }

    #[test]
    fn a_sequence_is_odd_while_writing_and_even_after() {
        let mut writer = StatusWriter::new();
        for _ in 0..3 {
            assert_eq!(writer.begin() & 1, 1);
            assert_eq!(writer.end() & 1, 0);
        }
        let mut at_the_end = StatusWriter::new();
        let mut seen = 0;
        for _ in 0..5 {
            at_the_end.begin();
            let end = at_the_end.end();
            assert!(end > seen);
            seen = end;
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..NEEDED + 64),
            keep_header in any::<bool>(),
        ) {
            let mut noise = noise;
            if keep_header {
                noise.resize(NEEDED, 0xa5);
                noise.as_mut_slice().store(0, RegionHeader::CURRENT.as_bytes());
            }
            if let Ok(snapshot) = StatusSnapshot::read(noise.as_slice()) {
                prop_assert!(snapshot.tasks().len() <= MAX_TASKS);
                for task in snapshot.tasks() {
                    prop_assert!(task.name.as_str().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                }
                if let Some(fault) = snapshot.last_fault() {
                    let _ = (fault.known_cause(), fault.announced_kind(), fault.line.as_str());
                }
            }
        }
    }
}
