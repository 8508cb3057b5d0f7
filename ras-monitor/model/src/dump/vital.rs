//! Which pages must not be missing when a dump cannot hold all: found in the dead kernel's memory.
//!
//! Page tables are hostile here: they may point anywhere, at themselves, and all at one another. So the
//! depth of a walk is its levels, and it ends after [`TABLES_MAX`] tables, whatever they hold. A page that
//! is named twice is marked once; one outside the memory costs nothing.

use super::PageKind;
use crate::kernel_map::KernelMap;
use crate::memory::{GuestPhysRead, PAGE_BYTES_U64};
use darma_abi::units::{GuestPhys, GuestVirt};

/// The most tables that one walk visits: twice what 2 GiB of small pages need.
pub const TABLES_MAX: u32 = 2048;
/// Stacks of kernel tasks are aligned to their size, 16 KiB (THREAD_SIZE on x86-64).
const STACK_BYTES: u64 = 16 << 10;
/// From the processor's own data as much as Linux's static part takes at most.
const PER_PROCESSOR_BYTES: u64 = 256 << 10;
/// The most of one part of the log.
const LOG_PART_MAX: u64 = 4 << 20;
/// The most of the kernel's image: what x86-64 gives it.
const IMAGE_MAX: u64 = 1 << 30;
/// Bits 12 to 51 of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// The upper half of the address space is the kernel's.
const KERNEL_HALF: u64 = 1 << 63;

/// What is known of the processor at the failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processor {
    /// CR3.
    pub cr3: u64,
    /// CR4: bit 12 says that the tables have five levels.
    pub cr4: u64,
    /// RSP.
    pub rsp: u64,
    /// The bases of GS, the hidden one of SWAPGS too.
    pub gs: [u64; 2],
}

/// Gives every vital page to `mark`, kind by kind in their order; `mark` says whether it had room.
/// `map` and `log` as far as the kernel could be read.
pub fn mark_all(
    memory: &impl GuestPhysRead,
    processor: &Processor,
    map: Option<&KernelMap>,
    log: Option<[(GuestVirt, u64); 3]>,
    mut mark: impl FnMut(PageKind, GuestPhys) -> bool,
) {
    let levels = if processor.cr4 & (1 << 12) == 0 { 4 } else { 5 };
    let mut tables = |root: GuestPhys, levels| {
        mark(PageKind::Tables, root);
        let mut walk = Walk {
            memory,
            left: TABLES_MAX,
            top: levels,
            from: 0,
            to: u64::MAX,
        };
        walk.visit(root, levels, 0, &mut |found| {
            if let Found::Table(at) = found {
                mark(PageKind::Tables, at);
            }
        });
    };
    tables(GuestPhys(processor.cr3 & ADDRESS), levels);
    let Some(map) = map else {
        return;
    };
    let (root, levels) = map.tables();
    tables(root, levels);
    let mut range = |kind, from: u64, bytes: u64| {
        let mut at = from & !(PAGE_BYTES_U64 - 1);
        let end = from.saturating_add(bytes);
        while at < end {
            if let Some(page) = map.translate(memory, GuestVirt(at)) {
                mark(kind, page);
            }
            let Some(next) = at.checked_add(PAGE_BYTES_U64) else {
                return;
            };
            at = next;
        }
    };
    if processor.rsp & KERNEL_HALF != 0 {
        range(
            PageKind::Stack,
            processor.rsp & !(STACK_BYTES - 1),
            STACK_BYTES,
        );
    }
    for (at, bytes) in log.into_iter().flatten() {
        range(PageKind::Log, at.0, bytes.min(LOG_PART_MAX));
    }
    for base in processor.gs {
        if base & KERNEL_HALF != 0 {
            range(PageKind::PerProcessor, base, PER_PROCESSOR_BYTES);
        }
    }
    let (image, bytes) = map.image();
    let mut walk = Walk {
        memory,
        left: TABLES_MAX,
        top: levels,
        from: image.0,
        to: image.0.saturating_add(bytes.saturating_sub(1)),
    };
    let mut left = bytes.min(IMAGE_MAX) / PAGE_BYTES_U64;
    walk.visit(root, levels, 0, &mut |found| {
        if let Found::Page(at, bytes) = found {
            let pages = (bytes / PAGE_BYTES_U64).min(left);
            left -= pages;
            for page in 0..pages {
                mark(
                    PageKind::Kernel,
                    GuestPhys(at.0.wrapping_add(page * PAGE_BYTES_U64)),
                );
            }
        }
    });
}

enum Found {
    Table(GuestPhys),
    /// A mapped page and its length.
    Page(GuestPhys, u64),
}

struct Walk<'m, M> {
    memory: &'m M,
    left: u32,
    /// The level of the root.
    top: u8,
    /// The first and last address that are of interest, the upper half's without their sign extension
    /// taken off.
    from: u64,
    to: u64,
}

impl<M: GuestPhysRead> Walk<'_, M> {
    /// Visits what the table of this level (1 is the page table) that maps from `base` on refers to.
    fn visit(&mut self, table: GuestPhys, level: u8, base: u64, found: &mut impl FnMut(Found)) {
        const ENTRIES: usize = 64;
        let shift = 12 + 9 * u32::from(level - 1);
        for first in (0..512u64).step_by(ENTRIES) {
            let mut bytes = [0; 8 * ENTRIES];
            let at = table.0.wrapping_add(first * 8);
            if !self.memory.read(GuestPhys(at), &mut bytes) {
                return;
            }
            let (words, _) = bytes.as_chunks::<8>();
            for (entry, index) in words.iter().zip(first..) {
                let entry = u64::from_le_bytes(*entry);
                let start = base.wrapping_add(index << shift);
                // The top table's upper half is the address space's upper half.
                let start = if level == self.top && index >= 256 {
                    start | u64::MAX << (shift + 9)
                } else {
                    start
                };
                let last = start.wrapping_add((1u64 << shift) - 1);
                if entry & PRESENT == 0 || last < self.from || start > self.to {
                    continue;
                }
                let target = GuestPhys(entry & ADDRESS);
                let large = (2..=3).contains(&level) && entry & LARGE != 0;
                if level == 1 || large {
                    let bytes = 1u64 << shift;
                    found(Found::Page(GuestPhys(target.0 & !(bytes - 1)), bytes));
                } else if self.left > 0 {
                    self.left -= 1;
                    found(Found::Table(target));
                    self.visit(target, level - 1, start, found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::testing::Flat;
    use crate::vmcoreinfo::VmcoreInfo;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// As in the tests of the kernel map: image mapping moved down by 16 MiB - 64 KiB.
    const INFO: &[u8] = b"SYMBOL(init_top_pgt)=ffffffff81000000\nSYMBOL(_stext)=ffffffff81008000\n\
        NUMBER(phys_base)=-16711680\nNUMBER(pgtable_l5_enabled)=0\n";

    fn marks(memory: &Flat, processor: &Processor) -> Vec<(PageKind, u64)> {
        let map = KernelMap::new(&VmcoreInfo::new(INFO)).expect("complete");
        let mut all = vec![];
        mark_all(memory, processor, Some(&map), None, |kind, at| {
            all.push((kind, at.0 / 4096));
            true
        });
        all
    }

    fn memory() -> Flat {
        let mut memory = Flat(vec![0; 0x20_000]);
        memory.put_u64(0x1_0000 + 0x111 * 8, 0x1_1001);
        memory.put_u64(0x1_1000, 0x1_2003);
        memory.put_u64(0x1_2000, 0x1_3003);
        memory.put_u64(0x1_3000 + 8, 0x5063);
        memory.put_u64(0x1_0000 + 0x1ff * 8, 0x1_4003);
        memory.put_u64(0x1_4000 + 0x1fe * 8, 0x1_5003);
        memory.put_u64(0x1_5000 + 8 * 8, 0x1_6003);
        memory.put_u64(0x1_6000 + 8 * 8, 0x1_8003);
        memory
    }

    #[test]
    fn tables_stack_and_kernel_are_found_in_their_order() {
        let processor = Processor {
            cr3: 0x1_0018,
            rsp: 0xffff_8880_0000_1abc,
            ..Processor::default()
        };
        let marks = marks(&memory(), &processor);
        let of = |wanted| -> Vec<u64> {
            let kind = marks.iter().filter(|(kind, _)| *kind == wanted);
            kind.map(|(_, frame)| *frame).collect()
        };
        let tables = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16];
        assert_eq!(of(PageKind::Tables), [tables, tables].concat());
        assert_eq!(of(PageKind::Stack), [5], "the other pages are not mapped");
        assert_eq!(of(PageKind::Kernel), [0x18]);
    }

    #[test]
    fn tables_that_point_at_themselves_end() {
        let mut memory = Flat(vec![0; 0x20_000]);
        for entry in 0..512 {
            memory.put_u64(0x1_0000 + entry * 8, 0x1_0003);
        }
        let processor = Processor {
            cr3: 0x1_0000,
            ..Processor::default()
        };
        let most = usize::try_from(TABLES_MAX).expect("small") + 1;
        let tables = marks(&memory, &processor);
        let tables = tables.iter().filter(|(kind, _)| *kind == PageKind::Tables);
        assert_eq!(tables.count(), 2 * most);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn no_table_content_leads_astray(
            words in prop::collection::vec((0usize..0x3000 / 8, any::<u64>()), 0..300),
            cr3: u64, cr4: u64, rsp: u64, gs: [u64; 2],
        ) {
            let mut memory = memory();
            for (at, word) in words {
                memory.put_u64(0x1_0000 + at * 8, (word % 0x2_0000) | 1);
            }
            let _ = marks(&memory, &Processor { cr3, cr4, rsp, gs });
        }
    }
}
