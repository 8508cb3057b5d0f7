//! A stretch of physical memory, and finding a free one.
//!
//! Addresses are plain `u64` here: memory is identity-mapped (docs/memory-map.md), so the same number
//! is a `HostPhys` to whoever copies an image there and a `GuestPhys` to the kernel that finds it.

use core::fmt;

/// The size of a page in bytes.
pub const PAGE: u64 = 4096;

/// 2 MiB: the large page of nested paging.
pub const LARGE_PAGE: u64 = 2 << 20;

/// Bytes from `base` up to `base + size`, which does not wrap.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    base: u64,
    size: u64,
}

impl Span {
    /// `size` bytes at `base`, or `None` if they end past 2^64 - 1.
    pub const fn new(base: u64, size: u64) -> Option<Self> {
        match base.checked_add(size) {
            Some(_) => Some(Self { base, size }),
            None => None,
        }
    }

    /// From `base` up to, not including, `end`; empty if `end` is not above `base`.
    pub const fn between(base: u64, end: u64) -> Self {
        Self {
            base,
            size: end.saturating_sub(base),
        }
    }

    /// The first byte's address.
    pub const fn base(self) -> u64 {
        self.base
    }

    /// The number of bytes.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// The address behind the last byte.
    pub const fn end(self) -> u64 {
        self.base + self.size
    }

    /// Whether it has no bytes.
    pub const fn is_empty(self) -> bool {
        self.size == 0
    }

    /// Whether all of `other` lies inside.
    pub const fn contains(self, other: Self) -> bool {
        self.base <= other.base && other.end() <= self.end()
    }

    /// Whether a byte belongs to both.
    pub const fn overlaps(self, other: Self) -> bool {
        self.base < other.end() && other.base < self.end() && self.size > 0 && other.size > 0
    }

    /// The whole pages that it touches, or `None` if they end past 2^64 - 1.
    pub fn to_pages(self) -> Option<Self> {
        let end = self.end().checked_next_multiple_of(PAGE)?;
        Some(Self::between(self.base - self.base % PAGE, end))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.base, self.end())
    }
}

/// What a place must be like.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Bytes.
    pub size: u64,
    /// The base is a multiple of this; a power of two or any number above zero.
    pub align: u64,
    /// Where it has to lie.
    pub within: Span,
}

/// The lowest place for `request` in `free` (ascending, disjoint) that overlaps none of `taken`.
pub fn lowest_place(
    free: impl Iterator<Item = Span>,
    taken: &[Span],
    request: Request,
) -> Option<Span> {
    for space in free {
        let limit = space.end().min(request.within.end());
        let mut from = space.base().max(request.within.base());
        // Each turn moves past one of `taken` for good, so there are at most that many.
        while let Some(base) = from.checked_next_multiple_of(request.align) {
            let place = Span::new(base, request.size).filter(|place| place.end() <= limit);
            let Some(place) = place else { break };
            match taken.iter().find(|other| other.overlaps(place)) {
                None => return Some(place),
                Some(other) => from = other.end(),
            }
        }
    }
    None
}

/// The highest place for `request` in `free` (ascending, disjoint) that overlaps none of `taken`.
pub fn highest_place(
    free: impl DoubleEndedIterator<Item = Span>,
    taken: &[Span],
    request: Request,
) -> Option<Span> {
    for space in free.rev() {
        let floor = space.base().max(request.within.base());
        let mut to = space.end().min(request.within.end());
        while let Some(unaligned) = to.checked_sub(request.size) {
            let past = unaligned.checked_rem(request.align)?;
            let base = unaligned - past;
            if base < floor {
                break;
            }
            let place = Span {
                base,
                size: request.size,
            };
            match taken.iter().find(|other| other.overlaps(place)) {
                None => return Some(place),
                Some(other) => to = other.base(),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: [Span; 2] = [
        Span {
            base: 0x1000,
            size: 0x9000,
        },
        Span {
            base: 0x10_0000,
            size: 0x3000,
        },
    ];

    fn ask(size: u64, align: u64) -> Request {
        Request {
            size,
            align,
            within: Span::between(0, u64::MAX),
        }
    }

    #[test]
    fn the_lowest_place_steps_over_what_is_taken() {
        let taken = [Span::between(0x1000, 0x1800), Span::between(0x2000, 0x3001)];
        let place = lowest_place(FREE.into_iter(), &taken, ask(0x1000, 0x1000));
        assert_eq!(place, Span::new(0x4000, 0x1000));
        let place = lowest_place(FREE.into_iter(), &[], ask(0x2000, 0x10_0000));
        assert_eq!(place, Span::new(0x10_0000, 0x2000));
    }

    #[test]
    fn the_highest_place_stays_below_what_is_taken() {
        let taken = [Span::between(0x10_2fff, 0x10_3000)];
        let place = highest_place(FREE.into_iter(), &taken, ask(0x1000, 0x1000));
        assert_eq!(place, Span::new(0x10_1000, 0x1000));
        let within = Span::between(0, 0x8800);
        let request = Request {
            within,
            ..ask(0x1000, 0x1000)
        };
        assert_eq!(
            highest_place(FREE.into_iter(), &[], request),
            Span::new(0x7000, 0x1000)
        );
    }

    #[test]
    fn what_fits_nowhere_is_none_even_at_the_edge_of_the_address_space() {
        assert_eq!(lowest_place(FREE.into_iter(), &[], ask(0xa000, 1)), None);
        let edge = [Span::between(u64::MAX - 0x1000, u64::MAX)];
        assert_eq!(
            lowest_place(edge.into_iter(), &[], ask(u64::MAX, 0x1000)),
            None
        );
        assert_eq!(highest_place(edge.into_iter(), &[], ask(0x1000, 0)), None);
    }
}
