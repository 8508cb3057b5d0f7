//! Stopping the functions of a dead GPOS, and resetting them for the next one.
//!
//! ```text
//!            1 stop           2 reset           3 answers           4 restore
//!   in use ─────────► stopped ───────► in reset ──────────► clean ───────────► as firmware left it
//!                                          │ 5 no answer in time, or still at work
//!                                          └──────────────────────────────────► quarantined
//! ```
//! A function resets itself where it can (function level reset). Where it cannot, and it stands alone
//! with others of the GPOS's behind one bridge, the bridge resets the bus. What has neither means is
//! stopped and put back to the firmware's configuration, and its driver resets it when it starts, as
//! after a warm restart of any machine. Quarantine is for what does not stop or does not come back: bus
//! mastering and decoding off, absent for the next GPOS, reported, never fatal.
//!
//! Rejected: quarantine of everything without a reset of its own. Most disk controllers on a chip set
//! have none, and a Linux without its disk is no recovery. A reset by power states (D3hot and back)
//! is one for few functions, and the specification leaves to the function whether it is.
//!
//! Invariants, tested as properties: every write is to a function of the GPOS or to a bridge all of
//! whose functions are the GPOS's; what a task owns is in no write.

use heapless::Vec;

use crate::mmio::Width;

use super::function_view::{Function, Owner, ROM};
use super::functions::{Bdf, FunctionFacts, FunctionReset, Header};
use super::pci_config::{HardwareWrite, PciConfig};

/// How long after a reset a function may be asked for nothing (PCIe 5.0, 6.6.1 and 6.6.2), ns.
pub const SETTLE_NS: u64 = 100_000_000;
/// How long it may then take until it answers (PCIe 5.0, 6.6.1), ns.
pub const ANSWER_NS: u64 = 1_000_000_000;
/// How long a bus is held in reset: more than the millisecond that PCI 3.0, 4.3.2 asks for, ns.
pub const HOLD_NS: u64 = 2_000_000;
/// How long a stopped function's last transactions may take, ns.
pub const DRAIN_NS: u64 = 100_000_000;

/// Bridge Control, and its bit that resets the bus behind.
pub const BRIDGE_CONTROL: u8 = 0x3e;
/// See [`BRIDGE_CONTROL`].
pub const BUS_RESET: u32 = 0x40;

const COMMAND: u8 = 4;
/// Interrupt pin off, bus mastering off, decoding as it is needed for a reset.
const STOPPED: u32 = 0x0403;
/// The same without decoding.
const SILENT: u32 = 0x0400;
/// Initiate Function Level Reset in Device Control.
const EXPRESS_RESET: u16 = 0x8000;

/// By what a function is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By itself.
    Function,
    /// With the bus behind this bridge.
    Bus(Bdf),
    /// By nothing of ours: its driver does it.
    Driver,
}

/// A register that shows something, with the bits that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The function.
    pub bdf: Bdf,
    /// Offset, aligned to its two bytes.
    pub offset: u8,
    /// The bits.
    pub mask: u32,
}

impl PciConfig {
    /// Stops a function of the GPOS: no interrupt, no DMA. Empty for an index that is not its.
    pub fn quiesce(&self, index: u8) -> Vec<HardwareWrite, 4> {
        let mut writes = Vec::new();
        if let Some(facts) = self.device(index) {
            let write = |offset, value: u32| facts.write(offset, Width::Two, value);
            let msi = facts
                .capabilities
                .msi
                .map(|msi| write(msi.at + 2, msi.disabled()));
            let msix = facts
                .capabilities
                .msix
                .map(|msix| write(msix.at + 2, 0x4000));
            writes.extend([write(COMMAND, STOPPED)].into_iter().chain(msi).chain(msix));
        }
        writes
    }

    /// By what a function of the GPOS is reset; `None` for an index that is not such a function's.
    pub fn means(&self, index: u8) -> Option<Means> {
        let facts = self.device(index)?;
        // A bus reset reaches every function behind the bridge: those that could reset themselves
        // need not.
        let bus = self.bus_resets().find(|(_, bus)| *bus == facts.bdf.bus());
        Some(match (bus, facts.capabilities.function_reset) {
            (Some((bridge, _)), _) => Means::Bus(bridge),
            (None, Some(_)) => Means::Function,
            (None, None) => Means::Driver,
        })
    }

    /// The bridges that reset the bus behind them, with that bus: those behind which a function cannot
    /// reset itself, and all functions are devices of the GPOS.
    pub fn bus_resets(&self) -> impl Iterator<Item = (Bdf, u8)> + '_ {
        let bridges = self.functions.iter().filter(|it| it.owner == Owner::Gpos);
        bridges.filter_map(|bridge| {
            let Header::Bridge {
                secondary,
                subordinate,
                ..
            } = bridge.facts.header
            else {
                return None;
            };
            let mut behind = self
                .functions
                .iter()
                .filter(|it| it.facts.bdf.bus() == secondary);
            let sound = secondary == subordinate && secondary > bridge.facts.bdf.bus();
            let ours = behind.clone().all(is_device_of_gpos);
            let needed = behind.any(|it| it.facts.capabilities.function_reset.is_none());
            (sound && ours && needed).then_some((bridge.facts.bdf, secondary))
        })
    }

    /// The write that makes a function reset itself, if that is its means.
    pub fn function_reset(&self, index: u8) -> Option<HardwareWrite> {
        if self.means(index)? != Means::Function {
            return None;
        }
        let facts = self.device(index)?;
        Some(match facts.capabilities.function_reset? {
            FunctionReset::Express(at) => facts.write(
                at.wrapping_add(8),
                Width::Two,
                u32::from(facts.capabilities.express_control | EXPRESS_RESET),
            ),
            FunctionReset::Advanced(at) => facts.write(at.wrapping_add(4), Width::One, 1),
        })
    }

    /// Where a stopped function shows that a transaction of its is still under way, if it does.
    pub fn at_work(&self, index: u8) -> Option<Sign> {
        let facts = self.device(index)?;
        let sign = |offset: u8, mask| Sign {
            bdf: facts.bdf,
            offset: offset & 0xfe,
            mask,
        };
        match (
            facts.capabilities.express,
            facts.capabilities.function_reset,
        ) {
            (Some(at), _) => Some(sign(at.wrapping_add(10), 0x20)),
            // Status is the odd byte behind Control.
            (None, Some(FunctionReset::Advanced(at))) => Some(sign(at.wrapping_add(4), 0x100)),
            _ => None,
        }
    }

    /// Where a function answers after its reset, and with what.
    pub fn identity(&self, index: u8) -> Option<(Bdf, u32)> {
        let facts = self.device(index)?;
        let id = u32::from(facts.device) << 16 | u32::from(facts.vendor);
        Some((facts.bdf, id))
    }

    /// Gives a function up: the GPOS sees it no more. The write stops it for good.
    pub fn quarantine(&mut self, index: u8) -> Option<HardwareWrite> {
        let write = self.device(index)?.write(COMMAND, Width::Two, SILENT);
        let function = self.functions.get_mut(usize::from(index))?;
        function.owner = Owner::Nanokernel;
        Some(write)
    }

    /// Puts a function of the GPOS back where the firmware had it, after its reset.
    pub fn restore(&self, index: u8) -> Vec<HardwareWrite, 10> {
        let mut writes = Vec::new();
        if let Some(facts) = self.device(index) {
            let fresh = Function::new(*facts, Owner::Gpos);
            writes.extend([facts.write(COMMAND, Width::Two, SILENT)]);
            for slot in 0..=ROM {
                if fresh.register(slot).is_some() {
                    writes.extend(fresh.hardware(slot));
                }
            }
            let capabilities = &facts.capabilities;
            writes.extend(capabilities.express.map(|at| {
                let control = capabilities.express_control & !EXPRESS_RESET;
                facts.write(at.wrapping_add(8), Width::Two, u32::from(control))
            }));
            writes.extend([facts.write(COMMAND, Width::Two, 0x0003)]);
        }
        writes
    }

    /// The function, if it is a device of the GPOS.
    fn device(&self, index: u8) -> Option<&FunctionFacts> {
        let function = self.functions.get(usize::from(index))?;
        is_device_of_gpos(function).then_some(&function.facts)
    }
}

fn is_device_of_gpos(function: &Function) -> bool {
    function.owner == Owner::Gpos
        && function.facts.header == Header::Endpoint
        && !function.facts.is_chip_set()
}
