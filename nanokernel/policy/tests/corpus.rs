//! Runs every input of the fuzz corpora through every parser, on the host and with a stable compiler.
//!
//! Every parser, not only the one that a file was found for: a kernel given as the initrd, or an
//! archive as the configuration, is the commonest bad input of all.

#[allow(
    unreachable_pub,
    reason = "it is a crate of its own to the fuzz targets"
)]
#[path = "../../../tests/fuzz/src/lib.rs"]
mod darma_fuzz;

use std::fs;
use std::path::Path;

#[test]
fn no_input_of_the_corpora_breaks_any_parser() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    for (folder, _) in darma_fuzz::EXERCISES {
        let mut files = 0;
        for file in fs::read_dir(corpus.join(folder)).expect("each parser has a corpus") {
            let path = file.expect("a readable folder").path();
            let bytes = fs::read(&path).expect("a readable file");
            for (name, exercise) in darma_fuzz::EXERCISES {
                // Shown by the test harness if the parser panics.
                println!("{name} on {}", path.display());
                exercise(&bytes);
            }
            files += 1;
        }
        assert!(files > 0, "the corpus of {folder} is empty");
    }
}
