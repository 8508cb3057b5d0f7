//! A dump becomes an ELF core, and the tools that people use open it: `drgn` from PyPI and Debian's
//! `crash`, unmodified, with the distribution's own debug symbols.
//!
//! `drgn` is the authority for the backtrace. `crash` 8 shows stale frames below the first system call,
//! and does not find the tasks of kernels as new as Debian 12's, so that of it only panic, first frame, log
//! and the task list's links are asked. Where a tool or the symbols cannot be fetched the core is only
//! checked for being well formed, and the scenario says so.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use darma_abi::report::Event as Report;
use darma_abi::shared::CrashKind;
use darma_vmcore::{Summary, check};
use xtask::dump::open::{self, Options};
use xtask::dump::symbols::Fetch;
use xtask::dump::tools::Tool;
use xtask::dump::{self, MachineMemory};
use xtask::run::Dumps;
use xtask::{paths, process, qemu, terminal};

use super::{CLOUD, Scenario, crash};
use crate::experiment::Experiment;
use crate::laboratory::Laboratory;

/// Tasks that every Linux has by the time that user space is up.
const TASKS: usize = 20;

/// A death, and what the tools must show of it.
struct Death {
    name: &'static str,
    claim: &'static str,
    kind: CrashKind,
    /// For the kernel's command line.
    words: &'static str,
    when: When,
    /// What the kernel's log says of it.
    panic: &'static str,
    /// Functions on the stack, innermost first.
    frames: &'static [&'static str],
}

/// At which moment the dump is read.
#[derive(Clone, Copy)]
enum When {
    /// Linux has just been entered again: the dump is as it was copied.
    Captured,
    /// Linux is up again and has powered off: much of the dump is packed.
    Over,
}

const DEATHS: &[Death] = &[
    Death {
        name: "vmcore-kaslr",
        claim: "drgn and crash open the core of a panic, with the kernel at a random address",
        kind: CrashKind::SysrqC,
        words: "",
        when: When::Captured,
        panic: "Kernel panic - not syncing: sysrq triggered crash",
        frames: &[
            "panic (",
            "sysrq_handle_crash (",
            "write_sysrq_trigger (",
            "vfs_write (",
            "do_syscall_64 (",
        ],
    },
    Death {
        name: "vmcore-nokaslr",
        claim: "drgn and crash open the core of a null pointer in a module, with the kernel where it was linked",
        kind: CrashKind::NullDeref,
        words: "nokaslr",
        when: When::Over,
        panic: "BUG: kernel NULL pointer dereference",
        frames: &[
            "panic (",
            "oops_end (",
            "page_fault_oops (",
            "exc_page_fault (",
            "vfs_write (",
            "do_syscall_64 (",
        ],
    },
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = DEATHS
        .iter()
        .map(|death| Scenario {
            name: death.name.into(),
            claim: death.claim.into(),
            kernels: CLOUD,
            seconds: 120,
            run: Box::new(|lab| open(lab, death)),
        })
        .collect();
    all.push(Scenario {
        name: "vmcore-inside".into(),
        claim:
            "the Linux after shows the failure and writes the same core as the host, byte by byte"
                .into(),
        kernels: CLOUD,
        seconds: 120,
        run: Box::new(inside),
    });
    all
}

/// What Linux itself reads of its predecessor's end.
fn inside(lab: &Laboratory) -> Result<()> {
    let mut experiment = Experiment::new("vmcore-inside", "records")
        .configure("gpos.memory", "192M")
        .configure("dump.size", "208M");
    experiment.dumps = Dumps::Kept;
    let run = experiment.run(lab)?;
    for words in [
        "sysrq triggered crash",
        "backtrace, innermost first",
        "Kernel panic - not syncing: sysrq triggered crash",
        "\"cause\":\"panic\"",
        "failure 9 is not recorded",
        "no dump of failure 9",
    ] {
        run.require(run.said(words), format!("Linux does not say {words:?}"))?;
    }
    let memory = run.folder.join(qemu::MEMORY_FILE);
    let core = run.folder.join("core");
    dump::get(&MachineMemory::read(&memory)?, None, &core)?;
    fs::remove_file(memory)?;
    let sum = process::capture(Command::new("sha256sum").arg(&core))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    run.require(
        !sum.is_empty() && run.said(&format!("DARMA sum {sum} ")),
        "the core that Linux wrote is not the host's",
    )?;
    fs::remove_file(core)?;
    Ok(())
}

fn open(lab: &Laboratory, death: &Death) -> Result<()> {
    let mut experiment = crash::machine(death.name, death.kind).append(death.words);
    experiment.dumps = Dumps::Kept;
    let run = match death.when {
        When::Captured => experiment.run_until(lab, |heard| {
            let back = |report: &Report| matches!(report, Report::Recovery { .. });
            heard.reports.iter().any(back)
        }),
        When::Over => experiment.run(lab),
    }?;
    let (memory, core) = (run.folder.join(qemu::MEMORY_FILE), run.folder.join("core"));
    let summary = dump::get(&MachineMemory::read(&memory)?, None, &core)?;
    // As large as the machine's memory; the core tells as much.
    fs::remove_file(memory)?;
    run.require(
        !summary.is_partial() && summary.has_registers && summary.has_vmcoreinfo,
        format!("the core is not whole: {summary:?}"),
    )?;
    run.require(
        summary.direct_map.is_some(),
        "the direct map was not found in the page tables",
    )?;
    let moved = summary.kernel_offset.unwrap_or(0) != 0;
    run.require(
        moved != death.words.contains("nokaslr"),
        format!("KASLR moved the kernel by {:x?}", summary.kernel_offset),
    )?;
    let findings = check::check(&mut fs::File::open(&core)?)?;
    run.require(
        findings.has_registers && findings.has_vmcoreinfo && !findings.is_partial,
        format!("the core is not well formed: {findings:?}"),
    )?;
    for (tool, judge) in [
        (Tool::Drgn, judge_drgn as Judge),
        (Tool::Crash, judge_crash),
    ] {
        match report(tool, &core, &summary) {
            Ok(text) => {
                let text = text?;
                let kept = run.folder.join(format!("{tool:?}.txt").to_lowercase());
                fs::write(&kept, &text)?;
                judge(&text, death)
                    .with_context(|| format!("{tool:?}'s words: {}", paths::shown(&kept)))?;
            }
            Err(missing) => terminal::warn(&format!(
                "{}: {tool:?} did NOT open the core, which was only checked for being well formed: {missing:#}",
                death.name
            )),
        }
    }
    // Only a failed run keeps its core.
    fs::remove_file(core)?;
    Ok(())
}

type Judge = fn(&str, &Death) -> Result<()>;

/// What the tool reports of the core; an error if tool or symbols cannot be had, a result inside if it failed.
fn report(tool: Tool, core: &Path, summary: &Summary) -> Result<Result<String>> {
    /// Two scenarios at once would fetch into the same folder.
    static FETCHING: Mutex<()> = Mutex::new(());
    let mut command = {
        let _one = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        let options = Options {
            tool,
            fetch: Fetch::Allowed,
            symbols: None,
            report: true,
            words: Vec::new(),
        };
        open::command(core, summary, &options)?
    };
    Ok(process::capture(&mut command))
}

fn judge_drgn(text: &str, death: &Death) -> Result<()> {
    let (_, rest) = text.split_once("== backtrace").context("no backtrace")?;
    let (trace, rest) = rest.split_once("== log").context("no log")?;
    let (log, tasks) = rest.split_once("== tasks").context("no tasks")?;
    ensure!(
        trace
            .lines()
            .any(|line| line.starts_with("task ") && line.ends_with(" darma")),
        "the backtrace is not that of the task which provoked the failure"
    );
    let mut lines = trace.lines();
    for frame in death.frames {
        ensure!(
            lines.any(|line| line.contains(&format!(" {frame}"))),
            "the backtrace lacks {frame}), or has it out of order"
        );
    }
    ensure!(log.contains(death.panic), "the log lacks {:?}", death.panic);
    let tasks = tasks.lines().filter(|line| !line.trim().is_empty()).count();
    ensure!(tasks >= TASKS, "only {tasks} tasks");
    ensure!(
        !text.contains("not readable"),
        "something could not be read"
    );
    Ok(())
}

fn judge_crash(text: &str, death: &Death) -> Result<()> {
    ensure!(
        text.contains("PANIC: ") && text.contains(death.panic),
        "crash does not name the panic"
    );
    let first = text
        .lines()
        .find(|line| line.trim_start().starts_with("#0 "));
    ensure!(
        first.is_some_and(|line| line.contains("panic")),
        "the backtrace does not begin in panic: {first:?}"
    );
    let tasks = text.lines().filter(|line| line.contains("comm = ")).count();
    ensure!(tasks >= TASKS, "only {tasks} tasks");
    ensure!(
        text.contains("COMMAND: \"darma\""),
        "crash does not show the task which provoked the failure"
    );
    Ok(())
}
