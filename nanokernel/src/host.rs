//! The main loop above all: load the GPOS, run it, deal with its end.

use crate::fatal::{self, boot_error};
use crate::gpos::{Gpos, Images, Loader, NESTED_TABLES};
use crate::once::Once;
use darma_abi::units::{Cycles, HostPhys};
use darma_machine::{console, println};
use darma_policy::boot::bzimage::BzImage;
use darma_policy::boot::config::Config;
use darma_policy::boot::manifest::Checksums;
use darma_policy::boot::memory_plan::MemoryPlan;
use darma_policy::boot::ramdisk::RamDisk;
use darma_svm::features;
use darma_svm::nested_paging::NestedTables;
use darma_svm::vcpu::VirtualCpu;

static VIRTUAL_CPU: Once<VirtualCpu> = Once::new(VirtualCpu::new());
static TABLES: Once<NestedTables<NESTED_TABLES>> = Once::new(NestedTables::new());

pub(crate) fn host(disk: RamDisk<'static>, _config: &Config, plan: &MemoryPlan, rsdp: u64) -> ! {
    let kernel = BzImage::parse(disk.kernel()).unwrap_or_else(|error| boot_error(&error));
    let sums = match disk.checksums() {
        Some(manifest) => Checksums::parse(manifest).unwrap_or_else(|error| boot_error(&error)),
        None => Checksums::reference(&disk, crate::gpos::checksum),
    };
    let images = Images { disk, kernel, sums };
    let cpu = VIRTUAL_CPU.take();
    // SAFETY: OWNED-RANGE: the save area is inside the virtual processor, which is taken once.
    let features = unsafe { features::enable(cpu.host_save_area()) }
        .unwrap_or_else(|error| boot_error(&error));
    let tables = TABLES.take();
    let root = tables.root();
    cpu.set_up(
        features,
        root,
        &[0xe9, 0xf4],
        &[
            0xc000_0100,
            0xc000_0101,
            0xc000_0102,
            0xc000_0081,
            0xc000_0082,
            0xc000_0083,
            0xc000_0084,
            0x174,
            0x175,
            0x176,
            0xc000_0103,
        ],
    );
    // SAFETY: APIC-OWNER.
    let mut gpos =
        unsafe { Gpos::new(cpu, tables, plan, HostPhys(0xfec0_0000), 0, Cycles(10_000)) };
    if gpos.map(plan).is_err() {
        boot_error(
            &"the memory map needs more nested page tables than the image has: report this as a bug",
        );
    }
    println!("darma: nested tables in use: {}", gpos.tables.used());
    let loader = Loader {
        images: &images,
        plan,
        acpi: &[],
    };
    if let Err(error) = loader.load(&mut gpos, images.disk.command_line(), rsdp) {
        boot_error(&error);
    }
    println!("darma: entering the GPOS");
    console::echo_to_com1(false);
    let ending = gpos.run();
    println!(
        "darma: GPOS ended: {ending:?} at {:?} after {} exits",
        gpos.cpu.rip(),
        gpos.counters.exits
    );
    fatal::leave()
}
