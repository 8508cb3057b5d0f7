//! Joins Linux's console of a machine that runs in the background.
//!
//! The machine's serial port listens on a socket in the run's folder. Keys go there as they are typed,
//! Ctrl-C included; Ctrl-] leaves, as with telnet.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, process, qemu, terminal};

/// The command that joins.
pub const HOW_TO_ATTACH: &str = "cargo xtask attach";

/// The key that leaves.
const LEAVE: u8 = 0x1d;

/// The terminal without line editing; dropped, it is as before.
struct RawTerminal {
    before: String,
}

impl RawTerminal {
    fn enter() -> Result<Self> {
        // stty acts on its standard input, which has to be ours.
        let output = Command::new("stty")
            .arg("-g")
            .stdin(std::process::Stdio::inherit())
            .output()
            .context("cannot start stty")?;
        let before = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        process::run(Command::new("stty").args(["raw", "-echo"]))
            .context("this needs a terminal")?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing better can be done if even this fails.
        drop(Command::new("stty").arg(&self.before).status());
    }
}

/// Connects the terminal to the console of the run of that `name`, until Ctrl-] or the machine's end.
///
/// # Errors
/// No such machine runs, or this is no terminal.
pub fn attach(name: &str) -> Result<()> {
    let folder = paths::cache().join("runs").join(name);
    // By its short name from inside the folder: a socket's path is limited to some hundred bytes.
    std::env::set_current_dir(&folder)
        .with_context(|| format!("no machine has run in {}", folder.display()))?;
    let mut socket = UnixStream::connect(qemu::SOCKET).context(
        "no machine listens: start one with `cargo xtask demo --keep` and join it while it runs",
    )?;
    terminal::note("Linux's console (leave: Ctrl-]); a first Enter shows the prompt");
    let _raw = RawTerminal::enter()?;
    let mut keys = socket.try_clone()?;
    // The reader of keys ends with the program: a read of a terminal cannot be called off.
    std::thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin().read_exact(&mut byte).is_ok() && byte != [LEAVE] {
            if keys.write_all(&byte).is_err() {
                break;
            }
        }
        // The other direction ends when the socket does.
        drop(keys.shutdown(std::net::Shutdown::Both));
    });
    let mut buffer = [0; 4096];
    let mut out = std::io::stdout();
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        out.write_all(buffer.get(..count).unwrap_or_default())?;
        out.flush()?;
    }
    Ok(())
}
