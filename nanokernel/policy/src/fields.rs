//! Little-endian fields of bytes that someone else wrote.
//!
//! Firmware tables, kernels and archives are all read through these few functions, so that "the
//! field lies outside the bytes" is one `Option` and never an index that could panic. Writing goes
//! the same way: a field that does not fit in the buffer is reported, not half written.

/// The byte at `offset`, or `None` past the end.
pub fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// The little-endian 16-bit field at `offset`, or `None` if it does not lie inside `bytes`.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// The little-endian 32-bit field at `offset`, or `None` if it does not lie inside `bytes`.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The little-endian 64-bit field at `offset`, or `None` if it does not lie inside `bytes`.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

/// The `N` bytes at `offset`, or `None` if they do not all lie inside `bytes`.
pub fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// Writes `value` at `offset`; `None`, with nothing written, if it does not fit.
#[must_use]
pub fn put(bytes: &mut [u8], offset: usize, value: &[u8]) -> Option<()> {
    bytes
        .get_mut(offset..offset.checked_add(value.len())?)?
        .copy_from_slice(value);
    Some(())
}

/// A count of bytes in memory as an address offset. `usize` has at most 64 bits on every target.
pub fn offset64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The low 32 bits of a value whose high half is stored elsewhere.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the high half is stored by the caller"
)]
pub fn low32(value: u64) -> u32 {
    value as u32
}

/// The high 32 bits of a value.
pub fn high32(value: u64) -> u32 {
    low32(value >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_outside_the_bytes_is_none() {
        assert_eq!(u32_at(&[1, 2, 3], 0), None);
        assert_eq!(u16_at(&[1, 2, 3], 1), Some(0x0302));
        assert_eq!(u64_at(&[0; 8], usize::MAX), None);
    }

    #[test]
    fn a_write_that_does_not_fit_changes_nothing() {
        let mut buffer = [0u8; 4];
        assert_eq!(put(&mut buffer, 2, &[1, 2, 3]), None);
        assert_eq!(buffer, [0; 4]);
        assert_eq!(put(&mut buffer, 1, &[7, 8]), Some(()));
        assert_eq!(buffer, [0, 7, 8, 0]);
    }

    #[test]
    fn halves_of_an_address() {
        assert_eq!(
            (high32(0x1_2345_6789), low32(0x1_2345_6789)),
            (1, 0x2345_6789)
        );
    }
}
