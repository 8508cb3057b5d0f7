//! Builds the bootable image: an application crate compiled for the bare machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object::{Object, ObjectSection, SectionKind};

use crate::toolchain::{self, Choice, TARGET};
use crate::{debian, paths, process, terminal};

/// The application that `demo`, `run` and the tests boot.
pub const APPLICATION: &str = "darma-demo";

/// A built image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The ELF file that QEMU takes as `-kernel`.
    pub elf: PathBuf,
    /// Machine code in it, in bytes.
    pub text_bytes: u64,
}

/// Builds the application `package`, whose program has the same name.
///
/// # Errors
/// No compiler for the target, or the compiler found fault: its message stands on the terminal.
pub fn build(package: &str, choice: Choice) -> Result<Image> {
    debian::ensure_installed(debian::TO_BOOT)?;
    let toolchain = toolchain::ensure(choice)?;
    terminal::note(&format!("compiling {package} for {TARGET}"));
    process::run(toolchain.cargo_build().args([
        "--quiet",
        "--package",
        package,
        "--bin",
        package,
        "--profile",
        "image",
    ]))?;
    let elf = toolchain
        .target_dir()
        .join(TARGET)
        .join("image")
        .join(package);
    let text_bytes = text_bytes(&elf)?;
    terminal::note(&format!(
        "image {}: {text_bytes} bytes of text after the start",
        paths::shown(&elf)
    ));
    Ok(Image { elf, text_bytes })
}

/// The code that is discarded after the start (`nanokernel/image.ld`).
const START_TEXT: &str = ".text.start";

/// The machine code in an ELF file that stays after the start, in bytes: all executable sections but
/// the start's.
///
/// # Errors
/// The file is unreadable or no ELF.
pub fn text_bytes(elf: &Path) -> Result<u64> {
    let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("{} is no ELF file", elf.display()))?;
    Ok(file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text && section.name() != Ok(START_TEXT))
        .map(|section| section.size())
        .sum())
}
