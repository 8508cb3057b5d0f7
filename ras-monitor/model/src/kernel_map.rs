//! Where in guest memory a kernel address lies.
//!
//! Two ways. The kernel's image is mapped linearly: its symbols need only `phys_base`
//! (`__pa_symbol`, arch/x86/include/asm/page.h), which works even when the page tables are ruined.
//! Everything else, the direct map and vmalloc space, goes through the page tables that begin at
//! `init_top_pgt`: the kernel's reference tables, which no process owns and CR3 need not name.
//! (The direct map's base is randomised and not among VMCOREINFO's values, hence the walk.)
//!
//! The walk is `darma_policy`'s; it ignores access rights: it asks where, not whether. Encrypted
//! memory (SME) is not offered to the GPOS, so its entries carry no encryption bit.

use crate::memory::{GuestPhysRead, PAGE_BYTES_U64};
use crate::vmcoreinfo::VmcoreInfo;
use darma_abi::units::{GuestPhys, GuestVirt};
use darma_policy::mmio::{Paging, translate};

/// Where the kernel's image mapping begins (`__START_KERNEL_map`).
const IMAGE_BASE: u64 = 0xffff_ffff_8000_0000;
/// Its length unless VMCOREINFO says otherwise.
const IMAGE_BYTES: u64 = 1 << 30;
/// The first place in the mapping where an image may begin, and the distance of the others
/// (`CONFIG_PHYSICAL_START` and `CONFIG_PHYSICAL_ALIGN` of x86-64).
const IMAGE_FIRST: u64 = 16 << 20;
const IMAGE_STEP: u64 = 2 << 20;
/// CR4: page tables of five levels.
const FIVE_LEVELS: u64 = 1 << 12;
/// Address bits of CR3.
const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
/// Kernel and user table of a process lie side by side when page tables are isolated; this bit
/// tells them apart (arch/x86/include/asm/pgtable.h).
const USER_TABLE: u64 = 1 << 12;

/// How tables of the long mode are built, by CR4.
const fn long_mode(cr4: u64) -> Paging {
    const PAGING_ON: u64 = 1 << 31;
    const PAE: u64 = 1 << 5;
    const LONG_MODE: u64 = 1 << 10;
    Paging {
        cr0: PAGING_ON,
        cr3: 0,
        cr4: PAE | cr4 & FIVE_LEVELS,
        efer: LONG_MODE,
    }
}

/// The address map of one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelMap {
    phys_base: i64,
    image_bytes: u64,
    root: GuestPhys,
    /// How the tables are built; each walk names its own root.
    paging: Paging,
    text: GuestVirt,
}

impl KernelMap {
    /// The map that this VMCOREINFO describes; `None` if it lacks a value.
    pub fn new(info: &VmcoreInfo<'_>) -> Option<Self> {
        let five = info.number("pgtable_l5_enabled").unwrap_or(0) == 1;
        let paging = long_mode(if five { FIVE_LEVELS } else { 0 });
        let image_bytes = info
            .number("KERNEL_IMAGE_SIZE")
            .and_then(|n| u64::try_from(n).ok());
        let mut map = Self {
            phys_base: info.number("phys_base")?,
            image_bytes: image_bytes.unwrap_or(IMAGE_BYTES),
            root: GuestPhys(0),
            paging,
            text: info.symbol("_stext")?,
        };
        let root = info
            .symbol("init_top_pgt")
            .or_else(|| info.symbol("swapper_pg_dir"))?;
        map.root = map.image_address(root)?;
        Some(map)
    }

    /// The map of the kernel, whichever it is, whose image these page tables map: the first large
    /// page that is mapped where images may lie is its begin, and shows how far it was moved. `None`
    /// as long as no kernel has made its tables.
    pub fn of_tables(memory: &impl GuestPhysRead, cr3: u64, cr4: u64) -> Option<Self> {
        let mut map = Self {
            phys_base: 0,
            image_bytes: IMAGE_BYTES,
            root: GuestPhys(cr3 & ADDRESS_MASK),
            paging: long_mode(cr4),
            text: GuestVirt(0),
        };
        let mut offset = IMAGE_FIRST;
        while offset < IMAGE_BYTES {
            let at = GuestVirt(IMAGE_BASE + offset);
            if let Some(begin) = map.walk(memory, map.root, at) {
                map.phys_base = begin.0.wrapping_sub(offset).cast_signed();
                map.text = at;
                return Some(map);
            }
            offset += IMAGE_STEP;
        }
        None
    }

    /// The address in the image by which the map is told from others.
    pub const fn text(&self) -> GuestVirt {
        self.text
    }

    /// Takes the tables at this address of the image for everything outside it.
    pub(crate) fn use_root(&mut self, root: u64) {
        if let Some(root) = self.image_address(GuestVirt(root)) {
            self.root = root;
        }
    }

    /// The root of the kernel's reference tables, and the levels below it.
    pub const fn tables(&self) -> (GuestPhys, u8) {
        const FIVE_LEVELS: u64 = 1 << 12;
        let levels = if self.paging.cr4 & FIVE_LEVELS == 0 {
            4
        } else {
            5
        };
        (self.root, levels)
    }

    /// The kernel's image mapping: where it begins and how long it may be.
    pub const fn image(&self) -> (GuestVirt, u64) {
        (GuestVirt(IMAGE_BASE), self.image_bytes)
    }

    /// Whether the page tables at this CR3 map this kernel's text where VMCOREINFO says it is.
    /// False for the note of an earlier kernel, and when CR3 itself is ruined.
    pub fn is_mapped_by(&self, memory: &impl GuestPhysRead, cr3: u64) -> bool {
        let expected = self.image_address(self.text);
        let root = GuestPhys(cr3 & ADDRESS_MASK);
        let kernel_root = GuestPhys(root.0 & !USER_TABLE);
        expected.is_some()
            && (self.walk(memory, root, self.text) == expected
                || self.walk(memory, kernel_root, self.text) == expected)
    }

    /// Where a kernel address lies in guest memory.
    pub fn translate(&self, memory: &impl GuestPhysRead, at: GuestVirt) -> Option<GuestPhys> {
        self.image_address(at)
            .or_else(|| self.walk(memory, self.root, at))
    }

    /// Fills `out` from a kernel address upward, page by page. False if any part is unreadable.
    pub fn read(&self, memory: &impl GuestPhysRead, at: GuestVirt, out: &mut [u8]) -> bool {
        let mut at = at.0;
        let mut rest = out;
        while !rest.is_empty() {
            let in_page = PAGE_BYTES_U64 - at % PAGE_BYTES_U64;
            let take = usize::try_from(in_page).map_or(rest.len(), |room| room.min(rest.len()));
            let Some((piece, tail)) = rest.split_at_mut_checked(take) else {
                return false;
            };
            let readable = self
                .translate(memory, GuestVirt(at))
                .is_some_and(|physical| memory.read(physical, piece));
            if !readable {
                return false;
            }
            rest = tail;
            at = at.wrapping_add(in_page);
        }
        true
    }

    /// The little-endian `u64` at a kernel address.
    pub fn read_u64(&self, memory: &impl GuestPhysRead, at: GuestVirt) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(memory, at, &mut bytes)
            .then(|| u64::from_le_bytes(bytes))
    }

    fn image_address(&self, at: GuestVirt) -> Option<GuestPhys> {
        let offset = at.0.checked_sub(IMAGE_BASE)?;
        if offset >= self.image_bytes {
            return None;
        }
        offset.checked_add_signed(self.phys_base).map(GuestPhys)
    }

    fn walk(
        &self,
        memory: &impl GuestPhysRead,
        root: GuestPhys,
        at: GuestVirt,
    ) -> Option<GuestPhys> {
        let paging = Paging {
            cr3: root.0,
            ..self.paging
        };
        translate(memory, &paging, at).ok()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::testing::Flat;
    use proptest::prelude::*;
    use std::vec;

    /// Image mapping moved down by 16 MiB - 64 KiB, tables at 0x10000 upward.
    const INFO: &[u8] = b"SYMBOL(init_top_pgt)=ffffffff81000000\nSYMBOL(_stext)=ffffffff81008000\n\
        NUMBER(phys_base)=-16711680\nNUMBER(pgtable_l5_enabled)=0\n";

    fn map() -> KernelMap {
        KernelMap::new(&VmcoreInfo::new(INFO)).expect("complete")
    }

    fn memory() -> Flat {
        let mut memory = Flat(vec![0; 0x20_000]);
        // The direct map at 0xffff_8880_0000_0000: 4 KiB pages, one of them; a 2 MiB page next.
        memory.put_u64(0x1_0000 + 0x111 * 8, 0x1_1001);
        memory.put_u64(0x1_1000, 0x1_2003);
        memory.put_u64(0x1_2000, 0x1_3003);
        memory.put_u64(0x1_2008, 0x83);
        memory.put_u64(0x1_3000 + 8, 0x5063);
        // The image mapping: text at 0x18000.
        memory.put_u64(0x1_0000 + 0x1ff * 8, 0x1_4003);
        memory.put_u64(0x1_4000 + 0x1fe * 8, 0x1_5003);
        memory.put_u64(0x1_5000 + 8 * 8, 0x1_6003);
        memory.put_u64(0x1_6000 + 8 * 8, 0x1_8003);
        memory
    }

    #[test]
    fn image_addresses_need_no_page_tables() {
        let nothing = Flat(vec![]);
        let at = map().translate(&nothing, GuestVirt(0xffff_ffff_8100_1234));
        assert_eq!(at, Some(GuestPhys(0x1_1234)));
    }

    #[test]
    fn other_addresses_are_walked() {
        let (map, memory) = (map(), memory());
        let at = |address| map.translate(&memory, GuestVirt(address));
        assert_eq!(at(0xffff_8880_0000_1abc), Some(GuestPhys(0x5abc)));
        assert_eq!(at(0xffff_8880_0020_1abc), Some(GuestPhys(0x1abc)));
        assert_eq!(at(0xffff_8880_0000_0000), None, "not present");
        assert_eq!(at(0x1000), None, "no table");
    }

    #[test]
    fn a_read_over_a_page_boundary_needs_both_pages() {
        let (map, mut memory) = (map(), memory());
        memory.put(0x5ffc, b"abcd");
        assert_eq!(
            map.read_u64(&memory, GuestVirt(0xffff_8880_0000_1ffc)),
            None
        );
        memory.put_u64(0x1_3000 + 16, 0x7063);
        memory.put(0x7000, b"efgh");
        let both = map.read_u64(&memory, GuestVirt(0xffff_8880_0000_1ffc));
        assert_eq!(both.map(u64::to_le_bytes), Some(*b"abcdefgh"));
    }

    #[test]
    fn the_live_kernel_is_told_from_one_that_is_gone() {
        let memory = memory();
        assert!(map().is_mapped_by(&memory, 0x1_0000));
        assert!(
            map().is_mapped_by(&memory, 0x1_1000),
            "the user's half of an isolated pair"
        );
        assert!(!map().is_mapped_by(&memory, 0x1_8000));
        assert!(!map().is_mapped_by(&memory, u64::MAX));
    }

    proptest! {
        #[test]
        fn no_table_content_leads_astray(
            words in prop::collection::vec(any::<u64>(), 512..1024),
            at in any::<u64>(),
        ) {
            let mut memory = Flat(vec![0; 0x20_000]);
            for (index, word) in words.iter().enumerate() {
                memory.put_u64(0x1_0000 + index * 8, word | 1);
            }
            let _ = map().translate(&memory, GuestVirt(at));
        }
    }
}
