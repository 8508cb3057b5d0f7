//! The GPOS's devices: which of its accesses reach the hardware, in what form, and the answers of
//! the functions that are ours.
//!
//! Decisions are `darma_policy::devices`'; here its acts are performed. An access that means
//! nothing is answered as absent hardware, counted, and the guest goes on.

use super::{Gpos, Stop};
use darma_abi::units::{GuestPhys, HostPhys, Vector};
use darma_machine::port::Width as PortWidth;
use darma_machine::{memory, pci, port};
use darma_policy::devices::ecam::{self, EcamRegister};
use darma_policy::devices::functions::MAX_FUNCTIONS;
use darma_policy::devices::msix::{MsixAct, MsixRead, MsixTables, TableWrite};
use darma_policy::devices::pci_config::{BarMoved, HardwareWrite, PciConfig, ReadAct, WriteAct};
use darma_policy::devices::power::{PowerAct, PowerPorts};
use darma_policy::devices::ranges::Span;
use darma_policy::devices::virtual_pci::{VirtualEffect, VirtualPci};
use darma_policy::interrupts::routes::Source;
use darma_policy::mmio::Width;
use darma_ras_model::detect::{Event, Foreign};
use darma_svm::exit::PortAccess;
use darma_svm::nested_paging::{Kind, PoolExhausted};
use heapless::Vec;

/// Configuration space's ports.
const CONFIG_PORTS: core::ops::RangeInclusive<u16> = 0xcf8..=0xcff;
/// The nanokernel's console, the emulator's exit device, and the emulator's firmware
/// configuration device, whose DMA could reach all of memory.
const OWN_PORTS: [core::ops::RangeInclusive<u16>; 3] = [0xe9..=0xe9, 0xf4..=0xf7, 0x510..=0x51b];

/// The views of the devices that the GPOS has.
pub(crate) struct Devices {
    pub(crate) pci: PciConfig,
    pub(crate) msix: MsixTables,
    pub(crate) ours: VirtualPci,
    pub(crate) power: PowerPorts,
    /// Where configuration space is mapped, if it is: base and last bus.
    pub(crate) ecam: Option<(u64, u8)>,
    /// Where the memory that both sides map lies.
    pub(crate) shared: HostPhys,
    /// What the window behind it shows; `None`: zeros.
    pub(crate) window: Option<HostPhys>,
}

impl Devices {
    /// The ports whose accesses must leave the guest.
    pub(crate) fn intercepted_ports(&self) -> impl Iterator<Item = u16> + '_ {
        let hidden = self.pci.rules().protected_ports.iter().flat_map(|span| {
            let first = u16::try_from(span.first()).unwrap_or(u16::MAX);
            first..=u16::try_from(span.last()).unwrap_or(u16::MAX)
        });
        CONFIG_PORTS
            .chain(OWN_PORTS.into_iter().flatten())
            .chain(self.power.intercepted())
            .chain(hidden)
    }
}

impl Gpos {
    /// An intercepted port access. An event is returned where it means the end of the GPOS.
    pub(super) fn port(&mut self, access: PortAccess) -> Option<Event> {
        self.cpu.resume_at(access.next_rip);
        let Some(width) = width_of(access.size).filter(|_| !access.string) else {
            self.counters.absent += 1;
            return None;
        };
        if access.input {
            let value = self.port_read(access.port, width);
            let rax = self.cpu.register(0);
            let merged = if width == Width::Four {
                value & width.mask()
            } else {
                rax & !width.mask() | value & width.mask()
            };
            self.cpu.set_register(0, merged);
            return None;
        }
        let value = super::exits::low(self.cpu.register(0) & width.mask());
        match self.devices.power.classify(access.port, width, value) {
            PowerAct::Pass => self.port_write(access.port, width, value),
            PowerAct::PowerOff => return Some(Event::PowerOff),
            PowerAct::SelfReset { route } => return Some(Event::Reset(route)),
            PowerAct::Sleep { .. } | PowerAct::Refused => self.counters.refused += 1,
        }
        None
    }

    fn port_read(&mut self, at: u16, width: Width) -> u64 {
        if CONFIG_PORTS.contains(&at) {
            return config_value(self.devices.pci.read(at, width, &self.devices.ours));
        }
        if self.is_closed(at, width) {
            self.counters.absent += 1;
            self.foreign(Foreign::Port, u64::from(at));
            return u64::MAX;
        }
        // SAFETY: DEVICE-OWNER: the port is the GPOS's; it was intercepted for its writes only.
        u64::from(unsafe { port::read(at, port_width(width)) })
    }

    fn port_write(&mut self, at: u16, width: Width, value: u32) {
        if CONFIG_PORTS.contains(&at) {
            let devices = &mut self.devices;
            let act = devices
                .pci
                .write(at, width, value, &mut devices.ours, &mut self.routes);
            self.apply_config(act);
        } else if self.is_closed(at, width) {
            self.counters.absent += 1;
            self.foreign(Foreign::Port, u64::from(at));
        } else {
            // SAFETY: DEVICE-OWNER, as in `port_read`; the power policy let the value pass.
            unsafe { port::write(at, port_width(width), value) };
        }
    }

    /// An access that touches ports of the nanokernel's or a hidden function's, or that reaches into
    /// configuration space's from below: a wide one begins up to three ports before what it touches.
    fn is_closed(&self, at: u16, width: Width) -> bool {
        let last = at.saturating_add(u16::from(width.bytes()) - 1);
        let touches = |first: u16, end: u16| at <= end && last >= first;
        let hidden = &self.devices.pci.rules().protected_ports;
        touches(*CONFIG_PORTS.start(), *CONFIG_PORTS.end())
            || OWN_PORTS
                .iter()
                .any(|own| touches(*own.start(), *own.end()))
            || hidden
                .iter()
                .any(|span| span.first() <= u64::from(last) && span.last() >= u64::from(at))
    }

    fn apply_config(&mut self, act: WriteAct) {
        match act {
            WriteAct::Done => {}
            WriteAct::Ignored(_) => self.counters.refused += 1,
            WriteAct::Hardware { writes, moved } => {
                let tables = moved.and_then(|moved| self.devices.msix.bar_moved(&moved));
                if let Some((_, new)) = tables {
                    self.close(new);
                }
                write_config(&writes);
                if let Some((old, _)) = tables {
                    self.open(old);
                }
                if moved.is_some_and(|BarMoved { from, to, .. }| from != to) {
                    self.cpu.flush_translations();
                }
            }
            WriteAct::Virtual(effect) => {
                let _ = self.apply_virtual(effect);
            }
        }
    }

    /// A read of memory that is not mapped.
    pub(super) fn device_read(&mut self, at: GuestPhys, width: Width) -> u64 {
        if let Some(value) = self.controller_read(at) {
            return u64::from(value);
        }
        if let Some(value) = self.devices.ours.mmio_read(at, width) {
            return value;
        }
        if let Some(found) = self.ecam_register(at, width) {
            let devices = &self.devices;
            return match u8::try_from(found.register) {
                Ok(low) => config_value(devices.pci.read_register(
                    found.bdf,
                    low,
                    width,
                    &devices.ours,
                )),
                Err(_) if devices.pci.shows(found.bdf, &devices.ours) => 0,
                Err(_) => u64::MAX,
            };
        }
        match self.devices.msix.read(at, width) {
            Some(MsixRead::Value(value)) => value,
            // SAFETY: DEVICE-OWNER: a register of the GPOS's own function beside its MSI-X table.
            Some(MsixRead::Pass) => unsafe { memory::read_register(HostPhys(at.0), width.bytes()) },
            None => {
                self.violation(at);
                u64::MAX
            }
        }
    }

    /// A write to memory that is not mapped. An event is returned where it means the GPOS's end.
    pub(super) fn device_write(
        &mut self,
        at: GuestPhys,
        width: Width,
        value: u64,
    ) -> Option<Event> {
        if self.controller_write(at, value) {
            return None;
        }
        if let Some(effect) = self.devices.ours.mmio_write(at, width, value) {
            return self.apply_virtual(effect);
        }
        if let Some(found) = self.ecam_register(at, width) {
            if let Ok(low) = u8::try_from(found.register) {
                let devices = &mut self.devices;
                let value = super::exits::low(value & width.mask());
                let act = devices.pci.write_register(
                    found.bdf,
                    low,
                    width,
                    value,
                    &mut devices.ours,
                    &mut self.routes,
                );
                self.apply_config(act);
            }
            return None;
        }
        let processor = self.processor;
        match self
            .devices
            .msix
            .write(at, width, value, processor, &mut self.routes)
        {
            Some(MsixAct::Writes(writes)) => write_table(writes),
            // SAFETY: DEVICE-OWNER, as in `device_read`.
            Some(MsixAct::Pass) => unsafe {
                memory::write_register(HostPhys(at.0), width.bytes(), value)
            },
            None if self.is_in_window(at) => self.counters.refused += 1,
            None => self.violation(at),
        }
        None
    }

    /// The register of configuration space that an access to its mapping means.
    fn ecam_register(&self, at: GuestPhys, width: Width) -> Option<EcamRegister> {
        let (base, last_bus) = self.devices.ecam?;
        ecam::locate(base, last_bus, at, width)
    }

    fn apply_virtual(&mut self, effect: VirtualEffect) -> Option<Event> {
        match effect {
            VirtualEffect::Nothing => None,
            VirtualEffect::PanicEvent { bits } => Some(Event::PvPanic(bits)),
            VirtualEffect::Doorbell { offset, value } => {
                self.notice = Some(Stop::Doorbell { offset, value });
                None
            }
            VirtualEffect::RegistersMoved { from, to } => {
                self.open(from);
                self.close(to);
                None
            }
            VirtualEffect::SharedMoved { from, to } => {
                // A pool that is used up leaves the memory unmapped: the GPOS's loss alone.
                let _ = self.unmap_shared(from);
                let _ = self.map_shared(to);
                self.cpu.flush_translations();
                None
            }
        }
    }

    /// Maps what our own functions show and closes their registers, wherever they are now.
    pub(super) fn map_ours(&mut self) -> Result<(), PoolExhausted> {
        let trapped: Vec<Span, 4> = self.devices.ours.trapped().collect();
        for span in trapped {
            self.close(span);
        }
        self.devices.window = None;
        match self.devices.ours.shared() {
            Some(shared) => self.map_shared(GuestPhys(shared.first())),
            None => Ok(()),
        }
    }

    /// Takes device pages away from the guest.
    pub(crate) fn close(&mut self, span: Span) {
        let _ = self
            .tables
            .unmap(GuestPhys(span.first()), span.last() - span.first() + 1);
        self.cpu.flush_translations();
    }

    fn open(&mut self, span: Span) {
        let _ = self.identity(span.first(), span.last() - span.first() + 1, Kind::Device);
        self.cpu.flush_translations();
    }

    /// Stops every device of the dead GPOS: no DMA, no interrupts; then puts its configuration back
    /// to what the firmware had set, for the next start.
    pub(crate) fn quiesce(&mut self) {
        for index in 0..MAX_FUNCTIONS {
            let index = u8::try_from(index).unwrap_or(u8::MAX);
            write_config(&self.devices.pci.quiesce(index));
        }
        self.silence_sources();
    }

    /// Gives the devices back their firmware configuration and forgets what the GPOS wrote there.
    pub(crate) fn restore_devices(&mut self) {
        for index in 0..MAX_FUNCTIONS {
            let index = u8::try_from(index).unwrap_or(u8::MAX);
            write_config(&self.devices.pci.restore(index));
        }
        let moved = self.devices.msix.reset();
        for (left, _) in &moved {
            self.open(*left);
        }
        for (_, home) in &moved {
            self.close(*home);
        }
        write_table(self.devices.msix.mask_all());
        for span in self.devices.ours.reset() {
            self.open(span);
        }
        let _ = self.map_ours();
        self.devices.pci.reset();
    }

    /// Masks every pin of the GPOS, whoever it was routed to.
    pub(super) fn silence_sources(&mut self) {
        let io_apic = &self.io_apic;
        for pin in (0..io_apic.pin_count()).filter(|pin| io_apic.is_owned(*pin)) {
            self.machine_io_apic.set_masked(pin, true);
        }
        for (host, route) in self.routes.iter() {
            if let Source::Pin(_) = route.source {
                crate::device_interrupts::set_level_pin(Vector(host.0), None);
            }
        }
    }
}

fn config_value(act: ReadAct) -> u64 {
    match act {
        ReadAct::Value(value) => u64::from(value),
        ReadAct::Hardware {
            bdf,
            offset,
            width,
            keep,
        } => u64::from(pci::read(bdf.0, offset, port_width(width)) & keep),
    }
}

pub(super) fn write_config(writes: &[HardwareWrite]) {
    for write in writes {
        // SAFETY: DEVICE-DMA: the policy lets only writes through that keep every function inside
        // its window, aim messages at routed vectors, and are the GPOS's to make.
        unsafe {
            pci::write(
                write.bdf.0,
                write.offset,
                port_width(write.width),
                write.value,
            )
        };
    }
}

fn write_table(writes: impl IntoIterator<Item = TableWrite>) {
    for write in writes {
        // SAFETY: DEVICE-OWNER: an entry of the MSI-X table of a function of the GPOS, translated.
        unsafe { memory::write_register(write.at, 4, u64::from(write.value)) };
    }
}

pub(super) const fn port_width(width: Width) -> PortWidth {
    match width {
        Width::One => PortWidth::Byte,
        Width::Two => PortWidth::Word,
        Width::Four | Width::Eight => PortWidth::Dword,
    }
}

const fn width_of(bytes: u8) -> Option<Width> {
    match bytes {
        1 => Some(Width::One),
        2 => Some(Width::Two),
        4 => Some(Width::Four),
        _ => None,
    }
}
