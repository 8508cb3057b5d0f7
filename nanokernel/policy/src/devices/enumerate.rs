//! Finding every PCI function, through configuration accesses that the caller performs.
//!
//! Done once at start-up, while the nanokernel is alone with the machine. The firmware has already
//! numbered the buses and placed the registers; this only reads them, except for the sizing of
//! base address registers, which replaces a register for a moment with the function's decoding
//! switched off (PCI 3.0, 6.2.5.1).
//!
//! Bounded: at most [`MAX_FUNCTIONS`] functions, 256 buses, 48 capabilities per function, whatever
//! the devices answer.

use core::fmt;

use super::functions::{
    Bar, BarKind, Bdf, Capabilities, FunctionFacts, FunctionReset, Functions, Header,
    MAX_FUNCTIONS, MsiFacts, MsixFacts,
};
use super::ranges::Span;

/// Configuration space, 32 bits at a time. `offset` is a multiple of four.
pub trait ConfigAccess {
    /// Reads; all ones where there is no function.
    fn read32(&mut self, at: Bdf, offset: u8) -> u32;
    /// Writes.
    fn write32(&mut self, at: Bdf, offset: u8, value: u32);
}

/// The machine has more than [`MAX_FUNCTIONS`] PCI functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFunctions;

impl fmt::Display for TooManyFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {MAX_FUNCTIONS} PCI functions: remove or disable some in firmware"
        )
    }
}

/// Finds every function on bus 0 and on the buses behind its bridges.
///
/// # Errors
/// [`TooManyFunctions`].
pub fn enumerate(config: &mut impl ConfigAccess) -> Result<Functions, TooManyFunctions> {
    let mut found = Functions::new();
    scan_bus(config, 0, &mut found)?;
    // Bridges are appended while they are found, so this walks the tree breadth first. A bus is
    // taken only from a bridge on a lower-numbered one: wrong numbers cannot make a circle.
    let mut next = 0;
    while let Some(function) = found.get(next).copied() {
        next += 1;
        if let Header::Bridge { secondary, .. } = function.header
            && secondary > function.bdf.bus()
            && !found.iter().any(|other| other.bdf.bus() == secondary)
        {
            scan_bus(config, secondary, &mut found)?;
        }
    }
    Ok(found)
}

fn scan_bus(
    config: &mut impl ConfigAccess,
    bus: u8,
    found: &mut Functions,
) -> Result<(), TooManyFunctions> {
    for device in 0..32 {
        for function in 0..8 {
            let at = Bdf::new(bus, device, function);
            if let Some(facts) = examine(config, at) {
                found.push(facts).map_err(|_| TooManyFunctions)?;
            }
            let many = config.read32(at, 0x0c) & 0x0080_0000 != 0;
            if function == 0 && (config.read32(at, 0) == u32::MAX || !many) {
                break;
            }
        }
    }
    Ok(())
}

const fn low_half(value: u32) -> u16 {
    let [low, high, ..] = value.to_le_bytes();
    u16::from_le_bytes([low, high])
}

const fn byte(value: u32, index: usize) -> u8 {
    value.to_le_bytes()[index & 3]
}

fn examine(config: &mut impl ConfigAccess, at: Bdf) -> Option<FunctionFacts> {
    let id = config.read32(at, 0);
    if low_half(id) == 0xffff {
        return None;
    }
    let (header, bar_count, rom_offset) = match byte(config.read32(at, 0x0c), 2) & 0x7f {
        0 => (Header::Endpoint, 6, Some(0x30)),
        1 => (bridge(config, at), 2, Some(0x38)),
        _ => (Header::Other, 0, None),
    };
    let mut bars = [None; 6];
    // Decoding off; the upper half of this register is status, in which a zero changes nothing.
    let command = config.read32(at, 4) & 0xffff;
    config.write32(at, 4, command & !3);
    let mut index = 0;
    while let Some(slot) = bars.get_mut(index).filter(|_| index < bar_count) {
        *slot = size_bar(config, at, index);
        index += if slot.is_some_and(|bar| bar.kind == BarKind::Memory64) {
            2
        } else {
            1
        };
    }
    let rom = rom_offset.and_then(|offset| size_rom(config, at, offset));
    config.write32(at, 4, command);
    Some(FunctionFacts {
        bdf: at,
        vendor: low_half(id),
        device: low_half(id >> 16),
        class: config.read32(at, 8) >> 8,
        header,
        bars,
        rom,
        capabilities: capabilities(config, at),
    })
}

fn bridge(config: &mut impl ConfigAccess, at: Bdf) -> Header {
    let buses = config.read32(at, 0x18);
    // Base in the low half, limit in the high half, address bits 20 to 31 each (PCI-to-PCI Bridge
    // 1.2, 3.2.5.8).
    let window = |value: u32, base_upper: u32, limit_upper: u32| {
        let base = u64::from(value & 0xfff0) << 16 | u64::from(base_upper) << 32;
        let limit = u64::from(value & 0xfff0_0000) | 0xf_ffff | u64::from(limit_upper) << 32;
        Span::between(base, limit).filter(|_| value != 0)
    };
    let pref = config.read32(at, 0x24);
    let (upper_base, upper_limit) = if pref & 0xf == 1 {
        (config.read32(at, 0x28), config.read32(at, 0x2c))
    } else {
        (0, 0)
    };
    Header::Bridge {
        secondary: byte(buses, 1),
        subordinate: byte(buses, 2),
        memory: window(config.read32(at, 0x20), 0, 0),
        prefetchable: window(pref, upper_base, upper_limit),
    }
}

/// What a register answers to all ones; it holds its own value again afterwards.
fn probe(config: &mut impl ConfigAccess, at: Bdf, offset: u8, ones: u32) -> (u32, u32) {
    let value = config.read32(at, offset);
    config.write32(at, offset, ones);
    let mask = config.read32(at, offset);
    config.write32(at, offset, value);
    (value, mask)
}

fn size_bar(config: &mut impl ConfigAccess, at: Bdf, index: usize) -> Option<Bar> {
    let offset = u8::try_from(0x10 + 4 * index).ok()?;
    let (value, mask) = probe(config, at, offset, u32::MAX);
    if mask == 0 || mask == u32::MAX && value == u32::MAX {
        return None;
    }
    let kind = match value & 7 {
        flags if flags & 1 != 0 => BarKind::Ports,
        4 if index < 5 => BarKind::Memory64,
        _ => BarKind::Memory32,
    };
    let flag_bits = if kind == BarKind::Ports { 3 } else { 0xf };
    let mut address = u64::from(value & !flag_bits);
    let mut sizes = u64::from(mask & !flag_bits);
    match kind {
        BarKind::Memory64 => {
            let (upper, upper_mask) = probe(config, at, offset + 4, u32::MAX);
            address |= u64::from(upper) << 32;
            sizes |= u64::from(upper_mask) << 32;
        }
        // Ports may leave the upper 16 bits unimplemented.
        BarKind::Ports => sizes = sizes & 0xffff | !0xffff,
        BarKind::Memory32 => sizes |= 0xffff_ffff << 32,
    }
    let size = lowest_bit(sizes);
    (size != 0).then_some(Bar {
        kind,
        flags: value & flag_bits,
        address,
        size,
    })
}

fn size_rom(config: &mut impl ConfigAccess, at: Bdf, offset: u8) -> Option<Bar> {
    // Bit 0 is the enable bit and stays clear while sizing.
    let (value, mask) = probe(config, at, offset, 0xffff_f800);
    let size = lowest_bit(u64::from(mask & 0xffff_f800));
    let address = u64::from(value & 0xffff_f800);
    (size != 0).then_some(Bar {
        kind: BarKind::Memory32,
        flags: 0,
        address,
        size,
    })
}

/// The lowest bit that is set: of a size mask, the size.
const fn lowest_bit(mask: u64) -> u64 {
    mask & mask.wrapping_neg()
}

fn capabilities(config: &mut impl ConfigAccess, at: Bdf) -> Capabilities {
    let mut found = Capabilities::default();
    if config.read32(at, 4) & 0x0010_0000 == 0 {
        return found;
    }
    let mut offset = byte(config.read32(at, 0x34), 0) & 0xfc;
    // 48 capabilities of four bytes fill the space: a chain that is longer is a circle.
    for _ in 0..48 {
        if offset < 0x40 {
            break;
        }
        let head = config.read32(at, offset);
        match byte(head, 0) {
            0x01 => found.power = Some(offset),
            0x05 => {
                found.msi = Some(MsiFacts {
                    at: offset,
                    control: low_half(head >> 16),
                })
            }
            0x09 if low_half(config.read32(at, 0)) == 0x1af4 && byte(head, 3) == 5 => {
                found.virtio_window = Some(offset);
            }
            0x10 => {
                found.express = Some(offset);
                found.express_control = low_half(config.read32(at, offset.wrapping_add(8) & 0xfc));
                let able = config.read32(at, offset.wrapping_add(4) & 0xfc);
                if able & 1 << 28 != 0 {
                    found.function_reset = Some(FunctionReset::Express(offset));
                }
            }
            // Bit 1 of its third byte: function level reset; its neighbour says that pending
            // transactions can be seen.
            0x13 if byte(head, 3) & 3 == 3 => {
                found.function_reset = Some(FunctionReset::Advanced(offset));
            }
            0x11 if offset <= 0xf4 => {
                let table = config.read32(at, offset + 4);
                let pending = config.read32(at, offset + 8);
                found.msix = Some(MsixFacts {
                    at: offset,
                    entries: (low_half(head >> 16) & 0x7ff) + 1,
                    table_bar: byte(table, 0) & 7,
                    table_offset: table & !7,
                    pending_bar: byte(pending, 0) & 7,
                    pending_offset: pending & !7,
                });
            }
            _ => {}
        }
        offset = byte(head, 1) & 0xfc;
    }
    found
}
