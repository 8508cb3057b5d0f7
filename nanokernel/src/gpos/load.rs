//! Loading the GPOS from the RAM-disk image, at the first start and at every restart.
//!
//! The same code each time, for whichever of the image's systems: verify the image, copy the kernel and the initrd, write boot_params, the
//! entry's page tables and descriptor table, set the processor to the 64-bit entry point. Memory
//! outside those places keeps what the dead kernel left there, as it does over a warm reset.

use super::Gpos;
use darma_abi::units::{GuestPhys, GuestVirt};
use darma_machine::crc32c;
use darma_policy::boot::bzimage::{BzImage, BzImageError};
use darma_policy::boot::command_line;
use darma_policy::boot::command_line::Told;
use darma_policy::boot::load_plan::{LoadPlan, LoadRequest};
use darma_policy::boot::manifest::{self, ChecksumError, Checksums};
use darma_policy::boot::memory_plan::MemoryPlan;
use darma_policy::boot::ramdisk::{RamDisk, RamDiskError, Role, System};
use darma_policy::boot::{boot_params, entry_gdt, page_tables};
use darma_svm::state::BootState;

/// The images that the GPOS is loaded from, and the sums that they must have.
pub(crate) struct Images {
    disk: RamDisk<'static>,
    kernel: BzImage<'static>,
    rescue: Option<BzImage<'static>>,
    sums: Checksums,
}

impl Images {
    /// Reads an image and verifies all of it. One without sums is summed now, for later.
    pub(crate) fn read(image: &'static [u8]) -> Result<Self, ImageError> {
        match Self::read_summed(image) {
            Err(ImageError::NoSums) => {
                log::warn!("the image has no checksums: damage before this start cannot be seen");
                Self::parse(image, |disk| Ok(Checksums::reference(disk, checksum)))
            }
            read => read,
        }
    }

    /// The same, of an image that has to bring its sums.
    pub(crate) fn read_summed(image: &'static [u8]) -> Result<Self, ImageError> {
        Self::parse(image, |disk| {
            let manifest = disk.checksums().ok_or(ImageError::NoSums)?;
            Checksums::parse(manifest).map_err(ImageError::Checksum)
        })
    }

    fn parse(
        image: &'static [u8],
        sums: impl FnOnce(&RamDisk<'_>) -> Result<Checksums, ImageError>,
    ) -> Result<Self, ImageError> {
        let disk = RamDisk::parse(image).map_err(ImageError::Archive)?;
        let kernel = BzImage::parse(disk.first().kernel).map_err(ImageError::Kernel)?;
        let rescue = match disk.system(Role::Rescue) {
            Some(system) => Some(BzImage::parse(system.kernel).map_err(ImageError::Rescue)?),
            None => None,
        };
        let sums = sums(&disk)?;
        sums.verify(&disk, checksum).map_err(ImageError::Checksum)?;
        Ok(Self {
            disk,
            kernel,
            rescue,
            sums,
        })
    }

    /// The text of the configuration.
    pub(crate) fn config(&self) -> &'static [u8] {
        self.disk.config()
    }

    /// The command line of the system in use.
    pub(crate) fn command_line(&self) -> &'static [u8] {
        self.disk.first().command_line()
    }

    /// Where everything of one of its systems goes, for this command line and this much of ACPI tables.
    pub(crate) fn places(
        &self,
        memory: &MemoryPlan,
        role: Role,
        command_line: &[u8],
        acpi_size: u64,
    ) -> Result<LoadPlan, LoadFailure> {
        let size = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (system, kernel) = self.system(role).ok_or(LoadFailure::NoRescue)?;
        let request = LoadRequest {
            kernel,
            initrd_size: size(system.initrd),
            command_line_length: size(command_line),
            acpi_size,
        };
        LoadPlan::new(memory, &request).map_err(LoadFailure::Plan)
    }

    /// Whether there is a rescue system.
    pub(crate) const fn has_rescue(&self) -> bool {
        self.rescue.is_some()
    }

    /// The files and the kernel of one of its systems.
    fn system(&self, role: Role) -> Option<(System<'static>, &BzImage<'static>)> {
        let kernel = match role {
            Role::First => Some(&self.kernel),
            Role::Rescue => self.rescue.as_ref(),
        };
        Some((self.disk.system(role)?, kernel?))
    }
}

/// Why an image cannot be used.
#[derive(Debug)]
pub(crate) enum ImageError {
    /// It is no archive, or incomplete.
    Archive(RamDiskError<'static>),
    /// Its kernel cannot be started.
    Kernel(BzImageError),
    /// The kernel of its rescue system cannot be started.
    Rescue(BzImageError),
    /// It brings no sums.
    NoSums,
    /// It is damaged.
    Checksum(ChecksumError),
}

impl core::fmt::Display for ImageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Archive(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
            Self::Rescue(error) => {
                f.write_str("rescue/")?;
                error.fmt(f)
            }
            Self::NoSums => f.write_str("the image has no checksums"),
            Self::Checksum(error) => error.fmt(f),
        }
    }
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
    /// The image in use.
    pub(crate) images: Images,
    /// The one in the other area: what to fall back on, or what is started from next.
    pub(crate) other: Option<Images>,
    pub(crate) plan: &'a MemoryPlan,
    /// The GPOS's ACPI tables, built for the place that the load plan gives them.
    pub(crate) acpi: &'a [u8],
    /// That place.
    pub(crate) acpi_base: u64,
}

/// Why the GPOS cannot be loaded.
#[derive(Debug)]
pub(crate) enum LoadFailure {
    /// The image is damaged.
    Checksum(ChecksumError),
    /// It has no such system.
    NoRescue,
    /// It does not fit.
    Plan(darma_policy::boot::load_plan::LoadError),
    /// A place of the plan is not the GPOS's RAM: a bug of the plan.
    OutsideRam(&'static str),
}

impl core::fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Checksum(error) => error.fmt(f),
            Self::NoRescue => {
                f.write_str("the image has no rescue system: make one with `rescue/` files")
            }
            Self::Plan(error) => error.fmt(f),
            Self::OutsideRam(what) => write!(
                f,
                "the place planned for the {what} is not RAM of the GPOS: report this as a bug"
            ),
        }
    }
}

impl Loader<'_> {
    /// The size of the ACPI tables, bytes.
    fn acpi_size(&self) -> u64 {
        u64::try_from(self.acpi.len()).unwrap_or(u64::MAX)
    }

    /// Whether each of `images`' systems can be placed as the one in use is.
    pub(crate) fn has_places(&self, images: &Images) -> bool {
        let longest = [b' '; command_line::APPENDED];
        [Role::First, Role::Rescue].into_iter().all(|role| {
            let Some((system, kernel)) = images.system(role) else {
                return role == Role::Rescue;
            };
            let own = system.command_line().len().saturating_add(longest.len());
            let fits = u64::try_from(own).is_ok_and(|own| own <= kernel.command_line_limit);
            let places = images.places(self.plan, role, &longest, self.acpi_size());
            fits && places.is_ok_and(|places| places.acpi.base() == self.acpi_base)
        })
    }

    /// Takes the image of the other area into use; the one that was in use becomes the other.
    pub(crate) const fn exchange(&mut self) {
        if let Some(other) = &mut self.other {
            core::mem::swap(&mut self.images, other);
        }
    }

    /// Verifies the image, copies everything to its place and resets the processor to the entry.
    pub(crate) fn load(
        &self,
        gpos: &mut Gpos,
        role: Role,
        told: &Told<'_>,
    ) -> Result<(), LoadFailure> {
        let (system, kernel) = self.images.system(role).ok_or(LoadFailure::NoRescue)?;
        self.images
            .sums
            .verify_system(&self.images.disk, role, checksum)
            .map_err(LoadFailure::Checksum)?;
        let limit = usize::try_from(kernel.command_line_limit).unwrap_or(0);
        let mut line = command_line::compose(system.command_line(), told, limit);
        let plan = self
            .images
            .places(self.plan, role, &line, self.acpi_size())?;
        // They hold addresses within themselves.
        if plan.acpi.base() != self.acpi_base {
            return Err(LoadFailure::OutsideRam("ACPI tables"));
        }
        // The composer leaves room for it.
        let _ = line.push(0);

        let mut params = [0; boot_params::SIZE];
        let described = plan.boot_params(kernel.setup_header);
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
        place("kernel", plan.kernel.base(), kernel.payload)?;
        place("initrd", plan.initrd.base(), system.initrd)?;
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
