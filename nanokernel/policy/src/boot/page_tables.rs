//! The page tables that a kernel is entered with: identity, 2 MiB pages, the first 4 GiB.
//!
//! The 64-bit boot protocol asks only that kernel, boot_params and command line are mapped; all of
//! them are placed below 4 GiB. 2 MiB pages, not 1 GiB, because not every processor offers those
//! (CPUID 8000_0001 EDX bit 26) and five more pages cost nothing: the kernel replaces these tables
//! within milliseconds. Entry formats: APM2 5.3.3.

use super::span::LARGE_PAGE;
use crate::fields::{offset64, put};

/// What the tables map: addresses below this.
pub const MAPPED: u64 = 4 << 30;

/// The tables' size in bytes: one top table, one of 1 GiB entries, four of 2 MiB pages.
pub const SIZE: usize = 6 * TABLE;

const TABLE: usize = 4096;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

/// Writes the tables into `buffer`, which will lie at `base`, a multiple of 4096; CR3 is then `base`.
/// `None` if the buffer has fewer than [`SIZE`] bytes or `base` is past 2^52.
#[must_use]
pub fn write_identity(buffer: &mut [u8], base: u64) -> Option<()> {
    let buffer = buffer.get_mut(..SIZE)?;
    if !base.is_multiple_of(4096) || base >= 1 << 52 {
        return None;
    }
    buffer.fill(0);
    let table_at = |index: usize| base + offset64(index * TABLE);
    put(buffer, 0, &(table_at(1) | PRESENT_WRITABLE).to_le_bytes())?;
    for gib in 0..4 {
        put(
            buffer,
            TABLE + gib * 8,
            &(table_at(2 + gib) | PRESENT_WRITABLE).to_le_bytes(),
        )?;
    }
    let (_, leaves) = buffer.split_at_mut_checked(2 * TABLE)?;
    for (page, entry) in (0..).zip(leaves.chunks_exact_mut(8)) {
        let leaf: u64 = (page * LARGE_PAGE) | LARGE | PRESENT_WRITABLE;
        entry.copy_from_slice(&leaf.to_le_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::u64_at;

    const BASE: u64 = 0x1_2000;

    /// Walks the tables as the processor does.
    fn translate(tables: &[u8], address: u64) -> Option<u64> {
        let entry = |table: u64, index: u64| {
            let offset = usize::try_from(table - BASE + index * 8).ok()?;
            u64_at(tables, offset).filter(|entry| entry & 1 == 1)
        };
        let frame = |entry: u64| entry & 0x000f_ffff_ffff_f000;
        let top = entry(BASE, address >> 39 & 511)?;
        let middle = entry(frame(top), address >> 30 & 511)?;
        let leaf = entry(frame(middle), address >> 21 & 511)?;
        assert_ne!(leaf & LARGE, 0);
        Some((frame(leaf) & !(LARGE_PAGE - 1)) + address % LARGE_PAGE)
    }

    #[test]
    fn the_first_4_gib_translate_to_themselves_and_nothing_else_does() {
        let mut tables = [0xaa; SIZE];
        write_identity(&mut tables, BASE).unwrap();
        for address in [
            0,
            1,
            0x100_0200,
            0x3fff_ffff,
            0x4000_0000,
            0xfee0_0000,
            MAPPED - 1,
        ] {
            assert_eq!(translate(&tables, address), Some(address));
        }
        assert_eq!(translate(&tables, MAPPED), None);
        assert_eq!(translate(&tables, 1 << 39), None);
    }

    #[test]
    fn a_short_buffer_or_a_crooked_base_is_refused() {
        assert_eq!(write_identity(&mut [0; SIZE - 1], BASE), None);
        assert_eq!(write_identity(&mut [0; SIZE], BASE + 8), None);
    }
}
