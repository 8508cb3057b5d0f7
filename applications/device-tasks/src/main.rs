//! Tasks that devices release, and how late they are: from the moment at which the device had to
//! interrupt to the task's first instruction.
//!
//! `edu` answers the message of a PCI function (QEMU's `-device edu`), ten times a second; `hpet`
//! an edge on a pin of the I/O APIC, a thousand times a second. Both devices know when their
//! interrupt was due ([`Ended::due`](darma_device::edu::Ended), [`HpetTimer::fired`]), and the tasks
//! say so to the kernel, so the latencies in the report count from there. Linux sees neither.
#![no_std]
#![no_main]

use darma_abi::units::Nanos;
use darma_device::edu::{self, Edu};
use darma_device::hpet::HpetTimer;
use darma_nanokernel::{Application, Devices};
use darma_rtos::lock::Resource;
use darma_rtos::{Ceiling, Float, Line, OnFault, Priority, Run, Source, Task};

/// A pin that the HPET reaches and that no device of the emulated machine uses.
const PIN: u8 = 23;
const PERIOD: Nanos = Nanos(1_000_000);

static EDU: Resource<Option<Edu>> = Resource::new(None, Ceiling::of(Priority::MIDDLE));
static HPET: Resource<Option<HpetTimer>> = Resource::new(None, Ceiling::of(Priority::HIGH));

const fn task(name: &'static str, priority: Priority, line: Line, body: fn(&Run)) -> Task {
    Task {
        name,
        priority,
        source: Source::Interrupt(line),
        deadline: Some(Nanos(500_000)),
        budget: Some(Nanos(50_000)),
        on_fault: OnFault::StopAll,
        float: Float::Soft,
        body,
        reset: || {},
    }
}

static TASKS: [Task; 2] = [
    task("hpet", Priority::HIGH, Line::Pin(PIN), hpet_fired),
    task(
        "edu",
        Priority::MIDDLE,
        Line::Pci {
            vendor: edu::VENDOR,
            device: edu::DEVICE,
        },
        transfer_ended,
    ),
];

darma_nanokernel::application!(Application {
    name: "device-tasks",
    tasks: &TASKS,
    init,
    monotonic: None,
});

fn init(devices: &mut Devices) {
    match Edu::take(devices) {
        Ok(mut edu) => {
            log::info!("edu: end of transfers known: {}", edu.is_exact());
            edu.start();
            EDU.lock(|place| *place = Some(edu));
        }
        Err(error) => log::error!("edu: {error}"),
    }
    match devices.hpet().and_then(|hpet| hpet.start(PIN, PERIOD)) {
        Ok(timer) => HPET.lock(|place| *place = Some(timer)),
        Err(error) => log::error!("hpet: {error}"),
    }
}

fn hpet_fired(run: &Run) {
    if let Some(due) = HPET.lock(|timer| timer.as_mut()?.fired()) {
        run.answers(due);
    }
}

fn transfer_ended(run: &Run) {
    EDU.lock(|edu| {
        let Some(edu) = edu else { return };
        if let Some(due) = edu.ended().and_then(|ended| ended.due) {
            run.answers(due);
        }
        edu.start();
    });
}
