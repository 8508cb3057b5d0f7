//! Walks the tree: the laws of layout, dependencies and wording that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file without its tests, in lines.
const LONGEST: usize = 400;

/// Files over the limit, and how long each may be: one concept that would not read better in two.
const LONGER: &[(&str, usize)] = &[
    // One virtual processor: state, entry and exits share every field of the control block.
    ("nanokernel/svm/src/vcpu.rs", 700),
    ("nanokernel/policy/src/devices/function_view.rs", 440),
    ("nanokernel/policy/src/devices/pci_config.rs", 460),
    ("nanokernel/policy/src/interrupts/io_apic.rs", 420),
];

/// Crates that decide and touch no hardware; they know each other and nothing of the edges.
const PURE: &[(&str, &str)] = &[
    ("darma-abi", "nanokernel/abi"),
    ("darma-policy", "nanokernel/policy"),
    ("darma-sched", "rtos/sched"),
    ("darma-histogram", "latency/histogram"),
    ("darma-trace", "latency/trace"),
    ("darma-ras-model", "ras-monitor/model"),
    ("darma-ras-model-codec", "ras-monitor/codec"),
];

struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file of the tree, but for what is built, fetched or found by a fuzzer.
fn sources() -> Vec<Source> {
    let root = root();
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // In a second work tree `.git` is a file.
            if ["target", ".git", "corpus", "artifacts"].contains(&&*name) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let inside = path.strip_prefix(&root).expect("inside");
                found.push(Source {
                    path: inside.to_string_lossy().into_owned(),
                    text,
                });
            }
        }
    }
    found
}

fn rust() -> Vec<Source> {
    let mut all = sources();
    all.retain(|source| source.path.ends_with(".rs"));
    assert!(all.len() > 50, "the tree has sources");
    all
}

fn none(found: &[String], law: &str) {
    assert!(found.is_empty(), "{law}:\n  {}", found.join("\n  "));
}

/// The lines before the tests that a file holds itself.
fn without_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
}

#[test]
fn no_file_is_longer_than_a_reader_holds_in_mind() {
    let mut found = Vec::new();
    for source in rust() {
        let only_tests = source.path.ends_with("tests.rs") || source.path.contains("/tests/tests/");
        let limit = LONGER
            .iter()
            .find(|(path, _)| *path == source.path)
            .map_or(LONGEST, |(_, limit)| *limit);
        let lines = without_tests(&source.text).count();
        if lines > limit && !only_tests {
            found.push(format!("{}: {lines} lines of {limit}", source.path));
        }
    }
    none(&found, "split these files, one concept each");
}

#[test]
fn every_module_says_what_it_is_for() {
    let found: Vec<String> = rust()
        .iter()
        .filter(|source| !source.text.trim_start().starts_with("//!"))
        // libFuzzer's attribute has to come first there.
        .filter(|source| !source.text.starts_with("#!["))
        // Tests that stand beside their module are introduced by it.
        .filter(|source| !source.path.ends_with("tests.rs"))
        .map(|source| source.path.clone())
        .collect();
    none(&found, "begin these files with a //! line");
}

#[test]
fn nothing_is_left_to_be_done_in_a_comment() {
    // In pieces, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) && !source.path.ends_with(".lock") {
                found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none(&found, "finish these, or open an issue and drop the word");
}

#[test]
fn no_text_depends_on_somebodys_machine() {
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tm", "p/d/"),
        concat!("/Us", "ers/"),
    ];
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place)) {
                found.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none(&found, "these name a place on one machine");
}

#[test]
fn every_safety_argument_names_an_invariant_that_is_written_down() {
    let soundness = fs::read_to_string(root().join("docs/soundness.md")).expect("it is there");
    let invariants: BTreeSet<&str> = soundness
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert!(!invariants.is_empty());
    let mut found = Vec::new();
    for source in rust() {
        for (number, line) in source.text.lines().enumerate() {
            let Some((_, argument)) = line.split_once("// SAFETY: ") else {
                continue;
            };
            let name = argument.split([':', ',', '.', ' ']).next().unwrap_or("");
            // A name has a hyphen; an instruction's (VMLOAD, RDTSC) argues for itself.
            let named =
                name.contains('-') && name.chars().all(|c| c.is_ascii_uppercase() || c == '-');
            if named && !invariants.contains(name) {
                found.push(format!("{}:{}: {name}", source.path, number + 1));
            }
        }
    }
    none(&found, "docs/soundness.md has no such invariant");
}

#[test]
fn pure_crates_forbid_unsafe_code_and_know_no_edge() {
    let pure: BTreeSet<&str> = PURE.iter().map(|(name, _)| *name).collect();
    let mut found = Vec::new();
    for (name, folder) in PURE {
        let folder = root().join(folder);
        let library = fs::read_to_string(folder.join("src/lib.rs")).expect("a library");
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            // A crate that is tested with std may say so conditionally.
            let word = attribute.trim_start_matches("#![").trim_end_matches(']');
            let said = library
                .lines()
                .any(|line| line.starts_with("#![") && line.contains(word));
            if !said {
                found.push(format!("{name} lacks {attribute}"));
            }
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        for dependency in dependencies(&manifest) {
            if dependency.starts_with("darma-") && !pure.contains(dependency) {
                found.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    none(&found, "applications -> edges -> pure -> abi");
}

#[test]
fn the_leaf_of_the_dependencies_is_a_leaf() {
    let manifest =
        fs::read_to_string(root().join("nanokernel/abi/Cargo.toml")).expect("a manifest");
    let found: Vec<String> = dependencies(&manifest)
        .filter(|dependency| dependency.starts_with("darma-"))
        .map(str::to_owned)
        .collect();
    none(&found, "darma-abi depends on nothing of ours");
}

/// Names in the table `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split(['=', '.', ' ']).next())
        .filter(|name| !name.is_empty())
}

#[test]
fn every_proof_that_the_specification_names_exists() {
    let specification = fs::read_to_string(root().join("SPECIFICATION.md")).expect("it is there");
    let rust = rust();
    let scenarios = darma_tests::scenarios::all();
    let mut found = Vec::new();
    for (number, line) in specification.lines().enumerate() {
        for word in quoted(line) {
            let missing = if let Some(names) = word.strip_prefix("cargo xtask test --only ") {
                !scenarios.iter().any(|one| one.name.starts_with(names))
            } else if is_test_name(word) {
                let definition = format!("fn {word}(");
                !rust.iter().any(|source| source.text.contains(&definition))
            } else if word.ends_with(".rs") && word.contains('/') {
                !root().join(word).is_file()
            } else {
                false
            };
            if missing {
                found.push(format!("line {}: {word}", number + 1));
            }
        }
    }
    none(&found, "SPECIFICATION.md names proofs that are not there");
}

/// What stands between back quotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Tests are named by sentences: many words, joined by underscores.
fn is_test_name(word: &str) -> bool {
    word.matches('_').count() >= 3
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
