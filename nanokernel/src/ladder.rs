//! The recovery ladder at work: what comes after a GPOS that has ended.
//!
//! Decisions are `darma_ras_model::recovery`'s. Here its steps are taken and reported: wait, load the
//! image or its rescue system, or leave the GPOS down and listen for somebody ([`crate::down`]).
//!
//! It runs in the main loop, in the place of a GPOS that is not there, with interrupts on: the tasks
//! preempt every wait.

use crate::gpos::RecordGlances;
use crate::host::Host;
use crate::report;
use darma_abi::codes::{Cause, GposState, ImageRole, LadderStep};
use darma_abi::report::Event as Report;
use darma_abi::units::{Cycles, Nanos};
use darma_machine::time;
use darma_policy::boot::command_line::Told;
use darma_policy::boot::config::UseOfRescue;
use darma_policy::boot::ramdisk::Role;
use darma_policy::boot::ramoops::Panicked;
use darma_ras_model::fault_record::EventKind;
use darma_ras_model::recovery::{History, NextStep, Policy, Rung};
use darma_rtos::time_scale;
use darma_rtos::timer::{self, Waiter};
use x86_64::instructions::interrupts;

/// Why the first start is made.
const FIRST: &str = "first";

/// Where on the ladder the GPOS is, and what the next kernel is told of the last one.
pub(crate) struct Ladder {
    pub(crate) history: History,
    /// Why the last start ended.
    reason: &'static str,
    /// What stood in the records for `ramoops` when the running kernel was started.
    glances: RecordGlances,
}

impl Ladder {
    pub(crate) const fn new() -> Self {
        Self {
            history: History::new(),
            reason: FIRST,
            glances: RecordGlances::new(),
        }
    }

    /// Which system of the image is started now.
    pub(crate) const fn role(&self) -> Role {
        match self.history.rung() {
            Rung::Trial | Rung::First => Role::First,
            Rung::Rescue => Role::Rescue,
        }
    }

    /// The same for a report.
    pub(crate) const fn image(&self) -> ImageRole {
        match self.history.rung() {
            Rung::Trial => ImageRole::Trial,
            Rung::First => ImageRole::First,
            Rung::Rescue => ImageRole::Rescue,
        }
    }
}

impl Host<'_> {
    fn recovery_policy(&self) -> Policy {
        let limits = &self.config.recovery;
        Policy {
            limit: limits.limit,
            window: limits.window,
            first_wait: limits.first_wait,
            longest_wait: limits.longest_wait,
            rescue: limits.rescue == UseOfRescue::WhenNeeded && self.loader.images.has_rescue(),
        }
    }

    /// What the next kernel is told.
    #[inline(never)]
    pub(crate) fn told(&mut self) -> Told<'static> {
        self.ladder.glances = self.loader.glance();
        Told {
            boot: self.status.boots,
            reason: self.ladder.reason,
            ramoops: Some(self.loader.plan.ramoops()),
        }
    }

    /// Leaves the dead kernel's log where the next one's `ramoops` driver looks for it.
    #[inline(never)]
    pub(crate) fn leave_log(&mut self, cause: Cause, at_ns: u64) {
        let panicked = match cause {
            Cause::Panic | Cause::PanicText => Panicked::Yes,
            _ => Panicked::No,
        };
        let boot = self.status.boots;
        if let Some(log) = self.ras.last_log() {
            let before = &self.ladder.glances;
            self.loader
                .leave_record(before, panicked, boot, cause.name(), Nanos(at_ns), log);
        }
    }

    /// The GPOS failed.
    #[inline(never)]
    pub(crate) fn after_failure(&mut self, cause: Cause) {
        self.ladder.reason = cause.name();
        let now = Nanos(self.status.now_ns());
        let from = self.ladder.history.rung();
        let step = self.ladder.history.failed(now, &self.recovery_policy());
        self.take(from, step, "recovery limit reached");
    }

    /// The GPOS restarted itself in an orderly way.
    #[inline(never)]
    pub(crate) fn after_restart(&mut self, cause: Cause) {
        self.ladder.reason = cause.name();
        let from = self.ladder.history.rung();
        let step = self.ladder.history.restarted();
        self.take(from, step, "");
    }

    /// The image cannot be loaded at all.
    #[inline(never)]
    pub(crate) fn after_bad_image(&mut self) {
        let from = self.ladder.history.rung();
        let step = self.ladder.history.unusable(&self.recovery_policy());
        self.take(from, step, "the image cannot be loaded");
    }

    fn take(&mut self, from: Rung, step: NextStep, why_down: &str) {
        match step {
            NextStep::Start { from: rung, wait } => {
                let step = match rung {
                    same if same == from => LadderStep::Reload,
                    // Begun by staging alone, before a start.
                    Rung::Trial => LadderStep::Trial,
                    Rung::First => {
                        self.drop_trial();
                        LadderStep::FallBack
                    }
                    Rung::Rescue => LadderStep::Rescue,
                };
                self.report_step(step, wait);
                crate::ladder::wait(wait);
            }
            NextStep::HeldDown => {
                log::warn!("the GPOS is held down: {why_down}");
                self.stay_down(GposState::Held, why_down);
            }
        }
    }

    /// Leaves the GPOS down until somebody asks for another start.
    #[inline(never)]
    pub(crate) fn stay_down(&mut self, state: GposState, why: &str) {
        let event = match state {
            GposState::Off => EventKind::Off,
            _ => EventKind::Held,
        };
        let (now, boot) = (self.status.now_ns(), self.status.boots);
        self.ras.event(now, event, boot, 0);
        self.report_step(LadderStep::Down, Nanos(0));
        let (rung, step) = self.down(state, why);
        // What was on trial when it went down is still on trial; a rescue is not of it.
        let rung = match (self.ladder.history.rung(), rung) {
            (Rung::Trial, Rung::First) => Rung::Trial,
            (Rung::Trial, Rung::Rescue) => {
                self.drop_trial();
                rung
            }
            _ => rung,
        };
        self.ladder.history.released(rung);
        self.ladder.reason = step.name();
        self.report_step(step, Nanos(0));
    }

    /// Waits for the devices that were reset when the GPOS was found dead, and tells what came of it.
    #[inline(never)]
    pub(crate) fn end_resets(&mut self) {
        let resets = self.gpos.end_resets();
        let functions = resets.by_function + resets.by_bus + resets.left + resets.quarantined;
        if functions > 0 {
            report::emit(&Report::Resets {
                boot: self.status.boots,
                by_function: resets.by_function,
                by_bus: resets.by_bus,
                left: resets.left,
                quarantined: resets.quarantined,
                waited_ns: resets.waited.0,
            });
        }
    }

    pub(crate) fn report_step(&self, step: LadderStep, wait: Nanos) {
        let now = Nanos(self.status.now_ns());
        let history = &self.ladder.history;
        report::emit(&Report::Ladder {
            step,
            failed_starts: history.failed_starts(now, &self.recovery_policy()),
            wait_ns: wait.0,
            at_ns: now.0,
        });
    }
}

/// Lets the tasks have the processor for `wait`.
pub(crate) fn wait(wait: Nanos) {
    let end = Cycles(time::now().0.saturating_add(time_scale().cycles(wait).0));
    loop {
        interrupts::disable();
        if time::now() >= end {
            interrupts::enable();
            break;
        }
        interrupts::enable();
        // Armed anew each time: a task's interrupt may be what ended the sleep.
        timer::arm(Waiter::Monitor, Some(end));
        interrupts::disable();
        if time::now() < end {
            // STI takes effect after HLT has begun, so the expiry cannot slip in between.
            interrupts::enable_and_hlt();
        } else {
            interrupts::enable();
        }
    }
    timer::arm(Waiter::Monitor, None);
    // Whoever looks next must not take this expiry for its own.
    timer::take_expired(Waiter::Monitor);
}
