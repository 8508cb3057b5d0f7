//! Provoking the crashes that the demonstration and the scenarios survive.
//!
//! Each is announced through the doorbell first, so that a report can set what was done beside what
//! was detected; without Darma underneath the crash happens all the same, unannounced.

use std::fs;
use std::path::Path;

use darma_abi::shared::CrashKind;

use crate::connection::Connection;
use crate::error::Error;
use crate::exercise;

const SYSRQ_TRIGGER: &str = "/proc/sysrq-trigger";
const SYSRQ_ALLOWED: &str = "/proc/sys/kernel/sysrq";
const PANIC_ON_OOPS: &str = "/proc/sys/kernel/panic_on_oops";

/// What `darma crash --list` says about a kind.
pub const fn description(kind: CrashKind) -> &'static str {
    match kind {
        CrashKind::SysrqC => "panic by `echo c > /proc/sysrq-trigger`",
        CrashKind::NullDeref => "write through a null pointer in the kernel (test module)",
        CrashKind::TripleFault => "exception with an empty interrupt table (test module)",
        CrashKind::CliHlt => "HLT with interrupts off (test module)",
        CrashKind::Reset => "reset by `echo b > /proc/sysrq-trigger`, nothing shut down",
        CrashKind::CliSpin => "endless loop with interrupts off (test module)",
    }
}

/// Provokes `kind`. Returns only if that failed.
///
/// # Errors
/// Always one: what was missing, or [`Error::Survived`].
pub fn provoke(kind: CrashKind) -> Error {
    match try_provoke(kind) {
        Ok(()) => Error::Survived { kind: kind.name() },
        Err(error) => error,
    }
}

fn try_provoke(kind: CrashKind) -> Result<(), Error> {
    prepare(kind)?;
    if let Some(connection) = Connection::open_if_present()? {
        connection.announce(kind);
    }
    match kind {
        CrashKind::SysrqC => set(SYSRQ_TRIGGER, "c"),
        // Not the reboot system call: a kernel that restarts in an orderly way has not crashed.
        CrashKind::Reset => set(SYSRQ_TRIGGER, "b"),
        CrashKind::NullDeref | CrashKind::TripleFault | CrashKind::CliHlt | CrashKind::CliSpin => {
            exercise::command(kind.name())
        }
    }
}

/// All that can be refused, before anything is announced.
fn prepare(kind: CrashKind) -> Result<(), Error> {
    match kind {
        CrashKind::SysrqC | CrashKind::Reset => set(SYSRQ_ALLOWED, "1"),
        // An oops that only kills this process would be no crash.
        CrashKind::NullDeref => set(PANIC_ON_OOPS, "1").and_then(|()| exercise::present()),
        CrashKind::TripleFault | CrashKind::CliHlt | CrashKind::CliSpin => exercise::present(),
    }
}

fn set(path: &str, value: &str) -> Result<(), Error> {
    fs::write(Path::new(path), value).map_err(Error::file("write", path))
}
