//! What the firmware and the buses say of this machine, read once at boot.

use crate::fatal::boot_error;
use crate::once::Once;
use darma_abi::units::HostPhys;
use darma_machine::port::{self, Width};
use darma_machine::{memory, pci};
use darma_policy::acpi::PhysicalMemory;
use darma_policy::acpi::facts::{AcpiFacts, ResetSpace};
use darma_policy::acpi::gpos_tables::{GposMachine, HpetUse, build, size_bound};
use darma_policy::acpi::tables::{FirmwareTables, find_rsdp};
use darma_policy::boot::span::Span as MemorySpan;
use darma_policy::devices::functions::{Bdf, ConfigAccess};
use darma_policy::devices::power::PowerFacts;

/// Room for the GPOS's ACPI tables. QEMU's take 12 KiB; large servers' DSDTs reach 200 KiB.
const ACPI_ROOM: usize = 256 << 10;

static ACPI_TABLES: Once<[u8; ACPI_ROOM]> = Once::new([0; ACPI_ROOM]);

/// The firmware's tables, in physical memory.
pub(crate) struct FirmwareMemory {
    /// Where the identity map ends.
    pub(crate) reach: u64,
    /// The image, which is never looked into by address.
    pub(crate) image: MemorySpan,
}

impl PhysicalMemory for FirmwareMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let Some(span) = MemorySpan::new(address, length) else {
            return false;
        };
        if span.end() > self.reach || span.overlaps(self.image) {
            return false;
        }
        // SAFETY: IDENTITY-MAP, and outside the image's own data, as checked above.
        unsafe { memory::read(HostPhys(address), buffer) };
        true
    }
}

/// Configuration space of the real buses.
pub(crate) struct Buses;

impl ConfigAccess for Buses {
    fn read32(&mut self, at: Bdf, offset: u8) -> u32 {
        pci::read(at.0, offset, Width::Dword)
    }

    fn write32(&mut self, at: Bdf, offset: u8, value: u32) {
        // SAFETY: DEVICE-DMA: enumeration sizes base address registers with decoding off and puts
        // them back; it writes nothing else.
        unsafe { pci::write(at.0, offset, Width::Dword, value) };
    }
}

/// ACPI's view of the machine, and what is needed to make the GPOS's.
pub(crate) struct Acpi {
    pub(crate) facts: AcpiFacts,
    pub(crate) machine: GposMachine,
    memory: FirmwareMemory,
    tables: FirmwareTables,
}

impl Acpi {
    /// Reads the firmware's tables, and switches the machine to ACPI mode so that the GPOS need not.
    pub(crate) fn read(memory: FirmwareMemory, rsdp: u64, boot_apic_id: u32) -> Self {
        let rsdp = if rsdp != 0 {
            rsdp
        } else {
            find_rsdp(&memory).unwrap_or(0)
        };
        let tables = FirmwareTables::read(&memory, rsdp).unwrap_or_else(|error| boot_error(&error));
        let facts = AcpiFacts::read(&memory, &tables).unwrap_or_else(|error| boot_error(&error));
        switch_to_acpi_mode(&facts);
        let hpet = match facts.hpet {
            Some(base) if !delivers_messages(base) => HpetUse::Gpos,
            _ => HpetUse::Hidden,
        };
        Self {
            facts,
            machine: GposMachine { boot_apic_id, hpet },
            memory,
            tables,
        }
    }

    /// How many bytes the GPOS's tables take at most.
    pub(crate) fn size(&self) -> u64 {
        size_bound(&self.tables, self.machine)
    }

    /// Builds the GPOS's tables for `base`. They are kept in the image, because the originals lie
    /// where the GPOS can write.
    pub(crate) fn build(&self, base: u64) -> &'static [u8] {
        let room = ACPI_TABLES.take();
        match build(&self.memory, &self.tables, self.machine, base, room) {
            Ok(built) => {
                for (signature, verdict) in &built.audit {
                    log::debug!("ACPI {signature}: {verdict:?}");
                }
                room.get(..built.size).unwrap_or_default()
            }
            Err(error) => boot_error(&error),
        }
    }

    /// The registers by which the GPOS could end or reset the machine.
    pub(crate) fn power(&self) -> PowerFacts {
        let reset = self
            .facts
            .reset
            .filter(|register| register.space == ResetSpace::Port);
        PowerFacts {
            pm1a_control: self.facts.pm1a_cnt,
            pm1b_control: self.facts.pm1b_cnt,
            soft_off: self.facts.s5.map(|types| (types.a, types.b)),
            reset: reset
                .and_then(|register| Some((u16::try_from(register.address).ok()?, register.value))),
        }
    }
}

/// ACPI 4.8.2.5: writing ACPI_ENABLE to SMI_CMD; SCI_EN in PM1_CNT answers.
fn switch_to_acpi_mode(facts: &AcpiFacts) {
    const SCI_EN: u32 = 1;
    const TRIES: u32 = 1_000_000;
    let (Some(command), Some(control)) = (facts.smi_cmd, facts.pm1a_cnt) else {
        return;
    };
    // SAFETY: DEVICE-OWNER: the nanokernel owns the power-management registers.
    let on = || unsafe { port::read(control, Width::Word) } & SCI_EN != 0;
    if on() {
        return;
    }
    // SAFETY: DEVICE-OWNER, as above.
    unsafe { port::write(command, Width::Byte, u32::from(facts.acpi_enable)) };
    if !(0..TRIES).any(|_| on()) {
        boot_error(&"the machine does not enter ACPI mode: enable ACPI in its firmware");
    }
}

/// Whether a timer of the HPET at `base` can send interrupt messages (HPET 1.0a, 2.3.8), which
/// would let its driver aim at any vector.
fn delivers_messages(base: u64) -> bool {
    const MESSAGE_CAPABLE: u64 = 1 << 15;
    // Four bytes at a time: to eight the emulator answers zero.
    // SAFETY: IDENTITY-MAP and DEVICE-OWNER: the HPET's registers, named by its ACPI table.
    let read = |offset: u64| unsafe { memory::read_register(HostPhys(base + offset), 4) };
    let timers = (read(0) >> 8 & 0x1f) + 1;
    (0..timers).any(|timer| read(0x100 + 0x20 * timer) & MESSAGE_CAPABLE != 0)
}
