//! Configuration space through memory: PCI Express's enhanced configuration access mechanism (ECAM;
//! PCI Express Base 3.0, 7.2.2).
//!
//! The mapping is closed by nested paging, so each access traps and is answered as if it had come
//! through the ports. Registers past the 256 that the ports reach are shown as empty: a function
//! that exists has no extended capabilities. Linux says so in its log if the mapping is missing
//! altogether, which is why it is offered at all.

use darma_abi::units::GuestPhys;

use super::functions::Bdf;
use super::ranges::Span;
use crate::mmio::Width;

/// A register that an access to the mapping means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamRegister {
    /// The function.
    pub bdf: Bdf,
    /// The register, 0 to 4095, a multiple of the access's width.
    pub register: u16,
}

/// The register at `at` in the mapping that begins at `base` with bus 0 and ends with `last_bus`.
/// `None` outside of it, for accesses of eight bytes, and for those that are not aligned.
pub fn locate(base: u64, last_bus: u8, at: GuestPhys, width: Width) -> Option<EcamRegister> {
    let size = (u64::from(last_bus) + 1) << 20;
    if !Span::new(base, size)?.has(at.0)
        || width > Width::Four
        || !at.0.is_multiple_of(u64::from(width.bytes()))
    {
        return None;
    }
    let offset = at.0 - base;
    Some(EcamRegister {
        bdf: Bdf(u16::try_from(offset >> 12).ok()?),
        register: u16::try_from(offset & 0xfff).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xb000_0000;

    #[test]
    fn an_address_names_bus_device_function_and_register() {
        let at = GuestPhys(BASE + (3 << 20 | 5 << 15 | 2 << 12 | 0x40));
        let found = locate(BASE, 255, at, Width::Four).unwrap();
        assert_eq!(
            found,
            EcamRegister {
                bdf: Bdf::new(3, 5, 2),
                register: 0x40
            }
        );
    }

    #[test]
    fn outside_misaligned_and_wide_accesses_are_none() {
        assert_eq!(
            locate(BASE, 0, GuestPhys(BASE + (1 << 20)), Width::Four),
            None
        );
        assert_eq!(locate(BASE, 255, GuestPhys(BASE - 4), Width::Four), None);
        assert_eq!(locate(BASE, 255, GuestPhys(BASE + 2), Width::Four), None);
        assert_eq!(locate(BASE, 255, GuestPhys(BASE), Width::Eight), None);
    }
}
