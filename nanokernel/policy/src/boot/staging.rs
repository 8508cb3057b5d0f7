//! Which of two areas holds the image in use, and what becomes of one that is staged in the other.
//!
//! ```text
//!   Empty ── begin ──► Receiving ── verify ──► Ready ── next start ──► Trial ── user space ──► Accepted
//!     ▲                    │                                             │
//!     └── drop ────────────┤ not sound: Refused          too many failed starts: Failed
//! ```
//! Two areas, because the image in use must never be written over: it is what a reload takes, at any
//! moment, the middle of a transfer included. The first area is where the boot loader put the machine's
//! image, the second is of `image.stage-size`. The image is committed by its own user space coming up;
//! until then the other area holds what to fall back on and takes nothing new.
//!
//! What the GPOS says is an allegation: the size is bounded by the area, the pieces by what was
//! announced, and what arrived counts only when it has been parsed and summed, in memory that the GPOS
//! cannot reach. Whatever fails leaves the image in use as it was.

use darma_abi::codes::{StageProblem, StageState, StagedFile};
use darma_abi::shared::{STAGE_WINDOW_BYTES, StageBlock};

use super::manifest::ChecksumError;
use super::ramdisk::{ImageFile, RamDiskError};
use super::span::Span;

/// What is wrong with an image, in numbers: the other side has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// What.
    pub problem: StageProblem,
    /// Of which file.
    pub file: Option<StagedFile>,
    /// What was found: a sum, an offset, a size.
    pub found: u64,
    /// What was expected.
    pub expected: u64,
}

impl Defect {
    /// A problem that needs no more words.
    pub const fn plain(problem: StageProblem) -> Self {
        Self {
            problem,
            file: None,
            found: 0,
            expected: 0,
        }
    }

    /// A problem of one file.
    pub const fn of(problem: StageProblem, file: ImageFile) -> Self {
        Self {
            problem,
            file: Some(staged(file)),
            found: 0,
            expected: 0,
        }
    }

    const fn sizes(problem: StageProblem, found: u64, expected: u64) -> Self {
        Self {
            problem,
            file: None,
            found,
            expected,
        }
    }
}

impl From<RamDiskError<'_>> for Defect {
    fn from(error: RamDiskError<'_>) -> Self {
        let at = |offset: usize| {
            let offset = u64::try_from(offset).unwrap_or(u64::MAX);
            Self::sizes(StageProblem::Archive, offset, 0)
        };
        match error {
            RamDiskError::NotCpio => at(0),
            RamDiskError::BadMagic { offset, .. }
            | RamDiskError::Truncated { offset, .. }
            | RamDiskError::BadHexField { offset }
            | RamDiskError::BadName { offset } => at(offset),
            RamDiskError::Duplicate(file) => Self::of(StageProblem::Archive, file),
            RamDiskError::Missing(file) => Self::of(StageProblem::Missing, file),
        }
    }
}

impl From<ChecksumError> for Defect {
    fn from(error: ChecksumError) -> Self {
        match error {
            ChecksumError::BadLine(line) => {
                let defect = Self::of(StageProblem::NoSums, ImageFile::Checksums);
                Self {
                    found: u64::from(line),
                    ..defect
                }
            }
            ChecksumError::Duplicate(file, _)
            | ChecksumError::Unlisted(file)
            | ChecksumError::Absent(file) => Self::of(StageProblem::NoSums, file),
            ChecksumError::Mismatch {
                file,
                expected,
                found,
            } => Self {
                found: u64::from(found),
                expected: u64::from(expected),
                ..Self::of(StageProblem::Checksum, file)
            },
        }
    }
}

const fn staged(file: ImageFile) -> StagedFile {
    match file {
        ImageFile::Kernel => StagedFile::Kernel,
        ImageFile::Initrd => StagedFile::Initrd,
        ImageFile::CommandLine => StagedFile::CommandLine,
        ImageFile::Config => StagedFile::Config,
        ImageFile::Checksums => StagedFile::Checksums,
        ImageFile::RescueKernel => StagedFile::RescueKernel,
        ImageFile::RescueInitrd => StagedFile::RescueInitrd,
        ImageFile::RescueCommandLine => StagedFile::RescueCommandLine,
    }
}

/// The state of both areas.
#[derive(Clone, Debug)]
pub struct Staging {
    areas: [Span; 2],
    /// The index of the area that is started from.
    active: usize,
    state: StageState,
    defect: Option<Defect>,
    size: u64,
    received: u64,
}

impl Staging {
    /// The image that the machine was started with lies in `first`, and `second` is free. An empty
    /// `second` switches staging off.
    pub const fn new(first: Span, second: Span) -> Self {
        Self {
            areas: [first, second],
            active: 0,
            state: if second.is_empty() {
                StageState::Off
            } else {
                StageState::Empty
            },
            defect: None,
            size: 0,
            received: 0,
        }
    }

    /// How far it has come.
    pub const fn state(&self) -> StageState {
        self.state
    }

    /// An image of `size` bytes is about to arrive. True: what was in the free area is void from now
    /// on.
    pub fn begin(&mut self, size: u32) -> bool {
        let (size, room) = (u64::from(size), self.room());
        let problem = match self.state {
            StageState::Off => Some(Defect::plain(StageProblem::Off)),
            StageState::Trial => Some(Defect::plain(StageProblem::OnTrial)),
            _ if size == 0 || size > room => {
                Some(Defect::sizes(StageProblem::TooLarge, size, room))
            }
            _ => None,
        };
        self.defect = problem;
        if problem.is_some() {
            return false;
        }
        (self.state, self.size, self.received) = (StageState::Receiving, size, 0);
        true
    }

    /// `length` more bytes stand in the window. Returns where they go, if they are taken.
    pub fn chunk(&mut self, length: u32) -> Option<Span> {
        let length = u64::from(length);
        let left = self.size.saturating_sub(self.received);
        let window = u64::try_from(STAGE_WINDOW_BYTES).unwrap_or(0);
        let defect = match self.state {
            StageState::Receiving if length > window => {
                Defect::sizes(StageProblem::LongPiece, length, window)
            }
            StageState::Receiving if length > left => {
                Defect::sizes(StageProblem::Unasked, length, left)
            }
            StageState::Receiving => {
                let place = Span::new(self.free().base().checked_add(self.received)?, length)?;
                self.received = self.received.saturating_add(length);
                return Some(place);
            }
            _ => Defect::plain(StageProblem::Unasked),
        };
        self.refuse(defect);
        None
    }

    /// Where the whole image lies, to be checked; `None` if it is not all there.
    pub fn arrived(&mut self) -> Option<Span> {
        if self.state != StageState::Receiving {
            self.defect = Some(Defect::plain(StageProblem::Unasked));
            return None;
        }
        if self.received < self.size {
            let defect = Defect::sizes(StageProblem::Incomplete, self.received, self.size);
            self.refuse(defect);
            return None;
        }
        Span::new(self.free().base(), self.size)
    }

    /// The image was checked: it is sound, or why not.
    pub fn judged(&mut self, judgement: Result<(), Defect>) {
        match judgement {
            Ok(()) => (self.state, self.defect) = (StageState::Ready, None),
            Err(defect) => self.refuse(defect),
        }
    }

    /// Forgets what was staged and is not in use. True: what was in the free area is void.
    pub fn forget(&mut self) -> bool {
        let forgets = matches!(
            self.state,
            StageState::Receiving | StageState::Ready | StageState::Refused
        );
        if forgets {
            self.state = StageState::Empty;
            self.defect = None;
        }
        forgets
    }

    /// The GPOS is about to be started. True: from now on from the staged image.
    pub fn start(&mut self) -> bool {
        match self.state {
            StageState::Ready => {
                self.state = StageState::Trial;
                self.active ^= 1;
                true
            }
            // The one who sent it is gone.
            StageState::Receiving => {
                self.state = StageState::Empty;
                false
            }
            _ => false,
        }
    }

    /// The image on trial reached user space.
    pub const fn accept(&mut self) {
        if matches!(self.state, StageState::Trial) {
            self.state = StageState::Accepted;
        }
    }

    /// The image on trial does not come up: the other one is started from again.
    pub const fn fall_back(&mut self) {
        if matches!(self.state, StageState::Trial) {
            self.state = StageState::Failed;
            self.active ^= 1;
        }
    }

    /// For the GPOS to read.
    pub fn block(&self) -> StageBlock {
        let defect = self.defect;
        StageBlock {
            state: self.state.code(),
            problem: defect.map_or(0, |defect| defect.problem.code()),
            file: defect
                .and_then(|defect| defect.file)
                .map_or(0, StagedFile::code),
            reserved: 0,
            room: self.room(),
            size: self.size,
            received: self.received,
            found: defect.map_or(0, |defect| defect.found),
            expected: defect.map_or(0, |defect| defect.expected),
        }
    }

    /// The area that is not in use.
    fn free(&self) -> Span {
        self.areas.get(self.active ^ 1).copied().unwrap_or_default()
    }

    /// The largest image that may be begun now, bytes.
    fn room(&self) -> u64 {
        match self.state {
            StageState::Off | StageState::Trial => 0,
            _ => self.free().size(),
        }
    }

    fn refuse(&mut self, defect: Defect) {
        self.defect = Some(defect);
        if self.state == StageState::Receiving {
            self.state = StageState::Refused;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn staging() -> Staging {
        let area = |base| Span::new(base, 0x10_0000).unwrap();
        Staging::new(area(0x100_0000), area(0x200_0000))
    }

    fn receive(staging: &mut Staging, size: u32) -> Vec<Span> {
        assert!(staging.begin(size));
        let mut left = size;
        let mut places = Vec::new();
        while left > 0 {
            let piece = left.min(0x4_0000);
            places.push(staging.chunk(piece).expect("announced"));
            left -= piece;
        }
        places
    }

    #[test]
    fn an_image_goes_to_the_free_area_and_is_started_from_once_it_is_sound() {
        let mut staging = staging();
        let places = receive(&mut staging, 0x5_0000);
        assert_eq!(places[1], Span::new(0x204_0000, 0x1_0000).unwrap());
        assert!(!staging.clone().start(), "not checked yet");
        assert_eq!(staging.arrived(), Span::new(0x200_0000, 0x5_0000));
        staging.judged(Ok(()));
        assert!(staging.start());
        assert_eq!(staging.state(), StageState::Trial);
        assert!(
            !staging.start(),
            "a trial is started from again, not begun again"
        );
        staging.accept();
        // The next one goes to the area that the first image lay in.
        assert_eq!(receive(&mut staging, 1)[0].base(), 0x100_0000);
    }

    #[test]
    fn an_image_on_trial_keeps_what_to_fall_back_on() {
        let mut staging = staging();
        receive(&mut staging, 1);
        staging.arrived();
        staging.judged(Ok(()));
        staging.start();
        assert!(!staging.begin(1));
        let block = staging.block();
        assert_eq!(block.known_problem(), Some(StageProblem::OnTrial));
        assert_eq!(block.room, 0);
        staging.fall_back();
        assert_eq!(staging.state(), StageState::Failed);
        assert_eq!(receive(&mut staging, 1)[0].base(), 0x200_0000);
    }

    #[test]
    fn what_does_not_fit_what_was_announced_is_refused_with_both_numbers() {
        let mut staging = staging();
        assert!(!staging.begin(0x10_0001));
        let block = staging.block();
        assert_eq!(block.known_problem(), Some(StageProblem::TooLarge));
        assert_eq!((block.found, block.expected), (0x10_0001, 0x10_0000));
        assert_eq!(block.known_state(), Some(StageState::Empty));
        assert!(staging.begin(100));
        assert_eq!(staging.chunk(101), None);
        assert_eq!(staging.state(), StageState::Refused);
        assert!(staging.begin(100));
        staging.chunk(60);
        assert_eq!(staging.arrived(), None);
        let block = staging.block();
        assert_eq!(block.known_problem(), Some(StageProblem::Incomplete));
        assert_eq!((block.found, block.expected), (60, 100));
        assert_eq!(staging.chunk(1), None, "refused for good");
    }

    #[test]
    fn a_transfer_dies_with_the_linux_that_sent_it() {
        let mut staging = staging();
        staging.begin(100);
        assert!(!staging.start());
        assert_eq!(staging.state(), StageState::Empty);
    }

    #[test]
    fn without_an_area_everything_is_refused() {
        let mut staging = Staging::new(Span::new(0x100_0000, 99).unwrap(), Span::default());
        assert!(!staging.begin(1));
        assert_eq!(staging.block().known_problem(), Some(StageProblem::Off));
        assert_eq!(staging.chunk(1), None);
        assert!(!staging.forget() && !staging.start());
    }

    #[test]
    fn a_defect_names_the_file_and_the_sums() {
        let defect = Defect::from(ChecksumError::Mismatch {
            file: ImageFile::RescueInitrd,
            expected: 1,
            found: 2,
        });
        let mut staging = staging();
        receive(&mut staging, 1);
        staging.judged(Err(defect));
        let block = staging.block();
        assert_eq!(block.file_name(), Some("rescue/initrd"));
        assert_eq!((block.found, block.expected), (2, 1));
        assert_eq!(staging.state(), StageState::Refused);
    }

    proptest! {
        /// Whatever is asked in whatever order: nothing is ever written to the area in use.
        #[test]
        fn the_image_in_use_is_never_written(
            acts in proptest::collection::vec((0u8..8, 0u32..0x20_0000), 0..60)
        ) {
            let mut staging = staging();
            for (act, number) in acts {
                let used = staging.areas[staging.active];
                match act {
                    0 | 1 => { let _ = staging.begin(number); }
                    2 | 3 => if let Some(place) = staging.chunk(number & 0x7_ffff) {
                        prop_assert!(!place.overlaps(used));
                        prop_assert!(place.is_empty() || staging.free().contains(place));
                    },
                    4 => if staging.arrived().is_some() {
                        staging.judged(Ok(()));
                    },
                    5 => { let _ = staging.start(); }
                    6 => staging.accept(),
                    _ => staging.fall_back(),
                }
                prop_assert!(staging.active < 2);
            }
        }
    }
}
