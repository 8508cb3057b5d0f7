//! At which addresses the dead kernel saw its memory: the direct map, and its image.
//!
//! The tools translate by the kernel's own page tables and do not need these addresses. They help where
//! the tables are ruined, and they keep a null pointer from being read as physical page 0, as it would
//! be if the segments' virtual addresses were left at zero.
//!
//! The direct map's base is `page_offset_base`, randomised at 1 GiB; VMCOREINFO does not name it. It is
//! the lowest thing in the kernel's half of the reference tables (Documentation/x86/x86_64/mm.rst), and
//! physical page 0 is always in it. So: the first entry present, level by level down to 1 GiB, then
//! proved by walking to two addresses whose place is known.

use std::ops::Range;

use darma_abi::units::{GuestPhys, GuestVirt};
use darma_policy::mmio::{Paging, translate};
use darma_ras_model::GuestPhysRead;
use darma_ras_model::kernel_map::KernelMap;
use darma_ras_model::memory::PAGE_BYTES_U64;
use darma_ras_model::vmcoreinfo::VmcoreInfo;

const ENTRIES: u64 = 512;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Modules begin here (Documentation/x86/x86_64/mm.rst); the image ends before.
const IMAGE_LIMIT: u64 = 0xffff_ffff_c000_0000;
/// The image is mapped in pages of this size.
const STEP: u64 = 2 << 20;

/// A kernel's page tables, as VMCOREINFO describes them.
pub struct AddressSpace<'m, M> {
    memory: &'m M,
    map: KernelMap,
    paging: Paging,
    levels: u32,
    text: GuestVirt,
}

impl<'m, M: GuestPhysRead> AddressSpace<'m, M> {
    /// `None` if VMCOREINFO lacks a value.
    pub fn new(memory: &'m M, info: &VmcoreInfo<'_>) -> Option<Self> {
        const PAGING_ON: u64 = 1 << 31;
        const PAE: u64 = 1 << 5;
        const FIVE_LEVELS: u64 = 1 << 12;
        const LONG_MODE: u64 = 1 << 10;
        let map = KernelMap::new(info)?;
        let root = info
            .symbol("init_top_pgt")
            .or_else(|| info.symbol("swapper_pg_dir"))?;
        let five = info.number("pgtable_l5_enabled") == Some(1);
        let paging = Paging {
            cr0: PAGING_ON,
            cr3: map.translate(memory, root)?.0,
            cr4: PAE | if five { FIVE_LEVELS } else { 0 },
            efer: LONG_MODE,
        };
        Some(Self {
            memory,
            map,
            paging,
            levels: if five { 5 } else { 4 },
            text: info.symbol("_stext")?,
        })
    }

    fn walk(&self, at: u64) -> Option<GuestPhys> {
        translate(self.memory, &self.paging, GuestVirt(at)).ok()
    }

    /// The virtual address of physical address 0 in the direct map.
    pub fn direct_map(&self) -> Option<u64> {
        let mut table = self.paging.cr3;
        let shift_of = |level: u32| 12 + 9 * (level - 1);
        // The kernel's half: all bits above those that are translated are set.
        let mut base = u64::MAX << (shift_of(self.levels) + 8);
        let mut first = ENTRIES / 2;
        // Down to level 3, whose entries cover 1 GiB each.
        for level in (3..=self.levels).rev() {
            let (index, entry) = (first..ENTRIES).find_map(|index| {
                let entry = self.memory.read_u64(GuestPhys(table + index * 8))?;
                (entry & PRESENT != 0).then_some((index, entry))
            })?;
            base = base.checked_add((index - first) << shift_of(level))?;
            if level > 3 && entry & LARGE != 0 {
                return None;
            }
            table = entry & ADDRESS;
            first = 0;
        }
        let text = self.map.translate(self.memory, self.text)?;
        let agrees = |physical: u64| {
            base.checked_add(physical).and_then(|at| self.walk(at)) == Some(GuestPhys(physical))
        };
        (agrees(0) && agrees(text.0)).then_some(base)
    }

    /// The kernel's image: from its text's first page as far as the tables map it in one piece.
    /// Its addresses, and where the first of them lies.
    pub fn image(&self) -> Option<(Range<u64>, GuestPhys)> {
        let start = self.text.0 / PAGE_BYTES_U64 * PAGE_BYTES_U64;
        let physical = self.map.translate(self.memory, GuestVirt(start))?;
        let mut end = start;
        while end < IMAGE_LIMIT {
            let expected = physical.0.checked_add(end - start)?;
            if self.walk(end) != Some(GuestPhys(expected)) {
                break;
            }
            end = (end / STEP + 1) * STEP;
        }
        (end > start).then_some((start..end, physical))
    }
}
