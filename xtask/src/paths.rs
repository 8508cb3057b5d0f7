//! Where things are: the source tree, and the one folder that everything made or fetched goes to.
//!
//! All of it lives under `target/darma/`, so `cargo clean` or removing that folder is a complete
//! reset and nothing outside the clone is touched.

use std::path::{Path, PathBuf};

/// The root of the source tree, known since this program was compiled from it: whoever starts it,
/// from wherever, means the same tree.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The folder for everything fetched, built and written by the entry point.
#[must_use]
pub fn cache() -> PathBuf {
    root().join("target/darma")
}

/// `path` as a person wants to read it: relative to the source tree where it lies inside.
#[must_use]
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
