//! BTF: where the members of a kernel's structures are, by its own type information.
//!
//! One pass over the types, which stand one behind the other (Documentation/bpf/btf.rst). Only named
//! structures are looked into, and of them only their own members: those of unnamed structures
//! inside are not, as none of the wanted ones is there.

use super::view::{Budget, View, Window};
use super::wanted::{MEMBERS, Members};
use crate::memory::GuestPhysRead;

const HEADER: usize = 24;
const MAGIC: [u8; 4] = [0x9f, 0xeb, 1, 0];
const RECORD: u64 = 12;
const STRUCT: u32 = 4;
/// Longer than each wanted name and its final zero.
const NAME: usize = 24;
/// More members than the largest wanted structure has (`task_struct`: some 250).
const MEMBERS_MAX: u32 = 2048;

const NAME_COST: u32 = 4;
const TYPES_PER_UNIT: u32 = 2;

/// Where a structure's members are, how many, and whether they have sizes in bits.
type Shape = (u64, u32, bool);

const _: () = assert!(MEMBERS.len() <= 32, "a bit for each");

/// The pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    at: u64,
    end: u64,
    strings: u64,
    /// A bit for each member whose structure was passed.
    passed: u32,
}

impl Pass {
    /// A pass over the type information between these addresses, if it is such.
    pub(super) fn new<M: GuestPhysRead>(view: &View<'_, M>, start: u64, end: u64) -> Option<Self> {
        let header = view.bytes::<HEADER>(start)?;
        let word = |at: usize| -> Option<u64> {
            let bytes = header.get(at..)?.first_chunk()?;
            Some(u64::from(u32::from_le_bytes(*bytes)))
        };
        let size = end.checked_sub(start)?;
        let (types, types_bytes) = (word(4)?.checked_add(word(8)?)?, word(12)?);
        let (strings, strings_bytes) = (word(4)?.checked_add(word(16)?)?, word(20)?);
        let fits =
            types.checked_add(types_bytes)? <= size && strings.checked_add(strings_bytes)? <= size;
        (header.starts_with(&MAGIC) && fits).then(|| Self {
            at: start.wrapping_add(types),
            end: start.wrapping_add(types).wrapping_add(types_bytes),
            strings: start.wrapping_add(strings),
            passed: 0,
        })
    }

    /// Goes on; `Some(true)` when it is through, `None` if the information is damaged.
    pub(super) fn step<M: GuestPhysRead>(
        &mut self,
        view: &View<'_, M>,
        window: &mut Window,
        members: &mut Members,
        budget: &mut Budget,
    ) -> Option<bool> {
        while self.at < self.end && self.passed.count_ones() as usize != MEMBERS.len() {
            if !budget.spend(1) {
                return Some(false);
            }
            if window.block(self.at).is_none_or(|block| block.len() < 12) {
                window.refill(view, self.at)?;
            }
            let block = window.block(self.at).filter(|block| block.len() >= 12)?;
            let mut types = 0;
            let found = self.pass_block(block, &mut types)?;
            budget.charge(types / TYPES_PER_UNIT);
            let Some((name, shape)) = found else {
                continue;
            };
            budget.charge(NAME_COST);
            if let Some(group) = self.group(view, name) {
                self.structure(view, window, shape, group, members)?;
                budget.charge(shape.1.min(MEMBERS_MAX).saturating_mul(NAME_COST));
            }
        }
        Some(true)
    }

    /// Passes the types of a block up to the first named structure, which is returned: its name's
    /// place, and where its members are, how many, and whether they have sizes in bits.
    fn pass_block(&mut self, block: &[u8], types: &mut u32) -> Option<Option<(u32, Shape)>> {
        let mut rest = block;
        while self.at < self.end
            && let Some((record, behind)) = rest.split_at_checked(12)
        {
            *types += 1;
            let info = word(record, 4)?;
            let (kind, count) = (info >> 24 & 31, info & 0xffff);
            let body = self.at.wrapping_add(RECORD);
            let extra = extra(kind, count)?;
            self.at = body.wrapping_add(extra);
            let name = word(record, 0)?;
            if kind == STRUCT && name != 0 && count != 0 {
                return Some(Some((name, (body, count, info >> 31 != 0))));
            }
            rest = usize::try_from(extra)
                .ok()
                .and_then(|extra| behind.get(extra..))
                .unwrap_or(&[]);
        }
        Some(None)
    }

    /// The wanted members of the structure with this name, as indices, if it is new.
    fn group<M: GuestPhysRead>(&mut self, view: &View<'_, M>, name: u32) -> Option<u32> {
        let name = self.string(view, name)?;
        // All but some hundreds are ruled out here.
        if !MEMBERS
            .iter()
            .any(|(structure, _)| structure.first_chunk() == name.first_chunk::<2>())
        {
            return None;
        }
        let group = MEMBERS
            .iter()
            .enumerate()
            .filter(|(_, (structure, _))| is_name(&name, structure))
            .fold(0, |group, (index, _)| group | 1 << index);
        let new = group & !self.passed;
        self.passed |= group;
        (new != 0).then_some(new)
    }

    fn structure<M: GuestPhysRead>(
        &self,
        view: &View<'_, M>,
        window: &mut Window,
        (body, count, packed): Shape,
        group: u32,
        members: &mut Members,
    ) -> Option<()> {
        for index in 0..count.min(MEMBERS_MAX) {
            let member = body.wrapping_add(u64::from(index) * RECORD);
            let record = window.get(view, member, 12)?;
            let (name, place) = (word(record, 0)?, word(record, 8)?);
            let bits = if packed { place & 0xff_ffff } else { place };
            let name = self.string(view, name)?;
            for (index, (_, wanted)) in MEMBERS.iter().enumerate() {
                if group & 1 << index != 0 && is_name(&name, wanted) {
                    members.set(index, bits);
                }
            }
        }
        Some(())
    }

    fn string<M: GuestPhysRead>(&self, view: &View<'_, M>, at: u32) -> Option<[u8; NAME]> {
        view.bytes(self.strings.wrapping_add(u64::from(at)))
    }
}

/// Bytes behind a type's record.
fn extra(kind: u32, count: u32) -> Option<u64> {
    let count = u64::from(count);
    Some(match kind {
        // integer, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // structure, union, section, 64-bit enumeration
        4 | 5 | 15 | 19 => 12 * count,
        // enumeration, prototype
        6 | 13 => 8 * count,
        // pointer, forward, type name, qualifiers, function, float, type tag
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn word(record: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*record.get(at..)?.first_chunk()?))
}

/// Whether these bytes begin with that name and a zero.
fn is_name(bytes: &[u8; NAME], name: &[u8]) -> bool {
    bytes
        .strip_prefix(name)
        .is_some_and(|rest| rest.first() == Some(&0))
}
