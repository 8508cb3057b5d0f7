//! Debian's kernels, unpacked as packaged.
//!
//! The metapackage (`linux-image-amd64`) names the current kernel package; apt is asked each time,
//! and each version has a cache folder of its own.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::debian;
use crate::modules::Modules;

/// Which of Debian's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flavour {
    /// `linux-image-cloud-amd64`: few drivers, boots fastest.
    Cloud,
    /// `linux-image-amd64`: the ordinary one.
    Generic,
    /// `linux-image-rt-amd64`: `PREEMPT_RT`.
    Rt,
}

impl Flavour {
    /// All of them, the quickest to boot first.
    pub const ALL: [Self; 3] = [Self::Cloud, Self::Generic, Self::Rt];

    /// The name used on the command line, in file names and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Generic => "generic",
            Self::Rt => "rt",
        }
    }

    /// The package that always names the current kernel.
    #[must_use]
    pub const fn metapackage(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Generic => "linux-image-amd64",
            Self::Rt => "linux-image-rt-amd64",
        }
    }
}

/// A kernel on disk.
pub struct Kernel {
    /// Which one.
    pub flavour: Flavour,
    /// As `uname -r` prints it.
    pub release: String,
    /// The bzImage.
    pub image: PathBuf,
    /// Its modules.
    pub modules: Modules,
}

/// Fetches and unpacks Debian's current kernel of this flavour.
///
/// # Errors
/// apt cannot resolve or fetch it, or the package lacks what a kernel package has.
pub fn ensure(flavour: Flavour) -> Result<Kernel> {
    // The metapackage depends on the one package that carries the release in its name.
    let package = debian::dependencies(flavour.metapackage())?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| {
            format!(
                "apt's {} names no kernel: run `apt-get update` as an administrator",
                flavour.metapackage()
            )
        })?;
    let folder = debian::unpacked(&package)?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    let image = folder.join("boot").join(format!("vmlinuz-{release}"));
    fs::metadata(&image)
        .with_context(|| format!("package {package} holds no {}", image.display()))?;
    let modules = Modules::find(&folder.join("lib/modules").join(&release))?;
    Ok(Kernel {
        flavour,
        release,
        image,
        modules,
    })
}
