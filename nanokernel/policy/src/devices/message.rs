//! One interrupt message: what the GPOS wrote, and what the hardware is given instead.
//!
//! A message is a memory write that the local APICs take for an interrupt (APM2 16.11): its address
//! names the processors, its data the vector and the delivery mode. The GPOS writes its own vector
//! and its own APIC's number; the function is given a vector of the devices' pool, fixed delivery,
//! edge-triggered, and this processor. A message that is no plain interrupt to the GPOS's own APIC
//! is refused and its source stays masked: it could be an NMI, INIT or SMI to the real-time side.
//!
//! Invariant: a [`HostMessage`] is made by [`translate`], whose vector comes from the allocator, or
//! for a task's own function ([`HostMessage::to_task`]), whose vector is a task's; its address names
//! the physical APIC.

use darma_abi::units::Vector;

use crate::interrupts::{
    Trigger,
    routes::{Routes, Source},
};

/// Gives out the physical vectors that the GPOS's devices may use.
pub trait VectorAllocator {
    /// The physical vector for `source`, whose interrupt the GPOS wants as `guest`: the one that
    /// it has, if it has one. `None` if there is none; the source then stays masked.
    fn route(&mut self, source: Source, guest: Vector) -> Option<Vector>;
}

impl VectorAllocator for Routes {
    fn route(&mut self, source: Source, guest: Vector) -> Option<Vector> {
        Self::route(self, source, guest, Trigger::Edge).ok()
    }
}

/// Under which numbers the one processor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// The physical local APIC's number.
    pub host_apic: u8,
    /// The GPOS's virtual one.
    pub guest_apic: u8,
}

/// A message as the GPOS wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestMessage {
    /// Message Address.
    pub address: u32,
    /// Message Upper Address.
    pub address_upper: u32,
    /// Message Data.
    pub data: u32,
}

/// A message that may be given to the hardware. Its upper address is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMessage {
    address: u32,
    data: u32,
}

impl HostMessage {
    /// Message Address.
    pub const fn address(self) -> u32 {
        self.address
    }

    /// Message Data.
    pub const fn data(self) -> u32 {
        self.data
    }

    /// Fixed delivery, edge-triggered, physical destination (APM2 16.11).
    pub(super) fn plain(vector: Vector, host_apic: u8) -> Self {
        Self {
            address: 0xfee0_0000 | u32::from(host_apic) << 12,
            data: u32::from(vector.0),
        }
    }
}

/// Why a message is not given to the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The address is no interrupt's, or not the GPOS's own processor's.
    ForeignDestination,
    /// Neither fixed nor lowest-priority delivery.
    DeliveryMode(u8),
    /// The vector is an exception's.
    IllegalVector(Vector),
    /// No vector is left.
    NoVector,
}

/// Turns the GPOS's message of `source` into one for the hardware.
///
/// # Errors
/// [`Refused`]: the source must stay masked.
pub fn translate(
    source: Source,
    message: GuestMessage,
    processor: Processor,
    vectors: &mut impl VectorAllocator,
) -> Result<HostMessage, Refused> {
    let [vector, control, ..] = message.data.to_le_bytes();
    // Bits 5 to 11 of the address would extend the destination beyond 8 bits.
    if message.address_upper != 0 || message.address & 0xfff0_0fe0 != 0xfee0_0000 {
        return Err(Refused::ForeignDestination);
    }
    let destination = u8::try_from((message.address >> 12) & 0xff).unwrap_or(0);
    let is_logical = message.address & 4 != 0;
    let is_own = destination == 0xff
        || if is_logical {
            // In the flat and the cluster model alike the GPOS's one processor has this bit.
            destination & (1 << (processor.guest_apic & 7)) != 0
        } else {
            destination == processor.guest_apic
        };
    if !is_own {
        return Err(Refused::ForeignDestination);
    }
    if !matches!(control & 7, 0 | 1) {
        return Err(Refused::DeliveryMode(control & 7));
    }
    if vector < 0x10 {
        return Err(Refused::IllegalVector(Vector(vector)));
    }
    let host = vectors
        .route(source, Vector(vector))
        .ok_or(Refused::NoVector)?;
    Ok(HostMessage::plain(host, processor.host_apic))
}
