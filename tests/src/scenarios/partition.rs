//! What is not Linux's cannot be seen, and cannot be harmed when Linux touches it all the same.

use anyhow::Result;
use darma_abi::report::Event as Report;
use xtask::log_compare::section;
use xtask::qemu::{Backing, Bus, Disk};

use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

/// Where the image is linked, and what else is no memory of Linux's: registers of the local APIC; in
/// the mapping of configuration space the host bridge's identity and the place of the power-management
/// ports.
const OTHERS: &str = "0x200000,0x200ffc,0xfee00020,0xfee00300,0xb0000000,0xb00f8040";
const IMAGE: u64 = 0x20_0000;
/// The number of the local APIC's page.
const LOCAL_APIC: u64 = 0xf_ee00;
/// Where q35 maps configuration space.
const CONFIGURATION: std::ops::Range<u64> = 0xb000_0000..0xc000_0000;
/// The emulated firmware keeps the last 128 KiB below this for its tables, with which Linux may do as
/// it likes: the nanokernel has copied what it needs.
const MEMORY_END: u64 = 512 << 20;
const FIRMWARE: std::ops::Range<u64> = MEMORY_END - (128 << 10)..MEMORY_END;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "partition-probe".into(),
            claim: "reads and writes outside the partition reach nothing and harm nobody".into(),
            kernels: CLOUD,
            seconds: 40,
            run: Box::new(probe),
        },
        Scenario {
            name: "partition-map".into(),
            claim: "Linux's memory map shows its own memory only, its ACPI tables one processor"
                .into(),
            kernels: CLOUD,
            seconds: 20,
            run: Box::new(map),
        },
        Scenario {
            name: "partition-hide".into(),
            claim: "a hidden PCI function is absent for Linux".into(),
            kernels: CLOUD,
            seconds: 20,
            run: Box::new(hide),
        },
    ]
}

fn probe(lab: &Laboratory) -> Result<()> {
    let run = Experiment::new("partition-probe", "partition")
        .append(&format!("darma.probe={OTHERS}"))
        .run(lab)?;
    let ranges = run
        .console
        .iter()
        .filter(|line| line.starts_with("DARMA-PROBED"))
        .count();
    run.require(ranges >= 2, "Linux found too few reserved ranges to probe")?;
    let probes: Vec<&String> = run
        .console
        .iter()
        .filter(|line| line.contains("darma_fault: probe"))
        .collect();
    run.require(probes.len() > 3 * ranges, "not every probe came to its end")?;
    let old_logs = old_logs(&run.console).unwrap_or_default();
    for line in probes {
        let Some(probe) = Probe::parse(line) else {
            return Err(run.failure(format!("a probe that cannot be read: {line}")));
        };
        run.require(
            probe.is_harmless() || old_logs.contains(&probe.address),
            format!("an access outside was answered: {line}"),
        )?;
    }
    let counted = run.reports.iter().any(|report| {
        matches!(report, Report::Figures { violations, last_violation, .. }
            if *violations > 0 && *last_violation > 0)
    });
    run.require(counted, "no access outside the partition was counted")?;
    let faults = run
        .reports
        .iter()
        .filter(|report| matches!(report, Report::Fault { .. }))
        .count();
    run.require(
        faults == 1 && run.userspace_ups() == 2,
        format!("{faults} failures instead of the one that was ordered"),
    )?;
    run.require_no_miss()
}

/// The memory of Linux's own that its map calls reserved: where its pstore keeps logs, by its command line.
fn old_logs(console: &[String]) -> Option<std::ops::Range<u64>> {
    let line = console
        .iter()
        .find(|line| line.contains("ramoops.mem_address="))?;
    let number = |key: &str| {
        let digits = line.split_once(key)?.1.split_whitespace().next()?;
        u64::from_str_radix(digits.strip_prefix("0x")?, 16).ok()
    };
    let first = number("ramoops.mem_address=")?;
    Some(first..first + number("ramoops.mem_size=")?)
}

/// What the test module found at an address: before and after it wrote the complement.
struct Probe {
    address: u64,
    before: u32,
    after: u32,
}

impl Probe {
    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line
            .split_once(": probe ")?
            .1
            .split([' ', ','])
            .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let address = numbers.next()?;
        let before = u32::try_from(numbers.next()?).ok()?;
        let _written = numbers.next()?;
        let after = u32::try_from(numbers.next()?).ok()?;
        Some(Self {
            address,
            before,
            after,
        })
    }

    fn is_harmless(&self) -> bool {
        if FIRMWARE.contains(&self.address) || self.address >> 12 == LOCAL_APIC {
            // Linux's own: the firmware's tables, and registers that are virtual.
            return true;
        }
        if CONFIGURATION.contains(&self.address) {
            // Answered, filtered as the ports are: these registers cannot be changed.
            return self.before == self.after;
        }
        self.before == u32::MAX && self.after == u32::MAX
    }
}

/// The usable ranges of the map that the kernel prints first, as first and last address.
fn usable(run: &Transcript) -> Vec<(u64, u64)> {
    run.console
        .iter()
        .filter(|line| line.contains("BIOS-e820:") && line.trim_end().ends_with("usable"))
        .filter_map(|line| {
            let (_, range) = line.split_once("[mem 0x")?;
            let (first, rest) = range.split_once("-0x")?;
            let (last, _) = rest.split_once(']')?;
            Some((
                u64::from_str_radix(first, 16).ok()?,
                u64::from_str_radix(last, 16).ok()?,
            ))
        })
        .collect()
}

fn map(lab: &Laboratory) -> Result<()> {
    const GIVEN: u64 = 160 << 20;
    let run = Experiment::new("partition-map", "smoke")
        .configure("gpos.memory", GIVEN)
        .run(lab)?;
    let ranges = usable(&run);
    let sum: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    run.require(
        (GIVEN / 2..=GIVEN).contains(&sum),
        format!("Linux is shown {sum} bytes of memory, {GIVEN} are its own"),
    )?;
    run.require(
        !ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&IMAGE)),
        "the nanokernel's image is usable memory in Linux's map",
    )?;
    run.require(
        run.said("Allowing 1 CPUs, 0 hotplug CPUs"),
        "Linux is shown other than one processor",
    )?;
    run.require_no_miss()
}

fn hide(lab: &Laboratory) -> Result<()> {
    for (name, hidden) in [("partition-hide", true), ("partition-hide-not", false)] {
        let mut experiment = Experiment::new(name, "smoke").append("darma.disk=none");
        experiment.disks = vec![Disk {
            bus: Bus::Sd,
            backing: Backing::Null { bytes: 64 << 20 },
        }];
        if hidden {
            experiment = experiment.configure("gpos.hide", Bus::Sd.function());
        }
        let run = experiment.run(lab)?;
        let functions = section(&run.console, "pci");
        let seen = functions
            .iter()
            .any(|line| line.contains(Bus::Sd.function()));
        run.require(
            functions.len() > 3 && seen != hidden,
            format!(
                "function {} is {}",
                Bus::Sd.function(),
                if seen {
                    "seen though hidden"
                } else {
                    "absent though not hidden"
                }
            ),
        )?;
    }
    Ok(())
}
