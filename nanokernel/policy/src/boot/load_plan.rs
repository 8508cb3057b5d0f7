//! Finds a place in the GPOS's RAM for everything that a kernel is started with.
//!
//! The same plan serves the first boot and every reload; it depends on sizes alone, so a reload puts
//! everything where it was. All lies below 4 GiB, which the entry page tables map.
//!
//! * The kernel goes where it prefers to be, else to the next aligned address above. Never below: it
//!   would move itself up to the preferred address at once, over whatever lies there.
//! * Small things go to the lowest RAM, between 64 KiB (below are tables of the BIOS) and 576 KiB
//!   (above, up to the BIOS's own data, the decompressor puts its trampoline).
//! * ACPI tables, then the initrd, go as high as they may: the kernel keeps low memory in one piece.
//!
//! Invariants, tested as properties: every place is the GPOS's RAM; no two overlap.

use core::fmt;

use heapless::Vec;

use super::boot_params;
use super::bzimage::{BzImage, ENTRY64_OFFSET};
use super::e820::Map;
use super::memory_plan::MemoryPlan;
use super::span::{PAGE, Request, Span, highest_place, lowest_place};
use super::{entry_gdt, page_tables};
use crate::fields::offset64;

/// What has to be placed. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a> {
    /// The kernel.
    pub kernel: &'a BzImage<'a>,
    /// The initrd's size.
    pub initrd_size: u64,
    /// The command line's length without its NUL.
    pub command_line_length: u64,
    /// The size of the ACPI tables, RSDP first; 0 for none.
    pub acpi_size: u64,
}

/// Where everything goes. Spans have exact sizes; all bases are page aligned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// The kernel with the room it needs; its payload is copied to the base.
    pub kernel: Span,
    /// The initrd.
    pub initrd: Span,
    /// The boot_params page.
    pub boot_params: Span,
    /// The command line with its NUL.
    pub command_line: Span,
    /// The descriptor table of [`entry_gdt`].
    pub gdt: Span,
    /// The page tables of [`page_tables`].
    pub page_tables: Span,
    /// The ACPI tables, whole pages, the RSDP at the base; empty for none.
    pub acpi: Span,
    /// The memory map for the kernel.
    pub e820: Map,
}

/// The processor state at a kernel's 64-bit entry point, with interrupts off, paging on and long mode
/// active (boot.rst, "64-bit Boot Protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryState {
    /// The entry point.
    pub rip: u64,
    /// The address of boot_params.
    pub rsi: u64,
    /// The address of the page tables.
    pub cr3: u64,
    /// The descriptor table's address.
    pub gdt_base: u64,
    /// The descriptor table's limit: its size less one.
    pub gdt_limit: u16,
    /// CS; descriptor [`entry_gdt::CODE_DESCRIPTOR`].
    pub code_selector: u16,
    /// DS, ES and SS; descriptor [`entry_gdt::DATA_DESCRIPTOR`].
    pub data_selector: u16,
}

/// Why a kernel cannot be placed. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The command line is longer than the kernel takes.
    CommandLineTooLong {
        /// Its length.
        length: u64,
        /// What the kernel takes.
        limit: u64,
    },
    /// There is no place for something.
    DoesNotFit {
        /// What.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The GPOS's RAM.
        ram: u64,
        /// The address below which it must lie.
        below: u64,
    },
    /// The memory map has too many entries.
    TooManyEntries,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CommandLineTooLong { length, limit } => write!(
                f,
                "cmdline: {length} bytes are over the kernel's limit of {limit}: shorten it"
            ),
            Self::DoesNotFit {
                what,
                size,
                ram,
                below,
            } => write!(
                f,
                "{what}: {} KiB do not fit in one piece below {below:#x} into the GPOS's {} KiB of RAM: give the machine more memory or take a smaller {what}",
                size.div_ceil(1024),
                ram / 1024
            ),
            Self::TooManyEntries => f.write_str(
                "memory: the GPOS's map has too many entries: turn off unused firmware features",
            ),
        }
    }
}

impl core::error::Error for LoadError {}

const LOW_AREA: Span = Span::between(0x1_0000, 0x9_0000);
const HIGH_AREA: Span = Span::between(0x10_0000, page_tables::MAPPED);

impl LoadPlan {
    /// Places everything in the RAM that `memory` gives the GPOS.
    ///
    /// # Errors
    /// Something does not fit, or the command line is too long.
    pub fn new(memory: &MemoryPlan, request: &LoadRequest<'_>) -> Result<Self, LoadError> {
        let LoadRequest { kernel: image, .. } = *request;
        let (length, limit) = (request.command_line_length, image.command_line_limit);
        if length > limit {
            return Err(LoadError::CommandLineTooLong { length, limit });
        }
        let mut places = Places {
            memory,
            taken: Vec::new(),
        };
        let above = image.preferred_address.max(HIGH_AREA.base());
        let kernel = places.low(
            "kernel",
            Request {
                size: image.init_size,
                align: image.alignment,
                within: Span::between(above, HIGH_AREA.end()),
            },
        )?;
        let boot_params = places.small("boot_params", offset64(boot_params::SIZE))?;
        let command_line = places.small("cmdline", length.saturating_add(1))?;
        let gdt = places.small("descriptor table", offset64(entry_gdt::SIZE))?;
        let page_tables = places.small("page tables", offset64(page_tables::SIZE))?;
        let acpi_pages = request
            .acpi_size
            .checked_next_multiple_of(PAGE)
            .unwrap_or(u64::MAX);
        let acpi = places.high("set of ACPI tables", acpi_pages, HIGH_AREA)?;
        let initrd_end = image
            .initrd_address_max
            .saturating_add(1)
            .min(HIGH_AREA.end());
        let initrd_area = Span::between(HIGH_AREA.base(), initrd_end);
        let initrd = places.high("initrd", request.initrd_size, initrd_area)?;
        let tables = Some(acpi).filter(|tables| !tables.is_empty());
        let e820 = memory.e820(tables).map_err(|_| LoadError::TooManyEntries)?;
        Ok(Self {
            kernel,
            initrd,
            boot_params,
            command_line,
            gdt,
            page_tables,
            acpi,
            e820,
        })
    }

    /// The state to enter the kernel with.
    pub fn entry_state(&self) -> EntryState {
        EntryState {
            rip: self.kernel.base().saturating_add(ENTRY64_OFFSET),
            rsi: self.boot_params.base(),
            cr3: self.page_tables.base(),
            gdt_base: self.gdt.base(),
            gdt_limit: GDT_LIMIT,
            code_selector: entry_gdt::CODE_SELECTOR,
            data_selector: entry_gdt::DATA_SELECTOR,
        }
    }

    /// What boot_params is to say of this plan, for the kernel with `setup_header`.
    pub fn boot_params<'a>(&'a self, setup_header: &'a [u8]) -> boot_params::BootParams<'a> {
        boot_params::BootParams {
            setup_header,
            kernel: self.kernel.base(),
            command_line: self.command_line.base(),
            initrd: self.initrd,
            acpi_rsdp: if self.acpi.is_empty() {
                0
            } else {
                self.acpi.base()
            },
            e820: &self.e820,
        }
    }
}

const GDT_LIMIT: u16 = 31;
const _: () = assert!(entry_gdt::SIZE == GDT_LIMIT as usize + 1);

/// The places given away so far.
struct Places<'a> {
    memory: &'a MemoryPlan,
    taken: Vec<Span, 8>,
}

impl Places<'_> {
    fn low(&mut self, what: &'static str, request: Request) -> Result<Span, LoadError> {
        let place = lowest_place(self.memory.gpos_ram(), &self.taken, request);
        self.take(what, request, place)
    }

    fn small(&mut self, what: &'static str, size: u64) -> Result<Span, LoadError> {
        let request = |within| Request {
            size,
            align: PAGE,
            within,
        };
        match self.low(what, request(LOW_AREA)) {
            Err(_) => self.low(what, request(HIGH_AREA)),
            placed => placed,
        }
    }

    fn high(&mut self, what: &'static str, size: u64, within: Span) -> Result<Span, LoadError> {
        let request = Request {
            size,
            align: PAGE,
            within,
        };
        let place = highest_place(self.memory.gpos_ram(), &self.taken, request);
        self.take(what, request, place)
    }

    fn take(
        &mut self,
        what: &'static str,
        request: Request,
        place: Option<Span>,
    ) -> Result<Span, LoadError> {
        let ram = self
            .memory
            .gpos_ram()
            .fold(0u64, |sum, span| sum.saturating_add(span.size()));
        let refused = LoadError::DoesNotFit {
            what,
            size: request.size,
            ram,
            below: request.within.end(),
        };
        let place = place.ok_or(refused)?;
        self.taken.push(place).map_err(|_| refused)?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::boot::bzimage::tests::{INIT_SIZE, PREFERRED, bzimage};
    use crate::boot::memory_plan::tests::{any_map, input, pc, small_config};
    use crate::boot::memory_plan::{MemoryPlan, PlanInput};
    use proptest::prelude::*;
    use std::string::ToString;

    const MIB: u64 = 1 << 20;

    fn place(ram: u64, nanokernel: u64, initrd_size: u64) -> Result<LoadPlan, LoadError> {
        let firmware = pc(ram);
        let nanokernel = Span::new(nanokernel, 3 * MIB).unwrap();
        let input = PlanInput {
            nanokernel,
            ..input(&firmware, ram)
        };
        let memory = MemoryPlan::new(&input, &small_config()).unwrap();
        let file = bzimage(8 << 20);
        let kernel = BzImage::parse(&file).unwrap();
        let request = LoadRequest {
            kernel: &kernel,
            initrd_size,
            command_line_length: 30,
            acpi_size: 0x2345,
        };
        LoadPlan::new(&memory, &request)
    }

    #[test]
    fn everything_has_its_customary_place() {
        let plan = place(512 * MIB, 4 * MIB, 20 * MIB + 1).unwrap();
        assert_eq!(
            plan.kernel,
            Span::new(PREFERRED, u64::from(INIT_SIZE)).unwrap()
        );
        assert_eq!(plan.boot_params.base(), 0x1_0000);
        assert_eq!(plan.command_line, Span::new(0x1_1000, 31).unwrap());
        assert_eq!(plan.gdt.base(), 0x1_2000);
        assert_eq!(plan.page_tables, Span::new(0x1_3000, 0x6000).unwrap());
        assert_eq!(plan.acpi.size(), 0x3000);
        assert_eq!(plan.initrd.size(), 20 * MIB + 1);
        assert!(plan.initrd.base() > 400 * MIB);
        let state = plan.entry_state();
        assert_eq!((state.rip, state.rsi), (PREFERRED + 0x200, 0x1_0000));
        assert_eq!(
            (state.cr3, state.gdt_base, state.gdt_limit),
            (0x1_3000, 0x1_2000, 31)
        );
        let params = plan.boot_params(&[]);
        assert_eq!(
            (params.acpi_rsdp, params.command_line),
            (plan.acpi.base(), 0x1_1000)
        );
    }

    #[test]
    fn a_kernel_whose_place_is_taken_moves_up_never_down() {
        let plan = place(512 * MIB, PREFERRED + MIB, MIB).unwrap();
        assert_eq!(plan.kernel.base(), PREFERRED + 4 * MIB);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_size() {
        let error = place(256 * MIB, 4 * MIB, 300 * MIB)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("initrd: 307200 KiB do not fit"),
            "{error}"
        );
        let firmware = pc(512 * MIB);
        let memory = MemoryPlan::new(&input(&firmware, 512 * MIB), &small_config()).unwrap();
        let file = bzimage(64);
        let kernel = BzImage::parse(&file).unwrap();
        let request = LoadRequest {
            kernel: &kernel,
            initrd_size: 1,
            command_line_length: 2048,
            acpi_size: 0,
        };
        let error = LoadPlan::new(&memory, &request).unwrap_err().to_string();
        assert!(
            error.contains("2048 bytes are over the kernel's limit of 2047"),
            "{error}"
        );
        let huge = BzImage {
            init_size: 1 << 31,
            ..kernel
        };
        let error = LoadPlan::new(
            &memory,
            &LoadRequest {
                kernel: &huge,
                command_line_length: 0,
                ..request
            },
        );
        assert!(matches!(
            error,
            Err(LoadError::DoesNotFit { what: "kernel", .. })
        ));
    }

    proptest! {
        #[test]
        fn every_place_is_the_gposs_and_none_overlap(
            map in any_map(), initrd_size: u32, init_size: u32, acpi_size in 0u64..0x10_0000,
            preferred: u32, log_alignment in 12u32..25,
        ) {
            let Ok(memory) = MemoryPlan::new(&input(&map, 512 * MIB), &small_config()) else {
                return Ok(());
            };
            let file = bzimage(64);
            let kernel = BzImage {
                init_size: u64::from(init_size >> 6),
                preferred_address: u64::from(preferred >> 4),
                alignment: 1 << log_alignment,
                ..BzImage::parse(&file).unwrap()
            };
            let request = LoadRequest {
                kernel: &kernel,
                initrd_size: u64::from(initrd_size >> 5),
                command_line_length: 100,
                acpi_size,
            };
            let Ok(plan) = LoadPlan::new(&memory, &request).map_err(|error| error.to_string()) else {
                return Ok(());
            };
            let LoadPlan { kernel: at, initrd, boot_params, command_line, gdt, page_tables, acpi, e820 } = plan;
            let places = [at, initrd, boot_params, command_line, gdt, page_tables, acpi];
            for (index, place) in places.iter().enumerate() {
                prop_assert!(memory.is_gpos_ram(*place));
                prop_assert!(place.end() <= page_tables::MAPPED);
                prop_assert_eq!(place.base() % PAGE, 0);
                prop_assert!(places.iter().skip(index + 1).all(|other| !other.overlaps(*place)));
            }
            prop_assert!(at.base() >= kernel.preferred_address && at.base() % kernel.alignment == 0);
            prop_assert!(initrd.end() <= 0x8000_0000);
            prop_assert!(e820.windows(2).all(|pair| pair[0].span.end() <= pair[1].span.base()));
        }
    }
}
