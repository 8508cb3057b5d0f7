//! The bytes of the shared region, field by field, with every offset asserted.
//!
//! Plain little-endian integers (the machine is x86-64 on both sides), no implicit padding, no
//! pointers, no field that needs a particular value to be valid: any bytes are a legal struct, and
//! meaning is checked when a field is used.

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::text::Text;

/// PCI vendor of the virtual function.
pub const PCI_VENDOR: u16 = 0x1af4;
/// PCI device of the virtual function.
pub const PCI_DEVICE: u16 = 0x1110;
/// First bytes of BAR2.
pub const MAGIC: [u8; 8] = *b"DARMASHM";
/// Version of this layout; raised by any change that an older reader would misread.
pub const LAYOUT_VERSION: u32 = 1;
/// Size of the shared region and of BAR2, bytes; a power of two, as a BAR must be.
pub const REGION_BYTES: u64 = 1 << 20;
/// Where the status block starts, bytes from the start of the region.
pub const STATUS_OFFSET: usize = 4096;
/// Tasks that the status block has room for.
pub const MAX_TASKS: usize = 16;
/// Room for a name, bytes.
pub const NAME_BYTES: usize = 24;
/// Room for a line of text, bytes.
pub const LINE_BYTES: usize = 96;

/// First thing in the region: written once by the nanokernel at each start of the GPOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`LAYOUT_VERSION`].
    pub layout_version: u32,
    /// Size of this header, bytes.
    pub header_bytes: u32,
    /// Size of the region, bytes.
    pub region_bytes: u64,
    /// Offset of the status block from the start of the region, bytes.
    pub status_offset: u32,
    /// Size of the status block, bytes.
    pub status_bytes: u32,
    /// Size of the fault store behind the window, bytes; 0 from a nanokernel without a window.
    pub fault_store_bytes: u64,
    /// Size of the dump store behind the window, bytes; 0: there is none.
    pub dump_store_bytes: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

impl RegionHeader {
    /// The header of this layout version, of a machine without stores.
    pub const CURRENT: Self = Self {
        magic: MAGIC,
        layout_version: LAYOUT_VERSION,
        header_bytes: small(size_of::<Self>()),
        region_bytes: REGION_BYTES,
        status_offset: small(STATUS_OFFSET),
        status_bytes: small(size_of::<StatusBlock>()),
        fault_store_bytes: 0,
        dump_store_bytes: 0,
        reserved: [0; 2],
    };
}

/// Sizes of this layout as `u32`; the assertions below keep every one of them under 64 KiB.
#[allow(clippy::cast_possible_truncation)] // reason: const-evaluated sizes, each asserted small
const fn small(size: usize) -> u32 {
    assert!(size < 1 << 16);
    size as u32
}

/// The status block: a sequence lock around [`StatusBody`].
///
/// The writer makes `sequence` odd, writes the body, makes it even. A reader that sees an odd value,
/// or another value after reading than before, has seen a torn body and reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StatusBlock {
    /// Even: stable. Odd: being written.
    pub sequence: u32,
    /// Zero.
    pub reserved: u32,
    /// What the lock protects.
    pub body: StatusBody,
}

/// What the nanokernel tells the GPOS about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct StatusBody {
    /// Nanoseconds since the nanokernel started, when this was written.
    pub uptime_ns: u64,
    /// Frequency of the time-stamp counter, Hz.
    pub tsc_hz: u64,
    /// Starts of the GPOS, the running one included.
    pub gpos_boots: u32,
    /// A [`crate::codes::GposState`]'s code.
    pub gpos_state: u32,
    /// The last failure of the GPOS.
    pub fault: FaultEntry,
    /// The machinery's own figures.
    pub machinery: Machinery,
    /// How many of `tasks` are in use; a reader bounds it by [`MAX_TASKS`].
    pub task_count: u32,
    /// Zero.
    pub reserved: u32,
    /// The RTOS's tasks, in the order of their declaration.
    pub tasks: [TaskEntry; MAX_TASKS],
}

impl StatusBody {
    /// All zero: a nanokernel that has just started.
    pub fn zeroed() -> Self {
        FromZeros::new_zeroed()
    }
}

/// The last failure of the GPOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FaultEntry {
    /// Number of the failure, counted from 1 since the nanokernel started; 0: none so far.
    pub sequence: u32,
    /// A [`crate::codes::Cause`]'s code.
    pub cause: u32,
    /// The code of the [`crate::codes::CrashKind`] that was announced before it, or 0.
    pub announced: u32,
    /// Zero.
    pub reserved: u32,
    /// When it was detected, nanoseconds since the nanokernel started.
    pub at_ns: u64,
    /// From the announced crash to its detection, nanoseconds; 0 if nothing was announced.
    pub detect_ns: u64,
    /// One line about it: the panic message, or what was detected where.
    pub line: Text<LINE_BYTES>,
}

/// What the machinery costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Machinery {
    /// Longest section of the nanokernel with interrupts off, nanoseconds.
    pub irq_off_max_ns: u64,
    /// The name of that section.
    pub irq_off_section: Text<NAME_BYTES>,
    /// Bytes that the last memory dump takes in the dump store.
    pub dump_bytes: u64,
    /// Exits from the GPOS since the nanokernel started.
    pub exits: u64,
}

/// One task of the RTOS. Latency is from the deadline to the task's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TaskEntry {
    /// Its name.
    pub name: Text<NAME_BYTES>,
    /// Its priority class in the local APIC, 0 to 15; higher runs first.
    pub class: u32,
    /// Zero.
    pub reserved: u32,
    /// Its period, nanoseconds; 0 if it has none.
    pub period_ns: u64,
    /// How often it ran.
    pub runs: u64,
    /// How often it was due again before it had ended.
    pub overruns: u64,
    /// How often it ended after its deadline, or not at all.
    pub missed: u64,
    /// Least latency, nanoseconds.
    pub min_ns: u64,
    /// Median latency, nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile, nanoseconds.
    pub p99_ns: u64,
    /// 99.9th percentile, nanoseconds.
    pub p999_ns: u64,
    /// Greatest latency, nanoseconds.
    pub max_ns: u64,
}

const _: () = {
    assert!(size_of::<RegionHeader>() == 64);
    assert!(offset_of!(RegionHeader, magic) == 0);
    assert!(offset_of!(RegionHeader, layout_version) == 8);
    assert!(offset_of!(RegionHeader, header_bytes) == 12);
    assert!(offset_of!(RegionHeader, region_bytes) == 16);
    assert!(offset_of!(RegionHeader, status_offset) == 24);
    assert!(offset_of!(RegionHeader, status_bytes) == 28);
    assert!(offset_of!(RegionHeader, fault_store_bytes) == 32);
    assert!(offset_of!(RegionHeader, dump_store_bytes) == 40);

    assert!(offset_of!(StatusBlock, sequence) == 0);
    assert!(offset_of!(StatusBlock, body) == 8);

    assert!(offset_of!(StatusBody, uptime_ns) == 0);
    assert!(offset_of!(StatusBody, tsc_hz) == 8);
    assert!(offset_of!(StatusBody, gpos_boots) == 16);
    assert!(offset_of!(StatusBody, gpos_state) == 20);
    assert!(offset_of!(StatusBody, fault) == 24);
    assert!(offset_of!(StatusBody, machinery) == 152);
    assert!(offset_of!(StatusBody, task_count) == 200);
    assert!(offset_of!(StatusBody, tasks) == 208);
    assert!(size_of::<StatusBody>() == 208 + MAX_TASKS * 104);

    assert!(size_of::<FaultEntry>() == 128);
    assert!(offset_of!(FaultEntry, cause) == 4);
    assert!(offset_of!(FaultEntry, announced) == 8);
    assert!(offset_of!(FaultEntry, at_ns) == 16);
    assert!(offset_of!(FaultEntry, detect_ns) == 24);
    assert!(offset_of!(FaultEntry, line) == 32);

    assert!(size_of::<Machinery>() == 48);
    assert!(offset_of!(Machinery, irq_off_section) == 8);
    assert!(offset_of!(Machinery, dump_bytes) == 32);
    assert!(offset_of!(Machinery, exits) == 40);

    assert!(size_of::<TaskEntry>() == 104);
    assert!(offset_of!(TaskEntry, class) == 24);
    assert!(offset_of!(TaskEntry, period_ns) == 32);
    assert!(offset_of!(TaskEntry, runs) == 40);
    assert!(offset_of!(TaskEntry, overruns) == 48);
    assert!(offset_of!(TaskEntry, missed) == 56);
    assert!(offset_of!(TaskEntry, min_ns) == 64);
    assert!(offset_of!(TaskEntry, p50_ns) == 72);
    assert!(offset_of!(TaskEntry, p99_ns) == 80);
    assert!(offset_of!(TaskEntry, p999_ns) == 88);
    assert!(offset_of!(TaskEntry, max_ns) == 96);

    // Header and status block are in the region and do not overlap.
    assert!(size_of::<RegionHeader>() <= STATUS_OFFSET);
    assert!(((STATUS_OFFSET + size_of::<StatusBlock>()) as u64) <= REGION_BYTES);
    assert!(STATUS_OFFSET.is_multiple_of(8));
};
