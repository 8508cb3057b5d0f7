//! What the log of a healthy Linux does not say, and what its machine does not cost.

use xtask::log_compare::{new_lines, section};
use xtask::qemu::Clock;

use anyhow::Result;
use darma_abi::report::Event as Report;

use crate::transcript::Transcript;

/// Words of trouble with interrupts, clocks, processors and PCI, in lower case.
const TROUBLE: &[&str] = &[
    "lockup",
    "self-detected stall",
    "nobody cared",
    "spurious",
    "lost interrupt",
    "unstable",
    "apic error",
    "bios bug",
    "firmware bug",
    "can't claim",
    "can't assign",
    "pcie bus error",
    "no irq handler",
    "unhandled",
    "unchecked msr",
    "call trace",
    "i/o error",
];

/// Lines of the kernel itself in a console: those with a time stamp.
#[must_use]
pub fn kernel_lines(console: &[String]) -> Vec<&str> {
    console
        .iter()
        .map(|line| line.trim())
        .filter(|line| line.starts_with('['))
        .collect()
}

/// The first of `lines` that names trouble.
#[must_use]
pub fn trouble<'a>(lines: &[&'a str]) -> Option<&'a str> {
    lines.iter().copied().find(|line| {
        let line = line.to_lowercase();
        TROUBLE.iter().any(|word| line.contains(word))
    })
}

/// What a host that is busy elsewhere does to an emulated machine on its wall clock: Linux times the
/// interval timer's ticks, is held up in between, and takes another reference; it compares two clocks
/// twice a second, comes late, and says that it skips this time. On counted instructions neither may happen.
const WALL_CLOCK_NOISE: &[&str] = &[
    "tsc: Unable to calibrate against PIT",
    "clocksource: Long readout interval, skipping watchdog check",
];

/// Linux's log, held against the same kernel's on the same machine alone: no new line of level
/// warning or worse, and no new line of any level that names trouble.
///
/// # Errors
/// The first such line, or `dmesg` was not printed.
pub fn require_no_new_trouble(under: &Transcript, alone: &[String], clock: Clock) -> Result<()> {
    let closed = |console: &[String]| {
        console
            .iter()
            .any(|line| line.trim() == "DARMA-END warnings")
    };
    under.require(
        closed(&under.console) && closed(alone),
        "a log lacks its section of warnings",
    )?;
    let mut warnings = new_lines(
        &section(alone, "warnings"),
        &section(&under.console, "warnings"),
    );
    if clock == Clock::Wall {
        warnings.retain(|line| !WALL_CLOCK_NOISE.iter().any(|noise| line.contains(noise)));
    }
    under.require(
        warnings.is_empty(),
        format!(
            "Linux warns of what it does not mention alone: {}",
            warnings.join(" | ")
        ),
    )?;
    let new = new_lines(&kernel_lines(alone), &kernel_lines(&under.console));
    match trouble(&new) {
        Some(line) => Err(under.failure(format!("Linux is in trouble: {line}"))),
        None => Ok(()),
    }
}

/// The counters of `/proc/interrupts` that stay 0 in health: errors and what nobody asked for.
///
/// # Errors
/// One is not 0.
pub fn require_no_stray_interrupts(under: &Transcript) -> Result<()> {
    let lines = section(&under.console, "interrupts");
    under.require(!lines.is_empty(), "/proc/interrupts was not printed")?;
    for name in ["SPU:", "ERR:", "MIS:", "MCE:", "THR:"] {
        let stray = lines.iter().find(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(name) && words.next().is_some_and(|count| count != "0")
        });
        if let Some(line) = stray {
            return Err(under.failure(format!("stray interrupts: {}", line.trim())));
        }
    }
    Ok(())
}

/// The line of `/proc/interrupts` that names `device`: how many interrupts, and by which controller
/// and in which form (`PCI-MSI`, `IO-APIC 22-fasteoi`).
#[must_use]
pub fn interrupts_of(lines: &[&str], device: &str) -> Option<(u64, String)> {
    let counted = lines
        .iter()
        .filter(|line| line.contains(device))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let count = words.nth(1)?.parse::<u64>().ok()?;
            Some((count, words.collect::<Vec<_>>().join(" ")))
        });
    counted.max_by_key(|(count, _)| *count)
}

/// The machinery costs no more than SPECIFICATION.md promises.
///
/// # Errors
/// Its code or its memory is larger, or its figures are missing.
pub fn require_small_machinery(under: &Transcript) -> Result<()> {
    const CODE: u64 = 128 << 10;
    const MEMORY: u64 = 32 << 20;
    let found = under.reports.iter().find_map(|report| match report {
        Report::Figures {
            text_bytes,
            reserved_bytes,
            ..
        } => Some((*text_bytes, *reserved_bytes)),
        _ => None,
    });
    let Some((code, memory)) = found else {
        return Err(under.failure("the machinery's figures are missing"));
    };
    under.require(
        code <= CODE,
        format!("{code} bytes of code, {CODE} are promised"),
    )?;
    under.require(
        memory < MEMORY,
        format!("{memory} bytes kept from Linux, {MEMORY} are promised"),
    )
}

#[cfg(test)]
mod tests {
    use super::{interrupts_of, kernel_lines, trouble};

    #[test]
    fn a_table_of_interrupts_is_no_line_of_the_kernel() {
        let console = [
            "SPU:          0   Spurious interrupts".to_owned(),
            "[    1.5] irq 9: nobody cared (try booting with the \"irqpoll\" option)".to_owned(),
        ];
        let lines = kernel_lines(&console);
        assert_eq!(lines.len(), 1);
        assert_eq!(trouble(&lines), Some(lines[0]));
    }

    #[test]
    fn the_busiest_interrupt_of_a_device_is_found_with_its_form() {
        let lines = [
            " 24:          0   PCI-MSI 81920-edge      virtio0-config",
            " 25:         77   PCI-MSI 81921-edge      virtio0-req.0",
        ];
        assert_eq!(
            interrupts_of(&lines, "virtio0"),
            Some((77, "PCI-MSI 81921-edge virtio0-req.0".into()))
        );
        assert_eq!(interrupts_of(&lines, "ahci"), None);
    }
}
