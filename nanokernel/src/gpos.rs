//! The GPOS: its virtual processor, controllers and memory, and the loop that runs it.
//!
//! All of this is the processor's lowest priority: interrupts are on except inside the entry and
//! exit of the guest, so a task preempts the emulation of an exit exactly as it preempts Linux.

mod exits;
mod instruction;
mod interrupts;
mod load;
mod memory;
mod processor;

pub(crate) use load::{Images, Loader, checksum};
pub(crate) use memory::GuestMemory;

use darma_abi::units::{Cycles, GuestPhys, HostPhys};
use darma_machine::io_apic::IoApic;
use darma_policy::boot::memory_plan::MemoryPlan;
use darma_policy::interrupts::io_apic::{IoApicConfig, VirtualIoApic};
use darma_policy::interrupts::local_apic::{ApicConfig, VirtualApic};
use darma_policy::interrupts::routes::Routes;
use darma_svm::nested_paging::{Kind, NestedTables, PoolExhausted};
use darma_svm::vcpu::VirtualCpu;

/// Room for the nested tables: the largest layout seen uses a fifth of it.
pub(crate) const NESTED_TABLES: usize = 256;

/// Why the GPOS stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Triple fault.
    TripleFault,
    /// HLT with interrupts off.
    Halted,
    /// The processor refused its state or exited for an unknown reason.
    Broken(u64),
}

/// What counts of the GPOS since it was entered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Exits of any kind.
    pub(crate) exits: u64,
    /// Accesses to absent hardware or outside the partition.
    pub(crate) absent: u64,
}

/// The GPOS and all that is virtual about its machine.
pub(crate) struct Gpos {
    pub(crate) cpu: &'static mut VirtualCpu,
    pub(crate) tables: &'static mut NestedTables<NESTED_TABLES>,
    pub(crate) apic: VirtualApic,
    pub(crate) io_apic: VirtualIoApic,
    pub(crate) routes: Routes,
    pub(crate) memory: GuestMemory,
    pub(crate) counters: Counters,
    machine_io_apic: IoApic,
    io_apic_base: GuestPhys,
    armed: Option<Cycles>,
}

impl Gpos {
    /// Assembles the GPOS's machine. Nothing is mapped yet but its RAM.
    ///
    /// # Safety
    /// An I/O APIC's registers lie at `io_apic_base` (APIC-OWNER).
    pub(crate) unsafe fn new(
        cpu: &'static mut VirtualCpu,
        tables: &'static mut NestedTables<NESTED_TABLES>,
        plan: &MemoryPlan,
        io_apic_base: HostPhys,
        processor: u8,
        shortest_timer_period: Cycles,
    ) -> Self {
        // SAFETY: promised by the caller.
        let machine_io_apic = unsafe { IoApic::new(io_apic_base) };
        let [version, ..] = machine_io_apic.version().to_le_bytes();
        let pins = u8::try_from(machine_io_apic.pins()).unwrap_or(24);
        let config = IoApicConfig {
            id: 0,
            version,
            pins,
            owned: u64::MAX,
            processor,
        };
        Self {
            cpu,
            tables,
            apic: VirtualApic::new(ApicConfig {
                minimum_period: shortest_timer_period,
            }),
            io_apic: VirtualIoApic::new(config),
            routes: Routes::new(),
            memory: GuestMemory::new(plan),
            counters: Counters::default(),
            machine_io_apic,
            io_apic_base: GuestPhys(io_apic_base.0),
            armed: None,
        }
    }

    /// Maps what the GPOS may reach: its RAM, firmware's ranges, and the devices' memory.
    pub(crate) fn map(&mut self, plan: &MemoryPlan) -> Result<(), PoolExhausted> {
        const HOLE_END: u64 = 4 << 30;
        const LOCAL_APIC: (u64, u64) = (0xfee0_0000, 1 << 20);
        for region in plan.regions() {
            let span = region.span.to_pages().unwrap_or(region.span);
            if !region.owner.is_closed_to_gpos() {
                self.identity(span.base(), span.size(), Kind::Ram)?;
            }
        }
        // What no RAM and no firmware range covers below 4 GiB, the first MiB's holes included, is
        // devices' memory.
        let mut at = 0;
        for region in plan.regions() {
            if region.span.base() > at && at < HOLE_END {
                self.identity(at, region.span.base().min(HOLE_END) - at, Kind::Device)?;
            }
            at = at.max(region.span.end().next_multiple_of(4096));
        }
        if at < HOLE_END {
            self.identity(at, HOLE_END - at, Kind::Device)?;
        }
        for region in plan.closed_to_gpos() {
            let span = region.to_pages().unwrap_or(region);
            self.tables.unmap(GuestPhys(span.base()), span.size())?;
        }
        self.tables.unmap(GuestPhys(LOCAL_APIC.0), LOCAL_APIC.1)?;
        self.tables.unmap(self.io_apic_base, 4096)
    }

    fn identity(&mut self, base: u64, len: u64, kind: Kind) -> Result<(), PoolExhausted> {
        self.tables.map(GuestPhys(base), HostPhys(base), len, kind)
    }

    /// Puts every virtual controller into its reset state, for the next start of the kernel.
    pub(crate) fn reset(&mut self) {
        for pin in 0..self.io_apic.pin_count() {
            self.machine_io_apic.set_masked(pin, true);
        }
        self.apic.reset();
        self.io_apic.reset();
        self.routes.reset();
        self.counters = Counters::default();
        self.arm_timer();
    }
}
