//! The nested build: one law crate, with everything it uses, into one object file.
//!
//! The target is the host compilers' own, `x86_64-unknown-linux-gnu`: every tool chain that can build the
//! image has its `core`, rustup's as well as Debian's, and it is compiled for SSE2 as a baseline. A
//! target of our own would need a nightly compiler. Whole-program optimisation makes one object of the crate,
//! its dependencies and `core`, in which nothing but the laws has a global name: what the image's
//! compiler calls by the same name with other conventions (`__muldf3`) cannot be mistaken for it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::is_for_the_image;
use crate::judge::{Finding, judge};

/// The target of a law.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Fixed addresses as in the image; the plain baseline of the architecture; no unwind tables, which nobody
/// reads; nothing below the stack pointer.
const FLAGS: [&str; 10] = [
    "-Crelocation-model=static",
    "-Ctarget-cpu=x86-64",
    "-Cno-redzone=yes",
    "-Cforce-unwind-tables=no",
    "-Cpanic=abort",
    "-Copt-level=3",
    "-Ccodegen-units=1",
    "-Clinker-plugin-lto=no",
    "--cfg",
    "darma_hard_float",
];

/// The profile, whatever the law's workspace says.
const PROFILE: [&str; 5] = [
    "profile.release.lto=\"fat\"",
    "profile.release.panic=\"abort\"",
    "profile.release.codegen-units=1",
    "profile.release.opt-level=3",
    "profile.release.debug=1",
];

/// A compiled law.
#[derive(Clone, Debug)]
pub struct Law {
    /// The object file to link.
    pub object: PathBuf,
    /// The files that it was made from.
    pub sources: Vec<PathBuf>,
}

/// Why there is no law to link.
#[derive(Debug)]
pub enum BuildError {
    /// No crate there.
    NoCrate(PathBuf),
    /// Cargo could not be started, or a file not be read.
    File(PathBuf, std::io::Error),
    /// The compiler found fault.
    Compiler(String),
    /// The machine code must not run in a task.
    Unfit(Vec<Finding>),
}

impl std::error::Error for BuildError {}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCrate(folder) => write!(
                f,
                "{} has no Cargo.toml: name the folder of the law's crate, relative to the application's",
                folder.display()
            ),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Compiler(words) => {
                write!(f, "does not compile for {TARGET}:\n{words}")?;
                // The compiler's words for two things that have another remedy here.
                if words.contains("can't find crate for `core`") {
                    write!(f, "\nrun `rustup target add {TARGET}`")?;
                }
                if words.contains("`#[panic_handler]` function required") {
                    write!(
                        f,
                        "\nthe crate holds no law: declare one with darma_law::law!"
                    )?;
                }
                Ok(())
            }
            Self::Unfit(findings) => {
                write!(f, "its machine code cannot be linked into the image:")?;
                for finding in findings {
                    write!(f, "\n  - {finding}")?;
                }
                Ok(())
            }
        }
    }
}

/// Compiles the law crate in `folder` (relative to the application's own) for SSE2, checks the machine
/// code, and links it into the application's programs. The application depends on the same crate.
///
/// # Panics
/// When it cannot be compiled or must not be linked: the message says why and what to do.
pub fn hard_float(folder: &str) {
    println!("cargo:rerun-if-env-changed=RUSTC");
    if !is_for_the_image() {
        return;
    }
    let place = |name: &str| {
        PathBuf::from(env::var_os(name).unwrap_or_else(|| panic!("{name} is set by cargo")))
    };
    let law = build_law(
        &place("CARGO_MANIFEST_DIR").join(folder),
        &place("OUT_DIR").join("law"),
    )
    .unwrap_or_else(|error| panic!("\n\nthe law in {folder:?}: {error}\n"));
    for source in &law.sources {
        println!("cargo:rerun-if-changed={}", source.display());
    }
    println!("cargo:rustc-link-arg-bins={}", law.object.display());
}

/// Compiles the law crate in `folder`, with `scratch` for everything in between, and checks the result.
///
/// # Errors
/// It does not compile, or what comes out must not run in a task.
pub fn build_law(folder: &Path, scratch: &Path) -> Result<Law, BuildError> {
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(BuildError::NoCrate(folder.to_path_buf()));
    }
    let file = |error| BuildError::File(scratch.to_path_buf(), error);
    fs::create_dir_all(scratch).map_err(file)?;
    let object = scratch.join("law.o");
    let output = compile(&manifest, scratch, &object)
        .output()
        .map_err(|error| BuildError::File("cargo".into(), error))?;
    if !output.status.success() {
        return Err(BuildError::Compiler(words(&output)));
    }
    let bytes = fs::read(&object).map_err(|error| BuildError::File(object.clone(), error))?;
    let findings = judge(&bytes);
    if !findings.is_empty() {
        return Err(BuildError::Unfit(findings));
    }
    let mut sources = sources(scratch);
    sources.push(manifest);
    Ok(Law { object, sources })
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn compile(manifest: &Path, scratch: &Path, object: &Path) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["rustc", "--quiet", "--lib", "--release", "--target", TARGET])
        .args(["--crate-type", "staticlib", "--target-dir"])
        .arg(scratch.join("target"))
        .arg("--manifest-path")
        .arg(manifest);
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    let mut emit = OsString::from("--emit=obj=");
    emit.push(object);
    command.arg("--").arg(emit);
    // What cargo and xtask set for the outer build is not meant for this one.
    for (name, _) in env::vars_os() {
        let inherited = name.to_string_lossy();
        if [
            "CARGO_PROFILE_",
            "CARGO_TARGET_",
            "CARGO_BUILD_",
            "CARGO_FEATURE_",
            "CARGO_CFG_",
        ]
        .iter()
        .any(|start| inherited.starts_with(start))
        {
            command.env_remove(&name);
        }
    }
    command
        .env_remove("RUSTFLAGS")
        // Clippy and coverage tools put themselves here.
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    command
}

/// The files that cargo compiled, from the lists that it leaves beside the library.
fn sources(scratch: &Path) -> Vec<PathBuf> {
    let built = scratch.join("target").join(TARGET).join("release");
    let lists = fs::read_dir(built).into_iter().flatten().flatten();
    lists
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "d"))
        .filter_map(|list| fs::read_to_string(list).ok())
        .flat_map(|list| listed(&list))
        .collect()
}

/// The files behind the colon of a rule of make's; a space within a name is escaped.
fn listed(rule: &str) -> Vec<PathBuf> {
    let Some((_, files)) = rule.split_once(": ") else {
        return Vec::new();
    };
    files
        .trim_end()
        .replace("\\ ", "\0")
        .split(' ')
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::listed;
    use std::path::PathBuf;

    #[test]
    fn the_files_of_a_rule_are_listed_with_their_spaces() {
        assert_eq!(
            listed("/a/liblaw.a: /b/one.rs /c/my\\ law.rs\n"),
            [PathBuf::from("/b/one.rs"), PathBuf::from("/c/my law.rs")]
        );
        assert!(listed("").is_empty());
    }
}
