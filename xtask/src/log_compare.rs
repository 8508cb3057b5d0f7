//! Holds the log of a kernel under the nanokernel against the log of the same kernel alone.
//!
//! Lines are compared by what they say: time stamps are cut off, and numbers count as equal, because
//! addresses, sizes and frequencies differ between any two partitions. A line is new if the other
//! log says nothing of the kind.

use std::collections::BTreeSet;

/// The lines between `DARMA-BEGIN name` and `DARMA-END name`, as the payload's scripts print them.
#[must_use]
pub fn section<'a>(console: &'a [String], name: &str) -> Vec<&'a str> {
    let begin = format!("DARMA-BEGIN {name}");
    let end = format!("DARMA-END {name}");
    console
        .iter()
        .map(String::as_str)
        .skip_while(|line| line.trim() != begin)
        .skip(1)
        .take_while(|line| line.trim() != end)
        .collect()
}

/// Lines of `under` whose like is not in `alone`.
#[must_use]
pub fn new_lines<'a>(alone: &[&str], under: &[&'a str]) -> Vec<&'a str> {
    let known: BTreeSet<String> = alone.iter().map(|line| substance(line)).collect();
    under
        .iter()
        .copied()
        .filter(|line| !known.contains(&substance(line)))
        .collect()
}

/// The line without priority and time stamp, every number written as `#`.
fn substance(line: &str) -> String {
    let mut rest = line.trim();
    if let Some((_, after)) = rest.strip_prefix('<').and_then(|text| text.split_once('>')) {
        rest = after;
    }
    if let Some((_, after)) = rest.strip_prefix('[').and_then(|text| text.split_once(']')) {
        rest = after;
    }
    // A word part that holds a digit and nothing but hexadecimal digits is a number.
    let number = |part: &str| {
        let part = part.strip_prefix("0x").unwrap_or(part);
        part.chars().any(|c| c.is_ascii_digit()) && part.chars().all(|c| c.is_ascii_hexdigit())
    };
    rest.trim()
        .split_inclusive(|c: char| !c.is_ascii_alphanumeric())
        .map(|part| {
            let (word, tail) = match part.char_indices().last() {
                Some((at, c)) if !c.is_ascii_alphanumeric() => part.split_at(at),
                _ => (part, ""),
            };
            if number(word) {
                format!("#{tail}")
            } else {
                part.to_owned()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{new_lines, section};

    #[test]
    fn times_and_numbers_do_not_make_a_line_new() {
        let alone = [
            "<4>[    0.1] mem 0x1f000 reserved",
            "[    1.0] tsc: 2000 MHz",
        ];
        let under = [
            "<4>[    0.7] mem 0x2abc0 reserved",
            "[    2.0] tsc: 1999 MHz",
        ];
        assert!(new_lines(&alone, &under).is_empty());
    }

    #[test]
    fn a_warning_that_the_other_log_lacks_is_new() {
        let alone = ["<4>[    0.1] a known one"];
        let under = [
            "<4>[    0.1] a known one",
            "<3>[    0.2] irq 9: nobody cared",
        ];
        assert_eq!(
            new_lines(&alone, &under),
            ["<3>[    0.2] irq 9: nobody cared"]
        );
    }

    #[test]
    fn a_section_is_what_stands_between_its_marks() {
        let console: Vec<String> = ["x", "DARMA-BEGIN pci", "one", "two", "DARMA-END pci", "y"]
            .map(String::from)
            .to_vec();
        assert_eq!(section(&console, "pci"), ["one", "two"]);
        assert!(section(&console, "none").is_empty());
    }
}
