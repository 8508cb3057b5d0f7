//! Every run of a program whose only freedom is a sequence of choices.
//!
//! A run asks [`Choices::choose`] whenever something could go this or that way. The first run takes the first
//! way everywhere; the next takes the second way at the last place that had one; and so on, until no place
//! has a way left: a depth-first walk through all runs.

/// The choices of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// What was chosen at each place, and of how many.
    taken: Vec<(usize, usize)>,
    next: usize,
}

impl Choices {
    /// One of `ways`, which is at least one.
    pub(crate) fn choose(&mut self, ways: usize) -> usize {
        let place = self.next;
        self.next += 1;
        if let Some(&(choice, of)) = self.taken.get(place) {
            assert_eq!(of, ways, "the same choices lead to the same run");
            return choice;
        }
        self.taken.push((0, ways));
        0
    }

    /// The choices of the next run, or `None` after the last.
    fn following(mut self) -> Option<Self> {
        self.taken.truncate(self.next);
        while let Some((choice, ways)) = self.taken.pop() {
            if choice + 1 < ways {
                self.taken.push((choice + 1, ways));
                self.next = 0;
                return Some(self);
            }
        }
        None
    }
}

/// Miri is after accesses and not after schedules, and takes a thousand times as long.
const MOST_UNDER_MIRI: usize = 60;

/// Runs `program` with every sequence of choices. Returns how many there were.
pub(crate) fn explore(mut program: impl FnMut(Choices) -> Choices) -> usize {
    let mut runs = 0;
    let mut next = Some(Choices::default());
    while let Some(choices) = next {
        runs += 1;
        assert!(runs <= 2_000_000, "too many runs: make the program smaller");
        next = program(choices).following();
        if cfg!(miri) && runs == MOST_UNDER_MIRI {
            break;
        }
    }
    runs
}

#[test]
fn every_combination_is_tried_once() {
    let mut seen = Vec::new();
    let runs = explore(|mut choices| {
        let first = choices.choose(3);
        // The second place exists on one way only.
        let second = if first == 1 { choices.choose(2) } else { 9 };
        seen.push((first, second));
        choices
    });
    assert_eq!(runs, 4);
    assert_eq!(seen, [(0, 9), (1, 0), (1, 1), (2, 9)]);
}
