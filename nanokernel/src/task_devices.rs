//! Gives tasks the devices that their table asks for, before there is a GPOS.
//!
//! In this order, so that nothing is ever between two owners: claims are judged (pure code:
//! `darma_policy::devices::claims`), the granted functions are taken out of the firmware's hands,
//! and messages and pins are aimed at their tasks' vectors. The application's `init` gets the
//! [`Devices`] last, right before the RTOS starts, so that what it starts finds its tasks ready;
//! interrupts are off until then. A claim that is refused ends the boot with the task's name, the reason and the
//! remedy.

use crate::Application;
use crate::fatal::boot_error;
use core::fmt;
use darma_abi::units::HostPhys;
use darma_device::Devices;
use darma_machine::io_apic::IoApic;
use darma_machine::port::Width as PortWidth;
use darma_machine::{memory, pci};
use darma_policy::devices::claims::{ClaimError, Claims, FunctionId};
use darma_policy::devices::functions::{Bdf, FunctionFacts, Functions};
use darma_policy::devices::message::HostMessage;
use darma_policy::devices::task_function::{ENTRY_MASKED, Step};
use darma_policy::mmio::Width;
use darma_rtos::{Line, Source, TaskId, vector_of};
use darma_sched::TimeScale;

/// Bytes from one MSI-X entry to the next.
const ENTRY_BYTES: u64 = 16;

/// What the machine has, as far as it matters here.
pub(crate) struct Site<'a> {
    pub(crate) functions: &'a Functions,
    /// What the configuration hides from the GPOS.
    pub(crate) hidden: &'a [Bdf],
    pub(crate) io_apic: IoApic,
    /// The local APIC that tasks' interrupts go to.
    pub(crate) host_apic: u8,
    pub(crate) hpet: Option<HostPhys>,
    pub(crate) scale: TimeScale,
    /// Where the identity map ends.
    pub(crate) reach: u64,
}

/// What is the application's.
pub(crate) struct Granted {
    /// What the GPOS must not have.
    pub(crate) claims: Claims,
    /// What `init` is given.
    pub(crate) devices: Devices,
}

/// Why a task's device cannot be given.
struct Refused {
    task: &'static str,
    error: ClaimError,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}: {}", self.task, self.error)
    }
}

/// Grants and binds what the application's table asks for.
///
/// # Safety
/// Called once, interrupts off, before the GPOS exists (BOOT-ONCE), with the RTOS set up. What is
/// granted is kept from the GPOS afterwards, and the HPET too if `init` takes it.
pub(crate) unsafe fn grant(application: &Application, site: &Site<'_>) -> Granted {
    let mut claims =
        Claims::new(site.functions, site.hidden).unwrap_or_else(|error| boot_error(&error));
    for facts in claims.functions() {
        perform(&facts.take_over());
    }
    for (index, task) in (0..).zip(application.tasks) {
        if let Source::Interrupt(line) = task.source
            && let Err(error) = bind(site, &mut claims, line, TaskId(index))
        {
            let task = task.name;
            boot_error(&Refused { task, error });
        }
    }
    // SAFETY: DEVICE-OWNER: the claims and the HPET are kept from the GPOS, as the caller promises;
    // BOOT-ONCE.
    let devices = unsafe { Devices::new(claims.functions(), site.hpet, site.scale, site.reach) };
    Granted { claims, devices }
}

/// Aims what raises `line` at the task's vector.
fn bind(site: &Site<'_>, claims: &mut Claims, line: Line, task: TaskId) -> Result<(), ClaimError> {
    let vector = vector_of(task);
    let message = vector.and_then(|vector| HostMessage::to_task(vector, site.host_apic));
    let Some(message) = message else {
        boot_error(&"a task has no vector: report this as a bug");
    };
    match line {
        Line::Pci { vendor, device } => {
            let id = FunctionId { vendor, device };
            let facts = claims.function(site.functions, id)?;
            check_reach(&facts, site.reach)?;
            perform(&facts.take_over());
            perform(&facts.send_to(message));
            let registers = facts.memory().next().map_or(0, |span| span.first());
            log::info!(
                "{id} at {} is task {}'s, registers at {registers:#x}",
                facts.bdf,
                task.0
            );
        }
        Line::Pin(pin) => {
            let pins = u8::try_from(site.io_apic.pins()).unwrap_or(u8::MAX);
            claims.pin(pin, pins)?;
            // Fixed delivery, physical destination, active high, edge: a message's data, here.
            let destination = u32::from(site.host_apic) << 24;
            site.io_apic.program(pin, message.data(), destination);
            log::info!("pin {pin} of the I/O APIC is task {}'s", task.0);
            warn_of_wires(site, claims, pin);
        }
    }
    Ok(())
}

/// Names the GPOS's functions that interrupt by wire only. Which pin a wire ends at is said by a method
/// of the firmware's, in a language that is not interpreted here.
fn warn_of_wires(site: &Site<'_>, claims: &Claims, pin: u8) {
    const INTERRUPT_PIN: u8 = 0x3d;
    let owned = |bdf: Bdf| claims.functions().iter().any(|facts| facts.bdf == bdf);
    for facts in site.functions.iter().filter(|facts| !owned(facts.bdf)) {
        let messages = facts.capabilities.msi.is_some() || facts.capabilities.msix.is_some();
        if !messages && pci::read(facts.bdf.0, INTERRUPT_PIN, PortWidth::Byte) != 0 {
            log::warn!(
                "PCI function {} interrupts by wire: if that is pin {pin}, Linux will not hear it; bind another pin then",
                facts.bdf
            );
        }
    }
}

/// An MSI-X table can be written only where memory is mapped.
fn check_reach(facts: &FunctionFacts, reach: u64) -> Result<(), ClaimError> {
    let table = facts.msix_table().filter(|table| table.last() >= reach);
    match table {
        Some(_) if facts.capabilities.msi.is_none() => Err(ClaimError::NoTable(facts.bdf)),
        _ => Ok(()),
    }
}

fn perform(steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Config(write) => {
                let width = match write.width {
                    Width::One => PortWidth::Byte,
                    Width::Two => PortWidth::Word,
                    Width::Four | Width::Eight => PortWidth::Dword,
                };
                // SAFETY: DEVICE-DMA: it switches a claimed function off, or aims its message at a
                // task (the invariant of `task_function`); its registers stay where they are.
                unsafe { pci::write(write.bdf.0, write.offset, width, write.value) };
            }
            Step::Table(write) => {
                // SAFETY: DEVICE-OWNER: the MSI-X table of a claimed function, inside the identity
                // map by `check_reach`; what is written is a task's message.
                unsafe { memory::write_register(write.at, 4, u64::from(write.value)) };
            }
            Step::MaskOthers { first, count } => {
                for index in 0..u64::from(count) {
                    let at = HostPhys(first.0 + index * ENTRY_BYTES);
                    // SAFETY: DEVICE-OWNER: the same table, which `check_reach` saw whole.
                    unsafe { memory::write_register(at, 4, u64::from(ENTRY_MASKED)) };
                }
            }
        }
    }
}
