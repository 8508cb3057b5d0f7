//! The GPOS's view of the machine's devices, made once at boot: which functions it sees, where their
//! registers may be, and which device memory is closed to it.

use crate::facts::Acpi;
use crate::fatal::boot_error;
use crate::gpos::Devices;
use darma_abi::shared::BAR2_BYTES;
use darma_abi::units::HostPhys;
use darma_policy::acpi::gpos_tables::HpetUse;
use darma_policy::boot::config::Config;
use darma_policy::boot::memory_plan::MemoryPlan;
use darma_policy::boot::span::Span;
use darma_policy::devices::claims::Claims;
use darma_policy::devices::functions::{Bdf, FunctionFacts, Functions};
use darma_policy::devices::message::Processor;
use darma_policy::devices::msix::MsixTables;
use darma_policy::devices::pci_config::PciConfig;
use darma_policy::devices::power::PowerPorts;
use darma_policy::devices::ranges::{AddressRules, Span as DeviceSpan};
use darma_policy::devices::virtual_pci::VirtualPci;
use heapless::Vec;

const GIB: u64 = 1 << 30;
const PAGE: u64 = 4096;

/// The functions that the configuration hides.
pub(crate) fn hidden(config: &Config) -> Vec<Bdf, 32> {
    let hidden = config.hidden.iter();
    hidden.map(|function| Bdf(function.id())).collect()
}

/// Makes the GPOS's view of the buses: without what is hidden and what is a task's.
pub(crate) fn devices(
    functions: &Functions,
    claims: &Claims,
    config: &Config,
    plan: &MemoryPlan,
    acpi: &Acpi,
    processor: Processor,
    reach: u64,
) -> Devices {
    let rules = address_rules(plan, acpi, reach);
    let ours =
        VirtualPci::place(functions, &rules, BAR2_BYTES).unwrap_or_else(|error| boot_error(&error));
    let mut absent = hidden(config);
    let new = |facts: &&FunctionFacts| !config.hidden.iter().any(|one| one.id() == facts.bdf.0);
    for facts in claims.functions().iter().filter(new) {
        // Room for as many hidden ones and as many claims as there can be.
        let _ = absent.push(facts.bdf);
    }
    let pci = PciConfig::new(functions, &absent, rules, processor)
        .unwrap_or_else(|error| boot_error(&error));
    let msix = MsixTables::new(pci.owned()).unwrap_or_else(|error| boot_error(&error));
    Devices {
        pci,
        msix,
        ours,
        power: PowerPorts::new(acpi.power()),
        ecam: acpi.facts.ecam.map(|ecam| (ecam.base, ecam.last_bus)),
        shared: HostPhys(plan.shared().base()),
        window: None,
    }
}

/// Where the GPOS's devices may be: the holes of the memory map above RAM, less what is taken.
fn address_rules(plan: &MemoryPlan, acpi: &Acpi, reach: u64) -> AddressRules {
    /// Below lies RAM, above the chip set has its registers.
    const LOW_HOLES: Span = Span::between(16 << 20, 0xfec0_0000);
    let mut rules = AddressRules::default();
    let mut at = 0;
    let end = Span::between(reach, reach);
    for span in plan.regions().iter().map(|region| region.span).chain([end]) {
        for area in [LOW_HOLES, Span::between(4 * GIB, reach)] {
            let (first, after) = (at.max(area.base()), span.base().min(area.end()));
            if let Some(hole) = DeviceSpan::between(first, after.saturating_sub(1)) {
                let _ = rules.memory_windows.push(hole);
            }
        }
        at = at.max(span.end());
    }
    let mut protect = |base: u64, length: u64| {
        if let Some(span) = DeviceSpan::new(base, length) {
            let _ = rules.protected_memory.push(span);
        }
    };
    if let Some(first) = acpi.facts.io_apics.first() {
        protect(u64::from(first.address), PAGE);
    }
    for span in closed(acpi) {
        protect(span.base(), span.size());
    }
    rules
}

/// Device memory that the GPOS has no business with: configuration space's mapping, which would
/// get round the filter, and an HPET that could aim messages at any vector.
pub(crate) fn closed(acpi: &Acpi) -> Vec<Span, 8> {
    let mut closed = Vec::new();
    let mut close = |span: Option<Span>| {
        if let Some(span) = span {
            let _ = closed.push(span);
        }
    };
    close(
        acpi.facts
            .ecam
            .and_then(|ecam| Span::new(ecam.base, (u64::from(ecam.last_bus) + 1) << 20)),
    );
    // Only the first I/O APIC is presented; from a further one the GPOS could send anything.
    for further in acpi.facts.io_apics.iter().skip(1) {
        close(Span::new(u64::from(further.address), PAGE));
    }
    if acpi.machine.hpet == HpetUse::Hidden {
        close(acpi.facts.hpet.and_then(|base| Span::new(base, PAGE)));
    }
    closed
}
