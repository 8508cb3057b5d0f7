//! What scenarios share, prepared before the first of them starts: the image of the demonstration's
//! application, Debian's kernels, and for each kernel a user space with the scenarios' own scripts.
//!
//! The image is copied, so that a build that runs meanwhile changes no running scenario.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xtask::initramfs::{self, Contents};
use xtask::kernels::{self, Flavour};
use xtask::prepare::LinuxFiles;
use xtask::{fault_module, image, paths, prepare, shim, toolchain};

/// What scenarios boot.
pub struct Laboratory {
    /// The nanokernel with the demonstration's application.
    pub image: PathBuf,
    linux: Vec<(Flavour, LinuxFiles)>,
}

impl Laboratory {
    /// Builds the image, and fetches and packs the kernels named.
    ///
    /// # Errors
    /// Something is missing and cannot be had, or does not compile.
    pub fn prepare(flavours: &[Flavour]) -> Result<Self> {
        prepare::machine()?;
        let built = image::build(image::APPLICATION, toolchain::Choice::Auto)?;
        let folder = paths::cache().join("scenarios");
        fs::create_dir_all(&folder)?;
        let image = folder.join("image.elf");
        fs::copy(&built.elf, &image)
            .with_context(|| format!("cannot copy {}", built.elf.display()))?;
        let darma = shim::build()?;
        let mut linux = Vec::new();
        for flavour in flavours {
            let kernel = kernels::ensure(*flavour)?;
            let mut contents = Contents::standard(Some(&darma))?;
            contents.add_folder(&paths::root().join("tests/payload"))?;
            // Register access from user space, for those who mean harm.
            contents.drivers.push("msr");
            contents.extra_modules.push(fault_module::build(&kernel)?);
            let name = format!("scenarios-{}", flavour.name());
            let files = LinuxFiles {
                initrd: initramfs::store(&kernel, &contents, &name)?,
                kernel: kernel.image,
                release: kernel.release,
            };
            linux.push((*flavour, files));
        }
        Ok(Self { image, linux })
    }

    /// Kernel and user space of one flavour.
    ///
    /// # Errors
    /// The scenario did not say that it needs this flavour.
    pub fn linux(&self, flavour: Flavour) -> Result<&LinuxFiles> {
        self.linux
            .iter()
            .find(|(prepared, _)| *prepared == flavour)
            .map(|(_, files)| files)
            .with_context(|| format!("the scenario does not name kernel {}", flavour.name()))
    }
}
