//! The GPOS: its virtual processor, controllers, devices and memory, and the loop that runs it.
//!
//! All of this is the processor's lowest priority: interrupts are on except inside the entry and
//! exit of the guest, so a task preempts the emulation of an exit exactly as it preempts Linux.

mod devices;
mod exits;
mod instruction;
mod interrupts;
mod load;
mod memory;
mod processor;
mod records;
mod resets;
mod ruin;
mod window;

pub(crate) use devices::Devices;
pub(crate) use load::{ImageError, Images, Loader};
pub(crate) use memory::{GuestMemory, RamPage};
pub(crate) use processor::msr_facts;
pub(crate) use records::RecordGlances;

use crate::paths::Paths;
use darma_abi::units::{Cycles, GuestPhys, HostPhys, Vector};
use darma_machine::io_apic::IoApic;
use darma_policy::boot::memory_plan::{MemoryPlan, Owner};
use darma_policy::boot::span::Span;
use darma_policy::devices::message::Processor;
use darma_policy::interrupts::io_apic::{IoApicConfig, VirtualIoApic};
use darma_policy::interrupts::local_apic::{ApicConfig, VirtualApic};
use darma_policy::interrupts::routes::Routes;
use darma_policy::mmio::CodePages;
use darma_policy::msr::{MsrFacts, MsrPolicy, Passage, passages};
use darma_ras_model::detect::{Event, Foreign};
use darma_svm::features::Features;
use darma_svm::nested_paging::{Kind, NestedTables, PoolExhausted};
use darma_svm::vcpu::VirtualCpu;
use heapless::Vec;

/// Room for the nested tables: the largest layout seen uses a fifth of it.
pub(crate) const NESTED_TABLES: usize = 256;

/// The local APIC's page and everything to which a write is an interrupt message.
const MESSAGES: (u64, u64) = (0xfee0_0000, 1 << 20);

/// Why the GPOS's loop was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Something that the failure detector has to judge.
    Event(Event),
    /// The GPOS rang a doorbell register.
    Doorbell {
        /// The register.
        offset: u64,
        /// What was written.
        value: u32,
    },
    /// The monitor's timer.
    MonitorTimer,
    /// The GPOS sleeps, nothing waits for it, and there is work for spare time.
    Spare,
    /// A task faulted and was contained.
    TaskFault,
    /// The application asked for the end.
    Exit,
}

/// What counts of the GPOS since the machine started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Exits of any kind.
    pub(crate) exits: u64,
    /// Interrupts that were injected.
    pub(crate) interrupts: u64,
    /// The last of them.
    pub(crate) last_vector: Option<Vector>,
    /// Accesses to absent hardware.
    pub(crate) absent: u64,
    /// Writes that were not let through.
    pub(crate) refused: u64,
    /// Accesses outside the partition, and the last one's address.
    pub(crate) violations: u64,
    pub(crate) last_violation: u64,
}

/// What the machine gives the GPOS.
pub(crate) struct Machine {
    pub(crate) features: Features,
    pub(crate) io_apic: HostPhys,
    pub(crate) processor: Processor,
    pub(crate) shortest_timer_period: Cycles,
    pub(crate) msrs: MsrFacts,
    pub(crate) devices: Devices,
    /// Device memory that the GPOS must not reach, besides hidden functions'.
    pub(crate) closed: Vec<Span, 8>,
    /// The I/O APIC's pins that are tasks', pin 0 in bit 0.
    pub(crate) task_pins: u64,
    /// Where the identity map ends.
    pub(crate) reach: u64,
}

/// The GPOS and all that is virtual about its machine.
pub(crate) struct Gpos {
    pub(crate) cpu: &'static mut VirtualCpu,
    pub(crate) apic: VirtualApic,
    pub(crate) io_apic: VirtualIoApic,
    pub(crate) memory: GuestMemory,
    pub(crate) devices: Devices,
    pub(crate) counters: Counters,
    pub(crate) paths: Paths,
    code_pages: CodePages<RamPage>,
    /// The GPOS sleeps in HLT.
    pub(crate) idle: bool,
    /// There is work to be done where the GPOS sleeps.
    pub(crate) work_waits: bool,
    tables: &'static mut NestedTables<NESTED_TABLES>,
    routes: Routes,
    msrs: MsrPolicy,
    processor: Processor,
    machine_io_apic: IoApic,
    io_apic_base: GuestPhys,
    /// What an exit brought up for the main loop.
    notice: Option<Stop>,
    armed: Option<Cycles>,
    resets: resets::Resets,
    /// What the fault injector is to do in this start.
    #[cfg(feature = "inject")]
    pub(crate) ordered: Option<crate::inject::Ordered>,
}

impl Gpos {
    /// Assembles the GPOS's machine and maps what it may reach.
    ///
    /// # Safety
    /// An I/O APIC's registers lie at `machine.io_apic` (APIC-OWNER).
    ///
    /// # Errors
    /// The pool of nested tables is too small for this memory map.
    pub(crate) unsafe fn new(
        cpu: &'static mut VirtualCpu,
        tables: &'static mut NestedTables<NESTED_TABLES>,
        plan: &MemoryPlan,
        machine: Machine,
    ) -> Result<Self, PoolExhausted> {
        cpu.set_up(machine.features, tables.root());
        for port in machine.devices.intercepted_ports() {
            cpu.intercept_port(port);
        }
        for (msrs, passage) in passages() {
            cpu.pass_msrs(msrs, passage == Passage::ReadWrite);
        }
        // SAFETY: promised by the caller.
        let machine_io_apic = unsafe { IoApic::new(machine.io_apic) };
        let [version, ..] = machine_io_apic.version().to_le_bytes();
        let pins = u8::try_from(machine_io_apic.pins()).unwrap_or(24);
        let processor = machine.processor;
        let config = IoApicConfig {
            id: 0,
            version,
            pins,
            owned: !machine.task_pins,
            processor: processor.host_apic,
        };
        let mut gpos = Self {
            cpu,
            tables,
            apic: VirtualApic::new(ApicConfig {
                minimum_period: machine.shortest_timer_period,
            }),
            io_apic: VirtualIoApic::new(config),
            routes: Routes::new(),
            memory: GuestMemory::new(plan),
            devices: machine.devices,
            msrs: MsrPolicy::new(machine.msrs),
            counters: Counters::default(),
            paths: Paths::default(),
            code_pages: CodePages::new(),
            idle: false,
            work_waits: false,
            processor,
            machine_io_apic,
            io_apic_base: GuestPhys(machine.io_apic.0),
            notice: None,
            armed: None,
            resets: resets::Resets::default(),
            #[cfg(feature = "inject")]
            ordered: None,
        };
        gpos.map(plan, &machine.closed, machine.reach)?;
        Ok(gpos)
    }

    /// Maps its RAM, the firmware's ranges, and devices' memory: everything, less what is closed.
    fn map(&mut self, plan: &MemoryPlan, closed: &[Span], reach: u64) -> Result<(), PoolExhausted> {
        let mut at = 0;
        for region in plan.regions() {
            let span = region.span.to_pages().unwrap_or(region.span);
            self.identity(at, span.base().saturating_sub(at), Kind::Device)?;
            let open = !region.owner.is_closed_to_gpos() && region.owner != Owner::Shared;
            if open {
                let kind = if region.owner == Owner::Gpos {
                    Kind::Ram
                } else {
                    Kind::Device
                };
                self.identity(span.base(), span.size(), kind)?;
            }
            at = at.max(span.end());
        }
        self.identity(at, reach.saturating_sub(at), Kind::Device)?;

        self.tables.unmap(GuestPhys(MESSAGES.0), MESSAGES.1)?;
        self.tables.unmap(self.io_apic_base, 4096)?;
        for span in closed {
            self.tables.unmap(GuestPhys(span.base()), span.size())?;
        }
        let mut trapped: Vec<_, 160> = Vec::new();
        trapped.extend(self.devices.pci.rules().protected_memory.iter().copied());
        trapped.extend(self.devices.msix.trapped());
        for span in trapped {
            let base = span.first() & !0xfff;
            self.tables.unmap(
                GuestPhys(base),
                (span.last() - base + 1).next_multiple_of(4096),
            )?;
        }
        self.map_ours()
    }

    fn identity(&mut self, base: u64, len: u64, kind: Kind) -> Result<(), PoolExhausted> {
        self.tables.map(GuestPhys(base), HostPhys(base), len, kind)
    }

    /// Nested tables in use, of [`NESTED_TABLES`].
    pub(crate) fn tables_used(&self) -> usize {
        self.tables.used()
    }

    /// Notes an access outside the partition.
    fn violation(&mut self, at: GuestPhys) {
        self.counters.violations += 1;
        self.counters.last_violation = at.0;
        self.foreign(Foreign::Memory, at.0);
    }

    /// Brings an attempt on something that is not the GPOS's before the failure detector. It has
    /// been answered as by absent hardware.
    fn foreign(&mut self, what: Foreign, at: u64) {
        let rip = self.cpu.rip();
        self.notice = Some(Stop::Event(Event::Foreign { what, at, rip }));
    }

    /// Puts everything virtual into its reset state, for the next start of the kernel. The devices
    /// have been stopped by [`Self::quiesce`] or were never used.
    fn reset(&mut self) {
        self.silence_sources();
        self.restore_devices();
        self.apic.reset();
        self.io_apic.reset();
        self.routes.reset();
        self.msrs.reset();
        processor::reset_own_msrs();
        self.idle = false;
        self.code_pages = CodePages::new();
        self.notice = None;
        self.arm_timer();
        self.cpu.flush_translations();
    }
}
