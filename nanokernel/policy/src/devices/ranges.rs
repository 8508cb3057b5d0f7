//! Spans of physical address space, and finding room between them.
//!
//! A span is kept as first address and length, so that one ending at 2^64 needs no special case.
//! Invariant: a [`Span`] has at least one byte and does not wrap.

use heapless::Vec;

/// A non-empty run of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: u64,
    last: u64,
}

impl Span {
    /// `length` bytes from `first` on; `None` if that is nothing or wraps.
    pub const fn new(first: u64, length: u64) -> Option<Self> {
        let Some(more) = length.checked_sub(1) else {
            return None;
        };
        match first.checked_add(more) {
            Some(last) => Some(Self { first, last }),
            None => None,
        }
    }

    /// From `first` to `last`, both included; `None` if they are the wrong way round.
    pub const fn between(first: u64, last: u64) -> Option<Self> {
        if first <= last {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// The lowest address.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The highest address.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether all of `other` lies in this one.
    pub const fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether `at` lies in this span.
    pub const fn has(self, at: u64) -> bool {
        self.first <= at && at <= self.last
    }
}

/// Where device memory may lie, and what in there is taken.
///
/// The windows are those that the firmware's root bridge decodes; the protected spans are what no
/// register of the GPOS's devices may ever be moved over: RAM, the local APIC's and the I/O APIC's
/// pages, hidden functions, the nanokernel's own virtual registers.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    /// Device memory windows of the root bus.
    pub memory_windows: Vec<Span, 8>,
    /// Memory that is protected.
    pub protected_memory: Vec<Span, 64>,
    /// Ports that are protected.
    pub protected_ports: Vec<Span, 32>,
}

/// The local APIC's pages of every processor and the address range of interrupt messages.
const MESSAGES: Span = Span {
    first: 0xfee0_0000,
    last: 0xfeef_ffff,
};
/// Where ports of PCI functions begin: below lie the system's own.
const FIRST_PCI_PORT: u64 = 0x1000;

impl AddressRules {
    /// Whether a function's memory may be moved to `span`. The message range is protected whether
    /// or not it is listed.
    pub fn allows_memory(&self, span: Span) -> bool {
        self.memory_windows
            .iter()
            .any(|window| window.contains(span))
            && !span.overlaps(MESSAGES)
            && !self
                .protected_memory
                .iter()
                .any(|taken| taken.overlaps(span))
    }

    /// Whether a function's ports may be moved to `span`.
    pub fn allows_ports(&self, span: Span) -> bool {
        span.first >= FIRST_PCI_PORT
            && span.last <= 0xffff
            && !self
                .protected_ports
                .iter()
                .any(|taken| taken.overlaps(span))
    }

    /// Finds `size` bytes (a power of two), aligned to their size, below 4 GiB and free of
    /// `occupied` and of everything protected: the highest such place, because firmware allots
    /// from below. `None` if there is none or the size is no power of two.
    pub fn place(&self, size: u64, occupied: &[Span]) -> Option<Span> {
        if !size.is_power_of_two() {
            return None;
        }
        let mut best: Option<Span> = None;
        for window in &self.memory_windows {
            let Some(found) = self.place_in(*window, size, occupied) else {
                continue;
            };
            if best.is_none_or(|best| found.first > best.first) {
                best = Some(found);
            }
        }
        best
    }

    /// Goes down from the window's end; each taken span that is met moves the candidate below it,
    /// so there are at most as many steps as taken spans, each of which is met once.
    fn place_in(&self, window: Span, size: u64, occupied: &[Span]) -> Option<Span> {
        let end = window.last.min(0xffff_ffff).checked_add(1)?;
        let mut first = end.checked_sub(size)? & !(size - 1);
        for _ in 0..=(occupied.len() + self.protected_memory.len() + 1) {
            let candidate = Span::new(first, size)?;
            if candidate.first < window.first {
                return None;
            }
            let taken = self
                .protected_memory
                .iter()
                .chain(occupied)
                .chain([&MESSAGES]);
            match taken
                .filter(|taken| taken.overlaps(candidate))
                .map(|taken| taken.first)
                .min()
            {
                None => return Some(candidate),
                Some(lowest) => first = lowest.checked_sub(size)? & !(size - 1),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, length: u64) -> Span {
        Span::new(first, length).unwrap()
    }

    #[test]
    fn a_span_may_end_at_the_last_address_but_not_wrap() {
        assert!(Span::new(u64::MAX, 1).is_some());
        assert!(Span::new(u64::MAX, 2).is_none());
        assert!(Span::new(0, 0).is_none());
    }

    #[test]
    fn room_is_found_aligned_below_what_is_taken() {
        let mut rules = AddressRules::default();
        rules
            .memory_windows
            .push(span(0xc000_0000, 0x3ec0_0000))
            .unwrap();
        let taken = [span(0xfeb0_0000, 0x1000), span(0xfebf_f000, 0x1000)];
        assert_eq!(rules.place(0x1000, &taken), Some(span(0xfebf_e000, 0x1000)));
        assert_eq!(
            rules.place(0x10_0000, &taken),
            Some(span(0xfea0_0000, 0x10_0000))
        );
        assert_eq!(rules.place(0x8000_0000, &taken), None);
        assert_eq!(rules.place(3, &taken), None);
    }

    #[test]
    fn the_message_range_is_never_allowed() {
        let mut rules = AddressRules::default();
        rules.memory_windows.push(span(0, 1 << 40)).unwrap();
        assert!(!rules.allows_memory(span(0xfee0_0000, 0x1000)));
        assert!(!rules.allows_memory(span(0xfe00_0000, 0x100_0000)));
        assert!(rules.allows_memory(span(0xfd00_0000, 0x100_0000)));
    }
}
