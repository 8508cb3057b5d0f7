//! Which physical vector stands for which interrupt source of the GPOS.
//!
//! A guest says "send me this as vector 0xEC"; the hardware is told a vector out of the pool that
//! the GPOS's devices have, and on that vector this table gives back whose interrupt it is and what
//! the guest wished for. The pool ends below the classes of the nanokernel (0xC) and of the
//! real-time tasks (0xD to 0xF), so no wish of a guest can reach them, and above the exceptions and
//! the legacy controller's range.
//!
//! Passing the guest's own vector through was rejected: two sources may share a guest vector, the
//! guest may choose one of the real-time classes, and the physical priority of a device's interrupt
//! means nothing, since each one leaves the guest at once whatever its class.
//!
//! Invariants: a physical vector belongs to at most one source, a source has at most one, and every
//! vector handed out lies in [`FIRST_HOST_VECTOR`]`..=`[`LAST_HOST_VECTOR`]. Looking up is one
//! index; routing scans the pool, which happens when a guest sets up a source and not when it
//! interrupts.

use super::{FIRST_LEGAL_VECTOR, Trigger};
use core::fmt;
use darma_abi::units::Vector;

/// The lowest physical vector that a source of the GPOS gets.
pub const FIRST_HOST_VECTOR: Vector = Vector(0x30);
/// The highest: classes 0xC and above belong to the nanokernel and the real-time tasks.
pub const LAST_HOST_VECTOR: Vector = Vector(0xbf);

const POOL: usize = (LAST_HOST_VECTOR.0 - FIRST_HOST_VECTOR.0) as usize + 1;

/// Something that can interrupt and that the GPOS owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A pin of the I/O APIC.
    Pin(u8),
    /// A message of a PCI function: its index in the table of functions, and the entry of its
    /// MSI-X table or the number of its MSI message.
    Msi {
        /// Index of the function.
        function: u8,
        /// Entry or message number.
        entry: u16,
    },
}

/// What a physical vector stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Whose interrupt it is.
    pub source: Source,
    /// What the guest wants to see.
    pub guest: Vector,
    /// How the source signals.
    pub trigger: Trigger,
}

/// Why a source stays without a physical vector, and so has to stay masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteError {
    /// The guest asked for one of the vectors of the exceptions.
    IllegalVector(Vector),
    /// Every vector of the pool has a source.
    PoolExhausted,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IllegalVector(vector) => {
                write!(
                    f,
                    "interrupt vector {vector} is an exception's; source left masked"
                )
            }
            Self::PoolExhausted => {
                write!(
                    f,
                    "all {POOL} device vectors are in use; source left masked"
                )
            }
        }
    }
}

/// The table of routes.
#[derive(Clone, Debug)]
pub struct Routes {
    slots: [Option<Route>; POOL],
    refused: u32,
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl Routes {
    /// No routes.
    pub const fn new() -> Self {
        Self {
            slots: [None; POOL],
            refused: 0,
        }
    }

    /// Forgets every route, for the next boot of the GPOS. The sources must be masked before.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Gives `source` a physical vector, the one it has if it has one, and notes the guest's wish.
    ///
    /// # Errors
    /// [`RouteError`], counted; an existing route of the source is then as it was.
    pub fn route(
        &mut self,
        source: Source,
        guest: Vector,
        trigger: Trigger,
    ) -> Result<Vector, RouteError> {
        if guest.0 < FIRST_LEGAL_VECTOR {
            return Err(self.refuse(RouteError::IllegalVector(guest)));
        }
        let place = self
            .place_of(source)
            .or_else(|| self.slots.iter().position(Option::is_none));
        match place.and_then(|place| Some((self.slots.get_mut(place)?, host_vector(place)?))) {
            Some((slot, host)) => {
                *slot = Some(Route {
                    source,
                    guest,
                    trigger,
                });
                Ok(host)
            }
            None => Err(self.refuse(RouteError::PoolExhausted)),
        }
    }

    /// Takes the physical vector of `source` back. The source must be masked before.
    pub fn release(&mut self, source: Source) {
        let slot = self
            .place_of(source)
            .and_then(|place| self.slots.get_mut(place));
        if let Some(slot) = slot {
            *slot = None;
        }
    }

    /// What the physical vector `host` stands for; `None` for one outside of the pool or free.
    pub fn lookup(&self, host: Vector) -> Option<Route> {
        let place = host.0.checked_sub(FIRST_HOST_VECTOR.0)?;
        self.slots.get(usize::from(place)).copied().flatten()
    }

    /// The physical vector that `source` has.
    pub fn host_vector(&self, source: Source) -> Option<Vector> {
        self.place_of(source).and_then(host_vector)
    }

    /// Every route with its physical vector, for the log.
    pub fn iter(&self) -> impl Iterator<Item = (Vector, Route)> + '_ {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(place, slot)| Some((host_vector(place)?, (*slot)?)))
    }

    /// How many wishes were refused. Saturating.
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    fn place_of(&self, source: Source) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.is_some_and(|route| route.source == source))
    }

    fn refuse(&mut self, error: RouteError) -> RouteError {
        self.refused = self.refused.saturating_add(1);
        error
    }
}

fn host_vector(place: usize) -> Option<Vector> {
    let host = FIRST_HOST_VECTOR.0.checked_add(u8::try_from(place).ok()?)?;
    (host <= LAST_HOST_VECTOR.0).then_some(Vector(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DISK: Source = Source::Msi {
        function: 3,
        entry: 1,
    };

    #[test]
    fn a_route_leads_back_to_its_source_and_the_guests_wish() {
        let mut routes = Routes::new();
        let host = routes.route(DISK, Vector(0xef), Trigger::Edge).unwrap();
        let route = Route {
            source: DISK,
            guest: Vector(0xef),
            trigger: Trigger::Edge,
        };
        assert_eq!(routes.lookup(host), Some(route));
        assert_eq!(routes.host_vector(DISK), Some(host));
    }

    #[test]
    fn a_new_wish_keeps_the_physical_vector() {
        let mut routes = Routes::new();
        let host = routes.route(DISK, Vector(0x31), Trigger::Edge).unwrap();
        assert_eq!(routes.route(DISK, Vector(0x41), Trigger::Edge), Ok(host));
        assert_eq!(routes.lookup(host).unwrap().guest, Vector(0x41));
        assert_eq!(routes.iter().count(), 1);
    }

    #[test]
    fn two_sources_may_wish_for_the_same_vector() {
        let mut routes = Routes::new();
        let one = routes
            .route(Source::Pin(1), Vector(0x31), Trigger::Edge)
            .unwrap();
        let two = routes
            .route(Source::Pin(2), Vector(0x31), Trigger::Level)
            .unwrap();
        assert_ne!(one, two);
    }

    #[test]
    fn a_released_vector_stands_for_nothing_and_is_given_out_again() {
        let mut routes = Routes::new();
        let host = routes.route(DISK, Vector(0x31), Trigger::Edge).unwrap();
        routes.release(DISK);
        assert_eq!(routes.lookup(host), None);
        assert_eq!(
            routes.route(Source::Pin(9), Vector(0x31), Trigger::Edge),
            Ok(host)
        );
    }

    #[test]
    fn an_exceptions_vector_is_refused_and_counted() {
        let mut routes = Routes::new();
        let refusal = Err(RouteError::IllegalVector(Vector(0x0f)));
        assert_eq!(routes.route(DISK, Vector(0x0f), Trigger::Edge), refusal);
        assert_eq!(routes.refused(), 1);
        assert_eq!(routes.host_vector(DISK), None);
    }

    #[test]
    fn a_full_pool_refuses_the_newcomer_and_serves_the_others() {
        let mut routes = Routes::new();
        for entry in 0..144 {
            let source = Source::Msi { function: 0, entry };
            assert!(routes.route(source, Vector(0x40), Trigger::Edge).is_ok());
        }
        let refusal = Err(RouteError::PoolExhausted);
        assert_eq!(
            routes.route(Source::Pin(0), Vector(0x40), Trigger::Edge),
            refusal
        );
        let first = Source::Msi {
            function: 0,
            entry: 0,
        };
        assert!(routes.route(first, Vector(0x50), Trigger::Edge).is_ok());
    }

    #[test]
    fn vectors_outside_of_the_pool_stand_for_nothing() {
        let mut routes = Routes::new();
        for entry in 0..144 {
            let _ = routes.route(
                Source::Msi { function: 0, entry },
                Vector(0x40),
                Trigger::Edge,
            );
        }
        for host in (0..0x30).chain(0xc0..=0xff) {
            assert_eq!(routes.lookup(Vector(host)), None);
        }
    }

    proptest! {
        #[test]
        fn no_history_of_wishes_ever_yields_a_vector_outside_of_the_pool(
            wishes in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<bool>()), 0..400)
        ) {
            let mut routes = Routes::new();
            for (source, guest, release) in wishes {
                let source = Source::Pin(source);
                if release {
                    routes.release(source);
                    continue;
                }
                if let Ok(host) = routes.route(source, Vector(guest), Trigger::Level) {
                    prop_assert!((0x30..0xc0).contains(&host.0));
                    prop_assert_eq!(routes.lookup(host).unwrap().source, source);
                    prop_assert_eq!(routes.lookup(host).unwrap().guest, Vector(guest));
                }
            }
            for (host, route) in routes.iter() {
                prop_assert_eq!(routes.host_vector(route.source), Some(host));
            }
        }
    }
}
