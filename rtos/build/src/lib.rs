//! What an application's `build.rs` calls.
//!
//! ```no_run
//! // build.rs
//! darma_build::image();              // every application
//! darma_build::hard_float("law");    // with control laws in hard floating point: the folder of their crate
//! ```
//!
//! Both do nothing when the target is not the bare machine, so that an application's crate can be checked
//! and documented on the host. Both end the build with a message where they fail, as a build script
//! should.

mod build_law;
mod judge;

use std::env;
use std::path::PathBuf;

pub use build_law::{BuildError, Law, build_law};
pub use judge::{Finding, judge};

/// The operating system of the bare-metal target.
const BARE: &str = "none";

/// Hands the linker the image's linker script.
pub fn image() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../nanokernel/image.ld");
    println!("cargo:rerun-if-changed={script}");
    if is_for_the_image() {
        println!("cargo:rustc-link-arg-bins=-T{script}");
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

fn is_for_the_image() -> bool {
    env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok(BARE)
}
