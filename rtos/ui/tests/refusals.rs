//! Every file of `refused/` is refused, where and in the words that stand beside it.
//!
//! The compiler is called directly, on all files at once: `trybuild` starts cargo for each, which takes
//! minutes instead of seconds. Compared are places and messages, not how the compiler draws them, so that
//! its next version does not fail the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

fn program(variable: &str, otherwise: &str) -> Command {
    Command::new(std::env::var_os(variable).unwrap_or_else(|| otherwise.into()))
}

/// The compiled crate `rtos`, as cargo left it for this test.
fn library() -> PathBuf {
    let output = program("CARGO", "cargo")
        .args([
            "build",
            "--quiet",
            "--package",
            "rtos",
            "--message-format",
            "json",
        ])
        .output()
        .expect("cargo starts");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "rtos")
        .filter_map(|message| {
            let files = message["filenames"].as_array()?.iter();
            files
                .filter_map(Value::as_str)
                .find(|file| file.ends_with(".rlib"))
                .map(PathBuf::from)
        })
        .next_back()
        .unwrap_or_else(|| {
            panic!(
                "cargo builds no rtos:\n{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
}

/// What the compiler says against this file: `line:column message`, in the order of the source.
fn refusals(file: &Path, library: &Path) -> String {
    let output = program("RUSTC", "rustc")
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
        ])
        .args(["--error-format", "json", "-o"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file.file_stem().expect("a name")))
        .arg("--extern")
        .arg(format!("rtos={}", library.display()))
        .arg("-L")
        .arg(format!(
            "dependency={}",
            library.with_file_name("deps").display()
        ))
        .arg(file)
        .output()
        .expect("rustc starts");
    let text = String::from_utf8_lossy(&output.stderr);
    let mut found: Vec<(u64, u64, String)> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["level"] == "error")
        .filter_map(|message| {
            let spans = message["spans"].as_array()?;
            // The last line, "aborting due to", has no place.
            let primary = spans.iter().find(|span| span["is_primary"] == true)?;
            // What is found while a constant is computed lies in the library; its caller is in the file.
            let place = outermost(primary);
            Some((
                place["line_start"].as_u64()?,
                place["column_start"].as_u64()?,
                message["message"].as_str()?.replace('\n', "\n    "),
            ))
        })
        .collect();
    found.sort();
    found
        .iter()
        .map(|(line, column, message)| format!("{line}:{column} {message}\n"))
        .collect()
}

fn outermost(span: &Value) -> &Value {
    match &span["expansion"] {
        Value::Object(expansion)
            if span["file_name"]
                .as_str()
                .is_none_or(|name| !name.contains("refused")) =>
        {
            outermost(&expansion["span"])
        }
        _ => span,
    }
}

/// The files of a folder.
fn sources(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

#[test]
fn an_application_with_the_strictest_lints_compiles_without_a_word() {
    let library = library();
    for file in sources("accepted") {
        assert_eq!(refusals(&file, &library), "", "{}", file.display());
    }
}

#[test]
fn the_newcomers_application_compiles_as_it_is_printed() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let guide = fs::read_to_string(guide).expect("rtos/README.md");
    let printed = |holds: &str| {
        let blocks = guide.split("```rust\n").skip(1);
        blocks
            .filter_map(|rest| rest.split("```").next())
            .find(|block| block.contains(holds))
            .unwrap_or_else(|| panic!("rtos/README.md prints no code with {holds:?}"))
    };
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("newcomer.rs");
    let program = format!("{}\n{}", printed("mod app {"), printed("mod tests {"));
    // Its tests belong to what is compiled.
    fs::write(&file, program.replace("#[cfg(test)]", "")).expect("a writable folder");
    assert_eq!(refusals(&file, &library()), "");
}

#[test]
fn what_cannot_work_does_not_compile_and_the_message_says_what_to_do() {
    let files = sources("refused");
    assert!(files.len() > 25, "the refusals are there");
    let library = library();
    let bless = std::env::var_os("DARMA_BLESS").is_some();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let said = refusals(file, &library);
            let expected = file.with_extension("txt");
            if bless {
                fs::write(&expected, &said).expect("a writable folder");
            }
            let known = fs::read_to_string(&expected).unwrap_or_default();
            if said.is_empty() || said != known {
                let name = file
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let complaint = format!("{name}\n--- expected\n{known}--- said\n{said}");
                wrong.lock().expect("no panic inside").push(complaint);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().expect("no panic inside");
    assert!(
        wrong.is_empty(),
        "{} of {} files are not refused as they should be (DARMA_BLESS=1 accepts what is said):\n{}",
        wrong.len(),
        files.len(),
        wrong.join("\n")
    );
}
