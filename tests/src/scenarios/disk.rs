//! Linux drives its disks by itself: it reads what the host wrote, the host reads what it wrote, and
//! interrupts come in the form that the function can and Linux asks for.
//!
//! On the wall clock: disks complete on the host's time, which under instruction counting costs an
//! idle guest a jump of the clock per request.

use anyhow::Result;
use xtask::kernels::Flavour;
use xtask::log_compare::section;
use xtask::qemu::{Backing, Bus, Clock, Disk};
use xtask::{paths, standalone};

use super::Scenario;
use crate::experiment::Experiment;
use crate::health;
use crate::laboratory::Laboratory;

const BYTES: u64 = 16 << 20;
/// What each side writes for the other to find.
const EXCHANGE: usize = 1 << 20;

struct Case {
    name: &'static str,
    bus: Bus,
    words: &'static str,
    /// The device's name in `/proc/interrupts`.
    device: &'static str,
    /// The form of its interrupts there.
    form: &'static str,
    claim: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "disk-virtio",
        bus: Bus::Virtio,
        words: "",
        device: "virtio0-req",
        form: "PCI-MSI",
        claim: "virtio-blk by MSI-X",
    },
    Case {
        name: "disk-virtio-intx",
        bus: Bus::Virtio,
        words: "pci=nomsi",
        device: "virtio0",
        form: "fasteoi",
        claim: "virtio-blk by a level-triggered pin",
    },
    Case {
        name: "disk-ahci",
        bus: Bus::Ahci,
        words: "",
        device: "ahci",
        form: "PCI-MSI",
        claim: "AHCI by MSI",
    },
    Case {
        name: "disk-ahci-intx",
        bus: Bus::Ahci,
        words: "pci=nomsi",
        device: "ahci",
        form: "fasteoi",
        claim: "AHCI by a level-triggered pin",
    },
    Case {
        name: "disk-sd",
        bus: Bus::Sd,
        words: "",
        device: "mmc0",
        form: "fasteoi",
        claim: "an SD card, whose controller has pins only",
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    CASES
        .iter()
        .map(|case| Scenario {
            name: case.name.into(),
            claim: format!("{}: what either side writes, the other reads", case.claim),
            kernels: &[Flavour::Generic],
            seconds: 40,
            run: Box::new(|lab| exchange(lab, case)),
        })
        .collect()
}

/// A line again and again, as `yes` prints it.
fn pattern(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < EXCHANGE {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes.truncate(EXCHANGE);
    bytes
}

/// A disk whose second MiB is the host's.
fn disk(name: &str, bus: Bus) -> Result<Disk> {
    let folder = paths::cache().join("scenarios");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.raw"));
    let mut content = vec![0; EXCHANGE];
    content.extend(pattern("written by the host"));
    std::fs::write(&file, content)?;
    std::fs::File::options()
        .write(true)
        .open(&file)?
        .set_len(BYTES)?;
    Ok(Disk {
        bus,
        backing: Backing::Raw(file),
    })
}

fn exchange(lab: &Laboratory, case: &Case) -> Result<()> {
    let words = format!("darma.disk=/dev/{} {}", case.bus.linux_name(), case.words);
    let mut experiment = Experiment::new(case.name, "disk")
        .kernel(Flavour::Generic)
        .append(words.trim());
    experiment.clock = Clock::Wall;
    experiment.disks = vec![disk(case.name, case.bus)?];
    let under = experiment.run(lab)?;
    for (mark, what) in [
        (
            "DARMA-DISK-READ-OK",
            "Linux does not read what the host wrote",
        ),
        ("DARMA-DISK-LOAD-OK", "a block was not read back as written"),
        ("DARMA-DISK-WRITTEN", "Linux could not write"),
    ] {
        under.require(under.said(mark), what)?;
    }
    if let Some(Backing::Raw(file)) = experiment.disks.first().map(|disk| &disk.backing) {
        let content = std::fs::read(file)?;
        under.require(
            content.starts_with(&pattern("written by Linux")),
            "the host does not read what Linux wrote",
        )?;
        std::fs::remove_file(file)?;
    }
    health::require_no_stray_interrupts(&under)?;
    let lines = section(&under.console, "interrupts");
    match health::interrupts_of(&lines, case.device) {
        Some((count, form)) => under.require(
            count > 16 && form.contains(case.form),
            format!("{count} interrupts of {}, {form}", case.device),
        )?,
        None => return Err(under.failure(format!("no interrupts of {}", case.device))),
    }
    let name = format!("{}-alone", case.name);
    let options = standalone::Options {
        append: experiment.command_line(),
        clock: Clock::Wall,
        disks: vec![disk(&name, case.bus)?],
        ..standalone::Options::default()
    };
    let files = lab.linux(Flavour::Generic)?;
    let alone = standalone::console(files, &options, &name, experiment.limit)?;
    health::require_no_new_trouble(&under, &alone, experiment.clock)
}
