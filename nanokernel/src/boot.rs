//! The way from the boot assembly to the main loop.
//!
//! Facts first (loader, processor, firmware tables, PCI), then the plan, then the application's init,
//! the tasks, and only then the GPOS: from here on the tasks run whatever happens below. Every error up
//! to that point ends in one line that names the thing and the remedy.

use crate::device_view::{closed, devices, hidden};
use crate::facts::{Acpi, Buses, FirmwareMemory};
use crate::fatal::boot_error;
use crate::gpos::{Gpos, Images, Loader, Machine, NESTED_TABLES, msr_facts};
use crate::host::Host;
use crate::ladder::Ladder;
use crate::once::Once;
use crate::ras::{Kernel, Ras};
use crate::status::Status;
use crate::task_devices::{self, Site};
use crate::{Application, device_interrupts, heap, logging};
use darma_abi::units::{HostPhys, Nanos, Vector};
use darma_machine::io_apic::IoApic;
use darma_machine::local_apic::LocalApic;
use darma_machine::pvh::StartInfo;
use darma_machine::{boot, console, descriptors, exceptions, float, memory, paging, time};
use darma_policy::acpi::gpos_tables::HpetUse;
use darma_policy::boot::config::{Config, TraceKeep};
use darma_policy::boot::e820::{self, Entry};
use darma_policy::boot::memory_plan::{MemoryPlan, Owner, PlanInput};
use darma_policy::boot::ramdisk::Role;
use darma_policy::boot::span::Span;
use darma_policy::boot::staging::Staging;
use darma_policy::devices::functions::{Functions, enumerate};
use darma_policy::devices::message::Processor;
use darma_policy::devices::ranges::Span as DeviceSpan;
use darma_ras_model::detect::Detector;
use darma_rtos::SetUp;
use darma_sched::{TIMER_VECTOR, TimeScale};
use darma_svm::features;
use darma_svm::nested_paging::NestedTables;
use darma_svm::vcpu::VirtualCpu;
use heapless::Vec;

const SPURIOUS_VECTOR: Vector = Vector(0xff);
/// The GPOS's periodic timer fires no more often: each period costs an exit.
const SHORTEST_TIMER_PERIOD: Nanos = Nanos(10_000);

static VIRTUAL_CPU: Once<VirtualCpu> = Once::new(VirtualCpu::new());
static TABLES: Once<NestedTables<NESTED_TABLES>> = Once::new(NestedTables::new());
static PLAN: Once<Option<MemoryPlan>> = Once::new(None);
static CONFIG: Once<Option<Config>> = Once::new(None);
static HOST: Once<Option<Host<'static>>> = Once::new(None);

/// Boots the machine and never returns.
///
/// # Safety
/// Called once, by the boot assembly, with the loader's pointer (BOOT-ONCE).
pub unsafe fn start(application: &'static Application, start_info: u64) -> ! {
    // SAFETY: BOOT-ONCE: interrupts are off since the boot assembly; exceptions are what can occur.
    unsafe {
        exceptions::install();
        descriptors::load();
        float::enable();
    }
    logging::init();
    log::info!(
        "nanokernel {} with application {}",
        env!("CARGO_PKG_VERSION"),
        application.name
    );
    // SAFETY: BOOT-ONCE: the pointer is the loader's and nothing has been written yet.
    let Some(info) = (unsafe { StartInfo::read(HostPhys(start_info)) }) else {
        boot_error(
            &"the boot loader gave no PVH start information: use qemu-system-x86_64 -kernel",
        );
    };
    // SAFETY: BOOT-ONCE, interrupts off.
    let Ok(HostPhys(reach)) = (unsafe { paging::tighten() }) else {
        boot_error(&"the image outgrew its page tables: report this as a bug");
    };
    let (images, ram_disk) = images(&info, reach);
    let config = CONFIG
        .take()
        .insert(Config::parse(images.config()).unwrap_or_else(|error| boot_error(&error)));
    logging::set_level(config.log_level);
    if config.trace_keep == TraceKeep::Last {
        darma_rtos::trace::keep_last();
    }
    let plan = plan(&info, config, reach);

    let cpu = VIRTUAL_CPU.take();
    // SAFETY: OWNED-RANGE: the save area is inside the virtual processor, which is taken once.
    let features = unsafe { features::enable(cpu.host_save_area()) }
        .unwrap_or_else(|error| boot_error(&error));
    if !heap::init() {
        boot_error(
            &"the instruction decoder failed its self-test: the image is damaged, build it anew",
        );
    }
    let apic = LocalApic::init(TIMER_VECTOR, SPURIOUS_VECTOR).unwrap_or_else(|error| {
        log::error!("APIC base MSR {:#x}", error.base_msr);
        boot_error(&"the firmware left the local APIC off or moved: enable it in its set-up")
    });
    let (image_start, image_end) = boot::image_span();
    let image = Span::between(image_start.0, image_end.0);
    let mut acpi = Acpi::read(FirmwareMemory { reach, image }, info.rsdp.0, apic.id());
    let Some(io_apic) = acpi
        .facts
        .io_apics
        .first()
        .map(|found| HostPhys(u64::from(found.address)))
    else {
        boot_error(&"the firmware describes no I/O APIC: enable it in its set-up");
    };

    // SAFETY: BOOT-ONCE: interrupts are still off.
    unsafe { device_interrupts::install(io_apic.0) };
    let (scale, tsc_hz, apic_per_cycle) = calibrate(&acpi, &apic);
    // SAFETY: BOOT-ONCE, and the local APIC is initialised.
    unsafe {
        darma_rtos::set_up(SetUp {
            tasks: application.tasks,
            monotonic: application.monotonic,
            scale,
            apic_per_cycle,
        })
    };

    let processor = Processor {
        host_apic: u8::try_from(apic.id()).unwrap_or(0),
        guest_apic: 0,
    };
    let functions: Functions = enumerate(&mut Buses).unwrap_or_else(|error| boot_error(&error));
    let site = Site {
        functions: &functions,
        hidden: &hidden(config),
        // SAFETY: APIC-OWNER: the address is the MADT's.
        io_apic: unsafe { IoApic::new(io_apic) },
        host_apic: processor.host_apic,
        hpet: acpi.facts.hpet.map(HostPhys),
        scale,
        reach,
    };
    // SAFETY: BOOT-ONCE: interrupts are off, the RTOS is set up, and there is no GPOS yet.
    let mut granted = unsafe { task_devices::grant(application, &site) };
    let devices = devices(
        &functions,
        &granted.claims,
        config,
        plan,
        &acpi,
        processor,
        reach,
    );
    let machine = Machine {
        features,
        io_apic,
        processor,
        shortest_timer_period: scale.cycles(SHORTEST_TIMER_PERIOD),
        msrs: msr_facts(),
        devices,
        closed: closed(&acpi),
        task_pins: granted.claims.pins(),
        reach,
    };
    // SAFETY: APIC-OWNER: the address is the MADT's.
    let Ok(mut gpos) = (unsafe { Gpos::new(cpu, TABLES.take(), plan, machine) }) else {
        boot_error(
            &"the memory map needs more nested page tables than the image has: report this as a bug",
        );
    };
    log::info!("{} nested tables, TSC {tsc_hz} Hz", gpos.tables_used());
    (application.init)(&mut granted.devices);
    if granted.devices.hpet_is_taken() {
        acpi.machine.hpet = HpetUse::Hidden;
        for span in closed(&acpi) {
            if let Some(span) = DeviceSpan::new(span.base(), span.size()) {
                gpos.close(span);
            }
        }
    }
    // SAFETY: BOOT-ONCE: interrupts are still off.
    unsafe { darma_rtos::start() };
    x86_64::instructions::interrupts::enable();
    let (acpi_base, tables) = acpi_tables(&acpi, &images, plan);
    let loader = Loader {
        images,
        other: None,
        plan,
        acpi: tables,
        acpi_base,
    };
    console::echo_to_com1(false);
    let stores = (plan.fault_store().size(), plan.dump_store().size());
    // SAFETY: SHARED-REGION: the base is the plan's.
    let status = unsafe { Status::new(HostPhys(plan.shared().base()), tsc_hz, stores) };
    // SAFETY: OWNED-RANGE: the only views of both stores are taken here, once.
    let ras = unsafe { Ras::new(plan, &gpos.memory, config.dump_slots) };
    let host = Host {
        gpos,
        loader,
        ras,
        kernel: Kernel::new(),
        status,
        config,
        reserved_bytes: reserved(plan),
        detector: Detector::new(config.watch),
        ladder: Ladder::new(),
        staging: Staging::new(ram_disk, plan.staging()),
        announced: None,
    };
    HOST.take().insert(host).run()
}

/// Finds and checks the RAM-disk image.
fn images(info: &StartInfo, reach: u64) -> (Images, Span) {
    let Some((module, length)) = info.module else {
        boot_error(&"no RAM-disk image: pass one with -initrd (cargo xtask run makes it)");
    };
    let inside = module.checked_add(length).is_some_and(|end| end.0 <= reach);
    let Some(length) = usize::try_from(length).ok().filter(|_| inside) else {
        boot_error(
            &"the RAM-disk image lies above what this processor's pages map: load it below 4 GiB",
        );
    };
    // SAFETY: OWNED-RANGE: the loader placed the module; the memory plan reserves it for good.
    let image: &'static [u8] = unsafe { memory::view(module, length) };
    let ram_disk = Span::new(module.0, length as u64).unwrap_or_default();
    let images = Images::read(image).unwrap_or_else(|error| boot_error(&error));
    (images, ram_disk)
}

/// Divides the memory.
fn plan(info: &StartInfo, config: &Config, reach: u64) -> &'static MemoryPlan {
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
    let ram_disk = info
        .module
        .and_then(|(base, length)| Span::new(base.0, length))
        .unwrap_or_default();
    let input = PlanInput {
        firmware: &map,
        nanokernel: Span::between(image_start.0, image_end.0),
        ram_disk,
        reach,
    };
    PLAN.take()
        .insert(MemoryPlan::new(&input, config).unwrap_or_else(|error| boot_error(&error)))
}

/// Measures the clocks against the power-management timer.
fn calibrate(acpi: &Acpi, apic: &LocalApic) -> (TimeScale, u64, u64) {
    let measured = acpi
        .facts
        .pm_timer
        .and_then(|timer| time::calibrate(timer.port, apic));
    let Some(seen) = measured else {
        boot_error(
            &"the ACPI power-management timer is missing or stands still: enable ACPI in the firmware",
        );
    };
    let tsc_hz = seen.tsc * time::PM_TIMER_HZ / seen.pm_ticks.max(1);
    let Some(scale) = TimeScale::from_hz(tsc_hz) else {
        boot_error(
            &"the time-stamp counter's rate is out of range: the power-management timer may be wrong",
        );
    };
    let apic_per_cycle = (u128::from(seen.apic) << 32) / u128::from(seen.tsc.max(1));
    (
        scale,
        tsc_hz,
        u64::try_from(apic_per_cycle).unwrap_or(1 << 32),
    )
}

/// Builds the GPOS's ACPI tables for the place that every load gives them.
fn acpi_tables(acpi: &Acpi, images: &Images, plan: &MemoryPlan) -> (u64, &'static [u8]) {
    // What is appended to the command line moves nothing: whole pages decide the places.
    match images.places(plan, Role::First, images.command_line(), acpi.size()) {
        Ok(places) => (places.acpi.base(), acpi.build(places.acpi.base())),
        Err(error) => boot_error(&error),
    }
}

/// What the machinery costs the GPOS, besides the RAM-disk image and the dump store.
fn reserved(plan: &MemoryPlan) -> u64 {
    let ours = |owner| matches!(owner, Owner::Nanokernel | Owner::Shared | Owner::Ramoops);
    plan.regions()
        .iter()
        .filter(|region| ours(region.owner))
        .map(|region| region.span.size())
        .sum()
}
