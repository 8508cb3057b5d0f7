//! From a kernel's name to files that a machine boots: fetches, builds and packs what is missing.

use std::path::PathBuf;

use anyhow::Result;

use crate::initramfs::{self, Contents};
use crate::kernels::{self, Flavour};
use crate::{debian, fault_module, paths, qemu, shim, terminal};

/// What Linux boots from.
#[derive(Clone, Debug)]
pub struct LinuxFiles {
    /// The bzImage as packaged.
    pub kernel: PathBuf,
    /// The initial RAM file system made for it.
    pub initrd: PathBuf,
    /// As `uname -r` prints it.
    pub release: String,
}

/// Whether the initial RAM file system holds the module that provokes faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultModule {
    /// It does.
    Included,
    /// It does not: for logs that are compared with those of an untouched system.
    Absent,
}

/// What every command needs: the emulator and a compiler, installed once.
///
/// # Errors
/// Something is missing and cannot be installed; the line says what to run.
pub fn machine() -> Result<()> {
    debian::ensure_installed(debian::TO_BOOT)?;
    let version = qemu::version()?;
    terminal::note(&format!("QEMU {version}"));
    Ok(())
}

/// Kernel and initial RAM file system of one of Debian's kernels.
///
/// # Errors
/// A part cannot be fetched or built.
pub fn linux(flavour: Flavour, fault: FaultModule) -> Result<LinuxFiles> {
    linux_with(flavour, fault, "", Vec::new())
}

/// The same, with more files in it (path inside, mode, file) and `suffix` in its name.
///
/// # Errors
/// A part cannot be fetched or built.
pub fn linux_with(
    flavour: Flavour,
    fault: FaultModule,
    suffix: &str,
    files: Vec<(String, u32, PathBuf)>,
) -> Result<LinuxFiles> {
    let kernel = kernels::ensure(flavour)?;
    let darma = shim::build()?;
    let mut contents = Contents::standard(Some(&darma))?;
    let mut name = flavour.name().to_owned();
    if fault == FaultModule::Included {
        contents.extra_modules.push(fault_module::build(&kernel)?);
        name.push_str("-fault");
    }
    if !suffix.is_empty() {
        name.push('-');
        name.push_str(suffix);
    }
    contents.files.extend(files);
    let initrd = initramfs::store(&kernel, &contents, &name)?;
    terminal::note(&format!(
        "Linux {}: {}",
        kernel.release,
        paths::shown(&kernel.image)
    ));
    Ok(LinuxFiles {
        kernel: kernel.image,
        initrd,
        release: kernel.release,
    })
}
