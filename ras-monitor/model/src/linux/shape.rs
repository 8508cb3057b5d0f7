//! Finding kallsyms in a kernel's image by what the tables look like, when nothing names them.
//!
//! The table of offsets is hundreds of KiB of descending negative numbers, like nothing else in an
//! image: a look at 64 bytes every 64 KiB meets it. Where it ends stands the address of the image's
//! begin, then the number of symbols, then their names; that many names end where the table of
//! markers says so. Nothing of it is hidden from a kernel that wants to lie, and a lie costs a wrong
//! name in a report: whatever is found is still only read through checks.
//!
//! Order of the tables: scripts/kallsyms.c of Linux 6.1. Kernels from 6.5 on order them otherwise;
//! their tables are not found so.

use super::kallsyms::{COUNT_MAX, PER_MARKER, Tables, align, each_name};
use super::view::{Budget, View, WINDOW, Window};
use crate::memory::GuestPhysRead;

/// Distance of the looks. A table of fewer than 17 000 symbols can be missed; no kernel has so few.
const STRIDE: u64 = 64 << 10;
/// How far an image is looked through; Debian's are 26 to 54 MiB.
const IMAGE_MAX: u64 = 96 << 20;
/// Numbers per look, and how many steps between them must be real ones.
const NUMBERS: usize = 16;
const STEPS_LEAST: usize = 8;
/// The largest table.
const OFFSETS_MAX: u64 = 4 * COUNT_MAX as u64;
const COUNT_MIN: u32 = 1000;

/// Units of [`Budget`].
const LOOK_COST: u32 = 3;
const WINDOW_COST: u32 = 20;
/// Of the names of a marker.
const NAMES_COST: u32 = 80;

/// How far the search is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    /// Looking for the table of offsets; the next look.
    Offsets { at: u64 },
    /// In it, looking for its end: where it was met, and how far it is known.
    End { met: u64, at: u64 },
    /// Passing the names, to find what is behind them.
    Names {
        tables: Tables,
        index: u32,
        at: u64,
        marker: u64,
    },
}

/// What a slice of the search brought.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// Nothing yet.
    More,
    /// The tables, and the end of the markers: the tokens are behind it.
    Tables(Tables, u64),
    /// They are not here.
    Nothing,
}

impl Search {
    /// A search from the image's begin.
    pub(super) const fn new(image: u64) -> Self {
        Self::Offsets { at: image }
    }

    /// Searches on.
    pub(super) fn step<M: GuestPhysRead>(
        &mut self,
        view: &View<'_, M>,
        window: &mut Window,
        image: u64,
        budget: &mut Budget,
    ) -> Found {
        loop {
            let next = match *self {
                Self::Offsets { at } => {
                    if !budget.spend(LOOK_COST) {
                        return Found::More;
                    }
                    if at.wrapping_sub(image) >= IMAGE_MAX {
                        return Found::Nothing;
                    }
                    if is_among_offsets(view, at) {
                        Self::End { met: at, at }
                    } else {
                        Self::Offsets {
                            at: at.wrapping_add(STRIDE),
                        }
                    }
                }
                Self::End { met, at } => {
                    if !budget.spend(WINDOW_COST) {
                        return Found::More;
                    }
                    if at.wrapping_sub(met) > OFFSETS_MAX {
                        return Found::Nothing;
                    }
                    match end_in(view, window, image, met, at) {
                        Some(tables) => Self::Names {
                            tables,
                            index: 0,
                            at: tables.names,
                            marker: 0,
                        },
                        None => Self::End {
                            met,
                            at: at.wrapping_add(WINDOW as u64),
                        },
                    }
                }
                Self::Names {
                    tables,
                    index,
                    at,
                    marker,
                } => {
                    return self.names(view, window, (tables, index, at, marker), budget);
                }
            };
            *self = next;
        }
    }

    fn names<M: GuestPhysRead>(
        &mut self,
        view: &View<'_, M>,
        window: &mut Window,
        (mut tables, mut index, mut at, mut marker): (Tables, u32, u64, u64),
        budget: &mut Budget,
    ) -> Found {
        while index < tables.count {
            if !budget.spend(NAMES_COST) {
                *self = Self::Names {
                    tables,
                    index,
                    at,
                    marker,
                };
                return Found::More;
            }
            marker = at.wrapping_sub(tables.names);
            let count = PER_MARKER.min(tables.count - index);
            if each_name(view, window, &mut at, count, |_| true).is_none() {
                return Found::Nothing;
            }
            index += count;
        }
        tables.markers = align(at);
        let count = u64::from(tables.count.div_ceil(PER_MARKER));
        let end = tables.markers.wrapping_add(count * 4);
        let first = view.u32(tables.markers);
        let last = view.u32(end.wrapping_sub(4)).map(u64::from);
        if first == Some(0) && last == Some(marker) {
            Found::Tables(tables, align(end))
        } else {
            Found::Nothing
        }
    }
}

/// Whether these bytes are part of the table of offsets.
fn is_among_offsets<M: GuestPhysRead>(view: &View<'_, M>, at: u64) -> bool {
    let Some(bytes) = view.bytes::<{ NUMBERS * 4 }>(at) else {
        return false;
    };
    let (mut last, mut steps) = (0i32, 0);
    for bytes in bytes.chunks_exact(4) {
        let number = bytes
            .first_chunk()
            .map_or(0, |bytes| i32::from_le_bytes(*bytes));
        if number >= 0 || number > last || u64::from(number.unsigned_abs()) > IMAGE_MAX {
            return false;
        }
        if number != last {
            steps += 1;
        }
        last = number;
    }
    steps > STEPS_LEAST
}

/// The tables, if the offsets end in this window.
fn end_in<M: GuestPhysRead>(
    view: &View<'_, M>,
    window: &mut Window,
    image: u64,
    met: u64,
    at: u64,
) -> Option<Tables> {
    let words = window.get(view, at, WINDOW)?.chunks_exact(8);
    let wanted = image.to_le_bytes();
    for (word, position) in words.zip((at..).step_by(8)) {
        if word != wanted {
            continue;
        }
        let count = view.u32(position.wrapping_add(8))?;
        let offsets = position.wrapping_sub(align(u64::from(count) * 4));
        if (COUNT_MIN..=COUNT_MAX).contains(&count) && offsets <= met {
            return Some(Tables {
                offsets,
                base: image,
                count,
                names: position.wrapping_add(16),
                markers: 0,
            });
        }
    }
    None
}
