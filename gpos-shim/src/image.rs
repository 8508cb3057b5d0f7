//! Staging a new RAM-disk image: from a file, piece by piece, to the nanokernel, which checks it and
//! starts from it when this Linux is restarted.
//!
//! What can be wrong with an image the nanokernel says in numbers, because words would take room in it;
//! here are the words, and what to do.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use darma_abi::shared::{
    STAGE_WINDOW_BYTES, Stage, StageBlock, StageCommand, StageProblem, StageState,
};
use serde::Serialize;

use crate::connection::Connection;
use crate::error::Error;

/// Sends `file` and has it checked. Returns how far it has come: ready, if nothing is said against it.
///
/// # Errors
/// The file cannot be read, or the image is refused: the error says why and what to do.
pub fn stage(connection: &Connection, file: &Path) -> Result<StageBlock, Error> {
    let mut image = File::open(file).map_err(Error::file("open", file))?;
    let bytes = image
        .metadata()
        .map_err(Error::file("examine", file))?
        .len();
    let Ok(size) = u32::try_from(bytes) else {
        return Err(Error::Image(format!(
            "{} has {bytes} bytes, and an image has less than 4 GiB",
            file.display()
        )));
    };
    judge(connection.stage(Stage::Begin(size))?)?;
    let mut piece = vec![0; STAGE_WINDOW_BYTES];
    loop {
        let length = fill(&mut image, &mut piece).map_err(Error::file("read", file))?;
        let Some(part) = piece.get(..length).filter(|part| !part.is_empty()) else {
            break;
        };
        connection.put_piece(part);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        judge(connection.stage(Stage::Chunk(length))?)?;
    }
    judge(connection.stage(Stage::Command(StageCommand::Verify))?)
}

/// As much of `piece` as the file still has.
fn fill(file: &mut File, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = piece.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

fn judge(block: StageBlock) -> Result<StageBlock, Error> {
    match problem(&block) {
        None => Ok(block),
        Some(words) => Err(Error::Image(words)),
    }
}

/// What is wrong, and what to do; `None` if nothing is.
pub fn problem(block: &StageBlock) -> Option<String> {
    if block.problem == 0 {
        return None;
    }
    let file = block.file_name().unwrap_or("a file");
    let (found, expected) = (block.found, block.expected);
    Some(match block.known_problem() {
        None => format!(
            "the image is refused for a reason ({}) that this program does not know: use the \
             program of the nanokernel's release",
            block.problem
        ),
        Some(StageProblem::Off) => {
            "this machine has no room for a staged image: set image.stage-size in darma.conf, \
             and restart the machine"
                .into()
        }
        Some(StageProblem::TooLarge) => format!(
            "the image has {found} bytes and there is room for {expected}: make it smaller, or \
             raise image.stage-size in darma.conf and restart the machine"
        ),
        Some(StageProblem::OnTrial) => {
            "a staged image runs on trial: stage the next one when it has reached user space \
             (darma mark userspace-up)"
                .into()
        }
        Some(StageProblem::Unasked) => format!(
            "{found} bytes came and {expected} were still missing: another program stages as \
             well; start again"
        ),
        Some(StageProblem::LongPiece) => {
            format!("a piece of {found} bytes is longer than the window of {expected}")
        }
        Some(StageProblem::Incomplete) => format!(
            "{found} bytes of {expected} arrived: the file was changed meanwhile; start again"
        ),
        Some(StageProblem::Archive) => format!(
            "this is no RAM-disk image, or it is damaged at byte {found}: make it again with \
             `cargo xtask image`, or copy it whole"
        ),
        Some(StageProblem::Missing) => {
            format!("'{file}' is missing in the image, or empty: make it again")
        }
        Some(StageProblem::Kernel) => format!(
            "'{file}' is no kernel that can be started: take a bzImage with a 64-bit entry \
             (vmlinuz of an x86_64 distribution)"
        ),
        Some(StageProblem::NoSums) => format!(
            "the image's checksums do not name '{file}' once: make it again with `cargo xtask \
             image`"
        ),
        Some(StageProblem::Checksum) => format!(
            "'{file}' is corrupted: CRC-32C {found:08x}, expected {expected:08x}: copy the image \
             again or make it again"
        ),
        Some(StageProblem::DoesNotFit) => {
            "the image does not fit this machine's Linux: make its initrd smaller or its command \
             line shorter"
                .into()
        }
    })
}

/// What is shown of staging. The JSON's names are these fields' names.
#[derive(Debug, Serialize)]
pub struct View {
    schema: u32,
    state: &'static str,
    room_bytes: u64,
    size_bytes: u64,
    received_bytes: u64,
    problem: Option<String>,
}

impl View {
    /// Of what the nanokernel answered.
    pub fn of(block: &StageBlock) -> Self {
        Self {
            schema: 1,
            state: block.known_state().map_or("unknown", StageState::name),
            room_bytes: block.room,
            size_bytes: block.size,
            received_bytes: block.received,
            problem: problem(block),
        }
    }

    /// A few lines for people.
    pub fn text(&self) -> String {
        let mut text = format!("staged image: {}\n", self.state);
        // Writing to a String does not fail.
        let _ = match self.state {
            "off" => writeln!(
                text,
                "  set image.stage-size in darma.conf to have room for one"
            ),
            "ready" => writeln!(
                text,
                "  {} bytes, started from when this Linux is restarted",
                self.size_bytes
            ),
            "receiving" => writeln!(
                text,
                "  {} of {} bytes",
                self.received_bytes, self.size_bytes
            ),
            "trial" => writeln!(text, "  runs, and waits for darma mark userspace-up"),
            "failed" => writeln!(text, "  did not come up; the image before it is in use"),
            _ => writeln!(text, "  room for {} bytes", self.room_bytes),
        };
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "  {problem}");
        }
        text
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_words_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for problem_of in StageProblem::ALL {
            let block = StageBlock {
                problem: problem_of.code(),
                file: 7,
                found: 0xabcd,
                expected: 0x1234,
                ..StageBlock::zeroed()
            };
            let words = problem(&block).expect("a problem");
            assert!(seen.insert(words.clone()), "{words}");
        }
        assert_eq!(problem(&StageBlock::zeroed()), None);
        let unknown = StageBlock {
            problem: 999,
            ..StageBlock::zeroed()
        };
        assert!(problem(&unknown).is_some_and(|words| words.contains("999")));
    }

    #[test]
    fn a_mismatch_shows_file_and_both_sums() {
        let block = StageBlock {
            problem: StageProblem::Checksum.code(),
            file: 2,
            found: 0xdead_beef,
            expected: 1,
            ..StageBlock::zeroed()
        };
        let words = problem(&block).expect("a problem");
        assert!(
            words.contains("'initrd'") && words.contains("deadbeef"),
            "{words}"
        );
        assert!(words.contains("00000001"), "{words}");
    }

    #[test]
    fn both_views_name_the_state() {
        let block = StageBlock {
            state: StageState::Ready.code(),
            size: 77,
            ..StageBlock::zeroed()
        };
        let view = View::of(&block);
        assert!(view.text().contains("ready") && view.text().contains("77 bytes"));
        assert!(
            view.json().contains("\"state\":\"ready\""),
            "{}",
            view.json()
        );
    }
}
