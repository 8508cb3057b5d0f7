//! The programs that open a core: `drgn` and `crash`, as they are published.
//!
//! Installed ones are taken as they are. With the user's consent `drgn` comes from PyPI into a Python
//! environment of its own, and `crash` from Debian, unpacked with the libraries that are not installed:
//! both below `target/darma/`, nothing on the system changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::symbols::Fetch;
use crate::{debian, paths, process, terminal};

/// The version of drgn that is fetched: its finding of registers depends on details of the core.
const DRGN: &str = "0.3.0";
/// A wheel, and a few packages: minutes mean that there is no network.
const LIMIT: Duration = Duration::from_secs(300);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// A debugger that is programmed in Python.
    Drgn,
    /// The classic.
    Crash,
}

/// A program to be started with words of the caller's.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    libraries: Option<PathBuf>,
}

impl Program {
    /// A command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        // crash would page its output, drgn fetch symbols by itself.
        command
            .env("CRASHPAGER", "/bin/cat")
            .env_remove("DEBUGINFOD_URLS");
        command
    }
}

/// The program: as installed, as fetched before, or fetched now.
///
/// # Errors
/// It is not there and may not be fetched (the message says what to install), or fetching failed.
pub fn find(tool: Tool, fetch: Fetch) -> Result<Program> {
    let (name, install) = match tool {
        Tool::Drgn => (
            "drgn",
            "run `pip install drgn` or `apt-get install python3-drgn`",
        ),
        Tool::Crash => ("crash", "run `apt-get install crash` as an administrator"),
    };
    // The version that is known to work comes before the one that happens to be installed: Debian
    // 12's drgn is too old to know a processor's registers by the core's rule.
    let private = match tool {
        Tool::Drgn => environment().join("bin/drgn"),
        Tool::Crash => PathBuf::new(),
    };
    if private.is_file() {
        return Ok(Program {
            path: private,
            libraries: None,
        });
    }
    if let Some(path) = process::find(name) {
        return Ok(Program {
            path,
            libraries: None,
        });
    }
    match (tool, fetch) {
        (_, Fetch::Refused) => bail!(
            "{name} is not installed: {install}, or say --fetch to have it fetched below target/darma/"
        ),
        (Tool::Drgn, Fetch::Allowed) => {
            fetch_drgn().with_context(|| format!("cannot fetch drgn: {install}"))
        }
        (Tool::Crash, Fetch::Allowed) => {
            fetch_crash().with_context(|| format!("cannot fetch crash: {install}"))
        }
    }
}

fn environment() -> PathBuf {
    paths::cache().join(format!("drgn-{DRGN}"))
}

fn fetch_drgn() -> Result<Program> {
    let folder = environment();
    let step = terminal::step(format!("drgn {DRGN} from PyPI"));
    let logs = paths::cache().join("logs");
    fs::create_dir_all(&logs)?;
    let log = logs.join("drgn.log");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&folder);
    let made = process::run_logged(&mut make, &log, LIMIT).and_then(|()| {
        let mut install = Command::new(folder.join("bin/pip"));
        install.args(["install", "--only-binary", ":all:"]);
        install.arg(format!("drgn=={DRGN}"));
        process::run_logged(&mut install, &log, LIMIT)
    });
    if let Err(error) = made {
        // Half an environment would be taken for a whole one.
        drop(fs::remove_dir_all(&folder));
        return Err(error);
    }
    step.done(&format!("in {}", paths::shown(&folder)));
    Ok(Program {
        path: folder.join("bin/drgn"),
        libraries: None,
    })
}

fn fetch_crash() -> Result<Program> {
    let folder = debian::unpacked("crash")?;
    let path = folder.join("usr/bin/crash");
    fs::metadata(&path).with_context(|| format!("the package holds no {}", path.display()))?;
    let mut libraries = Vec::new();
    for package in debian::dependencies("crash")? {
        if package.starts_with("lib") && !debian::is_installed(&package) {
            libraries.extend(library_folders(&debian::unpacked(&package)?));
        }
    }
    let joined = std::env::join_paths(libraries)?;
    Ok(Program {
        path,
        libraries: (!joined.is_empty()).then(|| joined.into()),
    })
}

/// Where a package's libraries lie: `lib/ARCHITECTURE` or `usr/lib/ARCHITECTURE`.
fn library_folders(package: &Path) -> Vec<PathBuf> {
    ["lib", "usr/lib"]
        .iter()
        .filter_map(|folder| fs::read_dir(package.join(folder)).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect()
}
