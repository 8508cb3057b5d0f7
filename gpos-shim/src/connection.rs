//! The connection to the nanokernel: the doorbell and the shared region of the virtual function.

use std::path::Path;

use darma_abi::shared::{
    CrashKind, DOORBELL_WINDOW, Doorbell, Heartbeat, Mark, REGION_BYTES, ReadError, Request,
    STAGE_WINDOW_OFFSET, Stage, StageBlock, StatusSnapshot,
};

use crate::error::Error;
use crate::function::{self, PCI_DEVICES};
use crate::hardware::Bar;
use crate::window::{Bars, Window};

/// Both BARs, mapped.
#[derive(Debug)]
pub struct Connection {
    doorbell: Bar,
    region: Bar,
}

impl Connection {
    /// Finds, enables and maps the function.
    ///
    /// # Errors
    /// [`Error::Absent`] if this Linux does not run under Darma; otherwise what sysfs refused.
    pub fn open() -> Result<Self, Error> {
        let folder = function::find(Path::new(PCI_DEVICES))?;
        function::enable(&folder)?;
        Ok(Self {
            doorbell: Bar::map(&folder, 0, DOORBELL_WINDOW + 4)?,
            region: Bar::map(&folder, 2, REGION_BYTES)?,
        })
    }

    /// As [`Connection::open`], but `None` where there is no such function.
    ///
    /// # Errors
    /// The function is there and cannot be used.
    pub fn open_if_present() -> Result<Option<Self>, Error> {
        match Self::open() {
            Ok(connection) => Ok(Some(connection)),
            Err(Error::Absent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a point of this GPOS's life known.
    pub fn mark(&self, mark: Mark) {
        self.ring(Doorbell::Mark(mark));
    }

    /// Says that user space lives, or that it stops saying so. After the first sign the nanokernel takes
    /// its absence for a hang (`watch.heartbeat`).
    pub fn heartbeat(&self, beat: Heartbeat) {
        self.ring(Doorbell::Heartbeat(beat));
    }

    /// Says which crash comes next, and that it comes now.
    pub fn announce(&self, kind: CrashKind) {
        self.ring(Doorbell::CrashKind(kind));
        self.mark(Mark::CrashImminent);
    }

    /// The nanokernel's state, brought up to date first.
    ///
    /// # Errors
    /// The region holds no status of this layout.
    pub fn status(&self) -> Result<StatusSnapshot, Error> {
        self.ring(Doorbell::Request(Request::RefreshStatus));
        Ok(StatusSnapshot::read(&self.region)?)
    }

    /// What the nanokernel keeps of failures.
    ///
    /// # Errors
    /// [`Error::NoWindow`]: it keeps nothing that could be read from here.
    pub fn window(&self) -> Result<Window<Bars<'_>>, Error> {
        Window::open(Bars {
            doorbell: &self.doorbell,
            region: &self.region,
        })
    }

    /// Does one act of staging and returns the answer, which stands there when the write is over.
    ///
    /// # Errors
    /// The region is not as large as this program knows it.
    pub fn stage(&self, act: Stage) -> Result<StageBlock, Error> {
        self.ring(Doorbell::Stage(act));
        StageBlock::read(&self.region).ok_or(Error::Status(ReadError::TooSmall))
    }

    /// Puts a piece of an image, at most [`STAGE_WINDOW_BYTES`](darma_abi::shared::STAGE_WINDOW_BYTES),
    /// into the window.
    pub fn put_piece(&self, piece: &[u8]) {
        self.region.store(STAGE_WINDOW_OFFSET, piece);
    }

    fn ring(&self, bell: Doorbell) {
        let (offset, value) = bell.encode();
        self.doorbell
            .store_u32(usize::try_from(offset).unwrap_or(usize::MAX), value);
    }
}
