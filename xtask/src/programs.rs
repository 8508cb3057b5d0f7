//! Debian's own programs for an initial RAM file system, each with the shared libraries that it needs.
//!
//! The closure is drawn from the files themselves (`DT_NEEDED`, as the dynamic loader does it) and
//! looked up in the packages that the program's package depends on: nothing of the host's own libraries
//! gets in, and of a package like `python3`, on which `rt-tests` depends for its scripts, nothing is fetched.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::elf::{Dyn, FileHeader, SectionHeader};

use crate::debian;

/// Where libraries are in Debian's packages, and where its dynamic loader looks for them.
const LIBRARY_FOLDERS: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// A program of a Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The package.
    pub package: &'static str,
    /// Where the program stands in it.
    pub path: &'static str,
}

/// What a file needs to be started, as it says itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// Names of shared libraries.
    libraries: Vec<String>,
    /// Path of the dynamic loader; none in a library.
    loader: Option<String>,
}

/// The files to put in: path inside, mode, file. Programs go to `folder`, libraries where the loader
/// looks, the loader to where the programs ask for it.
///
/// # Errors
/// A package cannot be fetched, or a needed library is in none of the packages depended on.
pub fn files(programs: &[Program], folder: &str) -> Result<Vec<(String, u32, PathBuf)>> {
    let mut found = BTreeMap::new();
    let mut libraries = Libraries::default();
    let mut open: Vec<(PathBuf, String)> = Vec::new();
    for program in programs {
        let file = debian::unpacked(program.package)?.join(program.path);
        let name = Path::new(program.path)
            .file_name()
            .context("a program has a name")?
            .to_string_lossy()
            .into_owned();
        found.insert(format!("{folder}/{name}"), file.clone());
        libraries.add(program.package)?;
        open.push((file, program.package.to_owned()));
    }
    while let Some((file, package)) = open.pop() {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let needs = needs(&bytes).with_context(|| format!("cannot parse {}", file.display()))?;
        if let Some(loader) = &needs.loader {
            let name = loader.rsplit('/').next().unwrap_or(loader);
            let (file, _) = libraries.find(name, &package)?;
            found.insert(loader.trim_start_matches('/').to_owned(), file);
        }
        for name in needs.libraries {
            let inside = format!("{}/{name}", LIBRARY_FOLDERS[0]);
            if let Entry::Vacant(place) = found.entry(inside) {
                let (file, package) = libraries.find(&name, &package)?;
                place.insert(file.clone());
                open.push((file, package));
            }
        }
    }
    Ok(found
        .into_iter()
        .map(|(inside, file)| (inside, 0o755, file))
        .collect())
}

/// Unpacked packages in which libraries are looked up.
#[derive(Default)]
struct Libraries {
    folders: Vec<(String, PathBuf)>,
    widened: BTreeSet<String>,
}

impl Libraries {
    fn add(&mut self, package: &str) -> Result<()> {
        if self.folders.iter().all(|(known, _)| known != package) {
            let folder = debian::unpacked(package)?;
            self.folders.push((package.to_owned(), folder));
        }
        Ok(())
    }

    /// The library's file and its package; `user` is the package of what needs it.
    fn find(&mut self, name: &str, user: &str) -> Result<(PathBuf, String)> {
        if let Some(found) = self.known(name) {
            return Ok(found);
        }
        if self.widened.insert(user.to_owned()) {
            // Packages of shared libraries are named so by policy (Debian Policy 8.1).
            for package in debian::dependencies(user)? {
                if package.starts_with("lib") {
                    self.add(&package)?;
                }
            }
        }
        match self.known(name) {
            Some(found) => Ok(found),
            None => bail!("no package that {user} depends on holds {name}"),
        }
    }

    fn known(&self, name: &str) -> Option<(PathBuf, String)> {
        self.folders.iter().find_map(|(package, folder)| {
            LIBRARY_FOLDERS
                .iter()
                .map(|inside| folder.join(inside).join(name))
                .find(|file| file.is_file())
                .map(|file| (file, package.clone()))
        })
    }
}

fn needs(bytes: &[u8]) -> Result<Needs> {
    let header = FileHeader64::<object::Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut needs = Needs::default();
    if let Some((entries, strings)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in entries {
            if entry.tag32(endian) == Some(DT_NEEDED) {
                let name = entry.string(endian, strings)?;
                needs
                    .libraries
                    .push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    if let Some((_, section)) = sections.section_by_name(endian, b".interp") {
        let path = section.data(endian, bytes)?;
        let path = String::from_utf8_lossy(path);
        needs.loader = Some(path.trim_end_matches('\0').to_owned());
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use super::needs;

    #[test]
    fn a_program_names_its_loader_and_its_libraries() {
        let itself = std::fs::read(std::env::current_exe().expect("a file")).expect("readable");
        let needs = needs(&itself).expect("an ELF file");
        assert!(needs.loader.is_some_and(|path| path.contains("ld-linux")));
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"));
    }

    #[test]
    fn a_script_is_no_program_with_libraries() {
        assert!(needs(b"#!/bin/sh\n").is_err());
    }
}
