//! The doorbell: what a 32-bit write to BAR0 means.
//!
//! Write only, one word per act, so that the nanokernel's exit handler has nothing to look up in
//! memory that the GPOS can change meanwhile. Anything not listed here is no message and is ignored.

use super::staging::{
    DOORBELL_STAGE_BEGIN, DOORBELL_STAGE_CHUNK, DOORBELL_STAGE_COMMAND, Stage, StageCommand,
};
use super::window::Bank;
use crate::codes::{CrashKind, Mark};

/// Offset in BAR0: a [`Mark`]'s code.
pub const DOORBELL_MARK: u64 = 0;
/// Offset in BAR0: the [`CrashKind`]'s code that is about to be provoked.
pub const DOORBELL_CRASH_KIND: u64 = 4;
/// Offset in BAR0: a [`Request`]'s code.
pub const DOORBELL_REQUEST: u64 = 8;

/// Offset in BAR0: a [`Heartbeat`]'s word.
pub const DOORBELL_HEARTBEAT: u64 = 12;
/// Offset in BAR0: the [`Bank`] that the window shows.
pub const DOORBELL_WINDOW: u64 = 16;

/// A sign of life of the GPOS's user space. The first one arms the nanokernel's watch for the next,
/// so each is a word that chance does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Heartbeat {
    /// Alive, and another one will follow.
    Beat = u32::from_le_bytes(*b"BEAT"),
    /// The last one: who beat ends in an orderly way.
    End = u32::from_le_bytes(*b"REST"),
}

/// What the GPOS asks of the nanokernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Request {
    /// Bring the status block up to date before the write completes.
    RefreshStatus = 1,
}

/// One write to the doorbell, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// A point in the GPOS's life.
    Mark(Mark),
    /// The crash that comes next.
    CrashKind(CrashKind),
    /// Something to do now.
    Request(Request),
    /// User space lives.
    Heartbeat(Heartbeat),
    /// What the window is to show.
    Window(Bank),
    /// A new image is staged.
    Stage(Stage),
}

impl Doorbell {
    /// The meaning of writing `value` at `offset` of BAR0, or `None` if it has none.
    pub const fn decode(offset: u64, value: u32) -> Option<Self> {
        const BEAT: u32 = Heartbeat::Beat as u32;
        const END: u32 = Heartbeat::End as u32;
        match (offset, value) {
            (DOORBELL_MARK, code) => match Mark::from_code(code) {
                Some(mark) => Some(Self::Mark(mark)),
                None => None,
            },
            (DOORBELL_CRASH_KIND, code) => match CrashKind::from_code(code) {
                Some(kind) => Some(Self::CrashKind(kind)),
                None => None,
            },
            (DOORBELL_REQUEST, 1) => Some(Self::Request(Request::RefreshStatus)),
            (DOORBELL_HEARTBEAT, BEAT) => Some(Self::Heartbeat(Heartbeat::Beat)),
            (DOORBELL_WINDOW, word) => match Bank::decode(word) {
                Some(bank) => Some(Self::Window(bank)),
                None => None,
            },
            (DOORBELL_HEARTBEAT, END) => Some(Self::Heartbeat(Heartbeat::End)),
            (DOORBELL_STAGE_BEGIN, size) => Some(Self::Stage(Stage::Begin(size))),
            (DOORBELL_STAGE_CHUNK, length) => Some(Self::Stage(Stage::Chunk(length))),
            (DOORBELL_STAGE_COMMAND, code) => match StageCommand::from_code(code) {
                Some(command) => Some(Self::Stage(Stage::Command(command))),
                None => None,
            },
            _ => None,
        }
    }

    /// The offset in BAR0 and the value to write for it.
    pub const fn encode(self) -> (u64, u32) {
        match self {
            Self::Mark(mark) => (DOORBELL_MARK, mark.code()),
            Self::CrashKind(kind) => (DOORBELL_CRASH_KIND, kind.code()),
            Self::Request(Request::RefreshStatus) => (DOORBELL_REQUEST, 1),
            Self::Heartbeat(beat) => (DOORBELL_HEARTBEAT, beat as u32),
            Self::Window(bank) => (DOORBELL_WINDOW, bank.encode()),
            Self::Stage(Stage::Begin(size)) => (DOORBELL_STAGE_BEGIN, size),
            Self::Stage(Stage::Chunk(length)) => (DOORBELL_STAGE_CHUNK, length),
            Self::Stage(Stage::Command(command)) => (DOORBELL_STAGE_COMMAND, command as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::window::Store;

    #[test]
    fn what_is_encoded_is_decoded() {
        for bell in [
            Doorbell::Mark(Mark::LoadedBegin),
            Doorbell::CrashKind(CrashKind::CliHlt),
            Doorbell::Request(Request::RefreshStatus),
            Doorbell::Heartbeat(Heartbeat::Beat),
            Doorbell::Heartbeat(Heartbeat::End),
            Doorbell::Window(Bank {
                store: Some(Store::Dumps),
                number: 7,
            }),
            Doorbell::Stage(Stage::Begin(5)),
            Doorbell::Stage(Stage::Chunk(6)),
            Doorbell::Stage(Stage::Command(StageCommand::Drop)),
        ] {
            let (offset, value) = bell.encode();
            assert_eq!(Doorbell::decode(offset, value), Some(bell));
        }
    }

    #[test]
    fn nonsense_is_no_message() {
        assert_eq!(Doorbell::decode(DOORBELL_MARK, 0), None);
        assert_eq!(Doorbell::decode(DOORBELL_REQUEST, 2), None);
        assert_eq!(Doorbell::decode(DOORBELL_HEARTBEAT, 1), None);
        assert_eq!(Doorbell::decode(1, 1), None);
        assert_eq!(Doorbell::decode(u64::MAX, u32::MAX), None);
    }
}
