//! The guest's own page tables, walked by software.
//!
//! Used to fetch the instruction at RIP and by the crash reader to follow kernel pointers. Every
//! entry is the guest's and is believed only as far as one read: the walk takes at most five
//! steps, each to wherever the entry says, and a step outside readable guest memory ends it. All
//! paging modes of APM2 5.2 to 5.4: none, 32-bit, PAE, four and five levels. Permissions and the
//! accessed and dirty bits are left alone: the processor has already performed the access that
//! made the exit.

pub use darma_abi::memory::GuestPhysRead;
use darma_abi::units::{GuestPhys, GuestVirt};

/// The control registers that select and root the paging mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    /// CR0: PG is bit 31.
    pub cr0: u64,
    /// The root.
    pub cr3: u64,
    /// CR4: PSE is bit 4, PAE bit 5, LA57 bit 12.
    pub cr4: u64,
    /// EFER: LMA is bit 10.
    pub efer: u64,
}

/// Why a linear address has no guest-physical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// The upper bits are no sign extension (APM2 5.3.1).
    NotCanonical,
    /// The entry of this level (1 is the page table) is not present.
    NotPresent(u8),
    /// The entry of this level lies outside readable guest memory.
    Unreadable(u8),
}

/// One paging mode.
struct Shape {
    levels: u8,
    entry_bytes: u8,
    index_bits: u32,
    root_mask: u64,
}

/// Bits 12 to 51 of an entry, CR3 or a page address (APM2 5.3.3).
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;

impl Paging {
    fn shape(&self) -> Option<Shape> {
        if self.cr0 & (1 << 31) == 0 {
            return None;
        }
        let wide = |levels, root_mask| Shape {
            levels,
            entry_bytes: 8,
            index_bits: 9,
            root_mask,
        };
        Some(if self.efer & (1 << 10) != 0 {
            wide(if self.cr4 & (1 << 12) == 0 { 4 } else { 5 }, ADDRESS)
        } else if self.cr4 & (1 << 5) != 0 {
            wide(3, 0xffff_ffe0)
        } else {
            Shape {
                levels: 2,
                entry_bytes: 4,
                index_bits: 10,
                root_mask: 0xffff_f000,
            }
        })
    }
}

/// Where in guest-physical memory `at` lies.
///
/// # Errors
/// [`WalkError`], with the level at which the walk ended.
pub fn translate(
    memory: &impl GuestPhysRead,
    paging: &Paging,
    at: GuestVirt,
) -> Result<GuestPhys, WalkError> {
    let Some(shape) = paging.shape() else {
        return Ok(GuestPhys(at.0 & 0xffff_ffff));
    };
    let linear = if shape.levels >= 4 {
        let unused = if shape.levels == 4 { 16 } else { 7 };
        if (at.0 << unused).cast_signed() >> unused != at.0.cast_signed() {
            return Err(WalkError::NotCanonical);
        }
        at.0
    } else {
        at.0 & 0xffff_ffff
    };
    let mut table = paging.cr3 & shape.root_mask;
    for level in (1..=shape.levels).rev() {
        let shift = 12 + shape.index_bits * u32::from(level - 1);
        let index = (linear >> shift) & ((1 << shape.index_bits) - 1);
        let entry = read_entry(memory, table, index, shape.entry_bytes)
            .ok_or(WalkError::Unreadable(level))?;
        if entry & PRESENT == 0 {
            return Err(WalkError::NotPresent(level));
        }
        let offset_mask = (1u64 << shift) - 1;
        if level > 1 && entry & LARGE != 0 && large_page(paging, &shape, level) {
            return Ok(GuestPhys(
                large_base(&shape, entry, offset_mask) | (linear & offset_mask),
            ));
        }
        table = entry & ADDRESS;
    }
    Ok(GuestPhys(table | (linear & 0xfff)))
}

fn read_entry(memory: &impl GuestPhysRead, table: u64, index: u64, entry_bytes: u8) -> Option<u64> {
    let at = GuestPhys(table).checked_add(index.checked_mul(u64::from(entry_bytes))?)?;
    let mut bytes = [0; 8];
    let part = bytes.get_mut(..usize::from(entry_bytes))?;
    memory.read(at, part).then_some(u64::from_le_bytes(bytes))
}

/// Whether the level has large pages: 4 MiB needs CR4.PSE, 1 GiB only exists in long mode.
fn large_page(paging: &Paging, shape: &Shape, level: u8) -> bool {
    match (shape.levels, level) {
        (2, 2) => paging.cr4 & (1 << 4) != 0,
        (3.., 2) | (4.., 3) => true,
        _ => false,
    }
}

/// The base of a large page. 4 MiB pages keep bits 32 to 39 of it in entry bits 13 to 20
/// (APM2 5.2.3).
fn large_base(shape: &Shape, entry: u64, offset_mask: u64) -> u64 {
    if shape.levels == 2 {
        (entry & 0xffc0_0000) | ((entry >> 13) & 0xff) << 32
    } else {
        entry & ADDRESS & !offset_mask
    }
}

/// Copies linear memory from `at` on into `out`, page by page, and returns how many bytes were
/// readable before the first that was not. At most one walk per page of `out`.
pub fn read_linear(
    memory: &impl GuestPhysRead,
    paging: &Paging,
    at: GuestVirt,
    out: &mut [u8],
) -> usize {
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let from = GuestVirt(at.0.wrapping_add(done as u64));
        let in_page = 0x1000 - usize::try_from(from.0 & 0xfff).unwrap_or(0);
        let length = in_page.min(rest.len());
        let Ok(phys) = translate(memory, paging, from) else {
            break;
        };
        let Some(piece) = rest.get_mut(..length) else {
            break;
        };
        if !memory.read(phys, piece) {
            break;
        }
        done += length;
    }
    done
}
