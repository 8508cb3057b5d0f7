//! The demonstration: boot, measure idle and loaded, crash in each way, recover each time, report.
//!
//! The restart of the whole machine, with which a recovery is compared, is measured at the same time
//! on another core: an instruction-counted machine uses one, and does not feel its neighbour.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use darma_abi::codes::CrashKind;

use crate::figures::{self, Figures, Promise};
use crate::image::{self, Application};
use crate::kernels::Flavour;
use crate::live_view::View;
use crate::prepare::{self, FaultModule, LinuxFiles};
use crate::qemu::Clock;
use crate::run::Dumps;
use crate::standalone;
use crate::toolchain::Choice;
use crate::trial::{self, Afterwards, Detail, Load, Plan, Trial};
use crate::{console, paths, printout, session, terminal};

/// The crashes of the demonstration, in their order.
pub const KINDS: [CrashKind; 5] = [
    CrashKind::SysrqC,
    CrashKind::NullDeref,
    CrashKind::TripleFault,
    CrashKind::CliHlt,
    CrashKind::Reset,
];

/// Wall time within which a machine without Darma reaches user space.
const RESTART_LIMIT: Duration = Duration::from_secs(900);

/// How long the measured phases last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// 5 s idle, 5 s loaded.
    Full,
    /// 1 s each: for trying out.
    Quick,
}

/// What the result is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The report.
    Text,
    /// `demo.json`.
    Json,
}

/// What to demonstrate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which kernel.
    pub flavour: Flavour,
    /// What drives time.
    pub clock: Clock,
    /// The crashes.
    pub kinds: Vec<CrashKind>,
    /// How long the phases last.
    pub length: Length,
    /// What becomes of the machine.
    pub afterwards: Afterwards,
    /// What becomes of the dumps.
    pub dumps: Dumps,
    /// How much of the consoles is shown.
    pub detail: Detail,
    /// What the result is printed as.
    pub output: Output,
}

/// Runs the demonstration, prints the report, and writes `target/darma/demo.json`.
///
/// # Errors
/// Set-up failed; or the run did not do all that it was to do, and the report says what.
pub fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    prepare::machine()?;
    let image = image::build(&Application::package(image::APPLICATION), Choice::Auto)?;
    let files = prepare::linux(options.flavour, FaultModule::Included)?;
    let plan = plan(options);
    let restart = measure_restart(&files, options.flavour, options.clock, "demo-restart");
    let mut trial = Trial::start(&plan, &image, &files)?;
    announce(&trial, options);
    let mut view = View::new(&options.kinds);
    let keep = options.afterwards == Afterwards::Keep;
    trial.follow(&mut view, options.detail, |account| {
        keep && trial::is_complete(account)
    })?;
    view.finish();
    let restart_ns = restart.wait();

    let promise = Promise {
        kinds: options.kinds.clone(),
        clock: options.clock,
        idle: true,
        end: !keep,
    };
    let machine_reboot_ns = *restart_ns.as_ref().unwrap_or(&0);
    let figures = Figures::of(
        &trial.account,
        options.clock,
        &files.release,
        machine_reboot_ns,
    );
    let mut broken = trial.troubles.clone();
    broken.extend(figures::broken(&promise, &trial.account, &figures));
    if let Err(error) = &restart_ns {
        broken.push(format!(
            "the machine's restart could not be measured: {error:#}"
        ));
    }
    let file = paths::cache().join("demo.json");
    figures::write(&figures, &file)?;
    match options.output {
        Output::Json => print!("{}", std::fs::read_to_string(&file)?),
        Output::Text => print!(
            "{}{}{}{}{}{}",
            printout::title(
                "Darma demonstration",
                &files.release,
                options.clock,
                Load::of(options.flavour, options.clock).described()
            ),
            printout::timeline(&trial.account),
            printout::latencies(&figures),
            printout::recoveries(&figures, &trial.account),
            printout::cost(&figures, &trial.account),
            printout::verdict(&figures, &options.kinds, &broken)
        ),
    }
    terminal::note(&format!(
        "figures: {}; logs: {}; took {} s",
        paths::shown(&file),
        paths::shown(&trial.folder()),
        began.elapsed().as_secs()
    ));
    if keep && broken.is_empty() {
        stay(&mut trial, options)?;
    }
    if !broken.is_empty() {
        bail!(
            "the demonstration failed ({}): see {}",
            broken.join("; "),
            paths::shown(&trial.folder())
        );
    }
    Ok(())
}

fn plan(options: &Options) -> Plan {
    let kinds: Vec<&str> = options.kinds.iter().map(|kind| kind.name()).collect();
    let seconds = match options.length {
        Length::Full => 5,
        Length::Quick => 1,
    };
    let keep = match options.afterwards {
        Afterwards::End => "",
        Afterwards::Keep => " darma.keep=1",
    };
    Plan {
        name: "demo",
        flavour: options.flavour,
        clock: options.clock,
        words: format!(
            "darma.script=demo darma.kinds={} darma.idle={seconds} darma.loaded={seconds} \
             darma.short=1{keep}",
            kinds.join(",")
        ),
        memory_mib: trial::MEMORY_MIB,
        image_bytes: 0,
        afterwards: options.afterwards,
        dumps: options.dumps,
    }
}

fn announce(trial: &Trial, options: &Options) {
    let folder = trial.folder();
    terminal::note(&format!(
        "Linux's console: {}; the nanokernel's: {}",
        paths::shown(&folder.join("console.log")),
        paths::shown(&folder.join("nanokernel.log"))
    ));
    if options.afterwards == Afterwards::Keep {
        terminal::note(&format!(
            "to join Linux's console: {}",
            console::HOW_TO_ATTACH
        ));
    }
    if options.clock == Clock::Wall {
        terminal::warn("on the wall clock: latencies are the host's, and misses do not count");
    }
}

/// Keeps the machine running until it ends or the user ends this program.
fn stay(trial: &mut Trial, options: &Options) -> Result<()> {
    terminal::note(&format!(
        "the machine runs on until Ctrl-C; from another terminal: {}",
        console::HOW_TO_ATTACH
    ));
    let mut view = View::silent(&options.kinds);
    trial.outlast(&mut view, options.detail)
}

/// A restart of the machine that is being measured.
pub struct Restart(JoinHandle<Result<u64>>);

/// Begins to measure the restart of the machine without Darma; files go to the folder of that `name`.
#[must_use]
pub fn measure_restart(
    files: &LinuxFiles,
    flavour: Flavour,
    clock: Clock,
    name: &'static str,
) -> Restart {
    let files = files.clone();
    Restart(thread::spawn(move || {
        let disk_folder = session::folder(&format!("{name}-disk"))?;
        let options = standalone::Options {
            clock,
            memory_mib: trial::MEMORY_MIB,
            disks: Load::of(flavour, clock).disks(&disk_folder)?,
            ..standalone::Options::default()
        };
        standalone::restart_ns(&files, &options, name, RESTART_LIMIT)
    }))
}

impl Restart {
    /// The time that it took, in ns.
    ///
    /// # Errors
    /// It could not be measured.
    pub fn wait(self) -> Result<u64> {
        match self.0.join() {
            Ok(result) => result,
            Err(_) => bail!("the measuring thread panicked"),
        }
    }
}

/// The crash that a word of the command line names.
///
/// # Errors
/// There is none of that name; the error lists those that there are.
pub fn crash_kind(name: &str) -> Result<CrashKind, String> {
    CrashKind::from_name(name).ok_or_else(|| {
        let known: Vec<_> = CrashKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("there are {}", known.join(", "))
    })
}
