//! Builds the test-only kernel module that provokes faults, against Debian's packaged headers.
//!
//! The headers are unpacked privately. Their Makefile names its other half by an absolute path below
//! `/usr/src`; that line is redirected in the unpacked copy, and nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kernels::Kernel;
use crate::{debian, paths, process, terminal};

/// Where the module's source is.
const SOURCE: &str = "tests/fault-module";

/// Builds the module for `kernel` and returns the `.ko` file; cached until source or headers change.
///
/// # Errors
/// Headers cannot be fetched, or the compiler found fault: the log is named.
pub fn build(kernel: &Kernel) -> Result<PathBuf> {
    debian::ensure_installed(debian::TO_BUILD_MODULES)?;
    let headers = headers(&kernel.release)?;
    let source = paths::root().join(SOURCE);
    let folder = paths::cache().join("fault-module").join(&kernel.release);
    let stamp = fingerprint(&source)?;
    let stamp_file = folder.join(".source");
    if fs::read_to_string(&stamp_file).is_ok_and(|known| known == stamp)
        && let Ok(module) = module(&folder)
    {
        return Ok(module);
    }
    let step = terminal::step(format!("fault module for {}", kernel.release));
    // The kernel's build system writes beside the sources: work on a copy.
    debian::clear(&folder)?;
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, folder.join(name))?;
        }
    }
    let logs = paths::cache().join("logs");
    fs::create_dir_all(&logs)?;
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(&headers)
        .arg(format!("M={}", folder.display()))
        .arg("modules");
    // The headers ask for the compiler by version; where only the plain name is installed, that serves.
    if process::find("gcc-12").is_none() {
        make.arg("CC=gcc");
    }
    // Variables of an outer make or cargo must not steer the kernel's build.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    process::run_logged(
        &mut make,
        &logs.join(format!("fault-module-{}.log", kernel.release)),
        Duration::from_secs(600),
    )?;
    fs::write(&stamp_file, stamp)?;
    let module = module(&folder)?;
    step.done(&paths::shown(&module));
    Ok(module)
}

/// The one module in `folder`.
fn module(folder: &Path) -> Result<PathBuf> {
    fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "ko"))
        .with_context(|| format!("{} holds no built module", folder.display()))
}

/// A text that changes when any source file does.
fn fingerprint(source: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for entry in
        fs::read_dir(source).with_context(|| format!("cannot list {}", source.display()))?
    {
        let path = entry?.path();
        if path.is_file() {
            lines.push(format!(
                "{} {:08x}\n",
                path.display(),
                crc32c::crc32c(&fs::read(&path)?)
            ));
        }
    }
    lines.sort();
    Ok(lines.concat())
}

/// The unpacked headers for `release`: the folder that `make -C` takes.
fn headers(release: &str) -> Result<PathBuf> {
    let package = format!("linux-headers-{release}");
    let version = debian::candidate(&package)?;
    let root = paths::cache()
        .join("headers")
        .join(format!("{release}_{}", version.replace([':', '/'], "_")));
    let folder = root.join("usr/src").join(&package);
    if root.join(debian::COMPLETE).is_file() {
        return Ok(folder);
    }
    let step = terminal::step(format!("kernel headers {release}"));
    debian::clear(&root)?;
    // The flavour's own part, the part common to all flavours, and the build tools. The compiler's
    // package is left out: a compiler is installed, or asked for, by its own name.
    let parts: Vec<String> = debian::dependencies(&package)?
        .into_iter()
        .filter(|name| name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-"))
        .chain([package.clone()])
        .collect();
    for part in parts {
        step.now(&part);
        let archive = debian::download(&part, &debian::candidate(&part)?)?;
        debian::extract(&archive, &root, None)?;
        fs::remove_file(archive)?;
    }
    let makefile = folder.join("Makefile");
    let text = fs::read_to_string(&makefile)
        .with_context(|| format!("cannot read {}", makefile.display()))?;
    let here = format!("{}/", root.join("usr/src").display());
    fs::write(&makefile, text.replace("/usr/src/", &here))?;
    fs::write(root.join(debian::COMPLETE), "")?;
    step.done("unpacked");
    Ok(folder)
}
