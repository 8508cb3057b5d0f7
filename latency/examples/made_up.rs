//! A page of made-up figures, to look at after a change of the drawing code:
//! `cargo run -p darma-latency --example made_up -- page.html`

use std::path::Path;

use anyhow::Result;
use darma_abi::codes::Phase;
use darma_abi::units::Cycles;
use darma_latency::worst::{NameTable, Sample};
use darma_latency::{
    Budget, Distribution, Extra, Overhead, Program, Report, Row, Source, System, Worst,
};
use darma_trace::{Event, Kind};

/// Samples that thin out by a factor of `thinning` every `step_ns`.
fn spread(first_ns: u64, step_ns: u64, steps: u64, samples: u64, thinning: u64) -> Distribution {
    let mut left = samples;
    Distribution::of((0..steps).map(|step| {
        let count = (left / thinning).max(1);
        left -= count.min(left);
        (first_ns + step * step_ns, count)
    }))
}

fn rows() -> Vec<Row> {
    let (idle, loaded, recovery) = (Phase::Idle, Phase::Loaded, Phase::Recovery);
    let (timer, device) = (Source::Timer, Source::Device);
    let (stock, rt, darma, under) = (
        System::LinuxStock,
        System::LinuxRt,
        System::Darma,
        System::LinuxUnderDarma,
    );
    [
        (stock, idle, timer, spread(7_000, 1_000, 5, 5_000, 2)),
        (rt, idle, timer, spread(7_000, 1_000, 4, 5_000, 2)),
        (darma, idle, timer, spread(270, 6, 30, 5_287, 2)),
        (darma, idle, device, spread(310, 8, 20, 5_000, 2)),
        (under, idle, timer, spread(9_000, 1_000, 9, 5_000, 2)),
        (stock, loaded, timer, spread(7_000, 1_000, 81, 50_000, 3)),
        (rt, loaded, timer, spread(7_000, 1_000, 7, 50_000, 2)),
        (darma, loaded, timer, spread(274, 6, 76, 10_136_000, 2)),
        (darma, loaded, device, spread(310, 8, 40, 50_000, 2)),
        (under, loaded, timer, spread(9_000, 1_000, 110, 50_000, 4)),
        (darma, recovery, timer, spread(274, 6, 70, 87_643, 2)),
        (darma, recovery, device, spread(310, 8, 32, 12_000, 2)),
    ]
    .into_iter()
    .map(|(system, load, source, samples)| {
        let culprit = match (system, load) {
            (System::Darma, Phase::Loaded) => "task logger",
            (System::Darma, _) => "section timer-queue",
            _ => "",
        };
        Row::new((system, load, source), samples, 0, culprit)
    })
    .collect()
}

fn worst(latency_ns: u64, load: Phase) -> Worst {
    let mut names = NameTable::default();
    names.insert(Kind::TaskBegin.code(), 1, "control-1khz");
    names.insert(Kind::TaskBegin.code(), 2, "logger");
    names.insert(Kind::EmulateBegin.code(), 7, "msr-write");
    names.insert(Kind::SectionBegin.code(), 4, "timer-queue");
    let begin: u64 = 1_834_223_112;
    let events = [
        (-12_500, Kind::GuestEnter, 0),
        (-400, Kind::GuestExit, 7),
        (-380, Kind::EmulateBegin, 7),
        (-20, Kind::SectionBegin, 4),
        (38, Kind::SectionEnd, 4),
        (60, Kind::TimerBegin, 0),
        (128, Kind::Release, 2),
        (190, Kind::Release, 1),
        (230, Kind::TimerEnd, 0),
        (260, Kind::TaskBegin, 2),
        (latency_ns.cast_signed() - 70, Kind::TaskEnd, 2),
        (latency_ns.cast_signed(), Kind::TaskBegin, 1),
    ]
    .map(|(at, kind, argument)| Event {
        at: Cycles(begin.saturating_add_signed(at)),
        kind,
        argument,
    });
    let sample = Sample {
        task: "control-1khz".into(),
        task_number: 1,
        load,
        released_at_ns: begin,
        latency_ns,
        culprit: "task logger".into(),
        culprit_ns: latency_ns - 300,
        culprit_least_ns: 0,
    };
    Worst::new(sample, &events, &names)
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or("page.html".into());
    let mut report = Report::new("icount-shift1", "made-up", "cargo run --example made_up");
    report.rows = rows();
    report.worst = vec![
        worst(724, Phase::Loaded),
        worst(688, Phase::Recovery),
        worst(602, Phase::Idle),
    ];
    let program = |name: &str, ratio| Program {
        name: name.into(),
        ratio,
    };
    report.overhead = Overhead::of(vec![
        program("arithmetic", 1.0002),
        program("process creation", 1.0081),
        program("exec", 1.0072),
        program("pipe", 1.0034),
        program("file copy", 1.0112),
        program("system call", 1.0005),
        program("shell scripts", 1.0093),
    ]);
    let budget = |path: &str, limit, measured| Budget {
        path: path.into(),
        limit,
        measured,
    };
    report.budgets = vec![
        budget("exit to task", 140, 131),
        budget("task to guest", 180, 176),
        budget("section timer-queue", 90, 94),
    ];
    report.switch_instructions = 131;
    report.extras = vec![Extra {
        title: "Kernel operations".into(),
        note: "Instructions for one operation; the others' figures are cycles on other machines."
            .into(),
        head: ["operation", ">Darma", ">Zephyr", ">FreeRTOS"]
            .map(Into::into)
            .into(),
        rows: vec![
            ["preemptive switch", "131", "443", "551"]
                .map(Into::into)
                .into(),
        ],
    }];
    report.write_html(Path::new(&path))?;
    for one in &report.worst {
        println!("{}", darma_latency::explain::explain(one));
    }
    Ok(())
}
