//! The way from the boot assembly to the main loop.
//!
//! Facts first (loader, processor, firmware tables, PCI), then the plan, then interrupts and the
//! RTOS, and only then the GPOS: from here on the tasks run whatever happens below. Every error up
//! to that point ends in one line that names the thing and the remedy.

use crate::fatal::boot_error;
use crate::{Application, device_interrupts, heap, host};
use darma_abi::units::{HostPhys, Vector};
use darma_machine::local_apic::LocalApic;
use darma_machine::pvh::StartInfo;
use darma_machine::{boot, descriptors, exceptions, memory, println, time};
use darma_policy::boot::config::Config;
use darma_policy::boot::e820::{self, Entry};
use darma_policy::boot::memory_plan::{MemoryPlan, PlanInput};
use darma_policy::boot::ramdisk::RamDisk;
use darma_policy::boot::span::Span;
use darma_rtos::Start;
use darma_sched::{TIMER_VECTOR, TimeScale};
use heapless::Vec;

const SPURIOUS_VECTOR: Vector = Vector(0xff);
/// What the boot page tables map.
const REACH: u64 = 4 << 30;

/// Boots the machine and never returns.
///
/// # Safety
/// Called once, by the boot assembly, with the loader's pointer (BOOT-ONCE).
pub unsafe fn start(application: &'static Application, start_info: u64) -> ! {
    println!(
        "darma: nanokernel {} with application {}",
        env!("CARGO_PKG_VERSION"),
        application.name
    );
    // SAFETY: BOOT-ONCE: the pointer is the loader's and nothing has been written yet.
    let Some(info) = (unsafe { StartInfo::read(HostPhys(start_info)) }) else {
        boot_error(
            &"the boot loader gave no PVH start information: use qemu-system-x86_64 -kernel",
        );
    };
    let Some((module, module_len)) = info.module else {
        boot_error(&"no RAM-disk image: pass one with -initrd (cargo xtask run makes it)");
    };
    let len = usize::try_from(module_len).unwrap_or(0);
    // SAFETY: OWNED-RANGE: the loader placed the module; the plan below reserves it for good.
    let image: &'static [u8] = unsafe { memory::view(module, len) };
    let disk = RamDisk::parse(image).unwrap_or_else(|error| boot_error(&error));
    let config = Config::parse(disk.config()).unwrap_or_else(|error| boot_error(&error));

    let mut map: Vec<Entry, { e820::MAX_ENTRIES }> = Vec::new();
    for entry in info.memory_map() {
        if let Some(span) = Span::new(entry.base, entry.size) {
            let _ = map.push(Entry {
                span,
                kind: entry.kind,
            });
        }
    }
    let (image_start, image_end) = boot::image_span();
    let input = PlanInput {
        firmware: &map,
        nanokernel: Span::between(image_start.0, image_end.0),
        ram_disk: Span::new(module.0, module_len).unwrap_or_default(),
        reach: REACH,
    };
    let plan = MemoryPlan::new(&input, &config).unwrap_or_else(|error| boot_error(&error));

    if !heap::init() {
        boot_error(
            &"the instruction decoder failed its self-test: the image is damaged, build it anew",
        );
    }
    // SAFETY: BOOT-ONCE: interrupts are off since the boot assembly; every stub is complete.
    unsafe {
        exceptions::install();
        device_interrupts::install(0xfec0_0000);
        descriptors::load_idt();
    }
    let apic = LocalApic::init(TIMER_VECTOR, SPURIOUS_VECTOR).unwrap_or_else(|error| {
        println!("darma: APIC base MSR {:#x}", error.base_msr);
        boot_error(&"the firmware left the local APIC off or moved: enable it in its set-up")
    });
    let Some(calibration) = time::calibrate(0x608, &apic) else {
        boot_error(&"the ACPI power-management timer stands still: enable ACPI in the firmware");
    };
    let tsc_hz = calibration.tsc * time::PM_TIMER_HZ / calibration.pm_ticks;
    let Some(scale) = TimeScale::from_hz(tsc_hz) else {
        boot_error(
            &"the time-stamp counter's rate is out of range: check the power-management timer",
        );
    };
    let apic_per_cycle = (u128::from(calibration.apic) << 32) / u128::from(calibration.tsc.max(1));
    println!(
        "darma: TSC {tsc_hz} Hz, APIC timer {} ticks per 1000 cycles",
        (apic_per_cycle * 1000) >> 32
    );
    let apic_per_cycle = u64::try_from(apic_per_cycle).unwrap_or(1 << 32);
    // SAFETY: BOOT-ONCE, and the local APIC is initialised.
    unsafe {
        darma_rtos::start(Start {
            tasks: application.tasks,
            scale,
            apic_per_cycle,
        })
    };
    x86_64::instructions::interrupts::enable();
    host::host(disk, &config, &plan, info.rsdp.0)
}
