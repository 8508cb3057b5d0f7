//! A running Linux stages the image that it is to be started from next.

use anyhow::Result;
use darma_abi::codes::{ImageRole, LadderStep};
use darma_abi::shared::Phase;
use xtask::kernels::Flavour;
use xtask::ramdisk::{self, Parts};
use xtask::{cpio, idle_guest};

use super::ladder::{failing, images, require_steps};
use super::{CLOUD, Scenario};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;
use crate::transcript::Transcript;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "ladder-stage".into(),
            claim: "a running Linux stages a new image, restarts into it, and no task notices".into(),
            kernels: CLOUD,
            seconds: 90,
            run: Box::new(stage),
        },
        Scenario {
            name: "ladder-stage-bad".into(),
            claim: "images cut, bent or too large are refused, and one that does not come up gives way to the old one".into(),
            kernels: CLOUD,
            seconds: 90,
            run: Box::new(stage_bad),
        },
    ]
}

/// Linux with `image` in its initial RAM file system, to be staged by script.
fn staging(lab: &Laboratory, name: &str, image: &[u8]) -> Result<Transcript> {
    let mut extra = cpio::Writer::new();
    extra.file("staged.img", 0o644, image)?;
    let mut experiment = Experiment::new(name, "stage")
        .configure("gpos.memory", "224M")
        .configure("dump.size", "0")
        .configure("image.stage-size", "32M")
        .configure("recovery.limit", "2")
        .configure("recovery.first-wait", "20ms");
    // Archives one after another are unpacked one after another.
    experiment.more_initrd = extra.finish()?;
    experiment.run(lab)
}

fn stage(lab: &Laboratory) -> Result<()> {
    let files = lab.linux(Flavour::Cloud)?;
    let line = "console=ttyS0 darma.script=staged";
    let new = ramdisk::build(&Parts::read(&files.kernel, Some(&files.initrd), line)?)?;
    let run = staging(lab, "ladder-stage", &new)?;
    for words in [
        "DARMA-STAGE 1 before: staged image: empty",
        "DARMA-STAGE 1 sound: staged image: ready",
        "DARMA-STAGED 2 reason=",
        ": staged image: accepted",
    ] {
        run.require(run.said(words), format!("Linux did not say {words:?}"))?;
    }
    run.require(
        images(&run) == [ImageRole::First, ImageRole::Trial],
        format!("the starts were of {:?}", images(&run)),
    )?;
    run.require_no_miss()?;
    // The worst wait while it was staged, under load, is what it is under load alone.
    let slowest = run
        .latencies()
        .into_iter()
        .filter(|latency| latency.phase == Phase::Loaded && latency.samples > 1000)
        .map(|latency| latency.max_ns)
        .max();
    run.require(
        slowest.is_some_and(|ns| ns <= 1_500),
        format!("the worst wait while an image was staged was {slowest:?} ns"),
    )
}

fn stage_bad(lab: &Laboratory) -> Result<()> {
    let dies = failing("staged: dies");
    let mut parts = idle_guest::parts(&dies)?;
    parts.initrd.resize(1 << 20, 0x5a);
    let run = staging(lab, "ladder-stage-bad", &ramdisk::build(&parts)?)?;
    for words in [
        "DARMA-STAGE 1 cut: darma: this is no RAM-disk image, or it is damaged at byte",
        "DARMA-STAGE 1 bent: darma: 'initrd' is corrupted: CRC-32C",
        "DARMA-STAGE 1 large: darma: the image has 41943040 bytes and there is room for 33554432",
        "DARMA-STAGE 1 after: staged image: refused",
        "DARMA-STAGE 1 sound: staged image: ready",
        "DARMA-STAGE 4 back: staged image: failed",
    ] {
        run.require(run.said(words), format!("Linux did not say {words:?}"))?;
    }
    let (first, trial) = (ImageRole::First, ImageRole::Trial);
    run.require(
        images(&run) == [first, trial, trial, first],
        format!("the starts were of {:?}", images(&run)),
    )?;
    require_steps(
        &run,
        &[
            (LadderStep::Reload, 0),
            (LadderStep::Trial, 0),
            (LadderStep::Reload, 0),
            (LadderStep::FallBack, 0),
            (LadderStep::Down, 0),
        ],
    )?;
    run.require_no_miss()
}
