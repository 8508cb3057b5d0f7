//! kallsyms: the kernel's own table of symbols, by address and by name.
//!
//! | table | holds |
//! |---|---|
//! | offsets | per symbol an `i32`, ascending by address: below zero, the distance from the base less one; else an absolute value (a place in each processor's area) |
//! | names | per symbol a length of one byte (two, if bit 7 is set) and so many tokens |
//! | markers | where each 256th name begins, `u32` |
//! | tokens | 256 strings, and for each where it begins, `u16` |
//!
//! An expanded name begins with a letter for the symbol's type. The layout is that of Linux 6.1
//! (scripts/kallsyms.c, kernel/kallsyms.c), with relative offsets and absolute per-processor symbols.

use super::view::{View, Window};
use crate::memory::GuestPhysRead;

/// The most symbols that a table may claim.
pub(super) const COUNT_MAX: u32 = 1 << 20;
/// The longest compressed name: the kernel's limit of an expanded one (`KSYM_NAME_LEN`).
pub(super) const TOKENS_MAX: usize = 512;
/// Symbols per marker.
pub(super) const PER_MARKER: u32 = 256;
/// Room for all tokens; measured: below 1.1 KiB.
const TOKEN_TEXT: usize = 4096;

/// Where the tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Address of the offsets.
    pub offsets: u64,
    /// What they are relative to: the begin of the kernel's image.
    pub base: u64,
    /// Symbols.
    pub count: u32,
    /// Address of the names.
    pub names: u64,
    /// Address of the markers.
    pub markers: u64,
}

/// The 256 tokens of which names are made, copied once.
#[derive(Clone, Debug)]
pub struct Tokens {
    begins: [u16; 257],
    text: [u8; TOKEN_TEXT],
}

impl Tokens {
    pub(super) const fn new() -> Self {
        Self {
            begins: [0; 257],
            text: [0; TOKEN_TEXT],
        }
    }

    /// Reads the table at `at` and its index behind it; false if the index does not describe it.
    pub(super) fn read<M: GuestPhysRead>(&mut self, view: &View<'_, M>, at: u64) -> bool {
        if !view.fill(at, &mut self.text) {
            return false;
        }
        let mut position = 0u16;
        for begin in self.begins.iter_mut().take(256) {
            *begin = position;
            let rest = self.text.get(usize::from(position)..).unwrap_or(&[]);
            let Some(length) = rest.iter().position(|byte| *byte == 0) else {
                return false;
            };
            let Ok(length) = u16::try_from(length) else {
                return false;
            };
            position += length + 1;
        }
        if let Some(last) = self.begins.last_mut() {
            *last = position;
        }
        let index = align(at.wrapping_add(u64::from(position)));
        let mut described = [0; 512];
        view.fill(index, &mut described)
            && described
                .chunks_exact(2)
                .zip(&self.begins)
                .all(|(bytes, begin)| bytes == begin.to_le_bytes())
    }

    /// The text of a token.
    pub(super) fn get(&self, token: u8) -> &[u8] {
        let token = usize::from(token);
        let begin = self.begins.get(token).copied().unwrap_or(0);
        let next = self.begins.get(token + 1).copied().unwrap_or(0);
        let end = usize::from(next).saturating_sub(1);
        self.text.get(usize::from(begin)..end).unwrap_or(&[])
    }
}

/// The next multiple of eight: how the tables are placed.
pub(super) const fn align(at: u64) -> u64 {
    at.wrapping_add(7) & !7
}

/// Shows up to `count` compressed names from `at` on, as long as `visit` wants more, and moves `at`
/// behind the last one shown. `None` if there is no name. Passing one costs some ten instructions, not
/// a read: the tables hold ten thousands.
pub(super) fn each_name<M: GuestPhysRead>(
    view: &View<'_, M>,
    window: &mut Window,
    at: &mut u64,
    count: u32,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Option<()> {
    let mut left = count;
    let mut fresh = false;
    while left > 0 {
        let Some(block) = window.block(*at) else {
            window.refill(view, *at)?;
            fresh = true;
            continue;
        };
        let mut rest = block;
        while left > 0
            && let Some((name, behind)) = first_name(rest)
        {
            left -= 1;
            rest = behind;
            if !visit(name) {
                left = 0;
            }
        }
        let passed = block.len() - rest.len();
        if passed == 0 {
            // The block ends within a name: once more from its begin, or it is none.
            if fresh {
                return None;
            }
            window.clear();
        }
        *at = at.wrapping_add(u64::try_from(passed).unwrap_or(0));
        fresh = false;
    }
    Some(())
}

/// The name at the begin of a block and what is behind it; `None` if it is not whole there.
fn first_name(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (low, behind) = block.split_first()?;
    let low = usize::from(*low);
    let (count, behind) = if low & 0x80 == 0 {
        (low, behind)
    } else {
        let (high, behind) = behind.split_first()?;
        (low & 0x7f | usize::from(*high) << 7, behind)
    };
    if count == 0 || count > TOKENS_MAX {
        return None;
    }
    behind.split_at_checked(count)
}

/// A symbol around an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Its place in the table.
    pub index: u32,
    /// The address, from its begin.
    pub offset: u64,
    /// From its begin to the next one's; 0 if it is the last.
    pub size: u64,
}

impl Tables {
    /// The address of a symbol.
    pub(super) fn address<M: GuestPhysRead>(&self, view: &View<'_, M>, index: u32) -> Option<u64> {
        let at = self.offsets.wrapping_add(u64::from(index) * 4);
        let offset = i64::from(view.i32(at)?);
        Some(if offset >= 0 {
            offset.cast_unsigned()
        } else {
            // base - 1 - offset
            self.base.wrapping_add((!offset).cast_unsigned())
        })
    }

    /// The symbol that begins at or below an address; of several at the same place the first.
    pub(super) fn around<M: GuestPhysRead>(
        &self,
        view: &View<'_, M>,
        address: u64,
    ) -> Option<Around> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.address(view, middle)? <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let next = low;
        let mut index = low.checked_sub(1)?;
        let begin = self.address(view, index)?;
        for _ in 0..PER_MARKER {
            let Some(before) = index.checked_sub(1) else {
                break;
            };
            if self.address(view, before)? != begin {
                break;
            }
            index = before;
        }
        let end = (next < self.count).then(|| self.address(view, next));
        let size = end.flatten().map_or(0, |end| end.wrapping_sub(begin));
        Some(Around {
            index,
            offset: address.wrapping_sub(begin),
            size,
        })
    }

    /// Puts a symbol's name into `out`, without its type's letter and cut to what fits; its length.
    pub(super) fn name<M: GuestPhysRead>(
        &self,
        view: &View<'_, M>,
        tokens: &Tokens,
        index: u32,
        out: &mut [u8],
    ) -> Option<usize> {
        let mut window = Window::new();
        let marker = u64::from(index / PER_MARKER) * 4;
        let skip = view.u32(self.markers.wrapping_add(marker))?;
        let mut at = self.names.wrapping_add(u64::from(skip));
        each_name(view, &mut window, &mut at, index % PER_MARKER, |_| true)?;
        let mut used = 0;
        each_name(view, &mut window, &mut at, 1, |codes| {
            let expanded = codes.iter().flat_map(|code| tokens.get(*code)).skip(1);
            for (room, byte) in out.iter_mut().zip(expanded) {
                *room = *byte;
                used += 1;
            }
            true
        })?;
        Some(used)
    }
}
