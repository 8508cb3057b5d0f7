//! The benchmark: crash and recover again and again under load, and hold the figures against what is to
//! be reached. It writes `target/darma/bench.json`, from which SPECIFICATION.md is filled.
//!
//! Two machines run at the same time, each on a core of its own: the cycles; and the image of 64 MiB,
//! then the restart without Darma. Both are instruction-counted, so neither feels the other.

use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use darma_abi::codes::{Cause, CrashKind};
use serde::Serialize;

use crate::account::Account;
use crate::demo::{self, KINDS, Output};
use crate::drift::Drift;
use crate::figures::{self, Figures, IrqOff, Promise};
use crate::image::{self, Application, Image};
use crate::kernels::Flavour;
use crate::live_view::View;
use crate::prepare::{self, FaultModule, LinuxFiles};
use crate::printout;
use crate::qemu::Clock;
use crate::quantity::{duration, size};
use crate::run::Dumps;
use crate::table::{Cell, Table, heading};
use crate::terminal::Tone;
use crate::toolchain::Choice;
use crate::trial::{self, Afterwards, Detail, Load, Plan, Trial};
use crate::{paths, terminal};

/// Kernel and initrd of the image whose loading is timed, together, in bytes.
const IMAGE_BYTES: usize = 64 << 20;
/// Memory for it in MiB.
const IMAGE_MEMORY_MIB: u32 = 1024;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which kernel. Generic by default: the cloud kernel boots in a third of the time and has no
    /// driver for the one disk that repeats exactly, so its load lacks one.
    pub flavour: Flavour,
    /// How many crashes.
    pub cycles: u32,
    /// How much of the consoles is shown.
    pub detail: Detail,
    /// What the result is printed as.
    pub output: Output,
}

/// The whole of `bench.json`: the fields of `demo.json` and these.
#[derive(Clone, Debug, Serialize)]
struct Bench {
    #[serde(flatten)]
    figures: Figures,
    /// Crashes provoked.
    cycles: u32,
    /// Crashes after which user space came back.
    recovered: usize,
    /// How alike the recoveries are.
    drift: Drift,
    /// Deadlines missed by all tasks.
    missed: u64,
    /// Loading of the large image.
    large_image: LargeImage,
    /// Every section with interrupts off.
    irq_off: Vec<IrqOff>,
    /// Memory kept from Linux, besides image and dump store.
    reserved_bytes: u64,
    /// Exits from Linux.
    exits: u64,
}

/// Loading of the large image.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct LargeImage {
    /// Kernel and initrd together.
    bytes: usize,
    /// Verify, copy and enter at the first start.
    first_entry_ns: u64,
    /// The same at the reload after a crash.
    reload_ns: u64,
}

/// Runs the benchmark, prints the report, and writes `target/darma/bench.json`.
///
/// # Errors
/// Set-up failed, or the cycles did not all end in recovery without a miss. A figure that falls short
/// of what is to be reached is no error: it is what a benchmark is for.
pub fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    let clock = Clock::REFERENCE;
    prepare::machine()?;
    let image = image::build(&Application::package(image::APPLICATION), Choice::Auto)?;
    let files = prepare::linux(options.flavour, FaultModule::Included)?;
    let kinds: Vec<CrashKind> = KINDS
        .into_iter()
        .cycle()
        .zip(0..options.cycles)
        .map(|(kind, _)| kind)
        .collect();
    terminal::note(&format!(
        "{} crashes under load; meanwhile, on another core, an image of {} and a restart without Darma",
        options.cycles,
        size(IMAGE_BYTES as u64)
    ));
    let second = {
        let (image, files, flavour) = (image.clone(), files.clone(), options.flavour);
        thread::spawn(move || -> Result<(LargeImage, u64)> {
            let large = large_image(flavour, &image, &files)?;
            let restart = demo::measure_restart(&files, flavour, clock, "bench-restart").wait()?;
            Ok((large, restart))
        })
    };
    let plan = Plan {
        name: "bench",
        flavour: options.flavour,
        clock,
        words: format!(
            "darma.script=cycles darma.cycles={} darma.short=1",
            options.cycles
        ),
        memory_mib: trial::MEMORY_MIB,
        image_bytes: 0,
        afterwards: Afterwards::End,
        dumps: Dumps::Forgotten,
    };
    let mut trial = Trial::start(&plan, &image, &files)?;
    let mut view = View::new(&kinds);
    trial.follow(&mut view, options.detail, |_| false)?;
    view.finish();
    let second = match second.join() {
        Ok(result) => result,
        Err(_) => bail!("the measuring thread panicked"),
    };
    let (large_image, machine_reboot_ns) = second.as_ref().copied().unwrap_or_default();

    let promise = Promise {
        kinds: kinds.clone(),
        clock,
        idle: false,
        end: true,
    };
    let figures = Figures::of(&trial.account, clock, &files.release, machine_reboot_ns);
    let mut broken = trial.troubles.clone();
    broken.extend(figures::broken(&promise, &trial.account, &figures));
    if let Err(error) = &second {
        broken.push(format!("{error:#}"));
    }
    let bench = assemble(figures, &trial.account, options.cycles, large_image);
    let file = paths::cache().join("bench.json");
    figures::write(&bench, &file)?;
    match options.output {
        Output::Json => print!("{}", std::fs::read_to_string(&file)?),
        Output::Text => print!(
            "{}{}{}{}{}{}",
            printout::title(
                "Darma benchmark",
                &files.release,
                clock,
                Load::of(options.flavour, clock).described()
            ),
            printout::latencies(&bench.figures),
            printout::recoveries(&bench.figures, &trial.account),
            printout::cost(&bench.figures, &trial.account),
            targets(&bench),
            printout::verdict(&bench.figures, &kinds, &broken)
        ),
    }
    terminal::note(&format!(
        "figures: {}; logs: {}; took {} s",
        paths::shown(&file),
        paths::shown(&trial.folder()),
        began.elapsed().as_secs()
    ));
    ensure!(
        broken.is_empty(),
        "the benchmark failed ({}): see {}",
        broken.join("; "),
        paths::shown(&trial.folder())
    );
    Ok(())
}

/// Loads an image of [`IMAGE_BYTES`] at first start and after one crash.
fn large_image(flavour: Flavour, image: &Image, files: &LinuxFiles) -> Result<LargeImage> {
    let plan = Plan {
        name: "bench-image",
        flavour,
        clock: Clock::REFERENCE,
        words: "darma.script=demo darma.kinds=triple-fault darma.idle=0 darma.loaded=0".into(),
        memory_mib: IMAGE_MEMORY_MIB,
        image_bytes: IMAGE_BYTES,
        afterwards: Afterwards::End,
        dumps: Dumps::Forgotten,
    };
    let mut trial = Trial::start(&plan, image, files)?;
    let mut view = View::silent(&[CrashKind::TripleFault]);
    // The reload is all that is asked for: the rest of the run shows nothing new.
    trial.follow(&mut view, Detail::Events, |account| {
        account
            .failures()
            .iter()
            .any(|failure| failure.recovery.is_some())
    })?;
    let failures = trial.account.failures();
    let reload = failures
        .first()
        .and_then(|failure| failure.recovery)
        .with_context(|| {
            format!(
                "the image of {} was not reloaded ({}): see {}",
                size(IMAGE_BYTES as u64),
                trial.troubles.join("; "),
                paths::shown(&trial.folder())
            )
        })?;
    Ok(LargeImage {
        bytes: IMAGE_BYTES,
        first_entry_ns: trial.account.entries().first().copied().unwrap_or(0),
        reload_ns: reload.reload_ns,
    })
}

fn assemble(figures: Figures, account: &Account, cycles: u32, large_image: LargeImage) -> Bench {
    let machinery = account.machinery().unwrap_or_default();
    Bench {
        cycles,
        recovered: figures.recoveries.iter().filter(|it| it.recovered).count(),
        drift: Drift::of(&figures.recoveries),
        missed: figures.missed(),
        large_image,
        irq_off: account
            .irq_off()
            .into_iter()
            .map(|(section, ns)| IrqOff { ns, section })
            .collect(),
        reserved_bytes: machinery.reserved_bytes,
        exits: machinery.exits,
        figures,
    }
}

/// The figures that the project has set itself, and what was measured.
fn targets(bench: &Bench) -> String {
    let mut table = Table::new(&["figure", ">to reach", ">measured", ""]);
    let mut row = |name: String, target: u64, measured: u64, shown: fn(u64) -> String| {
        table.row([
            name.into(),
            format!("<= {}", shown(target)).into(),
            shown(measured).into(),
            if measured <= target {
                Cell::new("reached", Tone::Good)
            } else {
                Cell::new("NOT REACHED", Tone::Bad)
            },
        ]);
    };
    // The fastest task is the one that the figures are promised for.
    if let Some(task) = bench.figures.tasks.iter().min_by_key(|it| it.period_ns) {
        let (name, phases) = (&task.name, &task.phases);
        let loaded = phases.loaded;
        row(
            format!("{name}: deadline to first instruction, loaded, p50"),
            500,
            loaded.p50_ns,
            duration,
        );
        row("  loaded, maximum".into(), 1_500, loaded.max_ns, duration);
        row(
            "  during crash, dump and reload, maximum".into(),
            1_500,
            phases.recovery.max_ns,
            duration,
        );
    }
    let irq_off = &bench.figures.irq_off_max;
    row(
        format!("interrupts off, longest ({})", irq_off.section),
        1_000,
        irq_off.ns,
        duration,
    );
    row(
        format!("deadlines missed in {} cycles", bench.cycles),
        0,
        bench.missed,
        |count| count.to_string(),
    );
    for cause in [Cause::Panic, Cause::TripleFault] {
        let slowest = bench
            .figures
            .recoveries
            .iter()
            .filter(|it| it.cause == cause.name())
            .map(|it| it.detect_ns)
            .max();
        if let Some(slowest) = slowest {
            row(
                format!("detection of {cause}, slowest"),
                10_000,
                slowest,
                duration,
            );
        }
    }
    for (what, permille) in [
        ("spread", bench.drift.userspace_spread_permille),
        ("trend", bench.drift.userspace_trend_permille),
        ("spread of the reload", bench.drift.reload_spread_permille),
    ] {
        row(
            format!("recoveries of one cause in {} cycles, {what}", bench.cycles),
            50,
            permille,
            |permille| format!("{}.{} %", permille / 10, permille % 10),
        );
    }
    let large = bench.large_image;
    row(
        format!(
            "image of {}: verify, reload, enter",
            size(large.bytes as u64)
        ),
        60_000_000,
        large.reload_ns,
        duration,
    );
    row(
        "memory lost, besides image and dump store".into(),
        (32 << 20) - 1,
        bench.reserved_bytes,
        size,
    );
    row(
        "code of nanokernel and RTOS".into(),
        128 << 10,
        bench.figures.text_bytes,
        size,
    );
    format!("\n{}\n{}", heading("Figures to reach"), table.text())
}

#[cfg(test)]
mod tests {
    use super::{LargeImage, assemble, targets};
    use crate::account::tests::short_run;
    use crate::figures::Figures;
    use crate::qemu::Clock;

    #[test]
    fn what_is_reached_and_what_is_not_stand_in_one_table() {
        let account = short_run();
        let figures = Figures::of(&account, Clock::REFERENCE, "6.1", 0);
        let large = LargeImage {
            bytes: 64 << 20,
            first_entry_ns: 1,
            reload_ns: 61_000_000,
        };
        let text = targets(&assemble(figures, &account, 1, large));
        let line = |what: &str| {
            text.lines()
                .find(|line| line.contains(what))
                .map(ToOwned::to_owned)
        };
        assert!(line("64.0 MiB").is_some_and(|it| it.contains("NOT REACHED")));
        assert!(
            line("missed in 1 cycles")
                .is_some_and(|it| it.contains("reached") && !it.contains("NOT"))
        );
    }

    #[test]
    fn the_json_holds_the_fields_of_the_demonstration_beside_its_own() {
        let account = short_run();
        let figures = Figures::of(&account, Clock::REFERENCE, "6.1", 0);
        let bench = assemble(figures, &account, 1, LargeImage::default());
        let json = serde_json::to_value(&bench).expect("plain data");
        assert_eq!(json["tier"], "icount-shift1");
        assert_eq!(json["recovered"], 1);
        assert_eq!(json["reserved_bytes"], 88);
    }
}
