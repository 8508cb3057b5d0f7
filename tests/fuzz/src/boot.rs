//! The parsers that run at boot: RAM-disk image, kernel, configuration, memory map, ACPI tables.

use std::hint::black_box;

use darma_policy::acpi::PhysicalMemory;
use darma_policy::acpi::facts::AcpiFacts;
use darma_policy::acpi::gpos_tables::{self, GposMachine, HpetUse};
use darma_policy::acpi::tables::{FirmwareTables, find_rsdp};
use darma_policy::boot::bzimage::BzImage;
use darma_policy::boot::config::Config;
use darma_policy::boot::e820::{self, Entry};
use darma_policy::boot::load_plan::{LoadPlan, LoadRequest};
use darma_policy::boot::manifest::{Checksums, crc32c};
use darma_policy::boot::memory_plan::{MemoryPlan, PlanInput};
use darma_policy::boot::ramdisk::{RamDisk, Role};
use darma_policy::boot::span::Span;

/// The archive reader: what it finds lies inside the archive, and passes its own sums.
pub fn ramdisk(bytes: &[u8]) {
    match RamDisk::parse(bytes) {
        Ok(disk) => {
            for role in [Role::First, Role::Rescue] {
                let Some(system) = disk.system(role) else {
                    continue;
                };
                assert!(system.kernel.len() + system.initrd.len() <= bytes.len());
                black_box(system.command_line());
            }
            assert_eq!(
                Checksums::reference(&disk, crc32c).verify(&disk, crc32c),
                Ok(())
            );
            let _ = disk.checksums().map(Checksums::parse);
        }
        Err(error) => assert_one_line(&error),
    }
}

/// The manifest reader.
pub fn manifest(bytes: &[u8]) {
    if let Err(error) = Checksums::parse(bytes) {
        assert_one_line(&error);
    }
}

/// The configuration reader.
pub fn config(bytes: &[u8]) {
    match Config::parse(bytes) {
        Ok(config) => drop(black_box(config)),
        Err(error) => assert_one_line(&error),
    }
}

/// The kernel header's reader, and what becomes of a header in a load plan.
pub fn bzimage(bytes: &[u8]) {
    let kernel = match BzImage::parse(bytes) {
        Ok(kernel) => kernel,
        Err(error) => return assert_one_line(&error),
    };
    let ram = Entry {
        span: Span::between(0, 1 << 30),
        kind: e820::RAM,
    };
    let memory = MemoryPlan::new(&plan_input(&[ram]), &Config::default()).expect("1 GiB is enough");
    let request = LoadRequest {
        kernel: &kernel,
        initrd_size: 1 << 20,
        command_line_length: 80,
        acpi_size: 1,
    };
    match LoadPlan::new(&memory, &request) {
        Ok(plan) => {
            assert!(memory.is_gpos_ram(plan.kernel) && !plan.kernel.overlaps(plan.initrd));
            let mut page = [0; 4096];
            plan.boot_params(kernel.setup_header)
                .write(&mut page)
                .expect("a page is enough");
        }
        Err(error) => assert_one_line(&error),
    }
}

/// The firmware's memory map, as records of 17 bytes: base, size, type.
pub fn memory_map(bytes: &[u8]) {
    let mut entries = Vec::new();
    for record in bytes.chunks_exact(17) {
        let quad = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("8 bytes"));
        entries.extend(Span::new(quad(0), quad(8)).map(|span| Entry {
            span,
            kind: record[16].into(),
        }));
    }
    let input = plan_input(&entries);
    let Ok(plan) = MemoryPlan::new(&input, &Config::default()) else {
        return;
    };
    let shown = plan.e820(None).expect("a plan has a map");
    for region in plan.regions().windows(2) {
        assert!(region[0].span.end() <= region[1].span.base());
    }
    for closed in plan.closed_to_gpos().chain([plan.shared()]) {
        assert!(
            shown
                .iter()
                .all(|e| e.kind != e820::RAM || !e.span.overlaps(closed))
        );
        assert!(plan.gpos_ram().all(|ram| !ram.overlaps(closed)));
    }
}

/// The ACPI tables, in memory from 0xe0000 on, with the root pointer first.
pub fn acpi(bytes: &[u8]) {
    let memory = Firmware(bytes);
    black_box(find_rsdp(&memory));
    let Ok(tables) = FirmwareTables::read(&memory, Firmware::BASE) else {
        return;
    };
    let _ = black_box(AcpiFacts::read(&memory, &tables));
    let mut buffer = vec![0; 1 << 16];
    for boot_apic_id in [0, 3] {
        let machine = GposMachine {
            boot_apic_id,
            hpet: HpetUse::Gpos,
        };
        let bound = gpos_tables::size_bound(&tables, machine);
        if let Ok(built) = gpos_tables::build(&memory, &tables, machine, 0x10_0000, &mut buffer) {
            assert!(built.size as u64 <= bound);
        }
    }
}

fn plan_input(firmware: &[Entry]) -> PlanInput<'_> {
    PlanInput {
        firmware,
        nanokernel: Span::between(4 << 20, 6 << 20),
        ram_disk: Span::between(64 << 20, 90 << 20),
        reach: 4 << 30,
    }
}

/// An error is what a user reads on a console: one line.
fn assert_one_line(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && !text.contains(char::is_control),
        "{text:?}"
    );
}

/// Bytes as the memory of a machine.
struct Firmware<'a>(&'a [u8]);

impl Firmware<'_> {
    const BASE: u64 = 0xe_0000;
}

impl PhysicalMemory for Firmware<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let from = address
            .checked_sub(Self::BASE)
            .and_then(|at| usize::try_from(at).ok());
        let source = from.and_then(|from| self.0.get(from..from.checked_add(buffer.len())?));
        source.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
    }
}
