//! The monitor's looks at the running GPOS, and what becomes of what they and its acts show.
//!
//! A look is taken in the main loop when its timer has made the guest leave: some microseconds of the
//! guest's time, a millisecond as long as its kernel's tables are being read, nothing of the tasks'.
//! Verdicts are `darma_ras_model::detect`'s.

use crate::host::Host;
use crate::ras::Failure;
use crate::report;
use core::fmt::Write;
use darma_abi::report::{Event as Report, Line};
use darma_abi::units::{Cycles, Nanos};
use darma_machine::time;
use darma_ras_model::detect::{Event, Evidence, Look, Verdict, Vitals};
use darma_rtos::time_scale;
use darma_rtos::timer::{self, Waiter};
use heapless::String;

const USER: u8 = 3;

impl Host<'_> {
    /// Judges an act of the GPOS: the last one beside what its kernel says of itself at that moment.
    #[inline(never)]
    pub(crate) fn judge(&mut self, event: Event) -> Option<Verdict> {
        let vitals = match event {
            Event::Shutdown(_) | Event::Halt { .. } | Event::Reset(_) => {
                self.kernel.stage(&self.gpos.memory)
            }
            _ => Vitals::default(),
        };
        self.detector.observe(event, &vitals)
    }

    /// Takes a look and judges it.
    #[inline(never)]
    pub(crate) fn look(&mut self) -> Option<Verdict> {
        self.kernel.gather(&self.gpos);
        let gpos = &self.gpos;
        let (_, _, cpl) = gpos.cpu.code_segment();
        let (exits, kinds) = gpos.paths.own();
        let look = Look {
            at: Nanos(self.status.now_ns()),
            rip: gpos.cpu.rip(),
            in_user_mode: cpl == USER,
            idle: gpos.idle,
            interrupts_on: gpos.cpu.interrupts_enabled(),
            in_nmi: gpos.cpu.in_nmi(),
            waiting: gpos.apic.requested(),
            accepted: gpos.counters.interrupts,
            last_vector: gpos.counters.last_vector,
            entries: gpos.counters.exits,
            halts: gpos.paths.halts(),
            exits,
            kinds,
            vitals: self.kernel.vitals(&self.gpos.memory),
        };
        self.detector.look(&look)
    }

    /// Sets the time of the next look.
    pub(crate) fn arm_look(&self) {
        let distance = time_scale().cycles(self.detector.next_look());
        let next = Cycles(time::now().0.saturating_add(distance.0));
        timer::arm(Waiter::Monitor, Some(next));
    }

    /// Packs a little of the last dump even if the GPOS never sleeps: 1 % of its time.
    pub(crate) fn pack_busy(&mut self) {
        /// A piece takes 0.1 ms, and looks are 50 ms apart.
        const PIECES: u32 = 5;
        for _ in 0..PIECES {
            if self.gpos.work_waits {
                self.gpos.work_waits = self.ras.pack();
            }
        }
    }

    /// Records what the GPOS lives on with, or what is no failure.
    #[inline(never)]
    pub(crate) fn record(&mut self, verdict: Verdict) {
        let at_ns = self.status.now_ns();
        let boot = self.status.boots;
        let evidence = words(&verdict.evidence);
        let cause = verdict.cause;
        log::info!("recorded: {cause}: {evidence}");
        let failure = Failure {
            verdict,
            boot,
            at_ns,
            detect_ns: 0,
            announced: 0,
        };
        let _ = self.ras.note(&self.gpos, &failure);
        report::emit(&Report::Incident {
            boot,
            cause,
            at_ns,
            count: verdict.count,
            evidence,
        });
    }
}

/// Evidence in words.
pub(crate) fn words(evidence: &Evidence) -> Line {
    let mut text: String<120> = String::new();
    // The longest fits, by test; if it ever does not, its begin stands there.
    let _ = write!(text, "{evidence}");
    Line::new(&text)
}
