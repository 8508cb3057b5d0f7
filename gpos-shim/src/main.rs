//! The `darma` command: words and options in, one library call, text out.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not running under Darma.

mod failures_command;

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use darma_abi::shared::{CrashKind, Heartbeat, Mark, Stage, StageCommand};
use darma_shim::load::{self, DiskUse, Plan, Worker};
use darma_shim::status_view::View;
use darma_shim::{Connection, Error, crash, exercise, fpu, hardware, image};
use lexopt::prelude::*;

const HELP: &str = "\
darma: see the nanokernel under this Linux, and put it to the test

  darma status [--json] [--watch]     state of nanokernel, Linux and real-time tasks
  darma mark [--if-present] NAME      make a point of this Linux's life known
  darma faults [N] [--json]           the failures that the nanokernel has recorded; all about failure N:
                                      backtrace, registers, log
  darma dump list [--json]            the memory dumps that it keeps
  darma dump get [N] [-o FILE]        the dump of failure N, else the newest, as an ELF core for drgn and crash
                                      (default: the file core-N; `-`: standard output)
  darma heartbeat [--every S]         say every S seconds (default 5) that user space lives: once this has
                                      begun, its silence is a failure of this Linux
  darma heartbeat --end               stop that in an orderly way
  darma image stage FILE              send a RAM-disk image: it is checked, and started from when
                                      this Linux is restarted
  darma image status [--json]         how far that has come
  darma image drop                    forget it
  darma load [OPTIONS]                load this Linux
      --procs N       pairs of message-passing processes (default 10)
      --network N     pairs that pass messages over the loopback network (default 0)
      --memory N      processes that map, touch and unmap memory (default 0)
      --spin N        processes that only compute (default 1)
      --disk DEV      also read this raw block device, past the cache
      --overwrite     ... and write to it: ITS CONTENTS ARE LOST
      --seconds S     end after S seconds (default: when killed)
  darma fpu [--threads N] [--seconds S]
                                      hold patterns in all x87, SSE and AVX registers and
                                      compare (default: 3 threads, 5 seconds)
  darma crash KIND | --list           crash this Linux, now
  darma exercise NAME [--count N]     storm the layer below (needs the test module)
  darma exercise --list
  darma probe ADDRESS                 touch a physical address that Linux does not own
  darma time PROGRAM [WORDS]          run a program; print how long it took, in ns
  darma tsc                           the processor's time-stamp counter
  darma --help | --version

examples
  darma status --watch
  darma image stage new.img && reboot -f
  darma load --procs 10 --disk /dev/vda --overwrite --seconds 30
  darma crash sysrq-c
  darma dump get -o - | gzip > /mnt/core.gz
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("darma: {error}");
            ExitCode::from(match error {
                Error::Usage(_) => 2,
                Error::Absent => 3,
                _ => 1,
            })
        }
    }
}

fn run() -> Result<(), Error> {
    let mut words = lexopt::Parser::from_env();
    let Some(first) = words.next()? else {
        print!("{HELP}");
        return Ok(());
    };
    match first {
        Short('h') | Long("help") => print!("{HELP}"),
        Short('V') | Long("version") => println!("darma {}", env!("CARGO_PKG_VERSION")),
        Value(word) => {
            let word = word.string()?;
            match word.as_str() {
                "status" => status(words)?,
                "mark" => mark(words)?,
                "faults" => failures_command::faults(words)?,
                "dump" => failures_command::dump(words)?,
                "heartbeat" => heartbeat(words)?,
                "image" => staged_image(words)?,
                "load" => load(words)?,
                "crash" => crash(words)?,
                "exercise" => exercise(words)?,
                "probe" => probe(words)?,
                "fpu" => stress_fpu(words)?,
                "time" => time(words)?,
                "tsc" => println!("{}", hardware::time_stamp()),
                "help" => print!("{HELP}"),
                other => match Worker::from_word(other) {
                    Some(worker) => work(worker, words)?,
                    None => return Err(Error::Usage(format!("no command is called {other:?}"))),
                },
            }
        }
        other => return Err(other.unexpected().into()),
    }
    Ok(())
}

fn status(mut words: lexopt::Parser) -> Result<(), Error> {
    let (mut json, mut watch) = (false, false);
    while let Some(word) = words.next()? {
        match word {
            Long("json") => json = true,
            Long("watch") => watch = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let connection = Connection::open()?;
    loop {
        let view = View::of(&connection.status()?);
        match (json, watch) {
            (true, _) => println!("{}", view.json()),
            (false, false) => print!("{}", view.text()),
            // Home, the page, erase what is below it: no flicker on a slow serial line.
            (false, true) => print!("\x1b[H{}\x1b[J", view.text().replace('\n', "\x1b[K\n")),
        }
        if !watch {
            return Ok(());
        }
        let _ = std::io::Write::flush(&mut std::io::stdout());
        sleep(Duration::from_secs(1));
    }
}

/// Beats until it is killed. Whoever stops it on purpose says so with `--end`.
fn heartbeat(mut words: lexopt::Parser) -> Result<(), Error> {
    const LONGEST: u64 = 3600;
    let (mut every, mut end) = (5, false);
    while let Some(word) = words.next()? {
        match word {
            Long("every") => every = words.value()?.parse()?,
            Long("end") => end = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if !(1..=LONGEST).contains(&every) {
        return Err(Error::Usage(format!(
            "--every {every}: take 1 to {LONGEST} seconds, at most half of watch.heartbeat"
        )));
    }
    let connection = Connection::open()?;
    if end {
        connection.heartbeat(Heartbeat::End);
        return Ok(());
    }
    loop {
        connection.heartbeat(Heartbeat::Beat);
        sleep(Duration::from_secs(every));
    }
}

fn mark(mut words: lexopt::Parser) -> Result<(), Error> {
    let (mut if_present, mut name) = (false, None);
    while let Some(word) = words.next()? {
        match word {
            Long("if-present") => if_present = true,
            Value(value) if name.is_none() => name = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let names = || {
        Mark::ALL
            .iter()
            .map(|mark| mark.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let name = name.ok_or_else(|| Error::Usage(format!("mark needs a name: {}", names())))?;
    let mark = Mark::from_name(&name)
        .ok_or_else(|| Error::Usage(format!("no mark is called {name:?}, but {}", names())))?;
    match (Connection::open_if_present()?, if_present) {
        (Some(connection), _) => connection.mark(mark),
        (None, true) => {}
        (None, false) => return Err(Error::Absent),
    }
    Ok(())
}

fn staged_image(mut words: lexopt::Parser) -> Result<(), Error> {
    const USAGE: &str = "image needs 'stage FILE', 'status' or 'drop'";
    let (mut json, mut plain) = (false, Vec::new());
    while let Some(word) = words.next()? {
        match word {
            Long("json") => json = true,
            Value(value) => plain.push(value),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut plain = plain.into_iter();
    let act = plain.next().unwrap_or_default();
    let (act, file) = (act.to_str().unwrap_or_default(), plain.next());
    let connection = Connection::open()?;
    let block = match (act, file) {
        ("stage", Some(file)) => image::stage(&connection, Path::new(&file))?,
        ("status", None) => connection.stage(Stage::Command(StageCommand::Report))?,
        ("drop", None) => connection.stage(Stage::Command(StageCommand::Drop))?,
        _ => return Err(Error::Usage(USAGE.into())),
    };
    let view = image::View::of(&block);
    if json {
        println!("{}", view.json());
    } else {
        print!("{}", view.text());
    }
    Ok(())
}

fn crash(mut words: lexopt::Parser) -> Result<(), Error> {
    match words.next()? {
        Some(Long("list")) => {
            for kind in CrashKind::ALL {
                println!("{:<14} {}", kind.name(), crash::description(*kind));
            }
            Ok(())
        }
        Some(Value(name)) => {
            let name = name.string()?;
            let kind = CrashKind::from_name(&name).ok_or_else(|| {
                Error::Usage(format!("no crash is called {name:?}: darma crash --list"))
            })?;
            Err(crash::provoke(kind))
        }
        Some(other) => Err(other.unexpected().into()),
        None => Err(Error::Usage(
            "crash needs a kind: darma crash --list".into(),
        )),
    }
}

fn exercise(mut words: lexopt::Parser) -> Result<(), Error> {
    let (mut name, mut count) = (None, None);
    while let Some(word) = words.next()? {
        match word {
            Long("list") => {
                for exercise in exercise::EXERCISES {
                    println!(
                        "{:<12} {:>8}  {}",
                        exercise.name, exercise.count, exercise.text
                    );
                }
                return Ok(());
            }
            Long("count") => count = Some(words.value()?.parse()?),
            Value(value) if name.is_none() => name = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let name =
        name.ok_or_else(|| Error::Usage("exercise needs a name: darma exercise --list".into()))?;
    exercise::run(&name, count)
}

fn probe(mut words: lexopt::Parser) -> Result<(), Error> {
    let usage = || Error::Usage("probe needs a hexadecimal address, as 0xf0000000".into());
    let text = words.next()?.ok_or_else(usage)?;
    let Value(text) = text else {
        return Err(text.unexpected().into());
    };
    let text = text.string()?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    exercise::probe(u64::from_str_radix(digits, 16).map_err(|_| usage())?)
}

/// Runs a program with all the words that follow, and prints the time from its start to its end on the
/// kernel's monotonic clock. The program's own output goes where ours goes.
fn time(mut words: lexopt::Parser) -> Result<(), Error> {
    let mut line = words.raw_args()?;
    let program = line
        .next()
        .ok_or_else(|| Error::Usage("time needs a program".into()))?;
    let mut command = std::process::Command::new(&program);
    command.args(line);
    let began = std::time::Instant::now();
    let status = command.status().map_err(Error::file("run", &program))?;
    let took = began.elapsed();
    if !status.success() {
        return Err(Error::Program {
            path: program.into(),
            status,
        });
    }
    println!("{}", took.as_nanos());
    Ok(())
}

fn stress_fpu(mut words: lexopt::Parser) -> Result<(), Error> {
    let (mut threads, mut seconds) = (3, 5);
    while let Some(word) = words.next()? {
        match word {
            Long("threads") => threads = words.value()?.parse()?,
            Long("seconds") => seconds = words.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if threads == 0 {
        return Err(Error::Usage("fpu needs at least one thread".into()));
    }
    println!("{}", fpu::run(threads, seconds)?);
    Ok(())
}

fn load(words: lexopt::Parser) -> Result<(), Error> {
    let plan = load_plan(words)?;
    println!("{}", load::run(&plan)?);
    Ok(())
}

fn work(worker: Worker, words: lexopt::Parser) -> Result<(), Error> {
    let plan = load_plan(words)?;
    let device = plan.disk.map(|(device, _)| device);
    println!("{}", load::work(worker, plan.seconds, device.as_ref())?);
    Ok(())
}

fn load_plan(mut words: lexopt::Parser) -> Result<Plan, Error> {
    let mut plan = Plan {
        pairs: 10,
        network_pairs: 0,
        mappers: 0,
        spinners: 1,
        disk: None,
        seconds: None,
    };
    let mut what = DiskUse::Read;
    while let Some(word) = words.next()? {
        match word {
            Long("procs") => plan.pairs = words.value()?.parse()?,
            Long("network") => plan.network_pairs = words.value()?.parse()?,
            Long("memory") => plan.mappers = words.value()?.parse()?,
            Long("spin") => plan.spinners = words.value()?.parse()?,
            Long("seconds") => plan.seconds = Some(words.value()?.parse()?),
            Long("disk") => plan.disk = Some((words.value()?.into(), what)),
            Long("overwrite") => what = DiskUse::Overwrite,
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some((_, disk_use)) = &mut plan.disk {
        *disk_use = what;
    } else if what == DiskUse::Overwrite {
        return Err(Error::Usage("--overwrite needs --disk".into()));
    }
    Ok(plan)
}
