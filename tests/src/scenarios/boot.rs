//! Stock kernels reach user space under Darma, and their logs show nothing that they would not show
//! alone on the same emulated machine.
//!
//! Both runs count instructions, so that a finding repeats.

use anyhow::Result;
use xtask::kernels::Flavour;
use xtask::log_compare::section;
use xtask::standalone;

use super::{Body, CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::health;
use crate::laboratory::Laboratory;

struct Variant {
    name: &'static str,
    words: &'static str,
    claim: &'static str,
    /// What Linux's console has to say besides.
    says: &'static [&'static str],
}

const X2APIC: &[&str] = &["x2apic enabled", "TSC deadline timer available"];

/// What the cloud kernel is told in turn, so that it uses the machine in other ways.
const VARIANTS: &[Variant] = &[
    Variant {
        name: "boot-xapic",
        words: "nox2apic",
        claim: "Linux drives its local APIC through the memory-mapped registers",
        says: &["TSC deadline timer available"],
    },
    Variant {
        name: "boot-apic-timer",
        words: "lapic=notscdeadline",
        claim: "Linux's tick comes from the APIC timer's count",
        says: &["x2apic enabled"],
    },
    Variant {
        name: "boot-xapic-apic-timer",
        words: "nox2apic lapic=notscdeadline",
        claim: "memory-mapped local APIC and its counting timer together",
        says: &[],
    },
    Variant {
        name: "boot-intx",
        words: "pci=nomsi",
        claim: "PCI functions interrupt by the I/O APIC alone",
        says: X2APIC,
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let kernels: [(Flavour, &'static [Flavour]); 3] = [
        (Flavour::Cloud, CLOUD),
        (Flavour::Generic, &[Flavour::Generic]),
        (Flavour::Rt, &[Flavour::Rt]),
    ];
    let mut all = Vec::new();
    for (flavour, kernels) in kernels {
        let name = format!("boot-{}", flavour.name());
        all.push(Scenario {
            claim: format!(
                "Debian's {} kernel reaches user space and powers off, without a new warning",
                flavour.name()
            ),
            kernels,
            seconds: 100,
            run: body(name.clone(), flavour, "", X2APIC),
            name,
        });
    }
    for variant in VARIANTS {
        all.push(Scenario {
            name: variant.name.into(),
            claim: format!("{} ({})", variant.claim, variant.words),
            kernels: CLOUD,
            seconds: 60,
            run: body(
                variant.name.into(),
                Flavour::Cloud,
                variant.words,
                variant.says,
            ),
        });
    }
    all
}

fn body(
    name: String,
    flavour: Flavour,
    words: &'static str,
    says: &'static [&'static str],
) -> Body {
    Box::new(move |lab| boot(lab, &name, flavour, words, says))
}

fn boot(lab: &Laboratory, name: &str, flavour: Flavour, words: &str, says: &[&str]) -> Result<()> {
    let experiment = Experiment::new(name, "smoke").kernel(flavour).append(words);
    let under = experiment.run(lab)?;
    under.require(
        under.said("DARMA-USERSPACE-OK") && under.userspace_ups() == 1,
        "user space was not reached once",
    )?;
    for text in says {
        under.require(under.said(text), format!("Linux does not say {text:?}"))?;
    }
    under.require(
        section(&under.console, "clocksource") == ["tsc"],
        "the clock source is not the time-stamp counter",
    )?;
    health::require_no_stray_interrupts(&under)?;
    health::require_small_machinery(&under)?;

    let options = standalone::Options {
        append: experiment.command_line(),
        ..standalone::Options::default()
    };
    let alone = standalone::console(
        lab.linux(flavour)?,
        &options,
        &format!("{name}-alone"),
        experiment.limit,
    )?;
    health::require_no_new_trouble(&under, &alone, experiment.clock)?;
    under.require_no_miss()
}
