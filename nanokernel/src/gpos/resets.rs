//! The resets of the GPOS's devices between two of its lives: begun when it is found dead, so that the
//! time that a device needs passes while its memory is saved; ended before the next one is loaded.
//!
//! What is reset by what is `darma_policy::devices::resets`' decision. Every wait is bounded and
//! preemptible: interrupts are on, and the tasks run.

use super::Gpos;
use super::devices::{port_width, write_config};
use crate::ladder::wait;
use darma_abi::units::{Cycles, Nanos};
use darma_machine::{pci, time};
use darma_policy::devices::functions::MAX_FUNCTIONS;
use darma_policy::devices::pci_config::HardwareWrite;
use darma_policy::devices::resets::{
    ANSWER_NS, BRIDGE_CONTROL, BUS_RESET, DRAIN_NS, HOLD_NS, Means, SETTLE_NS,
};
use darma_policy::mmio::Width;
use darma_rtos::time_scale;

/// Distance of two looks at something that is waited for.
const STEP: Nanos = Nanos(1_000_000);

/// What the resets came to. Counts of functions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resets {
    /// When they were begun, if any was.
    begun: Option<Cycles>,
    /// Reset by themselves.
    pub(crate) by_function: u32,
    /// Reset with their bus.
    pub(crate) by_bus: u32,
    /// Left to their drivers.
    pub(crate) left: u32,
    /// Given up.
    pub(crate) quarantined: u32,
    /// What was waited for them before the load.
    pub(crate) waited: Nanos,
}

impl Gpos {
    /// Begins the resets of functions that have been stopped.
    #[inline(never)]
    pub(crate) fn begin_resets(&mut self) {
        let mut resets = Resets::default();
        // A transaction that is under way when its function is reset may surprise who waits for it.
        let end = after(Nanos(DRAIN_NS));
        while time::now() < end && indices().any(|index| self.is_at_work(index)) {
            wait(STEP);
        }
        for index in indices() {
            let Some(means) = self.devices.pci.means(index) else {
                continue;
            };
            match means {
                Means::Function => resets.by_function += 1,
                Means::Bus(_) => resets.by_bus += 1,
                Means::Driver if self.is_at_work(index) => {
                    self.quarantine(index, "it does not stop", &mut resets);
                }
                Means::Driver => resets.left += 1,
            }
        }
        if resets.by_bus > 0 {
            self.set_bus_resets(BUS_RESET);
            wait(Nanos(HOLD_NS));
            self.set_bus_resets(0);
        }
        for index in indices() {
            if let Some(write) = self.devices.pci.function_reset(index) {
                write_config(&[write]);
            }
        }
        if resets.by_bus + resets.by_function > 0 {
            resets.begun = Some(time::now());
        }
        self.resets = resets;
    }

    /// Waits for the functions that were reset, for as long as the specification lets them take, and
    /// gives up what does not come back.
    #[inline(never)]
    pub(crate) fn end_resets(&mut self) -> Resets {
        let mut resets = core::mem::take(&mut self.resets);
        let Some(begun) = resets.begun else {
            return resets;
        };
        let from = time::now();
        let settled = time_scale().nanos(from.saturating_since(begun)).0;
        wait(Nanos(SETTLE_NS.saturating_sub(settled)));
        let end = after(Nanos(ANSWER_NS));
        while time::now() < end && indices().any(|index| self.is_silent(index)) {
            wait(STEP);
        }
        for index in indices() {
            if self.is_silent(index) {
                self.quarantine(index, "it did not answer after its reset", &mut resets);
            }
        }
        resets.waited = time_scale().nanos(time::now().saturating_since(from));
        resets
    }

    /// Whether a stopped function still shows a transaction.
    fn is_at_work(&self, index: u8) -> bool {
        let sign = self.devices.pci.at_work(index);
        sign.is_some_and(|sign| {
            let value = pci::read(sign.bdf.0, sign.offset, port_width(Width::Two));
            // All ones is nobody's answer.
            value & sign.mask != 0 && value != 0xffff
        })
    }

    /// Whether a function does not say who it is.
    fn is_silent(&self, index: u8) -> bool {
        let identity = self.devices.pci.identity(index);
        identity.is_some_and(|(bdf, id)| pci::read(bdf.0, 0, port_width(Width::Four)) != id)
    }

    fn set_bus_resets(&self, value: u32) {
        for (bdf, _) in self.devices.pci.bus_resets() {
            let control = pci::read(bdf.0, BRIDGE_CONTROL, port_width(Width::Two));
            write_config(&[HardwareWrite {
                bdf,
                offset: BRIDGE_CONTROL,
                width: Width::Two,
                value: control & !BUS_RESET | value,
            }]);
        }
    }

    fn quarantine(&mut self, index: u8, why: &str, resets: &mut Resets) {
        if let Some(write) = self.devices.pci.quarantine(index) {
            log::warn!("PCI function {} is in quarantine: {why}", write.bdf);
            write_config(&[write]);
            resets.quarantined += 1;
        }
    }
}

fn indices() -> impl Iterator<Item = u8> {
    const _: () = assert!(MAX_FUNCTIONS <= 256);
    (0..=u8::MAX).take(MAX_FUNCTIONS)
}

fn after(time: Nanos) -> Cycles {
    Cycles(time::now().0.saturating_add(time_scale().cycles(time).0))
}
