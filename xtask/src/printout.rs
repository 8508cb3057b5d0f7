//! The report of a run, as text for a person. It holds nothing of the host's time, so that two
//! instruction-counted runs print the same.

use std::fmt::Write as _;

use darma_abi::codes::{Cause, CrashKind, ImageRole, Mark};
use darma_abi::report::Event;

use crate::account::Account;
use crate::figures::Figures;
use crate::qemu::Clock;
use crate::quantity::{duration, micros, seconds, size};
use crate::table::{Cell, Table, heading, toned};
use crate::terminal::Tone;

/// What stands above a report.
#[must_use]
pub fn title(what: &str, kernel: &str, clock: Clock, disk: &str) -> String {
    let tier = match clock {
        Clock::Instructions { shift } => format!(
            "{}: emulated, one instruction takes {} ns",
            clock.tier(),
            1_u64 << shift.min(63)
        ),
        Clock::Wall => {
            "tcg: emulated on the wall clock; latencies and misses are the host's, not Darma's"
                .into()
        }
    };
    format!(
        "{}\n  Linux {kernel}, unmodified, {disk}\n  {tier}\n",
        heading(what)
    )
}

/// The timeline: what happened when, on the machine's clock.
#[must_use]
pub fn timeline(account: &Account) -> String {
    let mut table = Table::new(&[">at, s", "start", "what"]);
    for event in account.events() {
        let (at_ns, boot, what) = match event {
            Event::Boot {
                n,
                at_ns,
                entry_ns,
                image,
            } => (
                at_ns,
                *n,
                format!(
                    "Linux entered; {} verified and loaded in {}",
                    image_text(*image),
                    duration(*entry_ns)
                ),
            ),
            Event::Mark { mark, boot, at_ns } => (at_ns, *boot, mark_text(*mark).into()),
            Event::Fault {
                boot,
                cause,
                at_ns,
                line,
                ..
            } => {
                // Only a panic has words of its own; otherwise the line is the log's last.
                let words = if *cause == Cause::Panic {
                    format!(": {line}")
                } else {
                    String::new()
                };
                (at_ns, *boot, format!("failure: {cause}{words}"))
            }
            Event::End { at_ns, reason } => (at_ns, 0, format!("end: {reason}")),
            _ => continue,
        };
        let tone = match event {
            Event::Fault { .. } => Tone::Bad,
            Event::Mark {
                mark: Mark::UserspaceUp,
                ..
            } => Tone::Good,
            _ => Tone::Plain,
        };
        let boot = if boot == 0 {
            String::new()
        } else {
            boot.to_string()
        };
        table.row([seconds(*at_ns).into(), boot.into(), Cell::new(what, tone)]);
    }
    section("Timeline", &table)
}

/// What a start was loaded from.
const fn image_text(image: ImageRole) -> &'static str {
    match image {
        ImageRole::First => "image",
        ImageRole::Rescue => "rescue system",
        ImageRole::Trial => "staged image",
    }
}

const fn mark_text(mark: Mark) -> &'static str {
    match mark {
        Mark::UserspaceUp => "user space is up",
        Mark::IdleBegin => "measuring without load",
        Mark::LoadedBegin => "measuring under load",
        Mark::PhaseEnd => "measured phase ends",
        Mark::CrashImminent => "a crash is provoked",
        Mark::BenchEnd => "all is measured",
    }
}

/// Latencies of every task in every phase.
#[must_use]
pub fn latencies(figures: &Figures) -> String {
    let mut table = Table::new(&[
        "task", ">period", "phase", ">samples", ">missed", ">min", ">p50", ">p99", ">p99.9", ">max",
    ]);
    for task in &figures.tasks {
        for (phase, latency) in task.phases.named() {
            let tone = if latency.missed == 0 {
                Tone::Good
            } else {
                Tone::Bad
            };
            let mut row: Vec<Cell> = vec![
                task.name.as_str().into(),
                duration(task.period_ns).into(),
                phase.into(),
                latency.samples.to_string().into(),
                Cell::new(latency.missed.to_string(), tone),
            ];
            let columns = [
                latency.min_ns,
                latency.p50_ns,
                latency.p99_ns,
                latency.p999_ns,
                latency.max_ns,
            ];
            row.extend(columns.map(|ns| {
                if latency.samples == 0 {
                    Cell::new("-", Tone::Quiet)
                } else {
                    micros(ns).into()
                }
            }));
            table.row(row);
        }
    }
    let mut text = section(
        "Latency of the real-time tasks, deadline to first instruction, us",
        &table,
    );
    // A figure of the wall clock has nothing to do with one of counted instructions.
    if figures.tier == Clock::Wall.tier() {
        return text;
    }
    text.push_str(&toned(
        "  Measured before on the same emulator and clock, cyclictest under load, usual / maximum:\n  \
           Linux 8 / 87 us, PREEMPT_RT Linux 7 / 13 us; neither survives a crash.\n",
        Tone::Quiet,
    ));
    text
}

/// Each failure and its recovery, next to a restart of the whole machine.
#[must_use]
pub fn recoveries(figures: &Figures, account: &Account) -> String {
    let mut table = Table::new(&[
        ">#",
        "provoked",
        "found as",
        ">detection",
        ">dump",
        ">dump taken in",
        ">reload",
        ">Linux's start",
        ">to user space",
        "recovered",
    ]);
    let failures = account.failures();
    for (at, recovery) in figures.recoveries.iter().enumerate() {
        let reload = failures.get(at).and_then(|failure| failure.recovery);
        let dump = reload.map_or_else(|| "-".into(), |it| size(it.dump_bytes));
        let tone = match reload {
            Some(it) if !it.partial => Tone::Plain,
            _ => Tone::Bad,
        };
        table.row([
            (at + 1).to_string().into(),
            recovery.kind.as_str().into(),
            recovery.cause.as_str().into(),
            duration(recovery.detect_ns).into(),
            Cell::new(dump, tone),
            duration(recovery.capture_ns).into(),
            duration(recovery.reload_ns).into(),
            duration(
                recovery
                    .userspace_ns
                    .saturating_sub(recovery.capture_ns)
                    .saturating_sub(recovery.reload_ns),
            )
            .into(),
            duration(recovery.userspace_ns).into(),
            if recovery.recovered {
                Cell::new("yes", Tone::Good)
            } else {
                Cell::new("NO", Tone::Bad)
            },
        ]);
    }
    let mut text = section("Recoveries", &table);
    if figures.machine_reboot_ns > 0 {
        let _ = writeln!(
            text,
            "  The whole machine, reset without Darma, takes {} to user space: without a dump, with no \
             real-time\n  task meanwhile, and with an emulator's firmware, which is ready at once.",
            duration(figures.machine_reboot_ns)
        );
    }
    text
}

/// What the machinery costs.
#[must_use]
pub fn cost(figures: &Figures, account: &Account) -> String {
    let machinery = account.machinery().unwrap_or_default();
    let mut text = format!("\n{}\n", heading("Machinery"));
    let _ = writeln!(
        text,
        "  interrupts off at most {} ({}); code {}, RAS monitor {} (and {} more until the start is over); memory kept from Linux {}, besides image and dump store",
        duration(figures.irq_off_max.ns),
        figures.irq_off_max.section,
        size(figures.text_bytes),
        size(machinery.ras_text_bytes),
        size(machinery.start_text_bytes),
        size(machinery.reserved_bytes),
    );
    if machinery.violations > 0 {
        let _ = writeln!(
            text,
            "  Linux reached outside its partition {} times, the last time to {:#x}; it read all ones",
            machinery.violations, machinery.last_violation
        );
    }
    text
}

/// The last lines: whether all was as promised.
#[must_use]
pub fn verdict(figures: &Figures, kinds: &[CrashKind], broken: &[String]) -> String {
    let recovered = figures.recoveries.iter().filter(|it| it.recovered).count();
    let summary = format!(
        "{recovered} of {} crashes recovered; {} deadlines missed, {} activations measured{}",
        kinds.len(),
        figures.missed(),
        figures.samples(),
        if figures.tier == Clock::Wall.tier() {
            " (misses are the host's and not judged)"
        } else {
            ""
        }
    );
    let mut text = String::from("\n");
    if broken.is_empty() {
        let _ = writeln!(text, "{}", toned(&format!("PASSED: {summary}"), Tone::Good));
    } else {
        let _ = writeln!(text, "{}", toned(&format!("FAILED: {summary}"), Tone::Bad));
        for line in broken {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn section(name: &str, table: &Table) -> String {
    format!("\n{}\n{}", heading(name), table.text())
}

#[cfg(test)]
mod tests {
    use super::{cost, latencies, recoveries, timeline, verdict};
    use crate::account::tests::short_run;
    use crate::figures::Figures;
    use crate::qemu::Clock;
    use darma_abi::codes::CrashKind;

    #[test]
    fn the_report_holds_every_figure_that_the_json_holds() {
        let account = short_run();
        let figures = Figures::of(&account, Clock::REFERENCE, "6.1", 16_200_000_000);
        let report = [
            timeline(&account),
            latencies(&figures),
            recoveries(&figures, &account),
            cost(&figures, &account),
            verdict(&figures, &[CrashKind::SysrqC], &[]),
        ]
        .concat();
        for part in [
            "failure: panic: sysrq",
            "control",
            "recovery",
            "0.01",
            "600 ns",
            "3.00 us",
            "16.2 s",
            "9 ns (long)",
            "77 B",
            "PASSED: 1 of 1 crashes recovered; 0 deadlines missed, 27 activations measured",
        ] {
            assert!(report.contains(part), "{part} is not in {report}");
        }
    }

    #[test]
    fn figures_of_the_wall_clock_are_not_compared_and_misses_not_judged() {
        let figures = Figures::of(&short_run(), Clock::Wall, "6.1", 0);
        assert!(!latencies(&figures).contains("PREEMPT_RT"));
        assert!(verdict(&figures, &[], &[]).contains("not judged"));
    }

    #[test]
    fn a_failed_run_lists_what_failed() {
        let figures = Figures::of(&short_run(), Clock::REFERENCE, "6.1", 0);
        let text = verdict(&figures, &[], &["the lamp was out".into()]);
        assert!(text.contains("FAILED") && text.contains("the lamp was out"));
    }
}
