//! ORC: what the stack looks like at each instruction of the kernel.
//!
//! Two tables, sorted by address: of the addresses, each as an `i32` relative to its own place, and
//! of the entries, six bytes each: offsets `i16` for the stack pointer and the frame pointer, then
//! bits 0..4 base of the first, 4..8 base of the second, 8..10 the kind of frame, 10 the end
//! (arch/x86/include/asm/orc_types.h of Linux 6.1). Kernels from 6.4 on have other bits; the type
//! information tells ([`is_known`]).

use super::view::View;
use super::wanted::{Member, Members};
use crate::memory::GuestPhysRead;

/// The most entries that a table may claim.
const COUNT_MAX: u64 = 1 << 22;

/// A pair of tables: of the kernel or of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orc {
    ips: u64,
    entries: u64,
    count: u64,
}

/// What a value is an offset from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Undefined,
    PreviousSp,
    Bp,
    Sp,
    BpIndirect,
    SpIndirect,
    Register(Register),
}

/// Registers that code uses as its frame for a few instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Dx,
    Di,
    R10,
    R13,
}

/// What lies at the frame's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A return address.
    Call,
    /// All registers, as an exception's entry saves them.
    Registers,
    /// What the processor itself pushes.
    Interrupt,
}

/// How to get from one frame to its caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sp_offset: i16,
    pub(super) bp_offset: i16,
    pub(super) sp: Base,
    pub(super) bp: Base,
    pub(super) kind: Kind,
    pub(super) last: bool,
}

impl Entry {
    /// For a call through a null pointer: nothing but the return address was pushed.
    pub(super) const NULL_CALL: Self = Self {
        sp_offset: 8,
        bp_offset: 0,
        sp: Base::Sp,
        bp: Base::Undefined,
        kind: Kind::Call,
        last: false,
    };

    /// For code without a table (generated at run time): as if it had a frame pointer.
    pub(super) const FRAME_POINTER: Self = Self {
        sp_offset: 16,
        bp_offset: -16,
        sp: Base::Bp,
        bp: Base::PreviousSp,
        kind: Kind::Call,
        last: false,
    };

    fn parse(bytes: [u8; 6]) -> Option<Self> {
        let [a, b, c, d, bases, flags] = bytes;
        Some(Self {
            sp_offset: i16::from_le_bytes([a, b]),
            bp_offset: i16::from_le_bytes([c, d]),
            sp: base(bases & 15)?,
            bp: base(bases >> 4)?,
            kind: match flags & 3 {
                0 => Kind::Call,
                1 => Kind::Registers,
                2 => Kind::Interrupt,
                _ => return None,
            },
            last: flags & 4 != 0,
        })
    }
}

fn base(code: u8) -> Option<Base> {
    Some(match code {
        0 => Base::Undefined,
        1 => Base::PreviousSp,
        2 => Base::Register(Register::Dx),
        3 => Base::Register(Register::Di),
        4 => Base::Bp,
        5 => Base::Sp,
        6 => Base::Register(Register::R10),
        7 => Base::Register(Register::R13),
        8 => Base::BpIndirect,
        9 => Base::SpIndirect,
        _ => return None,
    })
}

/// Whether a kernel's entries have the layout that is read here.
pub(super) fn is_known(members: &Members) -> bool {
    members.bits(Member::OrcSpRegister) == Some(32)
        && members.bits(Member::OrcType) == Some(40)
        && members.bits(Member::OrcLast) == Some(42)
}

impl Orc {
    /// The tables of the kernel, from the symbols around them.
    pub(super) fn between(ips: (u64, u64), entries: (u64, u64)) -> Option<Self> {
        let count = ips.1.checked_sub(ips.0)? / 4;
        let bytes = entries.1.checked_sub(entries.0)?;
        (bytes == count * 6)
            .then(|| Self::new(ips.0, entries.0, count))
            .flatten()
    }

    /// Tables of so many entries.
    pub(super) fn new(ips: u64, entries: u64, count: u64) -> Option<Self> {
        (1..=COUNT_MAX).contains(&count).then_some(Self {
            ips,
            entries,
            count,
        })
    }

    /// The last entry at or below an address: the one that holds for it.
    pub(super) fn find<M: GuestPhysRead>(&self, view: &View<'_, M>, ip: u64) -> Option<Entry> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let place = self.ips.wrapping_add(middle * 4);
            let begin = place.wrapping_add_signed(i64::from(view.i32(place)?));
            if begin <= ip {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let found = low.checked_sub(1)?;
        Entry::parse(view.bytes(self.entries.wrapping_add(found * 6))?)
    }
}
