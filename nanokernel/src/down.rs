//! A GPOS that is down: the tasks run on, and the serial port that was Linux's console answers.
//!
//! Whoever finds a machine whose Linux is gone has its serial console, or whatever a management
//! controller makes of it: it needs no driver, no network and no second machine. While the GPOS is
//! down the port is nobody's, so the nanokernel takes it, says why it is there, and reads single
//! letters ten times a second. Rejected: a key of the emulator (a real machine has none) and a magic
//! packet (a driver per network card).
//!
//! ```text
//! t   try again: load the image in use        f   the recorded failures
//! r   load the rescue system                  l   the log of the last one
//! ```

use crate::fatal;
use crate::host::Host;
use crate::ladder::wait;
use crate::status::Detail;
use core::fmt::Write;
use darma_abi::codes::LadderStep;
use darma_abi::shared::GposState;
use darma_abi::units::Nanos;
use darma_machine::serial::SerialPort;
use darma_policy::boot::config::{OnPoweroff, TraceKeep};
use darma_ras_model::recovery::Rung;
use darma_rtos::timer::{self, Waiter};

/// How often the port is looked at.
const LOOK: Nanos = Nanos(100_000_000);
/// How often the shared status is brought up to date, in looks.
const LOOKS_PER_STATUS: u64 = 10;

impl Host<'_> {
    /// Stays in `state`, because of `why`, until somebody asks for another start. Returns from what,
    /// and as which step.
    #[inline(never)]
    pub(crate) fn down(&mut self, state: GposState, why: &str) -> (Rung, LadderStep) {
        // First: the tasks run on, and each of their runs pushes older events out.
        if self.config.trace_keep == TraceKeep::Last {
            self.status.report_last_events();
        }
        timer::arm(Waiter::Monitor, None);
        timer::arm(Waiter::Gpos, None);
        self.enter_state(state);
        self.report_figures();
        self.status.report_exits(&self.gpos.paths);
        self.status.report_end(why);
        if self.config.on_poweroff == OnPoweroff::LeaveEmulator {
            fatal::leave();
        }
        // SAFETY: DEVICE-OWNER: the GPOS is stopped, so its serial port is nobody's.
        let mut port = unsafe { SerialPort::take() };
        let _ = write!(port, "\ndarma: Linux is down: {why}\n");
        self.help(&mut port);
        // The tasks' figures go to the log at doubling distances, so that it stays short.
        let (mut looks, mut next_figures) = (0u64, LOOKS_PER_STATUS);
        loop {
            if let Some(answer) = port.read().and_then(|key| self.answer(key, &mut port)) {
                return answer;
            }
            wait(LOOK);
            looks += 1;
            if looks.is_multiple_of(LOOKS_PER_STATUS) {
                self.status.publish();
            }
            if looks == next_figures {
                next_figures = next_figures.saturating_mul(3);
                self.status.report_faults();
                self.status.report_tasks(Detail::Percentiles);
            }
        }
    }

    fn answer(&mut self, key: u8, port: &mut SerialPort) -> Option<(Rung, LadderStep)> {
        match key {
            b't' => {
                let _ = writeln!(port, "darma: trying again");
                return Some((Rung::First, LadderStep::TryAgain));
            }
            b'r' if self.loader.images.has_rescue() => {
                let _ = writeln!(port, "darma: loading the rescue system");
                return Some((Rung::Rescue, LadderStep::TryRescue));
            }
            b'r' => {
                let _ = writeln!(port, "darma: this image has no rescue system");
            }
            b'f' => self.ras.each_failure(|n, boot, cause, at_ns, line| {
                let ms = at_ns / 1_000_000;
                let _ = writeln!(port, "#{n} start {boot} at {ms} ms: {cause}: {line}");
            }),
            b'l' => {
                let log = self.ras.last_log().unwrap_or(b"no log was read\n");
                port.write_bytes(log);
            }
            // Line ends come with some terminals' letters.
            b'\r' | b'\n' => {}
            _ => self.help(port),
        }
        None
    }

    fn help(&self, port: &mut SerialPort) {
        let rescue = match self.loader.images.has_rescue() {
            true => ", r rescue system",
            false => "",
        };
        let _ = writeln!(
            port,
            "darma: {} failures recorded; press t try again{rescue}, f failures, l last log",
            self.ladder.history.failures()
        );
    }
}
