//! A compiler for the bare-metal target `x86_64-unknown-none`, wherever this machine can get one.
//!
//! In this order: the target is already there; rustup adds it; Debian's own Rust packages, unpacked
//! privately, compile `core` and `alloc` from source once. The last way serves machines whose only
//! access to the world is a Debian mirror. Its packages must all be of one version (a compiler
//! reads only its own library), and their names carry that version, so apt is asked for both.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{debian, paths, process, terminal};

/// The target of the bootable image.
pub const TARGET: &str = "x86_64-unknown-none";

/// The oldest compiler that accepts the code (`rust-version` of the workspace).
const OLDEST: (u32, u32) = (1, 88);

/// The image lies at a fixed address, so it needs no relocations. The target's default code model
/// stays (kernel: sign-extended 32-bit addresses, which fit below 2 GiB as well as in the top 2 GiB):
/// link-time optimisation refuses to mix another one with the precompiled `core`. Link arguments are
/// the application's own.
const FLAGS: &str = "-C relocation-model=static";

/// Which compiler to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// rustup's where it has the target or can add it, else Debian's.
    #[default]
    Auto,
    /// rustup's only.
    Rustup,
    /// Debian's only.
    Debian,
}

/// A compiler that can build the image.
#[derive(Clone, Debug)]
pub enum Toolchain {
    /// The compiler in use knows the target.
    Native,
    /// Debian's compiler, started by a wrapper that finds its libraries; `core` is built from source.
    Debian {
        /// The wrapper.
        rustc: PathBuf,
        /// An LLD, which Debian's packages lack.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// A `cargo` command that builds for the target with this compiler; the caller adds the package.
    #[must_use]
    pub fn cargo_build(&self) -> Command {
        let mut command = cargo();
        command
            .args(["build", "--target", TARGET, "--target-dir"])
            .arg(self.target_dir())
            .env("CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS", FLAGS);
        if let Self::Debian { rustc, linker } = self {
            command
                .args([
                    "-Zbuild-std=core,alloc",
                    "-Zbuild-std-features=compiler-builtins-mem",
                ])
                .env("RUSTC", rustc)
                // -Z options on a stable compiler: what its own distribution does to build itself.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", linker);
        }
        command
    }

    /// Where cargo puts what this compiler builds: apart, so that changing compilers rebuilds nothing.
    #[must_use]
    pub fn target_dir(&self) -> PathBuf {
        paths::cache().join(match self {
            Self::Native => "image",
            Self::Debian { .. } => "image-debian",
        })
    }
}

/// `cargo` without the flags that a caller's environment may carry: they would be taken instead of ours.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    command.current_dir(paths::root());
    command
}

/// Finds or fetches a compiler for the target.
///
/// # Errors
/// None of the ways works; the message says what each of them met.
pub fn ensure(choice: Choice) -> Result<Toolchain> {
    if choice != Choice::Debian {
        if has_target() {
            return Ok(Toolchain::Native);
        }
        let step = terminal::step(format!("rustup target add {TARGET}"));
        match add_target() {
            Ok(()) => {
                step.done("added");
                return Ok(Toolchain::Native);
            }
            Err(error) if choice == Choice::Rustup => return Err(error),
            Err(error) => {
                drop(step);
                terminal::note(&format!(
                    "rustup cannot add {TARGET} here ({error:#}); taking Debian's compiler"
                ));
            }
        }
    }
    ensure_debian()
}

fn rustc_says(arguments: &[&str]) -> Result<String> {
    process::capture(
        Command::new("rustc")
            .args(arguments)
            .env_remove("RUSTC_WRAPPER"),
    )
    .map(|text| text.trim().to_owned())
}

/// Whether the compiler in use has the target installed.
#[must_use]
pub fn has_target() -> bool {
    // The folder's name is printed whether or not the target is installed: look into it.
    rustc_says(&["--print", "target-libdir", "--target", TARGET]).is_ok_and(|folder| {
        fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
            })
        })
    })
}

fn add_target() -> Result<()> {
    if process::find("rustup").is_none() {
        bail!("rustup is not installed");
    }
    let log = paths::cache().join("logs/rustup.log");
    fs::create_dir_all(paths::cache().join("logs"))?;
    process::run_logged(
        Command::new("rustup").args(["target", "add", TARGET]),
        &log,
        Duration::from_secs(180),
    )?;
    if !has_target() {
        bail!("rustup added {TARGET}, but not to the compiler in use");
    }
    Ok(())
}

/// Debian's compiler, from the cache or fetched.
fn ensure_debian() -> Result<Toolchain> {
    let linker = linker()?;
    let version = debian::candidate("rustc-web")
        .context("no compiler for x86_64-unknown-none: rustup cannot add the target, and apt has no rustc-web")?;
    require_recent(&version)?;
    let folder = paths::cache()
        .join("debian-rust")
        .join(version.replace([':', '/', '~'], "_"));
    let rustc = folder.join("rustc");
    if folder.join(debian::COMPLETE).is_file() {
        return Ok(Toolchain::Debian { rustc, linker });
    }
    let step = terminal::step(format!("Debian's rustc {version}"));
    debian::clear(&folder)?;
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    for (package, version) in debian_packages(&version)? {
        step.now(&format!("fetching {package}"));
        let archive = debian::download(&package, &version)?;
        // The source package holds the whole compiler; only the libraries are built.
        let only = (package == SOURCE).then_some("./usr/src/*/library/*");
        debian::extract(&archive, &root, only)?;
        if package == DEVELOPMENT {
            link_source(&root)?;
        }
        fs::remove_file(archive)?;
    }
    link_source(&root)?;
    write_wrapper(&rustc, &root)?;
    process::capture(Command::new(&rustc).arg("-V"))
        .context("Debian's unpacked compiler does not start")?;
    fs::write(folder.join(debian::COMPLETE), "")?;
    step.done(&format!("unpacked to {}", paths::shown(&folder)));
    Ok(Toolchain::Debian { rustc, linker })
}

const SOURCE: &str = "rust-web-src";
const DEVELOPMENT: &str = "libstd-rust-web-dev";

/// The packages to unpack, each with its version: compiler, libraries, source, and those shared
/// libraries below them that the system does not have.
fn debian_packages(version: &str) -> Result<Vec<(String, String)>> {
    let mut packages: Vec<(String, String)> = ["rustc-web", DEVELOPMENT, SOURCE]
        .map(|name| (name.to_owned(), version.to_owned()))
        .to_vec();
    let mut open: Vec<String> = debian::dependencies(DEVELOPMENT)?
        .into_iter()
        .filter(|name| name.starts_with("libstd-rust-web-"))
        .collect();
    if open.is_empty() {
        bail!("apt's {DEVELOPMENT} names no compiler library");
    }
    while let Some(name) = open.pop() {
        if packages.iter().any(|(known, _)| *known == name) {
            continue;
        }
        open.extend(
            debian::dependencies(&name)?
                .into_iter()
                .filter(|name| name.starts_with("lib") && !debian::is_installed(name)),
        );
        let version = debian::candidate(&name)?;
        packages.push((name, version));
    }
    for (name, found) in &packages {
        if name.contains("rust-web") && found != version {
            bail!(
                "apt offers rustc-web {version} but {name} {found}: run `apt-get update` as an administrator"
            );
        }
    }
    Ok(packages)
}

/// Cargo looks for the library's source at one place below the compiler's own root.
fn link_source(root: &Path) -> Result<()> {
    let place = root.join("usr/lib/rustlib/src");
    let link = place.join("rust");
    if link.exists() {
        return Ok(());
    }
    let Ok(entries) = fs::read_dir(root.join("usr/src")) else {
        return Ok(());
    };
    let Some(source) = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("library").is_dir())
    else {
        return Ok(());
    };
    fs::create_dir_all(&place)?;
    if link.is_symlink() {
        fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink(source, link).context("cannot link the library's source")
}

/// A wrapper instead of a rustup tool chain: nothing outside the clone changes, and the unpacked
/// libraries are seen by this compiler alone.
fn write_wrapper(wrapper: &Path, root: &Path) -> Result<()> {
    let root = root.display();
    let text = format!(
        "#!/bin/sh\n\
         LD_LIBRARY_PATH=\"{root}/usr/lib/x86_64-linux-gnu${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\" \\\n\
         exec \"{root}/usr/bin/rustc\" --sysroot \"{root}/usr\" \"$@\"\n"
    );
    fs::write(wrapper, text)?;
    fs::set_permissions(wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// rustup ships an LLD with every host compiler; a system's own serves as well.
fn linker() -> Result<PathBuf> {
    if let (Ok(root), Ok(version)) = (rustc_says(&["--print", "sysroot"]), rustc_says(&["-vV"])) {
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or("x86_64-unknown-linux-gnu");
        let lld = Path::new(&root)
            .join("lib/rustlib")
            .join(host)
            .join("bin/rust-lld");
        if lld.is_file() {
            return Ok(lld);
        }
    }
    debian::ensure_installed(&[debian::Needed {
        program: "ld.lld",
        package: "lld",
    }])?;
    process::find("ld.lld").context("the package lld brings no ld.lld")
}

fn require_recent(version: &str) -> Result<()> {
    let mut numbers = version
        .split(['.', '+', '~', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST {
        bail!(
            "Debian's rustc-web is {version}, older than {}.{}: add bookworm-security to apt's sources",
            OLDEST.0,
            OLDEST.1
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::require_recent;

    #[test]
    fn a_compiler_older_than_the_workspace_needs_is_refused() {
        assert!(require_recent("1.85.0+dfsg3-1~deb12u3").is_err());
        assert!(require_recent("1.96.0+dfsg1-1~deb12u2").is_ok());
        assert!(require_recent("nonsense").is_err());
    }
}
