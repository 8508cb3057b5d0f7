//! What cyclictest measured, read from Linux's console.
//!
//! The payload prints cyclictest's own JSON result (rt-tests 2.4, `--json`, which lists the buckets that
//! are not empty) line by line behind a word of its own, and a line `end` after it. Kernel messages carry
//! no such word; one that broke a line in two would leave the JSON unreadable or its counts not adding up,
//! and both are errors here, never a smaller sample.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What each line begins with; the phase's name follows.
const WORD: &str = "DARMA-CYCLICTEST";

/// Latencies with how often each occurred, in ns, ascending.
pub type Counts = Vec<(u64, u64)>;

#[derive(Deserialize)]
struct Output {
    resolution_in_ns: u64,
    thread: BTreeMap<String, Thread>,
}

#[derive(Deserialize)]
struct Thread {
    histogram: BTreeMap<String, u64>,
    cycles: u64,
    max: u64,
}

/// The latencies of `phase`, from the whole console.
///
/// Samples beyond cyclictest's last bucket have no value of their own; each counts as the maximum, which
/// cyclictest keeps whatever its size.
///
/// # Errors
/// The result is absent, cut, or does not add up.
pub fn parse(console: &[String], phase: &str) -> Result<Counts> {
    let prefix = format!("{WORD} {phase} ");
    let lines: Vec<&str> = console
        .iter()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect();
    let (last, json) = lines
        .split_last()
        .with_context(|| format!("Linux printed no result of cyclictest, phase {phase}"))?;
    ensure!(
        *last == "end",
        "cyclictest's result of phase {phase} is cut after {last:?}"
    );
    let output: Output = serde_json::from_str(&json.join("\n"))
        .with_context(|| format!("cyclictest's result of phase {phase} is damaged"))?;
    ensure!(
        output.resolution_in_ns == 1,
        "cyclictest measured in other units than nanoseconds"
    );
    let thread = output
        .thread
        .get("0")
        .context("cyclictest's result names no thread 0")?;
    let mut counts = thread
        .histogram
        .iter()
        .map(|(ns, count)| Ok((ns.parse()?, *count)))
        .collect::<Result<BTreeMap<u64, u64>>>()
        .context("cyclictest's histogram is damaged")?;
    let within: u64 = counts.values().sum();
    ensure!(
        within <= thread.cycles,
        "cyclictest's histogram holds {within} samples of {}",
        thread.cycles
    );
    if within < thread.cycles {
        *counts.entry(thread.max).or_default() += thread.cycles - within;
    }
    ensure!(
        counts.keys().next_back() == Some(&thread.max),
        "cyclictest's maximum {} ns is in no bucket of its histogram",
        thread.max
    );
    Ok(counts.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn console(json: &str) -> Vec<String> {
        let mut lines = vec!["[    1.0] something of the kernel".to_owned()];
        lines.extend(
            json.lines()
                .map(|line| format!("DARMA-CYCLICTEST idle {line}")),
        );
        lines.push("DARMA-CYCLICTEST idle end".into());
        lines
    }

    fn result(histogram: &str, cycles: u64, max: u64) -> String {
        format!(
            "{{\"file_version\": 1,\n\"resolution_in_ns\": 1,\n\"thread\": {{\"0\": {{\
             \"histogram\": {{{histogram}}},\n\"cycles\": {cycles}, \"min\": 1, \"max\": {max}, \
             \"avg\": 2.00, \"cpu\": 0}}}}}}"
        )
    }

    #[test]
    fn buckets_come_in_the_order_of_their_values() {
        let lines = console(&result("\"900\": 1, \"1000\": 2", 3, 1000));
        assert_eq!(parse(&lines, "idle").expect("whole"), [(900, 1), (1000, 2)]);
    }

    #[test]
    fn a_sample_beyond_the_last_bucket_counts_as_the_maximum() {
        let lines = console(&result("\"900\": 1", 3, 500_000));
        assert_eq!(
            parse(&lines, "idle").expect("whole"),
            [(900, 1), (500_000, 2)]
        );
    }

    #[test]
    fn a_cut_or_damaged_or_absent_result_is_an_error() {
        let whole = console(&result("\"900\": 1", 1, 900));
        assert!(parse(&whole, "idle").is_ok());
        assert!(parse(&whole, "loaded").is_err());
        assert!(parse(&whole[..whole.len() - 1], "idle").is_err());
        let mut damaged = whole.clone();
        damaged.remove(2);
        assert!(parse(&damaged, "idle").is_err());
        let too_many = console(&result("\"900\": 5", 1, 900));
        assert!(parse(&too_many, "idle").is_err());
    }
}
