//! What scenarios share, prepared before the first of them starts: the image of the demonstration's
//! application, Debian's kernels, and for each kernel a user space with the scenarios' own scripts.
//!
//! The image is copied, so that a build that runs meanwhile changes no running scenario.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use xtask::image::Application;
use xtask::initramfs::{self, Contents};
use xtask::kernels::{self, Flavour};
use xtask::prepare::LinuxFiles;
use xtask::{fault_module, image, paths, prepare, shim, toolchain};

use crate::golden::Mode;

/// What scenarios boot.
pub struct Laboratory {
    /// The nanokernel with the demonstration's application.
    pub image: PathBuf,
    /// What becomes of traces that differ from their golden ones.
    pub golden: Mode,
    linux: Vec<(Flavour, LinuxFiles)>,
    /// Images of other applications, built when first asked for.
    others: Mutex<BTreeMap<String, PathBuf>>,
}

impl Laboratory {
    /// Builds the image, and fetches and packs the kernels named.
    ///
    /// # Errors
    /// Something is missing and cannot be had, or does not compile.
    pub fn prepare(flavours: &[Flavour], golden: Mode) -> Result<Self> {
        prepare::machine()?;
        let image = build(&Application::package(image::APPLICATION))?;
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
        Ok(Self {
            image,
            golden,
            linux,
            others: Mutex::default(),
        })
    }

    /// The image of `application`, built when it is first asked for.
    ///
    /// # Errors
    /// It does not compile.
    pub fn image_of(&self, application: &Application) -> Result<PathBuf> {
        if *application == Application::package(image::APPLICATION) {
            return Ok(self.image.clone());
        }
        // Kept while the image is built: two compilers at once would wait for each other anyway.
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{application:?}");
        if let Some(image) = others.get(&key) {
            return Ok(image.clone());
        }
        let image = build(application)?;
        others.insert(key, image.clone());
        Ok(image)
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

/// Builds `application` and copies its image, so that a later build changes no running scenario.
fn build(application: &Application) -> Result<PathBuf> {
    let built = image::build(application, toolchain::Choice::Auto)?;
    let folder = paths::cache().join("scenarios");
    fs::create_dir_all(&folder)?;
    let name = built.elf.file_name().unwrap_or_default();
    let image = folder.join(Path::new(name).with_extension("elf"));
    fs::copy(&built.elf, &image).with_context(|| format!("cannot copy {}", built.elf.display()))?;
    Ok(image)
}
