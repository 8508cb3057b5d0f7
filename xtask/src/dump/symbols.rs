//! Debug symbols for a kernel: the distribution's own, found or fetched.
//!
//! Debian puts the kernel's ELF file with its symbols into the package `linux-image-RELEASE-dbg`, of the
//! same version as the kernel. Of its gigabytes one file is needed: that alone is unpacked. Which file fits is
//! decided by its build id, which the dead kernel's VMCOREINFO names as well.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::Object;

use crate::{debian, paths, terminal};

/// Whether something may be fetched that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// It may: hundreds of megabytes.
    Allowed,
    /// It may not; what is missing is named.
    Refused,
}

/// The package with the symbols of this release.
#[must_use]
pub fn package(release: &str) -> String {
    format!("linux-image-{release}-dbg")
}

fn inside(release: &str) -> PathBuf {
    Path::new("usr/lib/debug/boot").join(format!("vmlinux-{release}"))
}

/// The kernel's ELF file with symbols: as installed, as fetched before, or fetched now.
///
/// # Errors
/// It is not there and may not be fetched (the message says what to install), apt cannot fetch it, or
/// it is that of another build.
pub fn find(release: &str, build_id: Option<&str>, fetch: Fetch) -> Result<PathBuf> {
    let installed = Path::new("/").join(inside(release));
    let cached = cached(release);
    let mut found: Vec<PathBuf> = [Some(installed), cached].into_iter().flatten().collect();
    found.retain(|file| file.is_file());
    if let Some(file) = found.iter().find(|file| fits(file, build_id)) {
        return Ok(file.clone());
    }
    let package = package(release);
    if fetch == Fetch::Refused {
        bail!(
            "there are no debug symbols for {release}: run `apt-get install {package}` as an administrator, \
             or say --fetch to have them fetched and unpacked below target/darma/ (300 MB to 900 MB)"
        );
    }
    let file = fetched(&package, release)?;
    if !fits(&file, build_id) {
        bail!(
            "{package} is of another build than the kernel that failed (build id {}): apt has only the newest one; \
             look for the kernel's own version on snapshot.debian.org and name its vmlinux with --symbols",
            build_id.unwrap_or("unknown")
        );
    }
    Ok(file)
}

/// A file that was unpacked before.
fn cached(release: &str) -> Option<PathBuf> {
    let prefix = format!("{}_", package(release));
    let folders = fs::read_dir(paths::cache().join("debian")).ok()?;
    folders
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .filter(|folder| folder.join(debian::COMPLETE).is_file())
        .map(|folder| folder.join(inside(release)))
        .find(|file| file.is_file())
}

fn fetched(package: &str, release: &str) -> Result<PathBuf> {
    let pattern = format!("*/vmlinux-{release}");
    let folder = debian::unpacked_part(package, &pattern)?;
    let file = folder.join(inside(release));
    fs::metadata(&file)
        .with_context(|| format!("package {package} holds no {}", file.display()))?;
    Ok(file)
}

/// Whether the file is the one that was built with the kernel. Without a build id nothing speaks
/// against it.
fn fits(file: &Path, build_id: Option<&str>) -> bool {
    let Some(wanted) = build_id else {
        return true;
    };
    let found = found_build_id(file);
    if let Err(error) = &found {
        terminal::warn(&format!("{error:#}"));
    }
    found.is_ok_and(|found| found.eq_ignore_ascii_case(wanted))
}

/// The build id in an ELF file, hexadecimal. Reads its headers and its note, not its hundreds of megabytes.
fn found_build_id(file: &Path) -> Result<String> {
    let opened = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let cache = object::ReadCache::new(opened);
    let elf = object::File::parse(&cache)
        .with_context(|| format!("{} is no ELF file", file.display()))?;
    let id = elf
        .build_id()?
        .with_context(|| format!("{} has no build id", file.display()))?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
