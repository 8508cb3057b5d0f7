//! Golden traces: what the scheduler did in an example, in its order and without times, as a file that
//! a person reads and a test compares.
//!
//! One line per event, indented by what it is nested in, so that preemption is seen as what it is.
//! Times are left out: a faster kernel gives the same trace, another order of events does not.
//!
//! ```text
//! release low
//! begin low
//!   release high
//!   begin high, before low goes on
//!   end high
//! end low
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use similar::TextDiff;
use xtask::paths;

/// Something that the scheduler did. Tasks are named by their place in the application's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A task is released.
    Release(u32),
    /// Its first instruction.
    Begin(u32),
    /// It returned.
    End(u32),
    /// A fault stopped it.
    Fault(u32),
    /// A lock with this ceiling begins.
    Lock(u32),
    /// It ends.
    Unlock(u32),
    /// The application's own mark.
    Mark(u32),
}

/// The text of a golden trace.
#[must_use]
pub fn trace(acts: &[Act], names: &[String]) -> String {
    let name = |task: u32| {
        let known = usize::try_from(task).ok().and_then(|at| names.get(at));
        known.cloned().unwrap_or_else(|| format!("task {task}"))
    };
    let mut text = String::new();
    // What is under way, the innermost last.
    let mut open: Vec<Act> = Vec::new();
    let mut faulted: Vec<u32> = Vec::new();
    for act in acts {
        let (depth, line) = match *act {
            Act::Release(task) => (open.len(), format!("release {}", name(task))),
            Act::Begin(task) => {
                let mut line = format!("begin {}", name(task));
                if let Some(at) = faulted.iter().position(|one| *one == task) {
                    faulted.swap_remove(at);
                    line += ", as new";
                }
                let below = open.iter().rev().find_map(|one| match one {
                    Act::Begin(below) => Some(*below),
                    _ => None,
                });
                if let Some(below) = below {
                    let _ = write!(line, ", before {} goes on", name(below));
                }
                open.push(*act);
                (open.len() - 1, line)
            }
            Act::End(task) => (
                close(&mut open, Act::Begin(task)),
                format!("end {}", name(task)),
            ),
            Act::Fault(task) => {
                faulted.push(task);
                (
                    close(&mut open, Act::Begin(task)),
                    format!("fault of {}", name(task)),
                )
            }
            Act::Lock(ceiling) => {
                open.push(*act);
                (open.len() - 1, format!("lock, ceiling {ceiling}"))
            }
            Act::Unlock(ceiling) => (
                close(&mut open, Act::Lock(ceiling)),
                format!("unlock, ceiling {ceiling}"),
            ),
            Act::Mark(number) => (open.len(), format!("mark {number}")),
        };
        let _ = writeln!(text, "{}{line}", "  ".repeat(depth));
    }
    text
}

/// Closes what `begun` opened, with all that is nested in it; returns its depth.
fn close(open: &mut Vec<Act>, begun: Act) -> usize {
    match open.iter().rposition(|one| *one == begun) {
        Some(at) => open.truncate(at),
        // It began before the trace did.
        None => open.clear(),
    }
    open.len()
}

/// What to do with a trace that differs from the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Fail and show the difference.
    #[default]
    Compare,
    /// Write the file.
    Bless,
}

/// Compares `found` with the golden trace in `file`, or writes it there.
///
/// # Errors
/// They differ, or the file is absent: the message has the difference and how to renew the file.
pub fn compare(file: &Path, found: &str, mode: Mode) -> Result<()> {
    if mode == Mode::Bless {
        return fs::write(file, found).with_context(|| format!("cannot write {}", file.display()));
    }
    let golden = fs::read_to_string(file).unwrap_or_default();
    match difference(&golden, found) {
        None => Ok(()),
        Some(difference) => bail!(
            "the scheduler did something else than {} says (`--bless` renews it):\n{difference}",
            paths::shown(file)
        ),
    }
}

/// The difference of two traces in the usual form; none if they are the same.
#[must_use]
pub fn difference(golden: &str, found: &str) -> Option<String> {
    (golden != found).then(|| {
        TextDiff::from_lines(golden, found)
            .unified_diff()
            .context_radius(3)
            .header("golden", "found")
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::{Act, difference, trace};

    fn names() -> Vec<String> {
        ["low", "high"].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_runs_inside_another_is_indented() {
        let acts = [
            Act::Release(0),
            Act::Begin(0),
            Act::Lock(2),
            Act::Release(1),
            Act::Begin(1),
            Act::End(1),
            Act::Unlock(2),
            Act::Mark(7),
            Act::End(0),
        ];
        let text = "release low\n\
                    begin low\n  \
                      lock, ceiling 2\n    \
                        release high\n    \
                        begin high, before low goes on\n    \
                        end high\n  \
                      unlock, ceiling 2\n  \
                      mark 7\n\
                    end low\n";
        assert_eq!(trace(&acts, &names()), text);
    }

    #[test]
    fn a_fault_closes_all_that_the_task_had_open_and_the_next_run_is_as_new() {
        let acts = [
            Act::Begin(0),
            Act::Lock(1),
            Act::Fault(0),
            Act::Begin(0),
            Act::End(0),
            Act::Begin(0),
        ];
        let text =
            "begin low\n  lock, ceiling 1\nfault of low\nbegin low, as new\nend low\nbegin low\n";
        assert_eq!(trace(&acts, &names()), text);
    }

    #[test]
    fn a_trace_may_begin_in_the_middle_and_name_tasks_that_nobody_knows() {
        let acts = [Act::Unlock(3), Act::End(9), Act::Release(1)];
        assert_eq!(
            trace(&acts, &names()),
            "unlock, ceiling 3\nend task 9\nrelease high\n"
        );
    }

    #[test]
    fn a_difference_shows_the_lines_that_changed() {
        assert_eq!(difference("a\n", "a\n"), None);
        let shown = difference("a\nb\n", "a\nc\n").expect("they differ");
        assert!(shown.contains("-b") && shown.contains("+c"), "{shown}");
    }
}
