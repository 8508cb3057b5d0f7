//! Debian packages: those that must be installed, and those that only need unpacking.
//!
//! Programs that we run (the emulator, a C compiler) are installed by apt, which needs root. Files
//! that we only read (kernels, busybox, kernel headers, a compiler for the bare-metal target) are
//! fetched with `apt-get download` and unpacked under `target/darma/`, which needs no root and
//! changes nothing on the system. Versions are always asked of apt, never written down here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{paths, process, terminal};

/// A program that must be there, and the package that brings it.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// Looked up on the search path.
    pub program: &'static str,
    /// The Debian package.
    pub package: &'static str,
}

/// What building and booting the image takes.
pub const TO_BOOT: &[Needed] = &[
    Needed {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
    },
    Needed {
        program: "cc",
        package: "gcc",
    },
];

/// What building the fault module takes besides.
pub const TO_BUILD_MODULES: &[Needed] = &[
    Needed {
        program: "make",
        package: "make",
    },
    Needed {
        program: "gcc",
        package: "gcc",
    },
];

/// Makes sure that the programs are there: installs their packages as root, or names the command.
///
/// # Errors
/// Not root (the line names the exact command), or apt failed.
pub fn ensure_installed(needed: &[Needed]) -> Result<()> {
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|item| process::find(item.program).is_none())
        .map(|item| item.package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !process::is_root() {
        bail!(
            "packages are missing; ask an administrator to run: \
             apt-get update && apt-get install -y --no-install-recommends {list}"
        );
    }
    let step = terminal::step(format!("installing {list}"));
    let log = logs()?.join("apt-install.log");
    let mut install = apt_get();
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    if missing.iter().any(|package| candidate(package).is_err())
        || process::run_logged(&mut install, &log, LIMIT).is_err()
    {
        // Package lists that are absent or out of date look the same to us: refresh, try once more.
        step.now("refreshing the package lists");
        update()?;
        process::run_logged(&mut install, &log, LIMIT)?;
    }
    step.done("installed");
    Ok(())
}

/// No apt step that we take should need longer, even on a slow line.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(1800);

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // As root, apt would fetch as user `_apt`, who cannot write into the clone, and warn each time.
    command
        .args(["-q", "-o", "APT::Sandbox::User=root"])
        .env("LC_ALL", "C");
    command
}

fn update() -> Result<()> {
    if !process::is_root() {
        bail!("apt's package lists are out of date; ask an administrator to run: apt-get update");
    }
    process::run_logged(
        apt_get().arg("update"),
        &logs()?.join("apt-update.log"),
        LIMIT,
    )
}

fn logs() -> Result<PathBuf> {
    let folder = paths::cache().join("logs");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// The version of `package` that apt would take.
///
/// # Errors
/// apt does not know the package.
pub fn candidate(package: &str) -> Result<String> {
    let text = process::capture(
        Command::new("apt-cache")
            .args(["policy", package])
            .env("LC_ALL", "C"),
    )?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))
        .map(str::trim)
        .filter(|version| !version.is_empty() && *version != "(none)")
        .map(str::to_owned)
        .with_context(|| {
            format!("apt knows no package {package}: run `apt-get update` as an administrator")
        })
}

/// The packages that `package` depends on, virtual ones left out.
///
/// # Errors
/// apt does not know the package.
pub fn dependencies(package: &str) -> Result<Vec<String>> {
    let text = process::capture(
        Command::new("apt-cache")
            .args(["depends", package])
            .env("LC_ALL", "C"),
    )?;
    Ok(parse_dependencies(&text))
}

/// Reads `apt-cache depends`: `Depends: name` or `PreDepends: name`, where `<name>` is virtual and
/// `|Depends` an alternative.
fn parse_dependencies(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            line.strip_prefix("Depends:")
                .or_else(|| line.strip_prefix("PreDepends:"))
        })
        .map(str::trim)
        .filter(|name| !name.starts_with('<'))
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .collect()
}

/// Whether dpkg has `package` installed.
#[must_use]
pub fn is_installed(package: &str) -> bool {
    process::output(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}\n", package]))
        .is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .any(|line| line == "installed")
        })
}

/// Fetches `package` at apt's version and unpacks it privately.
///
/// The folder carries name and version, and a marker written last: an interrupted unpacking is
/// done again, a complete one is never repeated. Where apt cannot be asked, the last complete one serves.
///
/// # Errors
/// apt cannot fetch the package and none is cached.
pub fn unpacked(package: &str) -> Result<PathBuf> {
    unpacked_as(package, None)
}

/// The same for the files of the package that fit `only`, a shell's pattern: for packages of gigabytes.
///
/// # Errors
/// As [`unpacked`].
pub fn unpacked_part(package: &str, only: &str) -> Result<PathBuf> {
    unpacked_as(package, Some(only))
}

fn unpacked_as(package: &str, only: Option<&str>) -> Result<PathBuf> {
    let store = paths::cache().join("debian");
    let version = match candidate(package) {
        Ok(version) => version,
        Err(error) => match cached(&store, package) {
            Some(folder) => return Ok(folder),
            None if process::is_root() => {
                update()?;
                candidate(package)?
            }
            None => return Err(error),
        },
    };
    let folder = store.join(format!("{package}_{}", version.replace([':', '/'], "_")));
    if folder.join(COMPLETE).is_file() {
        return Ok(folder);
    }
    let step = terminal::step(format!("{package} {version}"));
    step.now("fetching");
    let archive = download(package, &version)?;
    step.now("unpacking");
    clear(&folder)?;
    extract(&archive, &folder, only)?;
    fs::remove_file(&archive)?;
    fs::write(folder.join(COMPLETE), "")?;
    step.done(&format!("unpacked to {}", paths::shown(&folder)));
    Ok(folder)
}

/// Marks a folder whose content is whole.
pub(crate) const COMPLETE: &str = ".complete";

fn cached(store: &Path, package: &str) -> Option<PathBuf> {
    let prefix = format!("{package}_");
    fs::read_dir(store)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
        })
        .filter(|path| path.join(COMPLETE).is_file())
        .max_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok())
}

/// Empties `folder`, creating it where it is absent.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Fetches one package file; the caller removes it.
///
/// # Errors
/// apt cannot fetch it.
pub(crate) fn download(package: &str, version: &str) -> Result<PathBuf> {
    let folder = paths::cache().join("download").join(package);
    clear(&folder)?;
    let fetch = || {
        let mut command = apt_get();
        command
            .arg("download")
            .arg(format!("{package}={version}"))
            .current_dir(&folder);
        process::capture(&mut command)
    };
    if let Err(error) = fetch() {
        // Lists older than the archive name files that are gone.
        update().with_context(|| format!("cannot fetch {package} {version}: {error:#}"))?;
        fetch()?;
    }
    fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .with_context(|| format!("apt fetched no file for {package} {version}"))
}

/// Unpacks a package file into `folder`; `only` limits it to one path prefix of the archive.
pub(crate) fn extract(archive: &Path, folder: &Path, only: Option<&str>) -> Result<()> {
    let Some(only) = only else {
        process::capture(Command::new("dpkg-deb").arg("-x").arg(archive).arg(folder))?;
        return Ok(());
    };
    let mut source = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb: is it installed?")?;
    let pipe = source.stdout.take().context("dpkg-deb gave no output")?;
    let status = Command::new("tar")
        .arg("-x")
        .arg("-C")
        .arg(folder)
        .args(["--wildcards", only])
        .stdin(pipe)
        .status()?;
    let source = source.wait()?;
    if !status.success() || !source.success() {
        bail!("cannot unpack {only} from {}", archive.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse_dependencies;

    #[test]
    fn dependencies_leave_out_virtual_packages_and_other_relations() {
        let text = "rustc-web\n  PreDepends: libgcc-s1\n  Depends: libc6\n  Depends: <libc-dev>\n    libc6-dev\n |Depends: a\n  Recommends: b\n  Depends: perl:any\n";
        assert_eq!(parse_dependencies(text), ["libgcc-s1", "libc6", "perl"]);
    }
}
