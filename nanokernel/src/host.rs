//! The main loop above all: load the GPOS, run it, judge what stops it, capture it, load it again.
//!
//! ```text
//!            1 load            2 userspace-up        3 fatal event
//!   Reloading ──────► Booting ───────────────► Up ─────────────────► Crashed
//!       ▲                │ 3 fatal event                                │
//!       │                └──────────────────────────────────────────────┤
//!       │ 6 reload                          4 capture                   ▼
//!       └─────────────────────────────────── Capturing ◄────────────────┘
//!   Booting, Up ── 5 power-off ──► Off        Capturing ── 7 too many ──► Held
//! ```
//! First boot and recovery are the same transition 1. An orderly restart is transition 1 as well: no
//! failure, nothing to capture. What follows is the recovery ladder's ([`crate::ladder`]): transition
//! 6 may wait, and may load the rescue system; Off and Held end when somebody asks for another start.

use crate::gpos::{Gpos, Loader, Stop};
use crate::ladder::Ladder;
use crate::ras::{Failure, Kernel, Ras, functions};
use crate::status::Status;
use crate::{report, watch};
use core::fmt::Write;
use darma_abi::report::{Event as Report, Line};
use darma_abi::shared::{CrashKind, Doorbell, FaultEntry, GposState, Mark, Phase, Text};
use darma_abi::units::{Cycles, GuestVirt};
use darma_machine::{paging, time};
use darma_policy::boot::config::Config;
use darma_policy::boot::ramdisk::Role;
use darma_policy::boot::staging::Staging;
use darma_ras_model::detect::{Detector, Event, Severity, Verdict};
use darma_ras_model::fault_record::EventKind;
use darma_rtos::timer::{self, Waiter};
use darma_rtos::trace::{self, Kind};
use darma_rtos::{set_phase, time_scale};
use heapless::String;

/// The host of one GPOS.
pub(crate) struct Host<'a> {
    pub(crate) gpos: Gpos,
    pub(crate) loader: Loader<'a>,
    pub(crate) ras: Ras,
    pub(crate) kernel: Kernel,
    pub(crate) status: Status,
    pub(crate) config: &'a Config,
    pub(crate) reserved_bytes: u64,
    pub(crate) detector: Detector,
    pub(crate) ladder: Ladder,
    pub(crate) staging: Staging,
    pub(crate) announced: Option<(CrashKind, Cycles)>,
}

impl Host<'_> {
    /// Hosts the GPOS for as long as the machine runs.
    #[inline(never)]
    pub(crate) fn run(&mut self) -> ! {
        // SAFETY: the start is over and this function never returns to it; the lists in image.ld
        // name nothing that the main loop, a task or a handler calls.
        let discarded = unsafe { paging::discard_start() };
        log::debug!("start-up code discarded: {discarded} bytes");
        set_phase(Phase::Recovery);
        let mut recovered = None;
        loop {
            if !self.start(recovered.take()) {
                self.after_bad_image();
                continue;
            }
            let Some(verdict) = self.run_gpos() else {
                self.ended("exit");
                continue;
            };
            match verdict.severity {
                Severity::PowerOff => self.ended(verdict.cause.name()),
                Severity::Restart => {
                    self.restarted(verdict);
                    self.after_restart(verdict.cause);
                }
                Severity::Fatal | Severity::Recorded => {
                    recovered = Some(self.capture(verdict));
                    self.after_failure(verdict.cause);
                }
            }
        }
    }

    /// Transition 1: verifies and places the images and enters the kernel. False if the image cannot
    /// be loaded.
    fn start(&mut self, recovered: Option<Report>) -> bool {
        self.enter_state(GposState::Reloading);
        self.end_resets();
        self.start_staged();
        let begin = time::now();
        self.status.boots += 1;
        let told = self.told();
        trace::record(begin, Kind::LoadStep, 0);
        let role = self.ladder.role();
        if let Err(error) = self.loader.load(&mut self.gpos, role, &told) {
            log::error!("cannot load the GPOS: {error}");
            return false;
        }
        #[cfg(feature = "inject")]
        {
            self.gpos.ordered = crate::inject::Ordered::for_boot(
                self.loader.images.command_line(),
                self.status.boots,
            );
        }
        self.detector.restarted();
        self.kernel.restarted();
        self.announced = None;
        self.status.state = GposState::Booting;
        self.status.initialise();
        self.answer_stage();
        let entry_ns = self.nanos_since(begin);
        let at_ns = self.status.now_ns();
        if let Some(mut recovery) = recovered {
            if let Report::Recovery {
                reload_ns,
                entered_at_ns,
                ..
            } = &mut recovery
            {
                (*reload_ns, *entered_at_ns) = (entry_ns, at_ns);
            }
            report::emit(&recovery);
        }
        self.ras.event(at_ns, EventKind::Boot, self.status.boots, 0);
        report::emit(&Report::Boot {
            n: self.status.boots,
            at_ns,
            entry_ns,
            image: self.ladder.image(),
        });
        self.arm_look();
        true
    }

    /// Runs the GPOS until a verdict ends it, or, without one, the application does.
    fn run_gpos(&mut self) -> Option<Verdict> {
        loop {
            let verdict = match self.gpos.run() {
                Stop::Event(event) => self.judge(event),
                Stop::Doorbell { offset, value } => self
                    .doorbell(offset, value)
                    .and_then(|event| self.judge(event)),
                Stop::TaskFault => {
                    self.status.report_faults();
                    None
                }
                Stop::Exit => return None,
                Stop::Spare => {
                    self.gpos.work_waits = self.ras.pack();
                    None
                }
                Stop::MonitorTimer => {
                    let verdict = self.look();
                    self.arm_look();
                    self.pack_busy();
                    verdict
                }
            };
            let Some(verdict) = verdict else {
                continue;
            };
            match verdict.severity {
                Severity::Recorded => self.record(verdict),
                Severity::Fatal | Severity::PowerOff | Severity::Restart => return Some(verdict),
            }
        }
    }

    /// Does what the doorbell asks for. What the detector has to know of is returned.
    fn doorbell(&mut self, offset: u64, value: u32) -> Option<Event> {
        match Doorbell::decode(offset, value)? {
            Doorbell::Mark(mark) => {
                self.mark(mark);
                return (mark == Mark::UserspaceUp).then_some(Event::UserSpace);
            }
            Doorbell::Heartbeat(beat) => return Some(Event::Heartbeat(beat)),
            Doorbell::Window(bank) => self.gpos.show(self.loader.plan.bank(bank)),
            Doorbell::Stage(stage) => self.stage(stage),
            Doorbell::CrashKind(kind) => self.announced = Some((kind, time::now())),
            Doorbell::Request(_) => {
                self.take_counters();
                self.status.publish();
            }
        }
        None
    }

    fn mark(&mut self, mark: Mark) {
        let at_ns = self.status.now_ns();
        match mark {
            Mark::UserspaceUp => {
                if self.ladder.history.reached_user_space() {
                    self.staging.accept();
                }
                let boot = self.status.boots;
                self.ras.event(at_ns, EventKind::UserSpace, boot, 0);
                self.enter_state(match self.ladder.role() {
                    Role::First => GposState::Up,
                    Role::Rescue => GposState::Rescue,
                });
                set_phase(Phase::Idle);
            }
            Mark::IdleBegin | Mark::PhaseEnd => set_phase(Phase::Idle),
            Mark::BenchEnd => {
                set_phase(Phase::Idle);
                self.report_figures();
            }
            Mark::LoadedBegin => set_phase(Phase::Loaded),
            Mark::CrashImminent => {
                self.announced = self.announced.map(|(kind, _)| (kind, time::now()));
            }
        }
        report::emit(&Report::Mark {
            mark,
            boot: self.status.boots,
            at_ns,
        });
        self.status.report_exits(&self.gpos.paths);
    }

    pub(crate) fn report_figures(&mut self) {
        self.take_counters();
        self.status.report_faults();
        self.status.report_paths(&self.gpos.paths);
        self.status.report_figures(self.reserved_bytes);
    }

    /// Transitions 3 and 4. Returns what the next start completes into the recovery's report.
    #[inline(never)] // stays in the RAS monitor's section of code
    fn capture(&mut self, verdict: Verdict) -> Report {
        let detected = time::now();
        set_phase(Phase::Recovery);
        timer::arm(Waiter::Monitor, None);
        timer::arm(Waiter::Gpos, None);
        let at_ns = time_scale().nanos(detected).0;
        let since_exit = time_scale().nanos(detected.saturating_since(self.gpos.cpu.exit_time()));
        // What does not happen has no exit that shows it.
        let detect_ns = verdict.evidence.held().unwrap_or(since_exit).0;
        let since_announced_ns = self
            .announced
            .map(|(_, at)| time_scale().nanos(detected.saturating_since(at)).0);
        let announced = self.announced.map(|(kind, _)| kind);
        self.enter_state(GposState::Crashed);
        trace::record(detected, Kind::CaptureStep, 0);
        let functions = functions(&self.gpos);
        self.gpos.quiesce();
        self.gpos.begin_resets();
        self.enter_state(GposState::Capturing);

        let code = announced.map_or(0, CrashKind::code);
        let failure = Failure {
            verdict,
            boot: self.status.boots,
            at_ns,
            detect_ns,
            announced: code,
        };
        self.ras
            .open(&mut self.gpos, &mut self.status, &failure, &functions);
        trace::record(time::now(), Kind::CaptureStep, 1);
        let processor = self.gpos.processor_for_dump();
        let logging = time::now();
        self.kernel.finish(&self.gpos);
        let place = self.ras.trace_stack(&self.gpos.memory, &self.kernel);
        let note = self.kernel.note(&self.gpos.memory);
        let words = self.ras.read_log(&self.gpos.memory, processor.cr3, note);
        let line = match self.ras.panic_reason() {
            Some(reason) => Line::from_bytes(reason),
            None => described(verdict, self.gpos.cpu.rip()),
        };
        self.ras.set_line(line.as_str());
        let log_ns = self.nanos_since(logging);
        trace::record(time::now(), Kind::CaptureStep, 2);
        let captured = self
            .ras
            .save_memory(&self.gpos.memory, &words, &processor, at_ns);
        self.gpos.work_waits = true;
        self.leave_log(verdict.cause, at_ns);
        let capture_ns = self.nanos_since(detected);

        let n = u32::try_from(captured.sequence).unwrap_or(u32::MAX);
        self.status.fault = Some(FaultEntry {
            sequence: n,
            cause: verdict.cause.code(),
            announced: code,
            reserved: 0,
            at_ns,
            detect_ns: since_announced_ns.unwrap_or(0),
            line: Text::new(line.as_str()),
        });
        self.status.dump_bytes = captured.dump_bytes;
        self.ras.event(
            at_ns,
            EventKind::Fault,
            self.status.boots,
            captured.sequence,
        );
        self.take_counters();
        report::emit(&Report::Fault {
            n,
            boot: self.status.boots,
            cause: verdict.cause,
            announced,
            at_ns,
            detect_ns,
            since_announced_ns,
            rip: self.gpos.cpu.rip().0,
            log_lines: words.lines,
            line,
            evidence: watch::words(&verdict.evidence),
            place: place.line,
            fingerprint: place.fingerprint,
        });
        Report::Recovery {
            n,
            capture_ns,
            reload_ns: 0,
            entered_at_ns: 0,
            dump_bytes: captured.dump_bytes,
            dump_pages: captured.saved_pages,
            partial: captured.lost_pages > 0,
            log_ns,
            scan_ns: captured.scan_ns,
            save_ns: captured.save_ns,
        }
    }

    /// Transition 1 on the GPOS's own wish.
    fn restarted(&mut self, verdict: Verdict) {
        set_phase(Phase::Recovery);
        timer::arm(Waiter::Monitor, None);
        timer::arm(Waiter::Gpos, None);
        self.record(verdict);
        self.gpos.quiesce();
        self.gpos.begin_resets();
    }

    /// Transition 5.
    fn ended(&mut self, why: &str) {
        self.gpos.quiesce();
        self.gpos.begin_resets();
        self.stay_down(GposState::Off, why);
    }

    fn take_counters(&mut self) {
        let counters = &self.gpos.counters;
        self.status.exits = counters.exits;
        self.status.violations = (counters.violations, counters.last_violation);
    }

    pub(crate) fn enter_state(&mut self, state: GposState) {
        self.status.state = state;
        self.status.publish();
    }

    fn nanos_since(&self, begin: Cycles) -> u64 {
        time_scale().nanos(time::now().saturating_since(begin)).0
    }
}

/// What was detected where, for a failure that left no reason of its own.
fn described(verdict: Verdict, rip: GuestVirt) -> Line {
    let mut text: String<120> = String::new();
    // Cause and address fit; if they ever do not, the cause alone stands there.
    let _ = write!(text, "{} at rip {rip}", verdict.cause);
    Line::new(&text)
}
