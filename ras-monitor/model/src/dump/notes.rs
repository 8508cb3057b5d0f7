//! Notes: the machine's frozen state beside the memory, one after another.
//!
//! ```text
//! u32 kind   u32 bytes   the bytes, padded with zeros to a multiple of eight   next note ...
//! ```
//! A note is an array of records of one `repr(C)` type per kind, little-endian, without padding. A reader
//! skips kinds that it does not know, and takes of a longer record what it knows: records only grow at
//! their end, and each kind's first note that changes otherwise gets a new number.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const HEAD: usize = 8;

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $code:literal, $name:literal;)+) => {
        /// What a note is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum NoteKind {
            $($(#[$meta])* $kind = $code,)+
        }

        impl NoteKind {
            /// Every kind, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The number that stands for it in a dump.
            pub const fn code(self) -> u32 {
                match self { $(Self::$kind => $code,)+ }
            }

            /// Its name for people.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The kind with this number, if there is one.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$kind),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// One [`crate::fault_record::Registers`].
    Registers = 1, "registers";
    /// The x87, MMX and SSE registers in FXSAVE's 512 bytes (APM2 11.4.4).
    FloatingPoint = 2, "floating point";
    /// [`MsrNote`]s.
    Msrs = 3, "MSRs";
    /// The virtual local APIC: the registers at 0x000, 0x010 .. 0x3F0 (APM2 16.3.1), 64 `u32`.
    LocalApic = 4, "local APIC";
    /// The virtual I/O APIC: one redirection entry of 64 bits per pin.
    IoApic = 5, "I/O APIC";
    /// One [`PendingNote`].
    Pending = 6, "pending interrupts";
    /// [`FunctionNote`]s: the functions that are the GPOS's.
    Functions = 7, "PCI functions";
    /// [`TraceNote`]s, oldest first: the last exits, interrupts and tasks.
    Trace = 8, "trace";
    /// [`darma_abi::shared::TaskEntry`]s in the order of declaration: counts and latencies.
    Tasks = 9, "tasks";
    /// Text: the configuration file as it was read.
    Configuration = 10, "configuration";
}

/// A model-specific register.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct MsrNote {
    /// Its number.
    pub number: u64,
    /// Its value as the GPOS would read it.
    pub value: u64,
}

/// What was on its way to the GPOS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct PendingNote {
    /// Event to be injected at the next entry (EVENTINJ, APM2 15.20).
    pub injection: u64,
    /// Event whose delivery the last exit interrupted (EXITINTINFO, APM2 15.7.2).
    pub interrupted: u64,
    /// The virtual interrupt control (APM2 15.21).
    pub virtual_interrupt: u64,
    /// Bit 0: the guest was in an interrupt shadow.
    pub shadow: u64,
    /// The vector that the guest was offered and had not taken; 0: none.
    pub offered: u64,
    /// Interrupts injected since the machine started.
    pub injected: u64,
    /// Exits since the machine started.
    pub exits: u64,
}

/// A PCI function of the GPOS at the failure, before it was stopped.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct FunctionNote {
    /// Bus, device and function, as in a requester id.
    pub bdf: u16,
    /// Its command register.
    pub command: u16,
    /// Its status register.
    pub status: u16,
    /// Zero.
    pub reserved: u16,
    /// Vendor in the lower half, device in the upper.
    pub id: u32,
    /// The six base address registers as they stand.
    pub bars: [u32; 6],
    /// Zero.
    pub reserved_2: u32,
}

/// An event of the trace.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct TraceNote {
    /// Nanoseconds since the machine started.
    pub at_ns: u64,
    /// The trace's code of the event's kind.
    pub kind: u32,
    /// What of it; see there.
    pub argument: u32,
}

const _: () = {
    assert!(size_of::<MsrNote>() == 16);
    assert!(size_of::<PendingNote>() == 56);
    assert!(size_of::<FunctionNote>() == 40);
    assert!(size_of::<TraceNote>() == 16);
};

/// Puts notes together in a buffer; [`super::DumpWriter::set_notes`] takes them from there.
#[derive(Debug)]
pub struct NotesWriter<'n> {
    area: &'n mut [u8],
    used: usize,
}

impl<'n> NotesWriter<'n> {
    /// No notes yet. Of the buffer at most [`super::NOTES_BYTES`] find room in a dump.
    pub const fn new(area: &'n mut [u8]) -> Self {
        Self { area, used: 0 }
    }

    /// Adds a note; false if there is no room for it.
    pub fn add(&mut self, kind: NoteKind, bytes: &[u8]) -> bool {
        let written = append(self.area, self.used, kind, bytes);
        self.used = written.unwrap_or(self.used);
        written.is_some()
    }

    /// How many bytes the notes take.
    pub const fn used(&self) -> usize {
        self.used
    }
}

/// Puts a note into `area` behind the first `used` bytes. Returns how many are used now.
fn append(area: &mut [u8], used: usize, kind: NoteKind, bytes: &[u8]) -> Option<usize> {
    let padded = bytes.len().checked_next_multiple_of(8)?;
    let end = used.checked_add(HEAD)?.checked_add(padded)?;
    let room = area.get_mut(used..end)?;
    room.fill(0);
    let (head, body) = room.split_at_mut_checked(HEAD)?;
    let (code, length) = head.split_at_mut_checked(4)?;
    code.copy_from_slice(&kind.code().to_le_bytes());
    length.copy_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
    body.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(end)
}

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'n> {
    /// The number of its kind; [`NoteKind::from_code`].
    pub code: u32,
    /// Its bytes.
    pub bytes: &'n [u8],
}

impl<'n> Note<'n> {
    /// Its records. What is left over behind the last whole one is ignored.
    pub fn records<T: FromBytes>(&self) -> impl Iterator<Item = T> + use<'n, T> {
        let bytes = self.bytes;
        bytes
            .chunks_exact(size_of::<T>().max(1))
            .filter_map(|record| T::read_from_bytes(record).ok())
    }
}

/// Goes through notes; ends at the first that is none.
#[derive(Clone, Copy, Debug)]
pub struct NotesReader<'n>(&'n [u8]);

impl<'n> NotesReader<'n> {
    /// The notes in these bytes, as [`super::DumpReader::notes`] gives them.
    pub const fn new(bytes: &'n [u8]) -> Self {
        Self(bytes)
    }

    /// The first note of this kind.
    pub fn find(mut self, kind: NoteKind) -> Option<Note<'n>> {
        Iterator::find(&mut self, |note| note.code == kind.code())
    }
}

impl<'n> Iterator for NotesReader<'n> {
    type Item = Note<'n>;

    fn next(&mut self) -> Option<Note<'n>> {
        let (head, rest) = self.0.split_first_chunk::<HEAD>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let code = u32::from_le_bytes([a, b, c, d]);
        let length = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
        let bytes = rest.get(..length)?;
        self.0 = rest.get(length.next_multiple_of(8)..).unwrap_or(&[]);
        Some(Note { code, bytes })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn notes_come_back_in_order_until_there_is_no_room() {
        let mut area = [0xee; 72];
        let msr = MsrNote {
            number: 0x10,
            value: 7,
        };
        let used = append(&mut area, 0, NoteKind::Msrs, [msr, msr].as_bytes()).expect("room");
        assert_eq!(used, 40);
        let used = append(&mut area, used, NoteKind::Configuration, b"a = b").expect("room");
        assert_eq!(used, 56);
        assert_eq!(append(&mut area, used, NoteKind::Trace, &[0; 16]), None);
        let notes = NotesReader::new(&area[..used]);
        let codes: Vec<u32> = notes.map(|note| note.code).collect();
        assert_eq!(codes, [3, 10]);
        let found = notes.find(NoteKind::Msrs).expect("there");
        assert_eq!(found.records::<MsrNote>().collect::<Vec<_>>(), [msr, msr]);
        assert_eq!(
            notes.find(NoteKind::Configuration).expect("there").bytes,
            b"a = b"
        );
        assert!(notes.find(NoteKind::Tasks).is_none());
    }

    #[test]
    fn every_kind_survives_the_way_through_its_code() {
        for kind in NoteKind::ALL {
            assert_eq!(NoteKind::from_code(kind.code()), Some(*kind));
        }
        assert_eq!(NoteKind::from_code(0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_lead_astray(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for note in NotesReader::new(&bytes) {
                prop_assert!(note.records::<MsrNote>().count() * 16 <= note.bytes.len());
            }
        }
    }
}
