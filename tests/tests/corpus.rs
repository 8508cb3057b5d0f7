//! Runs every input of the fuzz corpora through every fuzz target, on the host and with a stable
//! compiler.
//!
//! Every target, not only the one that a file was found for: a kernel given as the initrd, or an
//! archive as the configuration, is the commonest bad input of all.

#[allow(
    unreachable_pub,
    reason = "it is a crate of its own to the fuzz targets"
)]
#[path = "../fuzz/src/lib.rs"]
mod darma_fuzz;

use std::fs;
use std::path::Path;

#[test]
fn no_input_of_the_corpora_breaks_any_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (folder, _) in darma_fuzz::EXERCISES {
        let mut files = 0;
        for file in fs::read_dir(corpus.join(folder)).expect("each target has a corpus") {
            let path = file.expect("a readable folder").path();
            let bytes = fs::read(&path).expect("a readable file");
            for (name, exercise) in darma_fuzz::EXERCISES {
                // Shown by the test harness if the target panics.
                println!("{name} on {}", path.display());
                exercise(&bytes);
            }
            files += 1;
        }
        assert!(files > 0, "the corpus of {folder} is empty");
    }
}

#[test]
fn every_target_is_built_and_has_a_corpus_under_its_name() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    let mut named: Vec<&str> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"fuzz_targets/")?
                .strip_suffix(".rs\"")
        })
        .collect();
    named.sort_unstable();
    let mut exercised = darma_fuzz::EXERCISES.map(|(name, _)| name);
    exercised.sort_unstable();
    assert_eq!(named, exercised);
    for name in exercised {
        let source = fuzz.join("fuzz_targets").join(name).with_extension("rs");
        let source = fs::read_to_string(source).expect("a target");
        assert!(source.contains(&format!("::{name}(bytes)")), "{source}");
    }
}
