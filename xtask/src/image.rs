//! Builds the bootable image: an application crate compiled for the bare machine.
//!
//! The application is a package of this workspace or a crate anywhere else. Cargo is started in this
//! tree's root in both cases, so that the profile `image` and the compiler's flags are this tree's.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol};
use serde_json::Value;

use crate::toolchain::{self, Choice, TARGET, Toolchain};
use crate::{debian, paths, process, start_code, terminal};

/// The application that `demo`, `run` and the tests boot.
pub const APPLICATION: &str = "darma-demo";

/// A program that becomes an image. As text: `PACKAGE`, `PACKAGE:BINARY`, `FOLDER` or `FOLDER:BINARY`,
/// where a folder is a path with a slash in it, or `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    place: Place,
    /// The binary; none for the only one, or the one with the package's name.
    binary: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A package of this workspace.
    Package(String),
    /// The folder of a crate elsewhere.
    Folder(PathBuf),
}

impl Application {
    /// The program of a workspace package with the package's name.
    #[must_use]
    pub fn package(name: &str) -> Self {
        Self {
            place: Place::Package(name.into()),
            binary: None,
        }
    }

    /// One of the programs of a workspace package.
    #[must_use]
    pub fn binary(package: &str, binary: &str) -> Self {
        Self {
            binary: Some(binary.into()),
            ..Self::package(package)
        }
    }
}

impl FromStr for Application {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (place, binary) = match text.rsplit_once(':') {
            Some((place, binary)) => (place, Some(binary.to_owned())),
            None => (text, None),
        };
        ensure!(
            !place.is_empty() && binary.as_deref() != Some(""),
            "{text:?} names no application: give PACKAGE, PACKAGE:BINARY or the path of a crate's folder"
        );
        let place = if place.contains('/') || place == "." || place == ".." {
            let folder = fs::canonicalize(place)
                .with_context(|| format!("no folder {place}: give the path of a crate's folder"))?;
            ensure!(
                folder.join("Cargo.toml").is_file(),
                "{place} has no Cargo.toml: give the path of a crate's folder"
            );
            Place::Folder(folder)
        } else {
            Place::Package(place.into())
        };
        Ok(Self { place, binary })
    }
}

/// A built image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The ELF file that QEMU takes as `-kernel`.
    pub elf: PathBuf,
    /// Machine code in it.
    pub code: Code,
}

/// Builds the program `application`.
///
/// # Errors
/// No compiler for the target, or the compiler found fault: its message stands on the terminal.
pub fn build(application: &Application, choice: Choice) -> Result<Image> {
    debian::ensure_installed(debian::TO_BOOT)?;
    let toolchain = toolchain::ensure(choice)?;
    let binary = match (&application.binary, &application.place) {
        (Some(binary), _) => binary.clone(),
        (None, Place::Package(name)) => name.clone(),
        (None, Place::Folder(folder)) => only_binary(folder)?,
    };
    terminal::note(&format!("compiling {binary} for {TARGET}"));
    process::run(&mut compile(&toolchain, &application.place, &binary))?;
    let elf = toolchain
        .target_dir()
        .join(TARGET)
        .join("image")
        .join(&binary);
    let code = Code::of(&elf)?;
    terminal::note(&format!(
        "image {}: {} bytes of text after the start, {} of the RAS monitor's",
        paths::shown(&elf),
        code.text,
        code.ras
    ));
    Ok(Image { elf, code })
}

fn compile(toolchain: &Toolchain, place: &Place, binary: &str) -> std::process::Command {
    let mut command = toolchain.cargo_build();
    match place {
        Place::Package(name) => command.args(["--package", name]),
        Place::Folder(folder) => command
            .arg("--manifest-path")
            .arg(folder.join("Cargo.toml")),
    };
    command.args(["--quiet", "--bin", binary, "--profile", "image"]);
    command
}

/// The one program of the crate in `folder`.
fn only_binary(folder: &Path) -> Result<String> {
    let mut command = toolchain::cargo();
    command
        .args([
            "metadata",
            "--no-deps",
            "--format-version=1",
            "--manifest-path",
        ])
        .arg(folder.join("Cargo.toml"));
    let metadata: Value = serde_json::from_str(&process::capture(&mut command)?)?;
    let found = binaries(&metadata, &folder.join("Cargo.toml"));
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => bail!("the crate in {} has no program", folder.display()),
        several => bail!(
            "the crate in {} has several programs: give PATH:{}",
            folder.display(),
            several.join(" or PATH:")
        ),
    }
}

/// The names of the programs of the package with this manifest, from what `cargo metadata` says.
fn binaries(metadata: &Value, manifest: &Path) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .filter(|package| package["manifest_path"].as_str().map(Path::new) == Some(manifest))
        .flat_map(|package| list(&package["targets"]))
        .filter(|target| list(&target["kind"]).contains(&Value::from("bin")))
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect()
}

/// Writes a word over the initial value of the variable `symbol` of an image: an application that does
/// one of several things is built once.
///
/// # Errors
/// The file is no ELF file, or has no such variable with a value in the file.
pub fn write_word(elf: &Path, symbol: &str, value: u32) -> Result<()> {
    let mut bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let at = place_of(&bytes, symbol)
        .with_context(|| format!("{} has no variable {symbol}", elf.display()))?;
    bytes
        .get_mut(at..at + 4)
        .with_context(|| format!("{symbol} lies outside {}", elf.display()))?
        .copy_from_slice(&value.to_le_bytes());
    fs::write(elf, bytes).with_context(|| format!("cannot write {}", elf.display()))
}

/// Where the value of a variable stands in an ELF file.
fn place_of(elf: &[u8], symbol: &str) -> Result<usize> {
    let file = object::File::parse(elf)?;
    let found = file.symbols().find(|one| one.name() == Ok(symbol));
    let found = found.context("no such symbol")?;
    let index = found
        .section_index()
        .context("a symbol without a section")?;
    let section = file.section_by_index(index)?;
    let (start, length) = section.file_range().context("a section without content")?;
    let inside = found.address().saturating_sub(section.address());
    ensure!(
        inside + 4 <= length,
        "the variable has no value in the file"
    );
    Ok(usize::try_from(start + inside)?)
}

/// The sections of machine code (`nanokernel/image.ld`).
const TEXT: &str = ".text";
/// The RAS monitor's.
const RAS_TEXT: &str = ".text.ras";

/// The machine code in an ELF file that stays after the start, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Nanokernel, RTOS and application.
    pub text: u64,
    /// The RAS monitor.
    pub ras: u64,
}

impl Code {
    /// Measures it, and looks that it needs nothing that goes after the start.
    fn of(elf: &Path) -> Result<Self> {
        let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
        start_code::check(&bytes).with_context(|| format!("{} cannot be used", elf.display()))?;
        let file = object::File::parse(&*bytes)?;
        let size = |name| {
            file.section_by_name(name)
                .map_or(0, |section| section.size())
        };
        Ok(Self {
            text: size(TEXT),
            ras: size(RAS_TEXT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Application, Place, binaries};
    use crate::paths;
    use std::path::Path;

    #[test]
    fn an_application_is_a_package_a_program_of_one_or_a_folder() {
        let parse = |text: &str| text.parse::<Application>();
        assert_eq!(
            parse("mine").expect("a package"),
            Application::package("mine")
        );
        assert_eq!(
            parse("mine:other").expect("a program"),
            Application::binary("mine", "other")
        );
        let folder = paths::root().join("applications/demo");
        let found = parse(&format!("{}:x", folder.display())).expect("a crate");
        assert!(matches!(found.place, Place::Folder(_)) && found.binary.as_deref() == Some("x"));
        for wrong in ["", ":x", "mine:", "./no-such-folder"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let error = parse("/").expect_err("no crate").to_string();
        assert!(error.contains("Cargo.toml"), "{error}");
    }

    #[test]
    fn the_programs_are_those_of_the_package_named() {
        let metadata = serde_json::json!({"packages": [
            {"manifest_path": "/a/Cargo.toml", "targets": [
                {"name": "lib", "kind": ["lib"]}, {"name": "one", "kind": ["bin"]}]},
            {"manifest_path": "/b/Cargo.toml", "targets": [{"name": "two", "kind": ["bin"]}]},
        ]});
        assert_eq!(binaries(&metadata, Path::new("/a/Cargo.toml")), ["one"]);
        assert!(binaries(&metadata, Path::new("/c/Cargo.toml")).is_empty());
    }
}
