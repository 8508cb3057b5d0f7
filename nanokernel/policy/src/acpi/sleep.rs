//! Finds what to write to the power management control register for "off".
//!
//! The value is in the AML object `\_S5_`, which properly takes an interpreter. In practice every
//! firmware declares it as a named package of constants, which a scan finds; where that fails, the
//! machine can still be stopped, only not switched off. Source: ACPI 7.4.2, 20.2 (AML encoding).

use super::PhysicalMemory;
use super::tables::{HEADER_SIZE, Table};
use crate::fields::{offset64, u8_at};

/// The sleep types of the "off" state for the PM1a and PM1b control registers, three bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SleepTypes {
    /// For PM1a.
    pub a: u8,
    /// For PM1b.
    pub b: u8,
}

const PACKAGE_OP: u8 = 0x12;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;

/// The longest declaration: name, package head, and two constants of five bytes.
const DECLARATION: usize = 4 + 6 + 10;
const PIECE: usize = 256;

/// Scans the AML of `table` for the "off" state.
pub fn find_s5(memory: &dyn PhysicalMemory, table: Table) -> Option<SleepTypes> {
    let end = u64::from(table.length);
    let mut at = offset64(HEADER_SIZE);
    while at < end {
        let mut piece = [0; PIECE];
        let available = usize::try_from(end - at).ok()?.min(PIECE);
        let piece = piece.get_mut(..available)?;
        memory
            .read(table.address.checked_add(at)?, piece)
            .then_some(())?;
        let found = piece.windows(5).enumerate().find_map(|(index, window)| {
            (window == b"_S5_\x12")
                .then(|| parse_package(piece.get(index + 4..)?))
                .flatten()
        });
        if found.is_some() {
            return found;
        }
        // Pieces overlap by a declaration, so that none is cut in two.
        at += offset64(PIECE - DECLARATION);
    }
    None
}

fn parse_package(aml: &[u8]) -> Option<SleepTypes> {
    if u8_at(aml, 0)? != PACKAGE_OP {
        return None;
    }
    // The length's first byte says in its upper two bits how many more bytes it has.
    let length_bytes = 1 + usize::from(u8_at(aml, 1)? >> 6);
    let elements = aml.get(1 + length_bytes..)?;
    let (&count, elements) = elements.split_first()?;
    let (a, elements) = parse_constant(elements)?;
    let b = if count >= 2 {
        parse_constant(elements)?.0
    } else {
        0
    };
    Some(SleepTypes { a: a & 7, b: b & 7 })
}

/// The low byte of an integer constant, and what follows it.
fn parse_constant(aml: &[u8]) -> Option<(u8, &[u8])> {
    let (&prefix, rest) = aml.split_first()?;
    let size = match prefix {
        0 | 1 => return Some((prefix, rest)),
        BYTE_PREFIX => 1,
        WORD_PREFIX => 2,
        DWORD_PREFIX => 4,
        _ => return None,
    };
    Some((u8_at(rest, 0)?, rest.get(size..)?))
}
