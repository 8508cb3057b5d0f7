//! Crashes with transfers under way: the successor finds disks and memory in order.
//!
//! On the wall clock, where disks move data while Linux dies, which instruction counting hides.

use anyhow::Result;
use darma_abi::report::Event as Report;
use xtask::kernels::Flavour;
use xtask::paths;
use xtask::qemu::{Backing, Bus, Clock, Disk, empty_disk};

use super::Scenario;
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;

const CRASHES: usize = 3;
const KINDS: &str = "sysrq-c,triple-fault,reset";
const BYTES: u64 = 16 << 20;
/// What no start may say of its disk or its interrupts.
const TROUBLE: &[&str] = &[
    "I/O error",
    "nobody cared",
    "lost interrupt",
    "gave back other data",
    "failed command",
];

pub(super) fn scenarios() -> Vec<Scenario> {
    [Bus::Virtio, Bus::Ahci]
        .map(|bus| {
            let name = match bus {
                Bus::Virtio => "cycles-virtio",
                Bus::Ahci | Bus::Sd => "cycles-ahci",
            };
            Scenario {
                name: name.into(),
                claim: format!(
                    "{CRASHES} crashes while {} is written to, and Linux comes back each time",
                    bus.linux_name()
                ),
                kernels: &[Flavour::Generic],
                seconds: 60,
                run: Box::new(move |lab| cycle(lab, name, bus)),
            }
        })
        .into()
}

fn cycle(lab: &Laboratory, name: &str, bus: Bus) -> Result<()> {
    let file = paths::cache().join("scenarios").join(format!("{name}.raw"));
    empty_disk(&file, BYTES)?;
    let words = format!(
        "darma.cycles={CRASHES} darma.kinds={KINDS} darma.short=2 darma.overwrite=1 darma.procs=2 \
         darma.disk=/dev/{}",
        bus.linux_name()
    );
    let mut experiment = Experiment::new(name, "cycles")
        .kernel(Flavour::Generic)
        .append(&words);
    experiment.clock = Clock::Wall;
    experiment.disks = vec![Disk {
        bus,
        backing: Backing::Raw(file.clone()),
    }];
    let run = experiment.run(lab)?;
    std::fs::remove_file(file)?;
    let recoveries = run
        .reports
        .iter()
        .filter(|report| matches!(report, Report::Recovery { .. }))
        .count();
    run.require(
        recoveries == CRASHES && run.userspace_ups() == CRASHES + 1,
        format!(
            "{recoveries} recoveries and user space {} times, after {CRASHES} crashes",
            run.userspace_ups()
        ),
    )?;
    let loads = run
        .console
        .iter()
        .filter(|line| line.contains("--overwrite"))
        .count();
    run.require(loads == CRASHES, "not every start wrote to its disk")?;
    match trouble(&run.console) {
        Some(line) => Err(run.failure(format!("a start is in trouble: {line}"))),
        None => Ok(()),
    }
}

/// The first trouble that a living Linux reports. From the announcement of its crash on it is dying: a
/// forced reboot, say, takes the disk away from whoever still writes to it, and Linux says so.
fn trouble(console: &[String]) -> Option<&str> {
    let mut dying = false;
    console.iter().map(String::as_str).find(|line| {
        if line.starts_with("DARMA crash:") {
            dying = true;
        } else if line.contains("] Linux version ") {
            dying = false;
        }
        !dying && TROUBLE.iter().any(|text| line.contains(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_living_linux_is_believed() {
        let lines = |lines: &[&str]| {
            lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>()
        };
        let dying = [
            "[ 0.0] Linux version 6",
            "DARMA crash: reset",
            "[ 6.8] I/O error, dev vda",
        ];
        assert_eq!(trouble(&lines(&dying)), None);
        let successor = [dying[0], dying[1], dying[0], dying[2]];
        assert_eq!(trouble(&lines(&successor)), Some(dying[2]));
    }
}
