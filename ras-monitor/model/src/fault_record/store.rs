//! All that is kept of failures, written by one side and read by others.

use super::regions::{self, EVENTS, FAULTS, MINIDUMPS, Parts, Regions};
use super::ring::{Ring, RingReader};
use super::{EventKind, EventRecord, FaultRecord, MiniDump};
use crate::crc32c::Crc32c;

/// The writer's side.
#[derive(Debug)]
pub struct FaultStore<'r> {
    /// The small records.
    pub faults: Ring<'r, FaultRecord>,
    /// The large parts, under the same numbers.
    pub minidumps: Ring<'r, MiniDump>,
    events: Ring<'r, EventRecord>,
    generation: u64,
}

impl<'r> FaultStore<'r> {
    /// Takes the memory over with what is in it. `None` if it is too small for one of each; see
    /// [`regions::LEAST_BYTES`].
    pub fn new(memory: &'r mut [u8], crc32c: Crc32c) -> Option<Self> {
        let Parts {
            generation,
            faults,
            events,
            minidumps,
        } = regions::divide(memory, crc32c)?;
        Some(Self {
            faults: Ring::new(faults, crc32c)?,
            minidumps: Ring::new(minidumps, crc32c)?,
            events: Ring::new(events, crc32c)?,
            generation,
        })
    }

    /// How many starts of the machine the contents have seen, this one included.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins a failure: its record and its minidump, zeroed, under one number. The oldest of each
    /// make room.
    pub fn open(&mut self) -> Option<(&mut FaultRecord, &mut MiniDump)> {
        self.minidumps.skip_to(self.faults.next_sequence());
        self.faults.open().zip(self.minidumps.open())
    }

    /// The failure that was begun, as filled so far.
    pub fn opened(&mut self) -> Option<(&mut FaultRecord, &mut MiniDump)> {
        self.faults.opened().zip(self.minidumps.opened())
    }

    /// Counts the failure in its group and makes record and minidump valid, the minidump first.
    /// Returns the number.
    pub fn seal(&mut self) -> Option<u64> {
        self.count_in_group()?;
        self.minidumps.seal();
        self.faults.seal()
    }

    /// As [`Self::open`], for a failure that is worth no minidump: none is dropped for it.
    pub fn open_small(&mut self) -> Option<&mut FaultRecord> {
        self.faults.open()
    }

    /// As [`Self::seal`], for what [`Self::open_small`] began.
    pub fn seal_small(&mut self) -> Option<u64> {
        self.count_in_group()?;
        self.faults.seal()
    }

    fn count_in_group(&mut self) -> Option<()> {
        let fingerprint = self.faults.opened()?.fingerprint;
        if fingerprint != 0 {
            let reader = self.faults.reader();
            let alike = reader
                .records()
                .filter(|(_, record)| record.fingerprint == fingerprint);
            let before = alike.map(|(_, record)| record.occurrence).max();
            self.faults.opened()?.occurrence = before.unwrap_or(0).saturating_add(1);
        }
        Some(())
    }

    /// Adds a point to the timeline.
    pub fn note(&mut self, at_ns: u64, kind: EventKind, boot: u32, fault: u64) {
        if let Some(event) = self.events.open() {
            *event = EventRecord {
                at_ns,
                kind: kind.code(),
                boot,
                fault,
            };
            self.events.seal();
        }
    }
}

/// Failures that have one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub fingerprint: u64,
    /// How many there were, those included whose records are gone.
    pub count: u32,
    /// The newest one's number.
    pub newest: u64,
}

/// The reader's side: any bytes, 8-byte aligned.
#[derive(Clone, Copy, Debug)]
pub struct FaultReader<'r> {
    /// The small records.
    pub faults: RingReader<'r, FaultRecord>,
    /// The large parts.
    pub minidumps: RingReader<'r, MiniDump>,
    /// The timeline.
    pub events: RingReader<'r, EventRecord>,
    /// How many starts of the machine the contents have seen.
    pub generation: u64,
}

impl<'r> FaultReader<'r> {
    /// `None` if there is no table of regions.
    pub fn new(memory: &'r [u8], crc32c: Crc32c) -> Option<Self> {
        let regions = Regions::read(memory, crc32c)?;
        Some(Self {
            faults: RingReader::new(regions.find(FAULTS), crc32c),
            minidumps: RingReader::new(regions.find(MINIDUMPS), crc32c),
            events: RingReader::new(regions.find(EVENTS), crc32c),
            generation: regions.generation(),
        })
    }

    /// Failures by origin, in the order of the slots of their newest records. Those of unknown origin
    /// are in no group.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.faults.records().filter_map(move |(sequence, record)| {
            let fingerprint = record.fingerprint;
            let alike = |other: &FaultRecord| other.fingerprint == fingerprint;
            let newest = fingerprint != 0 && !self.faults.has_newer(sequence, alike);
            newest.then_some(Group {
                fingerprint,
                count: record.occurrence,
                newest: sequence,
            })
        })
    }
}
