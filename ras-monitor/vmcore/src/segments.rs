//! From pages to segments: lost pages in none, zero pages inside one without room in the file.
//!
//! A segment's zeros at its end take no bytes (`p_memsz` beyond `p_filesz`), so a run of zero pages ends
//! a segment's data. Short runs are written out: each further segment costs a header, and the tools
//! look segments up one after another. How short is decided by how many segments there would be.

use darma_abi::units::GuestPhys;
use darma_ras_model::dump::Contents;
use darma_ras_model::memory::PAGE_BYTES_U64;

use crate::{Error, Pages};

/// The most segments: `e_phnum` has 16 bits, the largest value of which means something else, and the
/// notes and the kernel's image need some.
pub const SEGMENTS_MAX: usize = 65_000;
/// Above so many segments, longer runs of zeros are written out.
const COMFORTABLE: usize = 512;
/// The shortest run of zero pages that is worth a segment.
const SHORTEST_RUN: u64 = 16;
/// The longest run that is ever written out, in pages: 4 MiB.
const LONGEST_RUN: u64 = 1024;

/// Pages in a row. In the file are those up to the last one that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The number of its first page.
    pub first_page: u64,
    /// Where that lies.
    pub start: GuestPhys,
    /// All its pages.
    pub pages: u64,
    /// How many of them are in the file.
    pub file_pages: u64,
}

impl Segment {
    /// One past its last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start
            .0
            .saturating_add(self.pages.saturating_mul(PAGE_BYTES_U64))
    }
}

/// The segments of these pages, whose contents are `kinds`.
///
/// # Errors
/// What is left lies in too many pieces, or nothing is left.
pub fn plan(pages: &impl Pages, kinds: &[Contents]) -> Result<Vec<Segment>, Error> {
    let mut run = SHORTEST_RUN;
    loop {
        let segments = split(pages, kinds, run);
        if segments.is_empty() {
            return Err(Error::NothingLeft);
        }
        if segments.len() <= COMFORTABLE || run >= LONGEST_RUN {
            return if segments.len() <= SEGMENTS_MAX {
                Ok(segments)
            } else {
                Err(Error::TooManyPieces(segments.len()))
            };
        }
        run *= 2;
    }
}

fn split(pages: &impl Pages, kinds: &[Contents], run: u64) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut open: Option<Segment> = None;
    for (page, contents) in (0..).zip(kinds) {
        let address = pages.address(page);
        let Some(address) = address.filter(|_| *contents != Contents::Lost) else {
            segments.extend(open.take());
            continue;
        };
        let saved = *contents == Contents::Saved;
        // Behind a long run of zeros data begins a segment of its own.
        let goes_on = open.filter(|segment| {
            segment.end() == address.0 && (!saved || segment.pages - segment.file_pages < run)
        });
        if goes_on.is_none() {
            segments.extend(open.take());
        }
        let segment = open.get_or_insert(Segment {
            first_page: page,
            start: address,
            pages: 0,
            file_pages: 0,
        });
        segment.pages += 1;
        if saved {
            segment.file_pages = segment.pages;
        }
    }
    segments.extend(open);
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use darma_ras_model::memory::PAGE_BYTES;
    use proptest::prelude::*;

    /// Pages from address zero with a gap of one before page 5.
    struct Plain(u64);

    impl Pages for Plain {
        fn total(&self) -> u64 {
            self.0
        }
        fn address(&self, page: u64) -> Option<GuestPhys> {
            (page < self.0).then_some(GuestPhys((page + u64::from(page >= 5)) * PAGE_BYTES_U64))
        }
        fn page_at(&self, _: GuestPhys) -> Option<u64> {
            None
        }
        fn read(&self, _: u64, _: &mut [u8; PAGE_BYTES]) -> Contents {
            Contents::Lost
        }
    }

    fn kinds(text: &str) -> Vec<Contents> {
        text.chars()
            .map(|letter| match letter {
                's' => Contents::Saved,
                'z' => Contents::Zero,
                _ => Contents::Lost,
            })
            .collect()
    }

    fn shapes(text: &str) -> Vec<(u64, u64, u64)> {
        let kinds = kinds(text);
        let pages = Plain(kinds.len().try_into().expect("few"));
        let planned = plan(&pages, &kinds).expect("something is left");
        planned
            .iter()
            .map(|one| (one.start.0 / PAGE_BYTES_U64, one.pages, one.file_pages))
            .collect()
    }

    #[test]
    fn zeros_at_the_end_take_no_room_and_lost_pages_are_nowhere() {
        assert_eq!(shapes("szzls"), [(0, 3, 1), (4, 1, 1)]);
        assert_eq!(shapes("zzs"), [(0, 3, 3)], "a short run is written out");
    }

    #[test]
    fn a_gap_in_the_memory_ends_a_segment() {
        assert_eq!(shapes("sssssss"), [(0, 5, 5), (6, 2, 2)]);
    }

    #[test]
    fn data_behind_a_long_run_of_zeros_begins_anew() {
        let text = format!("{}s{}s", "l".repeat(5), "z".repeat(16));
        assert_eq!(shapes(&text), [(6, 17, 1), (23, 1, 1)]);
    }

    #[test]
    fn nothing_left_is_said() {
        let kinds = kinds("lll");
        assert!(matches!(plan(&Plain(3), &kinds), Err(Error::NothingLeft)));
    }

    #[test]
    fn more_pieces_than_headers_are_refused() {
        let kinds = kinds(&"sl".repeat(SEGMENTS_MAX + 1));
        let refused = plan(&Plain(1 << 20), &kinds);
        assert!(matches!(refused, Err(Error::TooManyPieces(_))));
    }

    proptest! {
        #[test]
        fn every_page_that_is_left_is_in_one_segment(text in "[szl]{1,300}", long in 0usize..60) {
            let text = text.replacen("zz", &"z".repeat(long), 3);
            let kinds = kinds(&text);
            let pages = Plain(kinds.len().try_into().expect("few"));
            let segments = plan(&pages, &kinds).unwrap_or_default();
            for (page, kind) in (0..).zip(&kinds) {
                let at = pages.address(page).expect("inside").0;
                let around: Vec<_> = segments.iter().filter(|one| (one.start.0..one.end()).contains(&at)).collect();
                prop_assert_eq!(around.len(), usize::from(*kind != Contents::Lost));
                if let (Some(segment), Contents::Saved) = (around.first(), kind) {
                    prop_assert!(page - segment.first_page < segment.file_pages);
                }
            }
        }
    }
}
