//! Runs other programs, and turns their failures into one line that names program and reason.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a running program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);

/// The program's name, for messages.
fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().map_or_else(
        || "program".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// The last line that says something, or a stand-in.
fn last_words(text: &str) -> &str {
    text.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("it said nothing")
}

/// Runs to the end and returns the standard output as text.
///
/// # Errors
/// The program is absent, or ended with failure: its last words are quoted.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed ({}): {}",
            name(command),
            output.status,
            last_words(&errors)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, whatever comes of it.
///
/// # Errors
/// The program could not be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}: is it installed?", name(command)))
}

/// Runs with the terminal's own output streams: for programs that show progress of their own.
///
/// # Errors
/// The program is absent or ended with failure.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}: is it installed?", name(command)))?;
    if !status.success() {
        bail!(
            "{} failed ({status}); its own message stands above",
            name(command)
        );
    }
    Ok(())
}

/// Runs with all output written to `log`; a failure quotes the last line and names the file.
///
/// # Errors
/// The program is absent, failed, or was still running after `limit` (it is then ended).
pub fn run_logged(command: &mut Command, log: &Path, limit: Duration) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {}: is it installed?", name(command)))?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!(
                "{} did not finish within {} s; see {}",
                name(command),
                limit.as_secs(),
                log.display()
            );
        }
        std::thread::sleep(POLL);
    };
    if !status.success() {
        let mut text = String::new();
        // The log only decorates the message: unreadable bytes in it must not hide the failure.
        if let Ok(mut file) = File::open(log) {
            let mut bytes = Vec::new();
            if file.read_to_end(&mut bytes).is_ok() {
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        bail!(
            "{} failed ({status}): {} (all of it: {})",
            name(command),
            last_words(&text),
            log.display()
        );
    }
    Ok(())
}

/// Where `program` is found on the search path.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        // An ordinary user's path may lack the administrators' folders; some tools live there.
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Whether this process may install packages.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // The owner of /proc/self is our effective user: no libc binding needed for one number.
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}
