//! One of the longest waits: what it went to, piece by piece, and what happened around it.
//!
//! The image reports a sample with its events; here the same code that blames in the image cuts the
//! wait into pieces. All texts are made now, so that a report that is read back explains itself.

use std::collections::BTreeMap;

use darma_abi::units::Cycles;
use darma_trace::report::named_number;
use darma_trace::{Event, Kind, Names, What, segments};
use serde::{Deserialize, Serialize};

use crate::quantity::duration;
use crate::report::Load;

/// A long wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    /// The task that waited.
    pub task: String,
    /// Under which load.
    pub load: Load,
    /// When it was due, since the nanokernel started.
    pub released_at_ns: u64,
    /// From then to its first instruction.
    pub latency_ns: u64,
    /// What stood longest in its way.
    pub culprit: String,
    /// How long that was.
    pub culprit_ns: u64,
    /// How little it was in another wait, if it is a part of every wait; 0 if it need not be at all.
    #[serde(default)]
    pub culprit_least_ns: u64,
    /// What the wait went to, without gaps.
    pub spans: Vec<Span>,
    /// What happened shortly before and during it.
    pub moments: Vec<Moment>,
}

/// A piece of the wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its beginning, since the release.
    pub from_ns: u64,
    /// Its end, since the release.
    pub to_ns: u64,
    /// What it went to.
    pub what: String,
    /// It stood in the way, or it is that part of every wait which was longer than in others.
    pub in_the_way: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, since the release; negative before it.
    pub at_ns: i64,
    /// What.
    pub what: String,
}

/// A sample as the image reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The task's name.
    pub task: String,
    /// Its number in the trace.
    pub task_number: u32,
    /// Under which load.
    pub load: Load,
    /// When it was due.
    pub released_at_ns: u64,
    /// From then to its first instruction.
    pub latency_ns: u64,
    /// What the image blames.
    pub culprit: String,
    /// How long that took.
    pub culprit_ns: u64,
    /// How little that took in another wait, if it is a part of every wait.
    pub culprit_least_ns: u64,
}

/// Names of numbers, by the code of the kind that carries them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable(BTreeMap<(u8, u32), String>);

impl NameTable {
    /// Notes a name.
    pub fn insert(&mut self, kind: u8, number: u32, name: &str) {
        self.0.insert((kind, number), name.to_owned());
    }

    fn of_kind(&self, kind: Kind, number: u32) -> Option<&str> {
        self.0.get(&(kind.code(), number)).map(String::as_str)
    }
}

impl Names for NameTable {
    fn name(&self, what: What) -> Option<&str> {
        match what {
            What::Task(number) | What::Release(number) => self.of_kind(Kind::TaskBegin, number),
            What::Device(number) => self.of_kind(Kind::DeviceInterrupt, number),
            What::Section(number) => self.of_kind(Kind::SectionBegin, number),
            What::Lock(number) => self.of_kind(Kind::Lock, number),
            What::Emulation(number) => self.of_kind(Kind::EmulateBegin, number),
            What::Load(number) => self.of_kind(Kind::LoadStep, number),
            What::Capture(number) => self.of_kind(Kind::CaptureStep, number),
            _ => None,
        }
    }
}

/// Most moments before the release that are kept; the latest are.
const BEFORE: usize = 12;
/// Most moments of the wait that are kept.
const WITHIN: usize = 60;

impl Worst {
    /// From a sample and its events. Their times are nanoseconds; whatever they are, the pieces sum to
    /// the wait.
    #[must_use]
    pub fn new(sample: Sample, events: &[Event], names: &NameTable) -> Self {
        let released = sample.released_at_ns;
        let started = released.saturating_add(sample.latency_ns);
        let mut spans: Vec<Span> = Vec::new();
        let (from, to) = (Cycles(released), Cycles(started));
        segments(events, from, to, sample.task_number, |segment| {
            let what = segment.what.named(names).to_string();
            let to_ns = segment.to.0 - released;
            let longer = sample.culprit_least_ns > 0 && what == sample.culprit;
            match spans.last_mut() {
                Some(last) if last.what == what => last.to_ns = to_ns,
                _ => spans.push(Span {
                    from_ns: segment.from.0 - released,
                    to_ns,
                    what,
                    in_the_way: segment.what.stood_in_the_way() || longer,
                }),
            }
        });
        let first = events
            .iter()
            .position(|event| event.at.0 >= released)
            .unwrap_or(events.len());
        let (before, within) = events.split_at(first);
        let near = before.iter().skip(before.len().saturating_sub(BEFORE));
        let within = within.iter().take_while(|event| event.at.0 <= started);
        let moments = near
            .chain(within.take(WITHIN))
            .map(|event| Moment {
                at_ns: since(released, event.at.0),
                what: said(event, names),
            })
            .collect();
        Self {
            task: sample.task,
            load: sample.load,
            released_at_ns: released,
            latency_ns: sample.latency_ns,
            culprit: sample.culprit,
            culprit_ns: sample.culprit_ns,
            culprit_least_ns: sample.culprit_least_ns,
            spans,
            moments,
        }
    }
}

impl Worst {
    /// The culprit with its times: `task logger, 270 ns`, or `guest exit, 220 ns (at its shortest 68 ns)`.
    #[must_use]
    pub fn blamed(&self) -> String {
        let time = duration(self.culprit_ns);
        let culprit = &self.culprit;
        match self.culprit_least_ns {
            0 => format!("{culprit}, {time}"),
            least => format!("{culprit}, {time} (at its shortest {})", duration(least)),
        }
    }
}

fn since(released: u64, at: u64) -> i64 {
    let distance = i64::try_from(at.abs_diff(released)).unwrap_or(i64::MAX);
    if at < released { -distance } else { distance }
}

/// An event in words.
fn said(event: &Event, names: &NameTable) -> String {
    let name = event.kind.name();
    match named_number(event.kind, event.argument) {
        Some((_, what)) => match names.name(what) {
            Some(of) => format!("{name}: {of}"),
            None => format!("{name}: {}", event.argument),
        },
        None if event.kind == Kind::Mark => format!("{name} {}", event.argument),
        None => name.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{NameTable, Sample, Worst};
    use darma_abi::codes::Phase;
    use darma_abi::units::Cycles;
    use darma_trace::{Event, Kind};

    /// A wait in which another task stood in the way.
    pub(crate) fn example() -> Worst {
        let mut names = NameTable::default();
        names.insert(Kind::TaskBegin.code(), 1, "control-1khz");
        names.insert(Kind::TaskBegin.code(), 2, "logger");
        names.insert(Kind::EmulateBegin.code(), 0, "interrupt");
        let events = [
            (9_500, Kind::GuestEnter, 0),
            (10_040, Kind::GuestExit, 0),
            (10_060, Kind::TimerBegin, 0),
            (10_160, Kind::Release, 2),
            (10_230, Kind::Release, 1),
            (10_290, Kind::TimerEnd, 0),
            (10_330, Kind::TaskBegin, 2),
            (10_600, Kind::TaskEnd, 2),
            (10_680, Kind::TaskBegin, 1),
            (11_000, Kind::TaskEnd, 1),
        ];
        let events = events.map(|(at, kind, argument)| Event {
            at: Cycles(at),
            kind,
            argument,
        });
        let sample = Sample {
            task: "control-1khz".into(),
            task_number: 1,
            load: Phase::Loaded,
            released_at_ns: 10_000,
            latency_ns: 680,
            culprit: "task logger".into(),
            culprit_ns: 310,
            culprit_least_ns: 0,
        };
        Worst::new(sample, &events, &names)
    }

    #[test]
    fn the_pieces_sum_to_the_wait_and_bear_names() {
        let worst = example();
        let mut at = 0;
        for span in &worst.spans {
            assert_eq!(span.from_ns, at);
            at = span.to_ns;
        }
        assert_eq!(at, worst.latency_ns);
        let ways: Vec<&str> = worst
            .spans
            .iter()
            .filter(|span| span.in_the_way)
            .map(|span| span.what.as_str())
            .collect();
        assert_eq!(ways, ["release of logger", "task logger"]);
    }

    #[test]
    fn moments_stand_before_and_in_the_wait_and_none_after_it() {
        let worst = example();
        assert_eq!(worst.moments[0].at_ns, -500);
        assert_eq!(worst.moments[1].what, "guest left: interrupt");
        assert_eq!(
            worst.moments.last().map(|last| last.what.as_str()),
            Some("task begins: control-1khz")
        );
    }
}
