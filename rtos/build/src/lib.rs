//! What an application's `build.rs` calls.
//!
//! ```no_run
//! // build.rs
//! darma_build::image();              // every application
//! darma_build::hard_float("law");    // with control laws in hard floating point: the folder of their crate
//! ```
//!
//! The second is there with the feature `hard-float`, which is on unless it is switched off. Both do
//! nothing when the target is not the bare machine, so that an application's crate can be checked and
//! documented on the host. Both end the build with a message where they fail, as a build script should.

#[cfg(feature = "hard-float")]
mod build_law;
#[cfg(feature = "hard-float")]
mod judge;

use std::env;

#[cfg(feature = "hard-float")]
pub use build_law::{BuildError, Law, build_law, hard_float};
#[cfg(feature = "hard-float")]
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

fn is_for_the_image() -> bool {
    env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok(BARE)
}
