//! Rings of events: one is written, the others hold the histories of the worst samples.
//!
//! **Writing.** A writer claims a sequence number with one `fetch_add`, which is all the exclusion
//! there is: writers nest (an interrupt at any instruction writes its own events in between) and
//! never wait. The number gives the slot and the tag. The time goes into the slot first, the tagged
//! word second, so a matching tag means that both words are this event's.
//!
//! **Freezing.** A sample that is among the worst of its group keeps the current ring; the ring of its
//! place, empty or with the least of them, becomes the current one. Nothing is copied or cleared:
//! each ring notes from which to which number its events go, and the tags tell the rest. A history
//! may reach back into other rings, and the reader looks there too.
//!
//! **Losses**, all recognised by the reader: the event of a writer that a freeze interrupts between
//! its claim and its store; the oldest events of a ring that has gone round.
//!
//! **Reading** happens in the main loop, which every writer interrupts and none shares a moment
//! with. Whoever reads first reads the words and then asks whether their slot has been claimed, or
//! their ring exchanged, since. The orderings are those of a sequence lock, so that this holds between
//! processors too; on x86 they cost no instruction.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use darma_abi::codes::Phase;
use darma_abi::units::Cycles;

use crate::event::{Event, Kind, TAG_SHIFT, pack, unpack};

/// What the counter is advanced by: one sequence number.
const STEP: u64 = 1 << TAG_SHIFT;

/// One activation whose latency is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Index of the task in the application's table.
    pub task: u8,
    /// Under which condition it was measured.
    pub phase: Phase,
    /// Samples compete for a place within their group only: a long wait under load must not displace
    /// the longest one without.
    pub group: u8,
    /// When it was due.
    pub released: Cycles,
    /// When its first instruction ran.
    pub started: Cycles,
}

impl Sample {
    /// From release to first instruction.
    pub const fn latency(&self) -> Cycles {
        self.started.saturating_since(self.released)
    }
}

/// A sample whose history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The sample.
    pub sample: Sample,
    ring: usize,
    generation: u32,
    end: u64,
}

/// What is noted of a ring beside its events.
struct Label {
    /// Counts how often it was made current: whoever reads finds its ring exchanged by it.
    generation: AtomicU32,
    /// First sequence number that may be in it.
    begin: AtomicU64,
    /// First that is not; u64::MAX while it is current.
    end: AtomicU64,
}

/// Where a group keeps one of its worst samples.
struct Place {
    /// First slot of the ring with its history.
    base: AtomicUsize,
    /// 0: no sample is kept here yet.
    latency: AtomicU64,
    /// The task, and the phase's code above it.
    who: AtomicU64,
    released: AtomicU64,
    started: AtomicU64,
}

/// One ring without kept samples: the last `N` events.
pub type Ring<const N: usize> = Recorder<1, N>;

/// `K` rings of `N` events, `16 * K * N` bytes and a few words; both are powers of two. Each of `G`
/// groups keeps its `(K - 1) / G` worst samples.
///
/// # Cost
/// [`Recorder::record`] into a static of 256 events a ring, beside reading the clock: 10 instructions
/// with an argument that the compiler knows to be 0, 12 with one from a register; 2 more for a ring
/// of another size (x86-64, `opt-level` 3, read from the disassembly). [`Recorder::would_keep`] of a
/// group that the compiler knows is a load, a compare and a branch. [`Recorder::freeze`], with two
/// places a group: about 90 instructions.
pub struct Recorder<const K: usize, const N: usize, const G: usize = 1> {
    /// The next sequence number, shifted to the tag's place.
    counter: AtomicU64,
    /// First slot of the current ring.
    base: AtomicUsize,
    // Two arrays, not one of pairs: an index scaled by eight needs no shift before it.
    times: [[AtomicU64; N]; K],
    words: [[AtomicU64; N]; K],
    labels: [Label; K],
    /// Group g has the `PER_GROUP` places from `g * PER_GROUP` on.
    places: [Place; K],
    least: [AtomicU64; G],
    freezing: AtomicBool,
}

impl<const K: usize, const N: usize, const G: usize> Default for Recorder<K, N, G> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const K: usize, const N: usize, const G: usize> Recorder<K, N, G> {
    const SHAPE: () = {
        assert!(N.is_power_of_two() && N >= 2, "N: a power of two");
        assert!(K.is_power_of_two(), "K: a power of two");
        assert!(G >= 1 && G <= 256, "G: one group at least");
        assert!(K == 1 || (K - 1) / G >= 1, "K: a ring more than groups");
        // A tag repeats after 2^24 numbers; a ring must be long through by then.
        assert!(N <= 1 << 20, "N: at most a million events");
    };

    /// How many samples each group keeps.
    pub const PER_GROUP: usize = (K - 1) / G;

    /// Empty, usable in a static.
    pub const fn new() -> Self {
        let () = Self::SHAPE;
        let mut labels = [const {
            Label {
                generation: AtomicU32::new(0),
                begin: AtomicU64::new(0),
                end: AtomicU64::new(0),
            }
        }; K];
        labels[0].end = AtomicU64::new(u64::MAX);
        let mut places = [const {
            Place {
                base: AtomicUsize::new(0),
                latency: AtomicU64::new(0),
                who: AtomicU64::new(0),
                released: AtomicU64::new(0),
                started: AtomicU64::new(0),
            }
        }; K];
        // Ring 0 is current; every place begins with an empty ring of its own.
        let mut place = 0;
        while place + 1 < K {
            places[place].base = AtomicUsize::new((place + 1) * N);
            place += 1;
        }
        Self {
            counter: AtomicU64::new(0),
            base: AtomicUsize::new(0),
            times: [const { [const { AtomicU64::new(0) }; N] }; K],
            words: [const { [const { AtomicU64::new(0) }; N] }; K],
            labels,
            places,
            least: [const { AtomicU64::new(0) }; G],
            freezing: AtomicBool::new(false),
        }
    }

    /// Notes that `kind` happened at `at`. From any interrupt level, at any time.
    #[inline(always)]
    pub fn record(&self, at: Cycles, kind: Kind, argument: u32) {
        let counter = self.counter.fetch_add(STEP, Ordering::Relaxed);
        fence(Ordering::Release);
        let base = self.base.load(Ordering::Relaxed);
        // In range for every base: the mask spares the bound check. A sum, because a compiler would
        // move the mask into an OR and so need an instruction more.
        let slot = base.wrapping_add(place::<N>(counter >> TAG_SHIFT)) & (K * N - 1);
        self.times.as_flattened()[slot].store(at.0, Ordering::Relaxed);
        self.words.as_flattened()[slot].store(pack(counter, kind, argument), Ordering::Release);
    }

    /// Whether [`Self::freeze`] would keep a sample of this group with this latency. One compare; a
    /// group that does not exist keeps nothing.
    #[inline(always)]
    pub fn would_keep(&self, group: u8, latency: Cycles) -> bool {
        self.least
            .get(usize::from(group))
            .is_some_and(|least| latency.0 > least.load(Ordering::Relaxed))
    }

    /// Keeps the history of `sample` if it is among the worst of its group; says whether it was kept.
    /// One at a time: a call from inside another is refused.
    #[inline(never)]
    pub fn freeze(&self, sample: Sample) -> bool {
        if K == 1 || !self.would_keep(sample.group, sample.latency()) {
            return false;
        }
        if self.freezing.swap(true, Ordering::Acquire) {
            return false;
        }
        let kept = self.exchange(sample);
        self.freezing.store(false, Ordering::Release);
        kept.is_some()
    }

    fn exchange(&self, sample: Sample) -> Option<()> {
        let group = usize::from(sample.group);
        let latency = |place: &Place| place.latency.load(Ordering::Relaxed);
        let first = group * Self::PER_GROUP;
        let places = self.places.get(first..first + Self::PER_GROUP)?;
        let place = places.iter().min_by_key(|place| latency(place))?;
        let (old_base, new_base) = (
            self.base.load(Ordering::Relaxed),
            place.base.load(Ordering::Relaxed),
        );
        let (old, new) = (
            self.labels.get(old_base / N)?,
            self.labels.get(new_base / N)?,
        );

        // Before anything of the displaced history changes, whoever reads it must be able to see that.
        let generation = new.generation.load(Ordering::Relaxed);
        let next = generation.wrapping_add(1);
        new.generation.store(next, Ordering::Relaxed);
        fence(Ordering::Release);

        let end = self.sequence();
        old.end.store(end, Ordering::Relaxed);
        new.begin.store(end, Ordering::Relaxed);
        new.end.store(u64::MAX, Ordering::Relaxed);
        self.base.store(new_base, Ordering::Release);

        let who = u64::from(sample.task) | u64::from(sample.phase.code()) << 8;
        place.who.store(who, Ordering::Relaxed);
        place.released.store(sample.released.0, Ordering::Relaxed);
        place.started.store(sample.started.0, Ordering::Relaxed);
        place.latency.store(sample.latency().0, Ordering::Relaxed);
        place.base.store(old_base, Ordering::Release);
        let least = places.iter().map(latency).min()?;
        self.least.get(group)?.store(least, Ordering::Relaxed);
        Some(())
    }

    /// The kept samples, in no order. A sample that is displaced meanwhile is not among them, or
    /// [`Self::is_kept`] says no afterwards.
    pub fn kept(&self) -> impl Iterator<Item = Kept> {
        let groups = self.places.chunks(Self::PER_GROUP.max(1));
        (0u8..)
            .zip(groups.take(G))
            .flat_map(move |(group, places)| {
                places
                    .iter()
                    .filter_map(move |place| self.kept_in(place, group))
            })
    }

    fn kept_in(&self, place: &Place, group: u8) -> Option<Kept> {
        let base = place.base.load(Ordering::Acquire);
        let ring = base / N;
        let generation = self.labels.get(ring)?.generation.load(Ordering::Acquire);
        let [task, phase, ..] = place.who.load(Ordering::Relaxed).to_le_bytes();
        let kept = Kept {
            sample: Sample {
                task,
                phase: Phase::from_code(u32::from(phase))?,
                group,
                released: Cycles(place.released.load(Ordering::Relaxed)),
                started: Cycles(place.started.load(Ordering::Relaxed)),
            },
            ring,
            generation,
            end: self.labels.get(ring)?.end.load(Ordering::Relaxed),
        };
        // The place may have been given to another sample while it was read.
        fence(Ordering::Acquire);
        let same = place.base.load(Ordering::Relaxed) == base;
        (same && self.is_kept(&kept)).then_some(kept)
    }

    /// Whether the history is still there: asked after [`Self::events`], it tells whether all that
    /// was read belongs to the sample.
    pub fn is_kept(&self, kept: &Kept) -> bool {
        fence(Ordering::Acquire);
        self.labels.get(kept.ring).is_some_and(|label| {
            label.generation.load(Ordering::Relaxed) == kept.generation
                && label.end.load(Ordering::Relaxed) == kept.end
        })
    }

    /// The events up to the moment at which the sample was kept, oldest first, at most `N`, in the order
    /// in which they were recorded. Ends early if the sample is displaced meanwhile. For the main
    /// loop, interrupts on.
    pub fn events(&self, kept: &Kept) -> impl Iterator<Item = Event> {
        let kept = *kept;
        self.before(kept.end)
            .take_while(move |_| self.is_kept(&kept))
            .flatten()
    }

    /// The last events until now, as far as they are still there, oldest first, at most `N`.
    pub fn recent(&self) -> impl Iterator<Item = Event> {
        self.before(self.sequence()).flatten()
    }

    /// The next sequence number.
    fn sequence(&self) -> u64 {
        self.counter.load(Ordering::Acquire) >> TAG_SHIFT
    }

    fn before(&self, end: u64) -> impl Iterator<Item = Option<Event>> {
        let events = u64::try_from(N).unwrap_or(u64::MAX);
        (end.saturating_sub(events)..end).map(|sequence| self.find(sequence))
    }

    /// The event with this number, from whichever ring holds it.
    fn find(&self, sequence: u64) -> Option<Event> {
        let at = place::<N>(sequence);
        let holds = |label: &Label| {
            let begin = label.begin.load(Ordering::Acquire);
            let end = label.end.load(Ordering::Acquire);
            (begin..end).contains(&sequence)
        };
        let rings = self.times.iter().zip(&self.words).zip(&self.labels);
        for ((times, words), label) in rings {
            let generation = label.generation.load(Ordering::Acquire);
            if !holds(label) {
                continue;
            }
            let word = words.get(at)?.load(Ordering::Acquire);
            let time = times.get(at)?.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            // Whoever overwrites the slot has claimed this number plus N before.
            let claimed = self.sequence();
            let lap = sequence.saturating_add(u64::try_from(N).unwrap_or(u64::MAX));
            let frozen = label.end.load(Ordering::Relaxed) != u64::MAX;
            if label.generation.load(Ordering::Relaxed) == generation && (frozen || claimed <= lap)
            {
                return unpack(time, word, sequence << TAG_SHIFT);
            }
        }
        None
    }
}

/// The place of a sequence number in a ring.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "the mask leaves twenty bits at most"
)]
const fn place<const N: usize>(sequence: u64) -> usize {
    sequence as usize & (N - 1)
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
