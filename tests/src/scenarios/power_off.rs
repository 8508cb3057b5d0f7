//! Linux powers off, and the machine does not: the tasks run on.
//!
//! Seen from outside, for nothing inside has anything more to say: the emulator's own log of
//! interrupts, switched on after the power-off, shows the control task's.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;
use xtask::session::{Event, Session};

/// Activations of the control task that count as running on.
const ENOUGH: usize = 1_000;
/// The vector of the control task: the highest of its priority's class, 14.
const CONTROL: &str = " v=ef ";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "power-off-keeps-tasks".into(),
        claim: "after Linux has powered off, the tasks run on".into(),
        kernels: CLOUD,
        seconds: 20,
        run: Box::new(run_on),
    }]
}

fn run_on(lab: &Laboratory) -> Result<()> {
    let experiment =
        Experiment::new("power-off-keeps-tasks", "smoke").configure("exit.on-poweroff", "no");
    let (mut machine, folder) = experiment.machine(lab)?;
    let socket = folder.join("monitor");
    machine.extra = vec![
        "-chardev".into(),
        format!(
            "socket,id=monitor,server=on,wait=off,path={}",
            socket.display()
        )
        .into(),
        "-mon".into(),
        "chardev=monitor,mode=readline".into(),
    ];
    let mut session = Session::start(&machine, &folder)?;
    session.wait_for("power-off", experiment.limit, |event| match event {
        Event::Report(report) => report
            .get("end")
            .and_then(|end| end.get("reason"))
            .filter(|reason| *reason == "power-off")
            .map(|_| ()),
        _ => None,
    })?;
    let log = folder.join("interrupts.log");
    let seen = watch(&socket, &log)?;
    session.stop();
    std::fs::remove_file(&log)?;
    let transcript = Transcript {
        folder,
        ..Transcript::default()
    };
    transcript.require(
        seen >= ENOUGH,
        format!("the control task ran {seen} times after the power-off"),
    )
}

/// Has the emulator log interrupts until the control task's were seen often enough, or for 20 s.
fn watch(socket: &Path, log: &Path) -> Result<usize> {
    let mut monitor = UnixStream::connect(socket).context("the emulator's monitor")?;
    write!(monitor, "logfile {}\nlog int\n", log.display())?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = 0;
    while seen < ENOUGH && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        let text = std::fs::read(log).unwrap_or_default();
        seen = String::from_utf8_lossy(&text).matches(CONTROL).count();
    }
    Ok(seen)
}
