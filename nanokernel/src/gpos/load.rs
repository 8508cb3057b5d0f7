//! Loading the GPOS from the RAM-disk image, at the first start and at every restart.
//!
//! The same code each time: verify the image, copy the kernel and the initrd, write boot_params, the
//! entry's page tables and descriptor table, set the processor to the 64-bit entry point. Memory
//! outside those places keeps what the dead kernel left there, as it does over a warm reset.

use super::Gpos;
use darma_abi::units::{GuestPhys, GuestVirt};
use darma_machine::crc32c;
use darma_policy::boot::bzimage::BzImage;
use darma_policy::boot::load_plan::{LoadPlan, LoadRequest};
use darma_policy::boot::manifest::{self, ChecksumError, Checksums};
use darma_policy::boot::memory_plan::MemoryPlan;
use darma_policy::boot::ramdisk::RamDisk;
use darma_policy::boot::{boot_params, entry_gdt, page_tables};
use darma_svm::state::BootState;
use heapless::Vec;

/// Longest command line: what Linux takes on x86 (2047 bytes).
pub(crate) const COMMAND_LINE: usize = 2048;

/// The images that the GPOS is loaded from, and the sums that they must have.
pub(crate) struct Images {
    pub(crate) disk: RamDisk<'static>,
    pub(crate) kernel: BzImage<'static>,
    pub(crate) sums: Checksums,
}

/// CRC-32C by the processor where it can, else by table.
pub(crate) fn checksum(data: &[u8]) -> u32 {
    if crc32c::available() {
        !crc32c::update(!0, data)
    } else {
        manifest::crc32c(data)
    }
}

/// Loads the GPOS.
pub(crate) struct Loader<'a> {
    pub(crate) images: &'a Images,
    pub(crate) plan: &'a MemoryPlan,
    /// The GPOS's ACPI tables, built for the place that the load plan gives them.
    pub(crate) acpi: &'a [u8],
}

/// Why the GPOS cannot be loaded.
#[derive(Debug)]
pub(crate) enum LoadFailure {
    /// The image is damaged.
    Checksum(ChecksumError),
    /// It does not fit.
    Plan(darma_policy::boot::load_plan::LoadError),
    /// A place of the plan is not the GPOS's RAM: a bug of the plan.
    OutsideRam(&'static str),
}

impl core::fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Checksum(error) => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::OutsideRam(what) => write!(
                f,
                "the place planned for the {what} is not RAM of the GPOS: report this as a bug"
            ),
        }
    }
}

impl Loader<'_> {
    /// Where everything goes for this command line and this much of ACPI tables.
    pub(crate) fn places(
        &self,
        command_line: &[u8],
        acpi_size: u64,
    ) -> Result<LoadPlan, LoadFailure> {
        let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let request = LoadRequest {
            kernel: &self.images.kernel,
            initrd_size: size(self.images.disk.initrd()),
            command_line_length: size(command_line),
            acpi_size,
        };
        LoadPlan::new(self.plan, &request).map_err(LoadFailure::Plan)
    }

    /// Verifies the image, copies everything to its place and resets the processor to the entry.
    pub(crate) fn load(&self, gpos: &mut Gpos, command_line: &[u8]) -> Result<(), LoadFailure> {
        self.images
            .sums
            .verify(&self.images.disk, checksum)
            .map_err(LoadFailure::Checksum)?;
        let plan = self.places(
            command_line,
            u64::try_from(self.acpi.len()).unwrap_or(u64::MAX),
        )?;
        let mut line: Vec<u8, COMMAND_LINE> = Vec::new();
        let _ = line.extend_from_slice(command_line);
        let _ = line.push(0);

        let mut params = [0; boot_params::SIZE];
        let described = plan.boot_params(self.images.kernel.setup_header);
        described
            .write(&mut params)
            .ok_or(LoadFailure::OutsideRam("boot_params"))?;
        let mut gdt = [0; entry_gdt::SIZE];
        entry_gdt::write(&mut gdt).ok_or(LoadFailure::OutsideRam("descriptor table"))?;

        let place = |what, at: u64, data: &[u8]| {
            gpos.memory
                .write(GuestPhys(at), data)
                .then_some(())
                .ok_or(LoadFailure::OutsideRam(what))
        };
        place("kernel", plan.kernel.base(), self.images.kernel.payload)?;
        place("initrd", plan.initrd.base(), self.images.disk.initrd())?;
        place("command line", plan.command_line.base(), &line)?;
        place("boot_params", plan.boot_params.base(), &params)?;
        place("descriptor table", plan.gdt.base(), &gdt)?;
        place("ACPI tables", plan.acpi.base(), self.acpi)?;
        let mut tables = [0; page_tables::SIZE];
        page_tables::write_identity(&mut tables, plan.page_tables.base())
            .ok_or(LoadFailure::OutsideRam("page tables"))?;
        place("page tables", plan.page_tables.base(), &tables)?;

        let entry = plan.entry_state();
        gpos.reset();
        gpos.cpu.reset_to(BootState {
            rip: GuestVirt(entry.rip),
            boot_params: GuestPhys(entry.rsi),
            page_tables: GuestPhys(entry.cr3),
            gdt: (GuestVirt(entry.gdt_base), entry.gdt_limit),
        });
        Ok(())
    }
}
