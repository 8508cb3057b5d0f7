//! The distribution's kernel modules: which ones a set needs, and the two index files by which
//! busybox's `modprobe` finds them (`modules.dep` by name, `modules.alias` by device).
//!
//! The facts come from each module's own `.modinfo` section (NUL-separated `key=value`), not from
//! the package's index files: those are made by depmod at installation, and nothing is installed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

/// The modules of one kernel, by name.
pub struct Modules {
    release: String,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

/// A module chosen for an initial RAM file system.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name, `-` written as `_`.
    pub name: String,
    /// Its file in the unpacked package.
    pub file: PathBuf,
    /// What it needs, directly and indirectly, nearest first.
    pub needs: Vec<String>,
    /// The patterns of the devices and names that it serves.
    pub aliases: Vec<String>,
}

/// What a module says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Modules that must be loaded before.
    pub depends: Vec<String>,
    /// Alias patterns.
    pub aliases: Vec<String>,
}

/// Names compare equal whichever of `-` and `_` is written.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

impl Modules {
    /// Finds the modules below `folder` (`lib/modules/<release>`).
    ///
    /// # Errors
    /// The folder is unreadable.
    pub fn find(folder: &Path) -> Result<Self> {
        let release = folder
            .file_name()
            .context("a module folder has a name")?
            .to_string_lossy()
            .into_owned();
        let mut files = BTreeMap::new();
        let mut open = vec![folder.to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder)
                .with_context(|| format!("cannot list {}", folder.display()))?
            {
                let entry = entry?;
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    open.push(path);
                } else if path.extension().is_some_and(|ending| ending == "ko")
                    && let Some(name) = path.file_stem()
                {
                    files.insert(normal(&name.to_string_lossy()), path);
                }
            }
        }
        let builtin = fs::read_to_string(folder.join("modules.builtin"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| Some(normal(&Path::new(line).file_stem()?.to_string_lossy())))
            .collect();
        Ok(Self {
            release,
            files,
            builtin,
        })
    }

    /// The kernel release that the modules belong to, as `uname -r` prints it.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// `wanted` and all they need, sorted by name. What is built into the kernel needs no module.
    ///
    /// # Errors
    /// A needed module is neither there nor built in, or a module file is damaged.
    pub fn select(&self, wanted: &[&str]) -> Result<Vec<Module>> {
        let mut chosen: BTreeMap<String, (PathBuf, ModuleInfo)> = BTreeMap::new();
        let mut open: Vec<String> = wanted.iter().map(|name| normal(name)).collect();
        while let Some(name) = open.pop() {
            if chosen.contains_key(&name) {
                continue;
            }
            let Some(file) = self.files.get(&name) else {
                if self.builtin.contains(&name) {
                    continue;
                }
                bail!("kernel {} has no module {name}", self.release);
            };
            let bytes =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let info =
                parse(&bytes).with_context(|| format!("{} is no kernel module", file.display()))?;
            open.extend(info.depends.iter().cloned());
            chosen.insert(name, (file.clone(), info));
        }
        let order = |name: &str| closure(name, &chosen);
        Ok(chosen
            .iter()
            .map(|(name, (file, info))| Module {
                name: name.clone(),
                file: file.clone(),
                needs: order(name),
                aliases: info.aliases.clone(),
            })
            .collect())
    }

    /// Of `wanted`, those that this kernel has in either form: kernels differ in what they drive.
    #[must_use]
    pub fn available<'a>(&self, wanted: &[&'a str]) -> Vec<&'a str> {
        wanted
            .iter()
            .copied()
            .filter(|name| {
                self.files.contains_key(&normal(name)) || self.builtin.contains(&normal(name))
            })
            .collect()
    }
}

/// What `name` needs, breadth first, each once: `modprobe` loads the list from its end.
fn closure(name: &str, all: &BTreeMap<String, (PathBuf, ModuleInfo)>) -> Vec<String> {
    let direct = |name: &str| {
        all.get(name)
            .map(|(_, info)| info.depends.clone())
            .unwrap_or_default()
    };
    let mut needs: Vec<String> = Vec::new();
    // A need found again later moves to the end, so that it is loaded before all its users. The
    // bound stops a cycle, which a sound set of modules does not have.
    let mut open: std::collections::VecDeque<String> = direct(name).into();
    let mut steps = 0;
    while let Some(next) = open.pop_front() {
        steps += 1;
        if steps > 10_000 {
            break;
        }
        if !all.contains_key(&next) {
            continue;
        }
        needs.retain(|known| *known != next);
        open.extend(direct(&next));
        needs.push(next);
    }
    needs
}

/// Reads a module's `.modinfo`.
///
/// # Errors
/// The bytes are no ELF file.
pub fn parse(bytes: &[u8]) -> Result<ModuleInfo> {
    let file = object::File::parse(bytes)?;
    let section = file
        .section_by_name(".modinfo")
        .context("it has no .modinfo section")?;
    let data = section.data()?;
    let mut info = ModuleInfo::default();
    for pair in data.split(|byte| *byte == 0) {
        let pair = String::from_utf8_lossy(pair);
        match pair.split_once('=') {
            Some(("depends", value)) => {
                info.depends
                    .extend(value.split(',').filter(|name| !name.is_empty()).map(normal));
            }
            Some(("alias", value)) => info.aliases.push(value.to_owned()),
            _ => {}
        }
    }
    Ok(info)
}

/// The text of `modules.dep`, paths relative to the module folder.
#[must_use]
pub fn dependency_index(modules: &[Module], path_of: impl Fn(&str) -> String) -> String {
    modules
        .iter()
        .map(|module| {
            let needs: String = module
                .needs
                .iter()
                .map(|name| format!(" {}", path_of(name)))
                .collect();
            format!("{}:{needs}\n", path_of(&module.name))
        })
        .collect()
}

/// The text of `modules.alias`.
#[must_use]
pub fn alias_index(modules: &[Module]) -> String {
    modules
        .iter()
        .flat_map(|module| {
            module
                .aliases
                .iter()
                .map(|alias| format!("alias {alias} {}\n", module.name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Module, ModuleInfo, PathBuf, alias_index, closure, dependency_index};

    fn set(edges: &[(&str, &[&str])]) -> BTreeMap<String, (PathBuf, ModuleInfo)> {
        edges
            .iter()
            .map(|(name, needs)| {
                let depends = needs.iter().map(ToString::to_string).collect();
                (
                    (*name).to_owned(),
                    (
                        PathBuf::new(),
                        ModuleInfo {
                            depends,
                            aliases: Vec::new(),
                        },
                    ),
                )
            })
            .collect()
    }

    #[test]
    fn a_shared_need_comes_after_all_its_users() {
        let all = set(&[
            ("sd", &["a", "core"]),
            ("a", &["b"]),
            ("b", &["core"]),
            ("core", &[]),
        ]);
        assert_eq!(closure("sd", &all), ["a", "b", "core"]);
    }

    #[test]
    fn a_cycle_ends() {
        let all = set(&[("a", &["b"]), ("b", &["a"])]);
        assert!(closure("a", &all).len() <= 2);
    }

    #[test]
    fn index_files_have_the_form_that_modprobe_reads() {
        let module = Module {
            name: "b".into(),
            file: PathBuf::new(),
            needs: vec!["core".into()],
            aliases: vec!["pci:v0001*".into()],
        };
        let modules = [module];
        assert_eq!(
            dependency_index(&modules, |name| format!("{name}.ko")),
            "b.ko: core.ko\n"
        );
        assert_eq!(alias_index(&modules), "alias pci:v0001* b\n");
    }
}
