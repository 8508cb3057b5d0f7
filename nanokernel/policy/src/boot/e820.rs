//! The memory map in the form that firmware gives it and that Linux is given: ranges with a type.
//!
//! Firmware maps come unsorted, and some overlap themselves. [`normalise`] turns one into sorted,
//! disjoint, merged entries; where entries overlap, the higher type number wins, as in Linux, because
//! usable RAM has the lowest and a wrong "reserved" costs memory where a wrong "usable" costs data.
//! Types: ACPI 6.4 section 15, "System Address Map Interfaces".

use heapless::Vec;

use super::span::Span;

/// Memory that an operating system may use.
pub const RAM: u32 = 1;
/// In use by the machine.
pub const RESERVED: u32 = 2;
/// ACPI tables.
pub const ACPI: u32 = 3;
/// Memory that firmware keeps across sleep.
pub const ACPI_NVS: u32 = 4;
/// Broken memory.
pub const UNUSABLE: u32 = 5;

/// A range of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The range.
    pub span: Span,
    /// Its type: [`RAM`], [`RESERVED`] and so on, or a number that the firmware made up.
    pub kind: u32,
}

/// The most entries that a boot_params page holds, and that a firmware map may have.
pub const MAX_ENTRIES: usize = 128;

/// A sorted map without overlaps.
pub type Map = Vec<Entry, MAX_ENTRIES>;

/// A map has more than [`MAX_ENTRIES`] entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyEntries;

/// Sorts `entries`, resolves overlaps and merges neighbours of one type. Empty entries are dropped.
///
/// # Errors
/// More than [`MAX_ENTRIES`] before or after.
pub fn normalise(entries: &[Entry]) -> Result<Map, TooManyEntries> {
    if entries.len() > MAX_ENTRIES {
        return Err(TooManyEntries);
    }
    let mut map = Map::new();
    let mut from = 0;
    // From one boundary to the next the set of covering entries does not change.
    while let Some(to) = next_boundary(entries, from) {
        let piece = Span::between(from, to);
        let covering = entries.iter().filter(|entry| entry.span.contains(piece));
        if let Some(kind) = covering.map(|entry| entry.kind).max() {
            append(&mut map, Entry { span: piece, kind })?;
        }
        from = to;
    }
    Ok(map)
}

fn next_boundary(entries: &[Entry], from: u64) -> Option<u64> {
    let boundaries = entries
        .iter()
        .flat_map(|entry| [entry.span.base(), entry.span.end()]);
    boundaries.filter(|&boundary| boundary > from).min()
}

/// Adds `entry`, which begins at or above the map's end, to the map's last entry if it continues it.
pub(super) fn append(map: &mut Map, entry: Entry) -> Result<(), TooManyEntries> {
    if entry.span.is_empty() {
        return Ok(());
    }
    match map.last_mut() {
        Some(last) if last.kind == entry.kind && last.span.end() == entry.span.base() => {
            last.span = Span::between(last.span.base(), entry.span.end());
            Ok(())
        }
        _ => map.push(entry).map_err(|_| TooManyEntries),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;

    fn entry(base: u64, end: u64, kind: u32) -> Entry {
        Entry {
            span: Span::between(base, end),
            kind,
        }
    }

    #[test]
    fn overlaps_go_to_the_higher_type_and_neighbours_merge() {
        let map = normalise(&[
            entry(0x3000, 0x5000, RAM),
            entry(0, 0x2000, RAM),
            entry(0x2000, 0x3000, RAM),
            entry(0x1000, 0x1800, RESERVED),
            entry(0x9000, 0x9000, RAM),
        ])
        .unwrap();
        let expected = [
            entry(0, 0x1000, RAM),
            entry(0x1000, 0x1800, RESERVED),
            entry(0x1800, 0x5000, RAM),
        ];
        assert_eq!(map.as_slice(), expected);
    }

    #[test]
    fn too_many_entries_are_refused() {
        let many = [entry(0, 1, RAM); MAX_ENTRIES + 1];
        assert_eq!(normalise(&many), Err(TooManyEntries));
    }

    proptest! {
        #[test]
        fn every_byte_keeps_the_strongest_type_that_claimed_it(
            raw in proptest::collection::vec((0u64..64, 0u64..16, 1u32..6), 0..24)
        ) {
            let entries: std::vec::Vec<Entry> =
                raw.iter().map(|&(base, size, kind)| entry(base, base + size, kind)).collect();
            let map = normalise(&entries).unwrap();
            prop_assert!(map.windows(2).all(|pair| pair[0].span.end() <= pair[1].span.base()));
            for byte in 0..80 {
                let at = Span::between(byte, byte + 1);
                let kind_in = |entries: &[Entry]| {
                    entries.iter().filter(|e| e.span.contains(at)).map(|e| e.kind).max()
                };
                prop_assert_eq!(kind_in(&entries), kind_in(&map));
            }
        }
    }
}
