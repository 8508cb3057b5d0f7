//! What can go wrong, each with its remedy in the text: the user of this command often stands in a
//! bare initramfs without a manual.

use std::path::PathBuf;
use std::{fmt, io};

use darma_abi::shared::{PCI_DEVICE, PCI_VENDOR, ReadError};

/// Why a command of this crate failed.
#[derive(Debug)]
pub enum Error {
    /// There is no such PCI function.
    Absent,
    /// A file could not be used.
    File {
        /// Which.
        path: PathBuf,
        /// What was tried, as in "cannot ...".
        act: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// BAR and layout do not fit together.
    BarTooSmall {
        /// Which BAR.
        bar: u8,
        /// Its size, bytes.
        bytes: u64,
    },
    /// The shared region holds no readable status.
    Status(ReadError),
    /// The nanokernel shows no fault records and dumps.
    NoWindow,
    /// The dump store cannot be read.
    Dump(darma_ras_model::dump::DumpError),
    /// There is no dump of this failure, or none at all.
    NoDump(Option<u64>),
    /// There is no record of this failure.
    NoFault(u64),
    /// No core could be made of a dump.
    Core(darma_vmcore::Error),
    /// The test module is not there.
    NoFaultModule,
    /// A crash returned.
    Survived {
        /// What was tried.
        kind: &'static str,
    },
    /// A workload process ended badly.
    Worker {
        /// Which.
        name: &'static str,
    },
    /// A program that was timed ended badly.
    Program {
        /// Which.
        path: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A register lost what was put into it: which, and what it held.
    Registers(String),
    /// What was read from a disk is not what was written there.
    DiskMismatch {
        /// Where, bytes from the start of the device.
        offset: u64,
    },
    /// An image is refused: why, and what to do.
    Image(String),
    /// The command line makes no sense.
    Usage(String),
}

impl Error {
    /// For `map_err`: `act` on `path` failed.
    pub fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, act, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(
                f,
                "no Darma shared-memory function ({PCI_VENDOR:04x}:{PCI_DEVICE:04x}) on this PCI \
                 bus: is this Linux running under Darma?"
            ),
            Self::File { path, act, source } => {
                write!(f, "cannot {act} {}: {source}", path.display())?;
                if source.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str(" (this needs root)")?;
                }
                Ok(())
            }
            Self::BarTooSmall { bar, bytes } => write!(
                f,
                "BAR{bar} of the shared-memory function has only {bytes} bytes: it belongs to \
                 something else than Darma"
            ),
            Self::Status(error) => write!(f, "{error}"),
            Self::NoWindow => f.write_str(
                "the nanokernel shows no fault records: use the program of the same release",
            ),
            Self::Dump(error) => write!(f, "{error}"),
            Self::NoDump(None) => f.write_str("no dump has been taken yet"),
            Self::NoDump(Some(fault)) => write!(
                f,
                "there is no dump of failure {fault} any more: darma dump list"
            ),
            Self::NoFault(fault) => {
                write!(f, "failure {fault} is not recorded: darma faults")
            }
            Self::Core(error) => write!(f, "cannot write the core: {error}"),
            Self::NoFaultModule => f.write_str(
                "/proc/darma_fault is not there: load the test module first (modprobe darma_fault)",
            ),
            Self::Survived { kind } => write!(f, "{kind}: the kernel is still running"),
            Self::Worker { name } => write!(f, "a {name} process of the load ended with an error"),
            Self::Program { path, status } => {
                write!(f, "{} was not timed, it failed: {status}", path.display())
            }
            Self::Registers(difference) => write!(
                f,
                "{difference}: the kernel, or what runs below it, does not preserve it"
            ),
            Self::DiskMismatch { offset } => {
                write!(
                    f,
                    "the disk gave back other data than was written, at byte {offset}"
                )
            }
            Self::Image(what) => f.write_str(what),
            Self::Usage(what) => write!(f, "{what} (try: darma --help)"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Status(error)
    }
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}
