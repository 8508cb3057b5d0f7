//! Where things are: the source tree, and the one folder that everything made or fetched goes to.
//!
//! All of it lives under `target/darma/`, so `cargo clean` or removing that folder is a complete
//! reset and nothing outside the clone is touched.

use std::path::{Path, PathBuf};

/// The root of the source tree.
///
/// Cargo names the crate's folder at run time; the path from build time serves when the program
/// is started by hand.
#[must_use]
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    // A test of another crate of this workspace may call us, so look for the root upwards
    // instead of assuming our own depth.
    manifest
        .ancestors()
        .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        .map_or_else(|| manifest.clone(), Path::to_path_buf)
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
