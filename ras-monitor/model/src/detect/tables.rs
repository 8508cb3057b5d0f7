//! Why could the kernel not handle its last fault? Asked when the processor has shut down.
//!
//! A triple fault means that neither the fault nor the double fault found a handler. The way to
//! one leads through the interrupt descriptor table, a gate, a segment descriptor and the page tables; it is
//! followed here as the processor would have followed it (APM2 8.9), for the page fault and the
//! double fault, and the first ruined station is named. If all of it is whole, what was ruined is
//! the stack, or the fault came with the handlers' own code; then nothing more is said.
//!
//! An interrupt table of limit 0 is no ruin: kernels load one to reset the machine on purpose.
//!
//! Bounded: two gates, two descriptors, three page walks per word at most, no loop over contents.

use core::fmt;
use darma_abi::memory::GuestPhysRead;
use darma_abi::units::{GuestPhys, GuestVirt};
use darma_policy::mmio::{Paging, translate};

/// Base and limit of a descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRegister {
    /// Where it begins.
    pub base: GuestVirt,
    /// Its last byte's offset.
    pub limit: u32,
}

/// What was found to be ruined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruin {
    /// Nothing on the way to the handlers.
    Nothing,
    /// There is no interrupt descriptor table: a reset on purpose.
    NoHandlers,
    /// The page tables do not map what the way leads through.
    Pages {
        /// Their root.
        cr3: u64,
        /// What they do not map.
        unmapped: GuestVirt,
    },
    /// A gate, or the segment that it names, is none.
    Descriptors {
        /// Where the interrupt descriptor table is.
        idt: GuestVirt,
        /// The gate's number.
        vector: u8,
    },
}

impl Ruin {
    /// The ruined table's address, else 0.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Nothing | Self::NoHandlers => 0,
            Self::Pages { cr3, .. } => cr3,
            Self::Descriptors { idt, .. } => idt.0,
        }
    }
}

impl fmt::Display for Ruin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("a fault in a fault's handler, its tables are whole"),
            Self::NoHandlers => f.write_str("a fault with an empty IDT"),
            Self::Pages { cr3, unmapped } => {
                write!(f, "page tables at {cr3:#x} do not map {unmapped}")
            }
            Self::Descriptors { idt, vector } => {
                write!(f, "IDT at {idt}: gate {vector} leads nowhere")
            }
        }
    }
}

const DOUBLE_FAULT: u8 = 8;
const PAGE_FAULT: u8 = 14;
const GATE_BYTES: u64 = 16;
const LONG_MODE: u64 = 1 << 10;

/// Follows the way to the handlers. `rip` is where the processor stood.
pub fn ruin(
    memory: &impl GuestPhysRead,
    paging: &Paging,
    idt: TableRegister,
    gdt: TableRegister,
    rip: GuestVirt,
) -> Ruin {
    if paging.efer & LONG_MODE == 0 {
        return Ruin::Nothing;
    }
    if idt.limit == 0 {
        return Ruin::NoHandlers;
    }
    let way = Way {
        memory,
        paging,
        gdt,
        rip,
    };
    for vector in [PAGE_FAULT, DOUBLE_FAULT] {
        match way.check(idt, vector) {
            Ok(()) => {}
            Err(Break::Unmapped(unmapped)) => {
                return Ruin::Pages {
                    cr3: paging.cr3,
                    unmapped,
                };
            }
            Err(Break::Malformed) => {
                return Ruin::Descriptors {
                    idt: idt.base,
                    vector,
                };
            }
        }
    }
    Ruin::Nothing
}

enum Break {
    Unmapped(GuestVirt),
    Malformed,
}

struct Way<'m, M> {
    memory: &'m M,
    paging: &'m Paging,
    gdt: TableRegister,
    rip: GuestVirt,
}

impl<M: GuestPhysRead> Way<'_, M> {
    fn check(&self, idt: TableRegister, vector: u8) -> Result<(), Break> {
        let offset = u64::from(vector) * GATE_BYTES;
        if u64::from(idt.limit) < offset + GATE_BYTES - 1 {
            return Err(Break::Malformed);
        }
        let low = self.word(idt.base, offset)?;
        let high = self.word(idt.base, offset + 8)?;
        // APM2 4.8.4: present, an interrupt or trap gate.
        let gate = low >> 40 & 0xff;
        if gate & 0x80 == 0 || !matches!(gate & 0x1f, 0xe | 0xf) {
            return Err(Break::Malformed);
        }
        let selector = low >> 16 & 0xfff8;
        if u64::from(self.gdt.limit) < selector + 7 || selector == 0 {
            return Err(Break::Malformed);
        }
        // APM2 4.8.1: present, code, 64 bits.
        const CODE: u64 = 0x0020_9800_0000_0000;
        if self.word(self.gdt.base, selector)? & CODE != CODE {
            return Err(Break::Malformed);
        }
        let handler = low & 0xffff | low >> 32 & 0xffff_0000 | (high & 0xffff_ffff) << 32;
        self.place(GuestVirt(handler)).map(|_| ())
    }

    /// Eight bytes of a table.
    fn word(&self, base: GuestVirt, offset: u64) -> Result<u64, Break> {
        const PAGE: u64 = 4096;
        let at = GuestVirt(base.0.wrapping_add(offset));
        let in_page = usize::try_from(PAGE - at.0 % PAGE).unwrap_or(8).min(8);
        let mut bytes = [0; 8];
        let (first, rest) = bytes.split_at_mut(in_page);
        self.bytes(at, first)?;
        if !rest.is_empty() {
            self.bytes(GuestVirt(at.0.wrapping_add(PAGE) & !(PAGE - 1)), rest)?;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes that lie in one page.
    fn bytes(&self, at: GuestVirt, out: &mut [u8]) -> Result<(), Break> {
        let found = self.place(at)?;
        let read = self.memory.read(found, out);
        read.then_some(()).ok_or(Break::Unmapped(at))
    }

    /// Where `at` is. What is not mapped is the page tables' fault if they do not map the code that
    /// ran either, or if a kernel's table may well begin there; else somebody pointed to nowhere.
    fn place(&self, at: GuestVirt) -> Result<GuestPhys, Break> {
        const KERNEL_HALF: u64 = 0xffff_8000_0000_0000;
        let found = translate(self.memory, self.paging, at);
        found.map_err(|_| {
            let lost = translate(self.memory, self.paging, self.rip).is_err();
            if lost || at.0 >= KERNEL_HALF {
                Break::Unmapped(at)
            } else {
                Break::Malformed
            }
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::testing::Flat;
    use proptest::prelude::*;
    use std::vec;

    const CR3: u64 = 0x1000;
    const IDT: usize = 0x4000;
    const GDT: usize = 0x5000;
    const RIP: GuestVirt = GuestVirt(0xffff_8000_0000_6000);
    const KERNEL: u64 = 0xffff_8000_0000_0000;

    fn paging() -> Paging {
        Paging {
            cr0: 1 << 31,
            cr3: CR3,
            cr4: 1 << 5,
            efer: LONG_MODE,
        }
    }

    const fn register(at: usize, limit: u32) -> TableRegister {
        TableRegister {
            base: GuestVirt(KERNEL + at as u64),
            limit,
        }
    }

    /// Two megabytes at the begin of the kernel's half, an IDT and a GDT in it.
    fn whole() -> Flat {
        let mut memory = Flat(vec![0; 0x8000]);
        memory.put_u64(0x1000 + 256 * 8, 0x2003);
        memory.put_u64(0x2000, 0x3003);
        memory.put_u64(0x3000, 0x83);
        for vector in [8, 14] {
            // Selector 0x10, handler at 0x6000 of the kernel's half.
            memory.put_u64(IDT + vector * 16, 0x0000_8e00_0010_6000);
            memory.put_u64(IDT + vector * 16 + 8, KERNEL >> 32);
        }
        memory.put_u64(GDT + 0x10, 0x00af_9b00_0000_ffff);
        memory
    }

    fn found(memory: &Flat) -> Ruin {
        ruin(
            memory,
            &paging(),
            register(IDT, 0xfff),
            register(GDT, 0x7f),
            RIP,
        )
    }

    #[test]
    fn whole_tables_are_not_blamed() {
        assert_eq!(found(&whole()), Ruin::Nothing);
    }

    #[test]
    fn a_table_may_lie_across_two_pages() {
        let mut memory = whole();
        // Gate 14's second word begins four bytes before the page's end.
        let idt = 0x5000 - 14 * 16 - 12;
        for vector in [8, 14] {
            memory.put_u64(idt + vector * 16, 0x0000_8e00_0010_6000);
            memory.put_u64(idt + vector * 16 + 8, KERNEL >> 32);
        }
        let (idt, gdt) = (register(idt, 0xfff), register(GDT, 0x7f));
        assert_eq!(ruin(&memory, &paging(), idt, gdt, RIP), Ruin::Nothing);
        memory.put_u64(0x3000, 0x4001);
        memory.put_u64(0x4000 + 4 * 8, 0x4003);
        assert!(matches!(
            ruin(&memory, &paging(), idt, gdt, RIP),
            Ruin::Pages { .. } | Ruin::Descriptors { .. }
        ));
    }

    #[test]
    fn an_empty_interrupt_table_is_a_reset_on_purpose() {
        let found = ruin(
            &whole(),
            &paging(),
            register(0, 0),
            register(GDT, 0x7f),
            RIP,
        );
        assert_eq!(found, Ruin::NoHandlers);
    }

    #[test]
    fn a_root_of_zeros_is_ruined_page_tables() {
        let mut memory = whole();
        memory.put_u64(0x1000 + 256 * 8, 0);
        assert!(matches!(found(&memory), Ruin::Pages { cr3: CR3, .. }));
        memory.put_u64(0x1000 + 256 * 8, 0x7fff_f003);
        assert!(matches!(found(&memory), Ruin::Pages { .. }), "outside RAM");
    }

    #[test]
    fn a_gate_that_is_none_is_ruined_descriptors() {
        let gate = Ruin::Descriptors {
            idt: register(IDT, 0).base,
            vector: 14,
        };
        for (at, value) in [
            (IDT + 14 * 16, 0),
            (IDT + 14 * 16, 0x0000_8500_0010_6000),
            (IDT + 14 * 16, 0x0000_8e00_fff0_6000),
            (GDT + 0x10, 0),
            (GDT + 0x10, 0x00cf_9300_0000_ffff),
            (IDT + 14 * 16 + 8, 0x1234_5678),
        ] {
            let mut memory = whole();
            memory.put_u64(at, value);
            assert_eq!(found(&memory), gate, "{at:#x} = {value:#x}");
        }
        let short = ruin(
            &whole(),
            &paging(),
            register(IDT, 0x2f),
            register(GDT, 0x7f),
            RIP,
        );
        assert_eq!(short, gate);
    }

    proptest! {
        #[test]
        fn no_memory_content_makes_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0x8000),
            idt in any::<u64>(), gdt in any::<u64>(), limit in any::<u32>(), cr3 in any::<u64>(),
        ) {
            let memory = Flat(bytes);
            let paging = Paging { cr3, ..paging() };
            let at = |base| TableRegister { base: GuestVirt(base), limit };
            let _ = ruin(&memory, &paging, at(idt), at(gdt), RIP);
        }
    }
}
