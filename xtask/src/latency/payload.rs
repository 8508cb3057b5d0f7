//! What the laboratory boots: Debian's kernels with an initial RAM file system that holds the ordinary
//! payload and, below `/lab/bin`, Debian's own measuring and working programs.

use anyhow::Result;

use crate::kernels::Flavour;
use crate::prepare::{self, FaultModule, LinuxFiles};
use crate::programs::{self, Program};

/// Where the programs are, inside.
const FOLDER: &str = "lab/bin";

const fn program(package: &'static str, path: &'static str) -> Program {
    Program { package, path }
}

/// Measuring and load, and what the programs of the overhead table are made of.
const PROGRAMS: &[Program] = &[
    program("rt-tests", "usr/bin/cyclictest"),
    program("rt-tests", "usr/bin/hackbench"),
    program("bc", "usr/bin/bc"),
    program("mawk", "usr/bin/mawk"),
    program("dash", "bin/dash"),
    program("gzip", "bin/gzip"),
    program("grep", "bin/grep"),
    program("coreutils", "bin/cat"),
    program("coreutils", "bin/cp"),
    program("coreutils", "bin/dd"),
    program("coreutils", "usr/bin/mkfifo"),
    program("coreutils", "bin/rm"),
    program("coreutils", "bin/true"),
    program("coreutils", "usr/bin/nice"),
    program("coreutils", "usr/bin/od"),
    program("coreutils", "usr/bin/sort"),
    program("coreutils", "usr/bin/tee"),
    program("coreutils", "usr/bin/wc"),
];

/// Kernel and initial RAM file system for the laboratory.
///
/// # Errors
/// A part cannot be fetched or built.
pub fn prepare(flavour: Flavour) -> Result<LinuxFiles> {
    let files = programs::files(PROGRAMS, FOLDER)?;
    prepare::linux_with(flavour, FaultModule::Included, "lab", files)
}
