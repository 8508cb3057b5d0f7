//! Divides the machine's memory, once, when it starts.
//!
//! Input is the firmware's map; the plan gives every byte of it exactly one owner. The nanokernel and
//! the RAM disk stay where the boot loader put them. The dump store, the fault store and the shared region go as high
//! as the nanokernel's own mapping reaches, so that the GPOS keeps low memory in one piece. The GPOS
//! gets the rest of the RAM, or the lowest part of it up to its configured size.
//!
//! Decided: what is Darma's appears in the GPOS's map as RESERVED, it is not left out. A hole is where
//! Linux would place a PCI BAR; a reserved range is one it stays away from (and tells its tools so).
//! Types that Darma does not know, persistent memory among them, are shown as RESERVED too.
//!
//! Invariants, tested as properties: regions are sorted and disjoint; together they are the firmware's
//! map, byte for byte; no RAM of the GPOS lies in Darma's regions or outside the firmware's RAM.

mod error;

use darma_abi::shared::{Bank, Store, WINDOW_BYTES};
use heapless::Vec;

use super::config::{Config, GposMemory};
use super::e820::{self, Entry, Map, TooManyEntries};
use super::ramoops;
pub use error::PlanError;

use super::span::{LARGE_PAGE, PAGE, Request, Span, highest_place};

/// Who a region belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// RAM of the GPOS.
    Gpos,
    /// Not RAM: the firmware's or a device's, with the type that the firmware gave it.
    Firmware(u32),
    /// The nanokernel's and the RTOS's image.
    Nanokernel,
    /// The RAM-disk image.
    RamDisk,
    /// Room for a RAM-disk image that the GPOS stages.
    Staging,
    /// The region that both sides map.
    Shared,
    /// Room for dumps.
    DumpStore,
    /// Where the dead kernel's log is left for the next one's `ramoops` driver; both sides use it.
    Ramoops,
    /// Room for fault records.
    FaultStore,
    /// RAM that nobody uses, because `gpos.memory` gave the GPOS less than there is.
    Spare,
}

impl Owner {
    /// Whether nested paging keeps the GPOS out. The shared region and the old log are reserved, but
    /// both sides map them.
    pub const fn is_closed_to_gpos(self) -> bool {
        match self {
            Self::Nanokernel
            | Self::RamDisk
            | Self::Staging
            | Self::DumpStore
            | Self::FaultStore
            | Self::Spare => true,
            Self::Gpos | Self::Firmware(_) | Self::Shared | Self::Ramoops => false,
        }
    }

    /// What the GPOS's map says of it.
    const fn kind_for_gpos(self) -> u32 {
        match self {
            Self::Gpos => e820::RAM,
            Self::Firmware(kind @ e820::RESERVED..=e820::UNUSABLE) => kind,
            _ => e820::RESERVED,
        }
    }
}

/// A region with its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it lies.
    pub span: Span,
    /// Whose it is.
    pub owner: Owner,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The firmware's memory map, as it came.
    pub firmware: &'a [Entry],
    /// The nanokernel's image with all that it uses at run time. Rounded outward to pages.
    pub nanokernel: Span,
    /// The RAM-disk image. Rounded outward to pages.
    pub ram_disk: Span,
    /// The address up to which the nanokernel maps memory; what it uses itself lies below.
    pub reach: u64,
}

/// The division of memory. It holds for the life of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    regions: Regions,
    shared: Span,
    dump_store: Span,
    ramoops: Span,
    fault_store: Span,
    staging: Span,
}

type Regions = Vec<Region, MAX_REGIONS>;

/// The firmware's entries and the pieces that Darma cuts out of them.
const MAX_REGIONS: usize = e820::MAX_ENTRIES;

/// Less RAM than this is not worth loading a kernel into; the load plan says what it really needs.
pub const LEAST_GPOS_RAM: u64 = 64 << 20;

impl MemoryPlan {
    /// Divides the memory of `input.firmware` as `config` asks.
    ///
    /// # Errors
    /// Something does not fit, or does not lie where the firmware says RAM is.
    pub fn new(input: &PlanInput<'_>, config: &Config) -> Result<Self, PlanError> {
        let mut regions = Regions::new();
        for entry in &e820::normalise(input.firmware)? {
            let owner = match entry.kind {
                e820::RAM => Owner::Gpos,
                kind => Owner::Firmware(kind),
            };
            push(&mut regions, entry.span, owner)?;
        }
        let ram = ram_of(&regions);

        let fixed = [
            ("nanokernel", input.nanokernel, Owner::Nanokernel),
            ("RAM-disk image", input.ram_disk, Owner::RamDisk),
        ];
        for (what, span, owner) in fixed {
            let missing = PlanError::NotInRam { what, span };
            let pages = span.to_pages().ok_or(missing)?;
            carve(&mut regions, pages, owner, missing)?;
        }
        let mut place_high = |what, size: u64, align, owner| {
            let no_place = PlanError::NoPlace { what, size, ram };
            let size = size.checked_next_multiple_of(align).ok_or(no_place)?;
            let within = Span::between(LARGE_PAGE, input.reach);
            let request = Request {
                size,
                align,
                within,
            };
            let span = highest_place(gpos_ram(&regions), &[], request).ok_or(no_place)?;
            carve(&mut regions, span, owner, no_place)?;
            Ok::<_, PlanError>(span)
        };
        let dump_store = place_high(
            "the dump store (dump.size)",
            config.dump_size,
            LARGE_PAGE,
            Owner::DumpStore,
        )?;
        let fault_store = place_high(
            "the fault store (faults.size)",
            config.faults_size,
            LARGE_PAGE,
            Owner::FaultStore,
        )?;
        let shared = place_high(
            "the shared region (shared.size)",
            config.shared_size,
            LARGE_PAGE,
            Owner::Shared,
        )?;
        let staging = place_high(
            "the staged image (image.stage-size)",
            config.stage_size,
            LARGE_PAGE,
            Owner::Staging,
        )?;
        // Last, in what the large pages left over at the top, if they did.
        let ramoops = place_high("the old kernel's log", ramoops::BYTES, PAGE, Owner::Ramoops)?;

        let left = ram_of(&regions);
        let wanted = match config.gpos_memory {
            GposMemory::All => LEAST_GPOS_RAM,
            GposMemory::Bytes(bytes) => bytes.max(LEAST_GPOS_RAM),
        };
        if left < wanted {
            return Err(PlanError::TooLittleRam {
                needed: wanted,
                left,
                ram,
            });
        }
        if let GposMemory::Bytes(_) = config.gpos_memory {
            regions = limit_gpos(&regions, wanted)?;
        }
        let plan = Self {
            regions,
            shared,
            dump_store,
            ramoops,
            fault_store,
            staging,
        };
        // Whatever happens later, the map for the GPOS fits its page.
        plan.e820(None)?;
        Ok(plan)
    }

    /// Every region, ascending and disjoint.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The region that both sides map; 2 MiB aligned.
    pub const fn shared(&self) -> Span {
        self.shared
    }

    /// The room for dumps; 2 MiB aligned, empty if `dump.size` is 0.
    pub const fn dump_store(&self) -> Span {
        self.dump_store
    }

    /// Where the next kernel's `ramoops` driver finds the log of the one before.
    pub const fn ramoops(&self) -> Span {
        self.ramoops
    }

    /// The room for fault records; 2 MiB aligned, at least `faults.size`.
    pub const fn fault_store(&self) -> Span {
        self.fault_store
    }

    /// The memory of a bank that the GPOS asks to see; `None` if there is none such.
    pub fn bank(&self, bank: Bank) -> Option<Span> {
        let store = match bank.store? {
            Store::Faults => self.fault_store,
            Store::Dumps => self.dump_store,
        };
        let base = store.base().checked_add(bank.offset())?;
        let wanted = Span::new(base, WINDOW_BYTES)?;
        store.contains(wanted).then_some(wanted)
    }

    /// The room for a staged image; 2 MiB aligned, empty if `image.stage-size` is 0.
    pub const fn staging(&self) -> Span {
        self.staging
    }

    /// The GPOS's RAM, ascending.
    pub fn gpos_ram(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        gpos_ram(&self.regions)
    }

    /// What nested paging must keep the GPOS out of, ascending.
    pub fn closed_to_gpos(&self) -> impl Iterator<Item = Span> + '_ {
        self.regions
            .iter()
            .filter(|region| region.owner.is_closed_to_gpos())
            .map(|r| r.span)
    }

    /// Whether `span` is wholly RAM of the GPOS: the question to ask before following one of its
    /// addresses.
    pub fn is_gpos_ram(&self, span: Span) -> bool {
        self.gpos_ram().any(|ram| ram.contains(span))
    }

    /// The map that the GPOS is given. `acpi_tables`, a part of its RAM, is shown as ACPI data.
    ///
    /// # Errors
    /// More entries than a boot_params page holds.
    pub fn e820(&self, acpi_tables: Option<Span>) -> Result<Map, TooManyEntries> {
        let mut map = Map::new();
        for &Region { span, owner } in &self.regions {
            let kind = owner.kind_for_gpos();
            match acpi_tables.filter(|tables| owner == Owner::Gpos && span.contains(*tables)) {
                None => e820::append(&mut map, Entry { span, kind })?,
                Some(tables) => {
                    let below = Span::between(span.base(), tables.base());
                    let above = Span::between(tables.end(), span.end());
                    e820::append(&mut map, Entry { span: below, kind })?;
                    e820::append(
                        &mut map,
                        Entry {
                            span: tables,
                            kind: e820::ACPI,
                        },
                    )?;
                    e820::append(&mut map, Entry { span: above, kind })?;
                }
            }
        }
        Ok(map)
    }
}

fn gpos_ram(regions: &Regions) -> impl DoubleEndedIterator<Item = Span> + '_ {
    regions
        .iter()
        .filter(|region| region.owner == Owner::Gpos)
        .map(|region| region.span)
}

fn ram_of(regions: &Regions) -> u64 {
    // Disjoint spans of one address space: the sum cannot wrap.
    gpos_ram(regions).fold(0, |sum, span| sum.saturating_add(span.size()))
}

fn push(regions: &mut Regions, span: Span, owner: Owner) -> Result<(), PlanError> {
    if span.is_empty() {
        return Ok(());
    }
    regions
        .push(Region { span, owner })
        .map_err(|_| PlanError::TooManyEntries)
}

/// Takes `span` out of the GPOS's RAM for `owner`; `missing` if it is not wholly such RAM.
fn carve(
    regions: &mut Regions,
    span: Span,
    owner: Owner,
    missing: PlanError,
) -> Result<(), PlanError> {
    if span.is_empty() {
        return Ok(());
    }
    let inside = |region: &Region| region.owner == Owner::Gpos && region.span.contains(span);
    if !regions.iter().any(inside) {
        return Err(missing);
    }
    let mut carved = Regions::new();
    for region in &*regions {
        if inside(region) {
            push(
                &mut carved,
                Span::between(region.span.base(), span.base()),
                Owner::Gpos,
            )?;
            push(&mut carved, span, owner)?;
            push(
                &mut carved,
                Span::between(span.end(), region.span.end()),
                Owner::Gpos,
            )?;
        } else {
            push(&mut carved, region.span, region.owner)?;
        }
    }
    *regions = carved;
    Ok(())
}

/// Leaves the GPOS the lowest `budget` bytes of its RAM, in whole pages; the rest is nobody's.
fn limit_gpos(regions: &Regions, budget: u64) -> Result<Regions, PlanError> {
    let mut limited = Regions::new();
    let mut budget = budget;
    for region in regions {
        if region.owner != Owner::Gpos {
            push(&mut limited, region.span, region.owner)?;
            continue;
        }
        let (base, end) = (region.span.base(), region.span.end());
        let kept = if region.span.size() <= budget {
            end
        } else {
            // A page cannot be shared, and a page that is cut is not worth having.
            let last = base.saturating_add(budget);
            (last - last % PAGE).max(base)
        };
        budget = budget.saturating_sub(region.span.size());
        push(&mut limited, Span::between(base, kept), Owner::Gpos)?;
        push(&mut limited, Span::between(kept, end), Owner::Spare)?;
    }
    Ok(limited)
}

#[cfg(test)]
pub(crate) mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{format, vec};

    const MIB: u64 = 1 << 20;

    pub(crate) fn entry(base: u64, size: u64, kind: u32) -> Entry {
        Entry {
            span: Span::new(base, size).unwrap(),
            kind,
        }
    }

    /// The map of an emulated PC with `ram` bytes, all of them below its PCI window.
    pub(crate) fn pc(ram: u64) -> [Entry; 6] {
        [
            entry(0, 0x9_fc00, e820::RAM),
            entry(0x9_fc00, 0x400, e820::RESERVED),
            entry(0xf_0000, 0x1_0000, e820::RESERVED),
            entry(MIB, ram - MIB - 0x2_0000, e820::RAM),
            entry(ram - 0x2_0000, 0x2_0000, e820::RESERVED),
            entry(0xfffc_0000, 0x4_0000, e820::RESERVED),
        ]
    }

    pub(crate) fn small_config() -> Config {
        Config {
            dump_size: 32 * MIB,
            ..Config::default()
        }
    }

    /// The nanokernel at 4 MiB; the RAM disk where an emulator puts it, just below the top.
    pub(crate) fn input(firmware: &[Entry], ram: u64) -> PlanInput<'_> {
        PlanInput {
            firmware,
            nanokernel: Span::new(4 * MIB, 3 * MIB + 5).unwrap(),
            ram_disk: Span::new(ram - 50 * MIB, 49 * MIB + 77).unwrap(),
            reach: 4 << 30,
        }
    }

    fn owners(plan: &MemoryPlan) -> vec::Vec<Owner> {
        plan.regions().iter().map(|region| region.owner).collect()
    }

    #[test]
    fn a_pc_is_divided() {
        let firmware = pc(512 * MIB);
        let plan = MemoryPlan::new(&input(&firmware, 512 * MIB), &small_config()).unwrap();
        use Owner::*;
        let reserved = Firmware(e820::RESERVED);
        let expected = [
            Gpos, reserved, reserved, Gpos, Nanokernel, Gpos, Shared, FaultStore, DumpStore,
            RamDisk, Gpos, Ramoops, reserved, reserved,
        ];
        assert_eq!(owners(&plan), expected);
        assert_eq!(plan.dump_store(), Span::new(430 * MIB, 32 * MIB).unwrap());
        assert_eq!(plan.fault_store(), Span::new(428 * MIB, 2 * MIB).unwrap());
        assert_eq!(plan.shared(), Span::new(426 * MIB, 2 * MIB).unwrap());
        assert!(
            plan.is_gpos_ram(Span::new(0, 0x9_fc00).unwrap()),
            "low memory is Linux's"
        );
        assert!(!plan.is_gpos_ram(Span::new(4 * MIB - 1, 2).unwrap()));
        assert_eq!(plan.closed_to_gpos().count(), 4);
    }

    #[test]
    fn the_gpos_sees_what_is_darmas_as_reserved() {
        let firmware = pc(512 * MIB);
        let plan = MemoryPlan::new(&input(&firmware, 512 * MIB), &small_config()).unwrap();
        let map = plan.e820(None).unwrap();
        let high = map
            .iter()
            .find(|entry| entry.span.base() == 426 * MIB)
            .unwrap();
        assert_eq!(high.kind, e820::RESERVED);
        assert_eq!(
            high.span.end(),
            511 * MIB + 0x1000,
            "one entry for all four"
        );
        let tables = Span::new(100 * MIB, 0x3000).unwrap();
        let map = plan.e820(Some(tables)).unwrap();
        assert!(map.contains(&Entry {
            span: tables,
            kind: e820::ACPI
        }));
    }

    #[test]
    fn the_gpos_sees_banks_of_both_stores_and_nothing_else() {
        let firmware = pc(512 * MIB);
        let plan = MemoryPlan::new(&input(&firmware, 512 * MIB), &small_config()).unwrap();
        let faults = |number| {
            plan.bank(Bank {
                store: Some(Store::Faults),
                number,
            })
        };
        let dumps = |number| {
            plan.bank(Bank {
                store: Some(Store::Dumps),
                number,
            })
        };
        assert_eq!(faults(0), Some(plan.fault_store()));
        assert_eq!(faults(1), None);
        assert_eq!(dumps(15).map(Span::end), Some(plan.dump_store().end()));
        assert_eq!((dumps(16), dumps(u32::MAX)), (None, None));
        assert_eq!(Bank::decode(0).and_then(|bank| plan.bank(bank)), None);
        let none = Config {
            dump_size: 0,
            ..small_config()
        };
        let plan = MemoryPlan::new(&input(&firmware, 512 * MIB), &none).unwrap();
        assert_eq!(Bank::decode(2 << 28).and_then(|bank| plan.bank(bank)), None);
    }

    #[test]
    fn a_limited_gpos_gets_the_lowest_ram() {
        let firmware = pc(512 * MIB);
        let config = Config {
            gpos_memory: GposMemory::Bytes(128 * MIB),
            ..small_config()
        };
        let plan = MemoryPlan::new(&input(&firmware, 512 * MIB), &config).unwrap();
        let given: u64 = plan.gpos_ram().map(Span::size).sum();
        assert!(
            (128 * MIB - PAGE..=128 * MIB).contains(&given),
            "{given:#x}"
        );
        assert!(plan.gpos_ram().all(|span| span.end() < 160 * MIB));
    }

    #[test]
    fn no_dumps_need_no_room() {
        let firmware = pc(256 * MIB);
        let config = Config {
            dump_size: 0,
            ..Config::default()
        };
        let plan = MemoryPlan::new(&input(&firmware, 256 * MIB), &config).unwrap();
        assert!(plan.dump_store().is_empty());
        assert!(!owners(&plan).contains(&Owner::DumpStore));
    }

    #[test]
    fn what_is_missing_is_said_with_its_size() {
        let firmware = pc(128 * MIB);
        let problem = |config: &Config| {
            format!(
                "{}",
                MemoryPlan::new(&input(&firmware, 128 * MIB), config).unwrap_err()
            )
        };
        let text = problem(&Config {
            dump_size: 100 * MIB,
            ..Config::default()
        });
        assert!(
            text.contains("dump.size) of 100 MiB in 127 MiB of RAM"),
            "{text}"
        );
        let text = problem(&small_config());
        assert!(text.contains("the GPOS needs 64 MiB but"), "{text}");
        let elsewhere = PlanInput {
            ram_disk: Span::new(4 << 30, MIB).unwrap(),
            ..input(&firmware, 128 * MIB)
        };
        let error = MemoryPlan::new(&elsewhere, &small_config()).unwrap_err();
        assert!(matches!(
            error,
            PlanError::NotInRam {
                what: "RAM-disk image",
                ..
            }
        ));
    }

    #[test]
    fn a_ram_disk_over_the_nanokernel_is_refused() {
        let firmware = pc(512 * MIB);
        let over = PlanInput {
            ram_disk: Span::new(5 * MIB, MIB).unwrap(),
            ..input(&firmware, 512 * MIB)
        };
        let error = MemoryPlan::new(&over, &small_config()).unwrap_err();
        assert!(matches!(error, PlanError::NotInRam { .. }));
    }

    prop_compose! {
        /// A map with holes and overlaps, in units of 64 KiB.
        pub(crate) fn any_map()(
            raw in proptest::collection::vec((0u64..0x8000, 0u64..0x2000, 1u32..8), 0..12),
            ram in 0u64..0x8000,
        ) -> vec::Vec<Entry> {
            let unit = 0x1_0000;
            let extra = raw.into_iter().map(|(base, size, kind)| entry(base * unit, size * unit / 8, kind));
            extra.chain([entry(0, 0xa_0000, e820::RAM), entry(MIB, ram * unit, e820::RAM)]).collect()
        }
    }

    proptest! {
        #[test]
        fn every_byte_has_one_owner_and_the_sum_is_the_firmwares(
            map in any_map(), ram_disk in 0u64..0x8000, size in 0u64..0x400,
            dump in 0u64..64, limit in proptest::option::of(0u64..512),
        ) {
            let input = PlanInput {
                ram_disk: Span::new(ram_disk << 16 | 0x123, size << 16 | 1).unwrap(),
                ..input(&map, 512 * MIB)
            };
            let gpos_memory = limit.map_or(GposMemory::All, |mib| GposMemory::Bytes(mib * MIB));
            let config = Config { dump_size: dump * MIB, gpos_memory, ..Config::default() };
            let Ok(plan) = MemoryPlan::new(&input, &config).map_err(|error| format!("{error}")) else {
                return Ok(());
            };
            let normal = e820::normalise(&map).unwrap();
            let pairs = plan.regions().windows(2);
            prop_assert!(pairs.into_iter().all(|pair| pair[0].span.end() <= pair[1].span.base()));
            let total = |kind: Option<u32>| -> u64 {
                normal.iter().filter(|e| kind.is_none_or(|k| k == e.kind)).map(|e| e.span.size()).sum()
            };
            prop_assert_eq!(plan.regions().iter().map(|r| r.span.size()).sum::<u64>(), total(None));
            for region in plan.regions() {
                let kind = match region.owner { Owner::Firmware(kind) => kind, _ => e820::RAM };
                let inside = |e: &&Entry| e.kind == kind && e.span.contains(region.span);
                prop_assert!(normal.iter().any(|e| inside(&e)), "{:?}", region);
            }
            // What the GPOS may use is exactly its RAM, and none of it is anyone else's.
            let shown = plan.e820(None).unwrap();
            for e in shown.iter().filter(|e| e.kind == e820::RAM) {
                prop_assert!(plan.is_gpos_ram(e.span));
                prop_assert!(plan.closed_to_gpos().all(|closed| !closed.overlaps(e.span)));
                prop_assert!(!plan.shared().overlaps(e.span));
            }
            prop_assert_eq!(plan.shared().base() % LARGE_PAGE, 0);
            prop_assert_eq!(plan.dump_store().base() % LARGE_PAGE, 0);
            prop_assert_eq!(plan.fault_store().base() % LARGE_PAGE, 0);
        }
    }
}
