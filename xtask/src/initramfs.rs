//! Makes an initial RAM file system: static busybox, the distribution's own modules with their
//! index files, the payload scripts, and extra programs.
//!
//! Deterministic: the same inputs give the same bytes (sorted, no times, gzip without name or time).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::kernels::Kernel;
use crate::modules::{self, Module};
use crate::{cpio, debian, paths, process, terminal};

/// Drivers for what the emulated machine gives to Linux, and `ramoops`, which `darma.modules=` loads. A kernel that lacks one goes without:
/// the cloud kernel, for one, drives no SD cards.
pub const DRIVERS: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "ahci",
    "sd_mod",
    "mmc_block",
    "sdhci_pci",
    "pvpanic_pci",
    "nvme",
    "ramoops",
];

/// How the archive is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// As it is: larger, but Linux unpacks nothing, which emulation feels.
    #[default]
    Plain,
    /// gzip, which every kernel configuration unpacks.
    Gzip,
}

/// What goes in besides busybox.
#[derive(Default)]
pub struct Contents {
    /// Modules from the kernel package, with what they need.
    pub drivers: Vec<&'static str>,
    /// Modules from elsewhere (the fault module): files.
    pub extra_modules: Vec<PathBuf>,
    /// Programs and scripts: path inside, mode, file.
    pub files: Vec<(String, u32, PathBuf)>,
    /// How the archive is packed.
    pub packing: Packing,
}

impl Contents {
    /// The standard content: all drivers, everything below `gpos-shim/payload/`, and `darma`.
    ///
    /// # Errors
    /// The payload folder is absent or unreadable.
    pub fn standard(darma: Option<&Path>) -> Result<Self> {
        let mut contents = Self {
            drivers: DRIVERS.to_vec(),
            ..Self::default()
        };
        contents.add_folder(&paths::root().join("gpos-shim/payload"))?;
        if let Some(program) = darma {
            contents
                .files
                .push(("bin/darma".into(), 0o755, program.to_path_buf()));
        }
        Ok(contents)
    }

    /// Adds every file below `folder`, at the same place below the root. Scripts are executable.
    ///
    /// # Errors
    /// The folder is absent or unreadable.
    pub fn add_folder(&mut self, folder: &Path) -> Result<()> {
        let mut open = vec![folder.to_path_buf()];
        while let Some(next) = open.pop() {
            for entry in
                fs::read_dir(&next).with_context(|| format!("cannot list {}", next.display()))?
            {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let inside = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                // What begins with "#!" is a program, whether or not the checkout kept its mode.
                let script = fs::read(&path)?.starts_with(b"#!");
                self.files
                    .push((inside, if script { 0o755 } else { 0o644 }, path));
            }
        }
        Ok(())
    }
}

/// Builds the archive for `kernel`.
///
/// # Errors
/// A part is missing or unreadable.
pub fn build(kernel: &Kernel, contents: &Contents) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    for folder in [
        "dev", "proc", "sys", "tmp", "run", "mnt", "root", "etc", "sbin", "usr/bin", "usr/sbin",
    ] {
        tree.directory(folder);
    }
    add_busybox(&mut tree)?;
    add_modules(&mut tree, kernel, contents)?;
    for (inside, mode, file) in &contents.files {
        tree.file(inside, *mode, read(file)?);
    }
    ensure!(
        tree.0.contains_key("init"),
        "the initial RAM file system has no /init: add one to gpos-shim/payload/"
    );
    let archive = tree.write()?;
    match contents.packing {
        Packing::Plain => Ok(archive),
        Packing::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(&archive)?;
            Ok(encoder.finish()?)
        }
    }
}

/// Builds the archive and stores it as `<name>.cpio` (or `.cpio.gz`) in the cache.
///
/// # Errors
/// As [`build`]; or the file cannot be written.
pub fn store(kernel: &Kernel, contents: &Contents, name: &str) -> Result<PathBuf> {
    let step = terminal::step(format!("initial RAM file system {name}"));
    let archive = build(kernel, contents)?;
    let ending = if contents.packing == Packing::Gzip {
        "cpio.gz"
    } else {
        "cpio"
    };
    let folder = paths::cache().join("initramfs");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.{ending}"));
    fs::write(&file, &archive).with_context(|| format!("cannot write {}", file.display()))?;
    step.done(&format!("{} KiB", archive.len() / 1024));
    Ok(file)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// What the archive holds, by path: sorted, so that every folder precedes its content.
#[derive(Default)]
struct Tree(BTreeMap<String, Node>);

enum Node {
    Directory,
    File(u32, Vec<u8>),
    Link(String),
    Character(u32, u32),
}

impl Tree {
    fn directory(&mut self, path: &str) {
        self.insert(path, Node::Directory);
    }

    fn file(&mut self, path: &str, mode: u32, data: Vec<u8>) {
        self.insert(path, Node::File(mode, data));
    }

    fn insert(&mut self, path: &str, node: Node) {
        let mut parent = Path::new(path).parent();
        while let Some(folder) = parent.filter(|folder| !folder.as_os_str().is_empty()) {
            self.0
                .entry(folder.to_string_lossy().into_owned())
                .or_insert(Node::Directory);
            parent = folder.parent();
        }
        self.0.insert(path.to_owned(), node);
    }

    fn write(&self) -> Result<Vec<u8>> {
        let mut writer = cpio::Writer::new();
        for (path, node) in &self.0 {
            match node {
                Node::Directory => writer.directory(path)?,
                Node::File(mode, data) => writer.file(path, *mode, data)?,
                Node::Link(target) => writer.symlink(path, target)?,
                Node::Character(major, minor) => {
                    writer.character_device(path, 0o600, *major, *minor)?
                }
            }
        }
        writer.finish()
    }
}

/// Debian's static busybox, and a link for each of its applets.
fn add_busybox(tree: &mut Tree) -> Result<()> {
    let program = debian::unpacked("busybox-static")?.join("bin/busybox");
    let applets = process::capture(std::process::Command::new(&program).arg("--list"))?;
    tree.file("bin/busybox", 0o755, read(&program)?);
    for applet in applets
        .lines()
        .filter(|name| !name.is_empty() && *name != "busybox" && !name.contains('/'))
    {
        tree.insert(&format!("bin/{applet}"), Node::Link("busybox".into()));
    }
    // The kernel opens these before anything can create them.
    tree.insert("dev/console", Node::Character(5, 1));
    tree.insert("dev/null", Node::Character(1, 3));
    Ok(())
}

fn add_modules(tree: &mut Tree, kernel: &Kernel, contents: &Contents) -> Result<()> {
    let folder = format!("lib/modules/{}", kernel.modules.release());
    let mut chosen = kernel
        .modules
        .select(&kernel.modules.available(&contents.drivers))?;
    for file in &contents.extra_modules {
        let info = modules::parse(&read(file)?)
            .with_context(|| format!("{} is no kernel module", file.display()))?;
        let name = file
            .file_stem()
            .context("a module file has a name")?
            .to_string_lossy()
            .replace('-', "_");
        chosen.push(Module {
            name,
            file: file.clone(),
            needs: info.depends,
            aliases: info.aliases,
        });
    }
    let path_of = |name: &str| format!("kernel/{name}.ko");
    for module in &chosen {
        tree.file(
            &format!("{folder}/{}", path_of(&module.name)),
            0o644,
            read(&module.file)?,
        );
    }
    tree.file(
        &format!("{folder}/modules.dep"),
        0o644,
        modules::dependency_index(&chosen, path_of).into_bytes(),
    );
    tree.file(
        &format!("{folder}/modules.alias"),
        0o644,
        modules::alias_index(&chosen).into_bytes(),
    );
    // modprobe asks for these and warns where they are absent.
    for empty in [
        "modules.symbols",
        "modules.softdep",
        "modules.builtin",
        "modules.order",
    ] {
        tree.file(&format!("{folder}/{empty}"), 0o644, Vec::new());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Node, Tree};
    use crate::cpio;

    #[test]
    fn every_folder_precedes_what_it_holds() {
        let mut tree = Tree::default();
        tree.file("a/b/c", 0o644, b"x".to_vec());
        tree.insert("a/b/d", Node::Link("c".into()));
        let archive = tree.write().expect("fits");
        let names: Vec<_> = cpio::list(&archive)
            .expect("own output")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d"]);
    }
}
