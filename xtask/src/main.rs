//! The command line. What the commands do stands in the library.

mod dump_command;
mod faults_command;
mod image_command;
mod latency_command;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use darma_abi::codes::CrashKind;
use xtask::checks::{self, Format};
use xtask::demo::Output;
use xtask::image::Application;
use xtask::kernels::Flavour;
use xtask::prepare::{self, FaultModule};
use xtask::qemu::{Backing, Bus, Clock, Disk, Serial};
use xtask::run::Dumps;
use xtask::toolchain::{self, Choice};
use xtask::trial::{Afterwards, Detail};
use xtask::{bench, console, demo, image, run, session, standalone, terminal, thread_metric};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Darma's one entry point. Each command first sets up what it needs, under target/darma/.",
    after_help = "Examples:\n  \
        cargo xtask demo                      boot, load, crash, recover, report\n  \
        cargo xtask test                      every test\n  \
        cargo xtask check                     format, lints, host tests: before each commit\n  \
        cargo xtask run                       Debian's cloud kernel under Darma, console here\n  \
        cargo xtask run --kernel /boot/vmlinuz --initrd /boot/initrd.img --append console=ttyS0\n  \
        cargo xtask run --application ../mine the same with an application of your own\n  \
        cargo xtask image --kernel vmlinuz --initrd initrd.img --output new.img\n  \
        cargo xtask standalone --kernel rt    the same machine without Darma"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch and install all that the other commands need (they do so themselves when it is missing)
    Setup {
        /// The compiler for the bare-metal target
        #[arg(long, value_enum, default_value_t)]
        toolchain: Choice,
        /// Also fetch all three kernels and build what boots with them
        #[arg(long)]
        kernels: bool,
    },
    /// Compile the bootable image and print its path and size
    Build {
        /// The application that becomes the image: a package here, or the folder of a crate
        #[arg(long, value_name = "PACKAGE[:BINARY]|FOLDER[:BINARY]", default_value = image::APPLICATION)]
        application: Application,
        /// The compiler for the bare-metal target
        #[arg(long, value_enum, default_value_t)]
        toolchain: Choice,
    },
    /// Check format and lints, and run the host tests
    Check {
        /// Repair the format instead of judging it
        #[arg(long)]
        fix: bool,
    },
    /// Run every test: checks, then the scenarios on the emulated machine
    Test(Test),
    /// Boot Linux under Darma and show what happens
    Demo(Demo),
    /// Crash and recover again and again; hold the figures against what is to be reached
    Bench(Bench),
    /// Measure what the kernel's services cost, in instructions, beside other kernels' published figures
    ThreadMetric {
        /// Print JSON instead of the table
        #[arg(long)]
        json: bool,
    },
    /// Measure latencies side by side: stock Linux, PREEMPT_RT Linux, Darma, Linux under Darma
    Latency(latency_command::Latency),
    /// Provoke faults of every class, many in a row; each has to be noticed, dumped and healed
    Faults(faults_command::Faults),
    /// Join Linux's console of a demonstration that was started with --keep
    Attach,
    /// List the dumps of a run, write one as an ELF core, open it with drgn or crash
    Dump(dump_command::Dump),
    /// Pack a RAM-disk image: what a machine boots from, or `darma image stage` sends to one
    Image(image_command::Pack),
    /// Run any bzImage under Darma with an interactive console
    Run(Run),
    /// Boot the same kernel on the same emulated machine without Darma
    Standalone(Standalone),
}

#[derive(Args)]
struct Test {
    /// Only the scenarios whose name is this or begins with it; may be given more than once
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Name the scenarios and what each claims
    #[arg(long)]
    list: bool,
    /// How many machines at once; default: one per processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Write the examples' golden traces instead of comparing them
    #[arg(long)]
    bless: bool,
}

#[derive(Args)]
struct Demo {
    /// Which of Debian's kernels
    #[arg(long, value_enum, default_value = "generic")]
    kernel: Flavour,
    /// Run on the wall clock (shows function; its latencies are the host's)
    #[arg(long)]
    live: bool,
    /// Leave the machine running at the end, until Ctrl-C, and let `cargo xtask attach` join it
    #[arg(long)]
    keep: bool,
    /// Print demo.json instead of the report
    #[arg(long)]
    json: bool,
    /// Keep the machine's memory, and the dumps in it, for `cargo xtask dump`
    #[arg(long)]
    keep_dumps: bool,
    /// Show every line of both consoles
    #[arg(long)]
    verbose: bool,
    /// Measure each phase for one second only
    #[arg(long)]
    quick: bool,
    /// The crashes, in their order
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = demo::crash_kind)]
    kinds: Vec<CrashKind>,
}

#[derive(Args)]
struct Bench {
    /// Which of Debian's kernels
    #[arg(long, value_enum, default_value = "generic")]
    kernel: Flavour,
    /// How many crashes
    #[arg(long, default_value_t = 20)]
    cycles: u32,
    /// Print bench.json instead of the report
    #[arg(long)]
    json: bool,
    /// Show every line of both consoles
    #[arg(long)]
    verbose: bool,
}

/// What an interactive Linux is given, under Darma or alone.
#[derive(Args)]
struct Guest {
    /// The kernel's command line
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "console=ttyS0 darma.script=shell"
    )]
    append: String,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    mem: u32,
    /// Count instructions instead of following the wall clock
    #[arg(long)]
    icount: bool,
    /// A raw disk image
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// How the disk is attached
    #[arg(long, value_enum, default_value = "virtio")]
    bus: Bus,
}

#[derive(Args)]
struct Run {
    /// The application above Linux: a package here, or the folder of a crate
    #[arg(long, value_name = "PACKAGE[:BINARY]|FOLDER[:BINARY]", default_value = image::APPLICATION)]
    application: Application,
    /// A bzImage, or one of Debian's kernels with the demo's user space: cloud, generic, rt
    #[arg(long, value_name = "FILE|NAME", default_value = "cloud")]
    kernel: PathBuf,
    /// An initial RAM file system, for a bzImage
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Keep the machine's memory, and the dumps in it, for `cargo xtask dump`
    #[arg(long)]
    keep_dumps: bool,
    #[command(flatten)]
    guest: Guest,
}

#[derive(Args)]
struct Standalone {
    /// Which of Debian's kernels
    #[arg(long, value_enum, default_value = "cloud")]
    kernel: Flavour,
    #[command(flatten)]
    guest: Guest,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            terminal::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup { toolchain, kernels } => setup(toolchain, kernels),
        Command::Build {
            application,
            toolchain,
        } => {
            let image = image::build(&application, toolchain)?;
            println!("{}", image.elf.display());
            Ok(())
        }
        Command::Check { fix } => checks::run(if fix { Format::Repair } else { Format::Judge }),
        // Its last line is the tally, whatever came of it: no line of ours after that.
        Command::Test(options) if test(&options)? => Ok(()),
        Command::Test(_) => return Ok(ExitCode::FAILURE),
        Command::Demo(options) => demo(options),
        Command::Bench(options) => bench::run(&bench::Options {
            flavour: options.kernel,
            cycles: options.cycles,
            detail: detail(options.verbose),
            output: output(options.json),
        }),
        Command::ThreadMetric { json } => thread_metric::run(json),
        Command::Latency(options) => latency_command::run(options),
        Command::Faults(options) => faults_command::run(&options),
        Command::Dump(options) => dump_command::run(&options),
        Command::Attach => console::attach("demo"),
        Command::Image(options) => image_command::run(&options),
        Command::Run(options) => interactive(options),
        Command::Standalone(options) => alone(&options),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn clock(icount: bool) -> Clock {
    if icount {
        Clock::REFERENCE
    } else {
        Clock::Wall
    }
}

fn detail(verbose: bool) -> Detail {
    if verbose {
        Detail::Everything
    } else {
        Detail::Events
    }
}

fn output(json: bool) -> Output {
    if json { Output::Json } else { Output::Text }
}

fn disks(file: Option<PathBuf>, bus: Bus) -> Result<Vec<Disk>> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    if !file.is_file() {
        bail!(
            "--disk {}: no such file; make one with `truncate -s 64M FILE`",
            file.display()
        );
    }
    Ok(vec![Disk {
        bus,
        backing: Backing::Raw(file),
    }])
}

fn setup(choice: Choice, kernels: bool) -> Result<()> {
    prepare::machine()?;
    toolchain::ensure(choice)?;
    if kernels {
        for flavour in Flavour::ALL {
            prepare::linux(flavour, FaultModule::Included)?;
        }
    }
    terminal::note("everything is there");
    Ok(())
}

/// Whether every scenario held.
fn test(options: &Test) -> Result<bool> {
    let mut words: Vec<String> = Vec::new();
    for name in &options.only {
        words.extend(["--only".into(), name.clone()]);
    }
    if let Some(jobs) = options.jobs {
        words.extend(["--jobs".into(), jobs.to_string()]);
    }
    if options.bless {
        words.push("--bless".into());
    }
    if options.list {
        words.push("--list".into());
    }
    checks::scenarios(&words)
}

fn demo(options: Demo) -> Result<()> {
    demo::run(&demo::Options {
        flavour: options.kernel,
        clock: clock(!options.live),
        kinds: if options.kinds.is_empty() {
            demo::KINDS.to_vec()
        } else {
            options.kinds
        },
        length: if options.quick {
            demo::Length::Quick
        } else {
            demo::Length::Full
        },
        afterwards: if options.keep {
            Afterwards::Keep
        } else {
            Afterwards::End
        },
        dumps: dumps(options.keep_dumps),
        detail: detail(options.verbose),
        output: output(options.json),
    })
}

fn dumps(keep: bool) -> Dumps {
    if keep { Dumps::Kept } else { Dumps::Forgotten }
}

fn interactive(options: Run) -> Result<()> {
    prepare::machine()?;
    let named = Flavour::ALL
        .into_iter()
        .find(|flavour| options.kernel.as_os_str() == flavour.name());
    let (kernel, initrd) = match named {
        None => (options.kernel, options.initrd),
        Some(flavour) => {
            let files = prepare::linux(flavour, FaultModule::Included)?;
            (files.kernel, options.initrd.or(Some(files.initrd)))
        }
    };
    if named == Some(Flavour::Cloud)
        && options.guest.disk.is_some()
        && options.guest.bus != Bus::Virtio
    {
        terminal::warn(
            "the cloud kernel has a driver for virtio disks only: give --kernel generic",
        );
    }
    run::interactive(&run::Options {
        application: options.application,
        kernel,
        initrd,
        append: options.guest.append,
        memory_mib: options.guest.mem,
        clock: clock(options.guest.icount),
        disks: disks(options.guest.disk, options.guest.bus)?,
        dumps: dumps(options.keep_dumps),
    })
}

fn alone(options: &Standalone) -> Result<()> {
    prepare::machine()?;
    let files = prepare::linux(options.kernel, FaultModule::Absent)?;
    let folder = session::folder("standalone")?;
    let alone = standalone::Options {
        append: options.guest.append.clone(),
        clock: clock(options.guest.icount),
        memory_mib: options.guest.mem,
        disks: disks(options.guest.disk.clone(), options.guest.bus)?,
        ..standalone::Options::default()
    };
    let mut machine = standalone::machine(&files, &alone, &folder);
    machine.serial = Serial::Terminal;
    terminal::note("Linux's console is this terminal (end: Ctrl-A X)");
    run::on_terminal(&machine)
}
