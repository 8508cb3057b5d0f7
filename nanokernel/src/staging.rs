//! Staging at work: a RAM-disk image that the running GPOS sends is stored, checked, and started from
//! at the next restart.
//!
//! What goes where, and when what is void, is `darma_policy::boot::staging`'s decision. It runs in the
//! main loop while the GPOS waits for its write to the doorbell: interrupts are on, so a copy of 256
//! KiB, or the sums of a whole image, hold up no task.

use crate::gpos::{ImageError, Images};
use crate::host::Host;
use darma_abi::codes::{LadderStep, StageProblem};
use darma_abi::shared::{Stage, StageCommand};
use darma_abi::units::{HostPhys, Nanos};
use darma_machine::memory;
use darma_policy::boot::ramdisk::ImageFile;
use darma_policy::boot::span::Span;
use darma_policy::boot::staging::Defect;

impl Host<'_> {
    /// Does what the GPOS asks of staging, and answers in the shared region.
    pub(crate) fn stage(&mut self, stage: Stage) {
        match stage {
            Stage::Begin(size) => {
                if self.staging.begin(size) {
                    self.loader.other = None;
                }
            }
            Stage::Chunk(length) => {
                if let Some(place) = self.staging.chunk(length) {
                    self.store(place);
                }
            }
            Stage::Command(StageCommand::Verify) => self.verify(),
            Stage::Command(StageCommand::Drop) => {
                if self.staging.forget() {
                    self.loader.other = None;
                }
            }
            Stage::Command(StageCommand::Report) => {}
        }
        self.answer_stage();
    }

    /// Brings the answer in the shared region up to date.
    pub(crate) fn answer_stage(&mut self) {
        self.status.publish_stage(&self.staging.block());
    }

    /// Takes a staged image into use, if one is ready.
    pub(crate) fn start_staged(&mut self) {
        if self.staging.start() {
            self.loader.exchange();
            self.ladder.history.begin_trial();
            self.report_step(LadderStep::Trial, Nanos(0));
        }
    }

    /// Gives up the image on trial.
    pub(crate) fn drop_trial(&mut self) {
        self.staging.fall_back();
        self.loader.exchange();
        // It lies in the free area now, where the next one goes.
        self.loader.other = None;
    }

    /// Copies what stands in the window to `place`.
    fn store(&self, place: Span) {
        let mut piece = [0; 4096];
        let mut done = 0;
        while done < place.size() {
            let length = (place.size() - done).min(4096);
            let Some(piece) = usize::try_from(length)
                .ok()
                .and_then(|length| piece.get_mut(..length))
            else {
                return;
            };
            let from = HostPhys(self.status.stage_window().0 + done);
            // SAFETY: SHARED-REGION: a piece is no longer than the window, by the policy; a copy of
            // bytes. OWNED-RANGE: the place lies in the area that is not in use, which the plan gives
            // to the nanokernel alone and of which no view is left: `other` went with `begin`.
            unsafe {
                memory::read(from, piece);
                memory::write(HostPhys(place.base() + done), piece);
            }
            done += length;
        }
    }

    fn verify(&mut self) {
        let Some(place) = self.staging.arrived() else {
            return;
        };
        let Ok(length) = usize::try_from(place.size()) else {
            return;
        };
        // SAFETY: OWNED-RANGE: the area is the nanokernel's alone, and written only after `begin`,
        // which drops what is made of this view.
        let image = unsafe { memory::view(HostPhys(place.base()), length) };
        let judgement = match Images::read_summed(image) {
            Ok(images) if self.loader.has_places(&images) => {
                self.loader.other = Some(images);
                Ok(())
            }
            Ok(_) => Err(Defect::plain(StageProblem::DoesNotFit)),
            Err(error) => Err(defect(&error)),
        };
        self.staging.judged(judgement);
    }
}

fn defect(error: &ImageError) -> Defect {
    match *error {
        ImageError::Archive(error) => error.into(),
        ImageError::Kernel(_) => Defect::of(StageProblem::Kernel, ImageFile::Kernel),
        ImageError::Rescue(_) => Defect::of(StageProblem::Kernel, ImageFile::RescueKernel),
        ImageError::NoSums => Defect::of(StageProblem::NoSums, ImageFile::Checksums),
        ImageError::Checksum(error) => error.into(),
    }
}
