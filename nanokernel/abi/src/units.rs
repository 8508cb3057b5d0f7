//! Newtypes for the quantities that must never be mixed up: addresses of the host, addresses of
//! the guest, interrupt vectors, cycles and nanoseconds.
//!
//! They are plain numbers with a name. Arithmetic that could wrap is offered only in checked or
//! saturating form, because most of these values start as an allegation made by the guest.

use core::fmt;

macro_rules! unit {
    ($(#[$meta:meta])* $name:ident, $inner:ty, $fmt:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(", $fmt, ")"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $fmt, self.0)
            }
        }
    };
}

unit!(
    /// A physical address as the processor's buses see it.
    HostPhys, u64, "{:#x}"
);
unit!(
    /// A physical address as the GPOS sees it, before nested paging.
    GuestPhys, u64, "{:#x}"
);
unit!(
    /// A linear address inside the GPOS.
    GuestVirt, u64, "{:#x}"
);
unit!(
    /// An interrupt vector, 0 to 255; its upper four bits are its priority class (APM2 16.6.1).
    Vector, u8, "{:#04x}"
);
unit!(
    /// A count or a point of the time-stamp counter.
    Cycles, u64, "{}"
);
unit!(
    /// Nanoseconds, as a duration or since the nanokernel started.
    Nanos, u64, "{}"
);

impl HostPhys {
    /// The address `bytes` above this one, or `None` if that is past 2^64.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl GuestPhys {
    /// The address `bytes` above this one, or `None` if that is past 2^64.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl Vector {
    /// The priority class: the upper four bits, which the local APIC compares (APM2 16.6.1).
    pub const fn class(self) -> u8 {
        self.0 >> 4
    }
}

impl Cycles {
    /// This point minus `earlier`, or zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vectors_class_is_its_upper_nibble() {
        assert_eq!(Vector(0xe7).class(), 0xe);
    }

    #[test]
    fn addresses_do_not_wrap() {
        assert_eq!(GuestPhys(u64::MAX).checked_add(1), None);
        assert_eq!(HostPhys(0x1000).checked_add(0x10), Some(HostPhys(0x1010)));
    }
}
