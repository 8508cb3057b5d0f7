//! What a failure's backtrace has to say, and what the dead kernel itself said of it.
//!
//! The two have nothing in common but the kernel: one is walked from outside through its memory, the
//! other was printed by its own unwinder before it died.

use anyhow::Result;
use darma_abi::report::Event as Report;

use crate::transcript::Transcript;

/// Requires that the one failure's place begins in this function, and that its backtrace holds every
/// function that the kernel was sure of in its own last trace, in the same order and at the same
/// offset.
///
/// # Errors
/// With the frame that is missing, or what stands for the place.
pub fn require(run: &Transcript, function: &str) -> Result<()> {
    let place = run.reports.iter().find_map(|report| match report {
        Report::Fault { place, .. } => Some(place.as_str()),
        _ => None,
    });
    let place = place.unwrap_or_default();
    run.require(
        place.starts_with(&format!("{function}+")),
        format!("the failure's place is \"{place}\", not in {function}"),
    )?;
    let frames = run.log.iter().filter_map(|line| line.split_once("| "));
    let mut frames = frames.map(|(_, frame)| frame);
    for told in told(&run.console) {
        run.require(
            frames.any(|frame| frame == told),
            format!("{told}, of the kernel's own trace, does not stand where it should"),
        )?;
    }
    Ok(())
}

/// The frames of the last trace on the console that are no guesses. Those down to `panic` itself are
/// left out: when it printed them, it had not come as far as where it was stopped.
fn told(console: &[String]) -> Vec<&str> {
    let Some(begin) = console
        .iter()
        .rposition(|line| line.ends_with("Call Trace:"))
    else {
        return Vec::new();
    };
    let frames: Vec<&str> = console[begin + 1..]
        .iter()
        .filter_map(|line| line.split_once("]  "))
        .map(|(_, text)| text.trim())
        .take_while(|text| *text != "</TASK>" && !text.starts_with("RIP:"))
        .filter(|text| text.contains("+0x") && !text.starts_with('?'))
        .collect();
    let panic = frames.iter().position(|frame| frame.starts_with("panic+"));
    frames[panic.map_or(0, |at| at + 1)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn guesses_and_what_panic_added_are_left_out() {
        let console = lines(
            "[    1.0] Call Trace:\n[    1.0]  old+0x1/0x2\n[    2.0] Call Trace:\n\
             [    2.0]  <TASK>\n[    2.0]  dump_stack+0x1/0x2\n[    2.0]  panic+0x3/0x9\n\
             [    2.0]  ? guess+0x1/0x4\n[    2.0]  culprit+0x5/0x6 [mod]\n[    2.0]  </TASK>\n\
             [    2.0]  later+0x1/0x2\n",
        );
        assert_eq!(told(&console), ["culprit+0x5/0x6 [mod]"]);
        assert!(told(&lines("nothing\n")).is_empty());
    }

    #[test]
    fn a_frame_at_another_offset_is_missing() {
        let mut run = Transcript {
            console: lines("[ 1.0] Call Trace:\n[ 1.0]  a+0x1/0x9\n[ 1.0]  b+0x2/0x9\n"),
            log: lines("darma: | task 1 (sh)\ndarma: | a+0x1/0x9\ndarma: | b+0x2/0x9\n"),
            ..Transcript::default()
        };
        assert!(require(&run, "a").is_err(), "there is no failure");
        let fault = r#"{"fault":{"n":1,"boot":1,"cause":"panic","announced":null,"at_ns":1,
            "detect_ns":9,"since_announced_ns":null,"rip":2,"log_lines":0,"line":"x",
            "place":"a+0x1 < b+0x2"}}"#;
        run.reports.push(serde_json::from_str(fault).unwrap());
        require(&run, "a").unwrap();
        assert!(require(&run, "b").is_err());
        run.log.swap(1, 2);
        assert!(require(&run, "a").is_err(), "another order");
    }
}
