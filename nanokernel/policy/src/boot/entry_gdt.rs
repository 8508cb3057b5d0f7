//! The descriptor table that a kernel is entered with.
//!
//! The 64-bit boot protocol names the selectors: `__BOOT_CS` (0x10) a flat 64-bit code segment and
//! `__BOOT_DS` (0x18) a flat data segment (boot.rst, "64-bit Boot Protocol"). A task descriptor is
//! not asked for; the kernel loads its own table at once. Descriptor formats: APM2 4.7 and 4.8.

use crate::fields::put;

/// Selector of the code segment.
pub const CODE_SELECTOR: u16 = 0x10;

/// Selector of the data segment.
pub const DATA_SELECTOR: u16 = 0x18;

/// The code descriptor: present, ring 0, execute and read, accessed, long mode, limit 4 GiB.
pub const CODE_DESCRIPTOR: u64 = 0x00af_9b00_0000_ffff;

/// The data descriptor: present, ring 0, read and write, accessed, 32-bit stack, limit 4 GiB.
pub const DATA_DESCRIPTOR: u64 = 0x00cf_9300_0000_ffff;

/// The table's size in bytes; its limit is one less.
pub const SIZE: usize = 32;

/// Writes the table into `buffer`; `None` if that has fewer than [`SIZE`] bytes.
#[must_use]
pub fn write(buffer: &mut [u8]) -> Option<()> {
    let buffer = buffer.get_mut(..SIZE)?;
    buffer.fill(0);
    put(
        buffer,
        usize::from(CODE_SELECTOR),
        &CODE_DESCRIPTOR.to_le_bytes(),
    )?;
    put(
        buffer,
        usize::from(DATA_SELECTOR),
        &DATA_DESCRIPTOR.to_le_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selectors_name_a_long_mode_code_and_a_data_segment() {
        let mut table = [0xff; SIZE];
        write(&mut table).unwrap();
        assert_eq!(table[..16], [0; 16]);
        // Long mode set, default size clear (APM2 4.8.1); code against data (APM2 4.7.2).
        assert_eq!(table[0x16] >> 5 & 0b11, 0b01);
        assert_eq!((table[0x15] >> 3 & 1, table[0x1d] >> 3 & 1), (1, 0));
        assert_eq!(write(&mut [0; 31]), None);
    }
}
