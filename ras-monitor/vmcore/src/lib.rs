#![forbid(unsafe_code)]
//! Makes an ELF core file, as `crash` and `drgn` open them, of a dump in the nanokernel's store.
//!
//! ```text
//! ELF header │ program headers │ notes, padded to a page │ memory, segment after segment
//!              PT_NOTE  PT_LOAD: RAM ...  PT_LOAD: the kernel's image once more
//! ```
//! | module | question |
//! |---|---|
//! | [`pages`] | which pages are there, and what is in them? |
//! | [`segments`] | how do they become segments? |
//! | [`address_space`] | at which addresses did the kernel see them? |
//! | [`notes`] | what do the tools have to be told besides? |
//! | [`elf`] | how is that written down? |
//! | [`check`] | is a file such a core? |
//!
//! What the tools insist on, each found by leaving it out (decision record 0025):
//! * PT_LOAD has `p_align` 0, or `crash` takes the file for a format without KASLR;
//! * `pr_pid` of the register note is the processor's number plus one, not the task's;
//! * VMCOREINFO comes verbatim: a line `CRASHTIME=` would make `drgn` look for registers elsewhere;
//! * a zero page lies in a segment, a lost page in none: the first reads as zeros, the second is an error.
//!
//! The file is written from front to end, so a pipe will do. Everything in a dump was written by a kernel
//! that had failed: what cannot be read or does not fit its checksum becomes *lost*, is counted in
//! [`Summary`] and in the file's own note, and is never a panic.

pub mod address_space;
pub mod check;
pub mod elf;
pub mod notes;
pub mod pages;
pub mod segments;

mod writer;

pub use pages::Pages;
pub use writer::{Summary, write, write_pages};

/// The running CRC-32C of the dump's format: from 0, continuable.
#[must_use]
pub fn crc32c(state: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(state, data)
}

/// Why no core was written, or why a file is none.
#[derive(Debug)]
pub enum Error {
    /// The dump cannot be read.
    Dump(darma_ras_model::dump::DumpError),
    /// No page of it is left.
    NothingLeft,
    /// The pages that are left lie in more pieces than an ELF file has segments.
    TooManyPieces(usize),
    /// The dump changed while it was read.
    Changed,
    /// The file cannot be written or read.
    File(std::io::Error),
    /// The file is no core of this kind: what contradicts.
    NoCore(&'static str),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dump(error) => write!(f, "{error}"),
            Self::NothingLeft => f.write_str("every page of the dump is lost"),
            Self::TooManyPieces(pieces) => write!(
                f,
                "the pages that are left lie in {pieces} pieces, and an ELF file has at most {} segments",
                segments::SEGMENTS_MAX
            ),
            Self::Changed => f.write_str(
                "the dump was packed or replaced while it was read: read it again, or stop the machine first",
            ),
            Self::File(error) => write!(f, "{error}"),
            Self::NoCore(why) => write!(f, "no core file: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dump(error) => Some(error),
            Self::File(error) => Some(error),
            _ => None,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

impl From<darma_ras_model::dump::DumpError> for Error {
    fn from(error: darma_ras_model::dump::DumpError) -> Self {
        Self::Dump(error)
    }
}
