//! What the fuzz targets do with their bytes, one function per target.
//!
//! A target is a parser, or a device's state machine driven by a history of accesses. Its function
//! fails by panicking: in what it exercises, or in an assertion of what that promises whatever
//! comes. They are here, apart from libFuzzer, so that the host test `corpus` of darma-tests can
//! include this file and run every committed input through every one of them with a stable compiler.
//!
//! | module | whose bytes |
//! |---|---|
//! | [`boot`] | the user's files and the firmware's tables |
//! | [`processor`] | the guest's instructions, page tables, MSR and CPUID accesses |
//! | [`interrupts`] | the guest's writes to its local APIC and its I/O APIC |
//! | [`devices`] | the guest's port, configuration and MSI-X accesses; the devices' own registers |
//! | [`shared`] | the shared region and its doorbell |
//! | [`evidence`] | a dead guest's memory, the dump store, the fault store |
//! | [`kernel`] | a dead kernel's own tables, and its stack |
//! | [`detection`] | a dead guest's tables, a living one's looks and acts |
//! | [`latency`] | a trace of what the processor did |

pub mod boot;
pub mod cores;
pub mod detection;
pub mod devices;
pub mod evidence;
mod input;
pub mod interrupts;
pub mod kernel;
pub mod latency;
mod machine;
pub mod processor;
pub mod shared;

/// What a target does with its bytes.
pub type Exercise = fn(&[u8]);

/// Every exercise under the name of its target and its corpus folder.
pub const EXERCISES: [(&str, Exercise); 27] = [
    ("ramdisk", boot::ramdisk),
    ("manifest", boot::manifest),
    ("config", boot::config),
    ("bzimage", boot::bzimage),
    ("memory_map", boot::memory_map),
    ("acpi", boot::acpi),
    ("instruction", processor::instruction),
    ("page_walk", processor::page_walk),
    ("msr", processor::msr),
    ("cpuid", processor::cpuid),
    ("local_apic", interrupts::local_apic),
    ("io_apic", interrupts::io_apic),
    ("pci_enumerate", devices::pci_enumerate),
    ("pci_config", devices::pci_config),
    ("msix", devices::msix),
    ("power", devices::power),
    ("status", shared::status),
    ("doorbell", shared::doorbell),
    ("vmcoreinfo", evidence::vmcoreinfo),
    ("printk", evidence::printk),
    ("dump", evidence::dump),
    ("fault_store", evidence::fault_store),
    ("vmcore", cores::vmcore),
    ("linux", kernel::linux),
    ("trace", latency::trace),
    ("tables", detection::tables),
    ("looks", detection::looks),
];
