//! The `darma` command as a user meets it, on a machine without Darma.

use std::fs::File;
use std::process::{Command, Output};

fn darma(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_darma"))
        .args(words)
        .output()
        .expect("starts")
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_shows_examples() {
    let help = darma(&["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("darma crash sysrq-c"));
}

#[test]
fn without_darma_status_says_so_with_its_own_exit_code() {
    let status = darma(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(error_of(&status).contains("is this Linux running under Darma?"));
}

#[test]
fn without_darma_a_mark_can_be_skipped_quietly() {
    let skipped = darma(&["mark", "--if-present", "userspace-up"]);
    assert!(skipped.status.success() && skipped.stderr.is_empty());
    assert_eq!(darma(&["mark", "userspace-up"]).status.code(), Some(3));
}

#[test]
fn wrong_usage_names_what_is_right() {
    for (words, hint) in [
        (&["frobnicate"][..], "frobnicate"),
        (&["crash", "softly"], "darma crash --list"),
        (&["mark", "lunch"], "loaded-begin"),
        (&["load", "--overwrite"], "--disk"),
        (&["exercise"], "darma exercise --list"),
        (&["fpu", "--threads", "0"], "one thread"),
        (&["probe", "here"], "hexadecimal"),
    ] {
        let output = darma(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(
            error_of(&output).contains(hint),
            "{words:?}: {}",
            error_of(&output)
        );
    }
}

#[test]
fn a_load_ends_in_time_and_counts_its_messages() {
    let load = darma(&["load", "--procs", "2", "--spin", "0", "--seconds", "1"]);
    assert!(load.status.success(), "{}", error_of(&load));
    let text = String::from_utf8_lossy(&load.stdout).into_owned();
    assert!(
        text.starts_with("load: ") && !text.starts_with("load: 0 "),
        "{text}"
    );
}

#[test]
fn a_disk_too_small_for_the_load_is_refused() {
    let path = std::env::temp_dir().join(format!("darma-small-{}", std::process::id()));
    File::create(&path).unwrap();
    let device = path.to_str().unwrap();
    let load = darma(&[
        "load",
        "--procs",
        "0",
        "--spin",
        "0",
        "--disk",
        device,
        "--seconds",
        "1",
    ]);
    let _ = std::fs::remove_file(&path);
    assert_eq!(load.status.code(), Some(1));
    let error = error_of(&load);
    // Either the file system takes no direct access, or the size is named.
    assert!(
        error.contains("at least") || error.contains("cannot open"),
        "{error}"
    );
}

#[test]
fn a_load_of_network_and_memory_ends_in_time_and_counts_both() {
    let words = "load --procs 0 --spin 0 --network 1 --memory 1 --seconds 1";
    let words: Vec<&str> = words.split(' ').collect();
    let load = darma(&words);
    assert!(load.status.success(), "{}", error_of(&load));
    let text = String::from_utf8_lossy(&load.stdout).into_owned();
    assert!(!text.starts_with("load: 0 "), "{text}");
    assert!(!text.contains(" 0 page faults"), "{text}");
}

#[test]
fn a_timed_program_prints_its_time_and_a_failed_one_none() {
    let timed = darma(&["time", "/bin/sh", "-c", "exit 0"]);
    assert!(timed.status.success(), "{}", error_of(&timed));
    let text = String::from_utf8_lossy(&timed.stdout).into_owned();
    assert!(text.trim().parse::<u64>().is_ok_and(|ns| ns > 0), "{text}");

    let failed = darma(&["time", "/bin/sh", "-c", "exit 3"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stdout.is_empty());
    assert!(error_of(&failed).contains('3'), "{}", error_of(&failed));
}
