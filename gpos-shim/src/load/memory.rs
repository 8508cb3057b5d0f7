//! Memory load: map, touch every page, unmap, again and again. Each touch is a page fault and a page
//! to be cleared, each unmapping takes the pages back and flushes translations.
//!
//! The allocator of the C library does the mapping, so no unsafe code is needed: blocks above its
//! largest mapping threshold (32 MiB on 64-bit machines) are always mapped anew and unmapped when freed.

use super::Until;

/// Bytes per round, above the threshold.
const BYTES: usize = 36 << 20;
const PAGE_BYTES: usize = 4096;

/// Storms until the time is over; gives the pages touched.
pub(super) fn storm(until: Until) -> u64 {
    let mut touched = 0;
    while !until.is_over() {
        // Zeroed memory of this size comes from the kernel untouched.
        let mut block = vec![0_u8; BYTES];
        for page in block.chunks_mut(PAGE_BYTES) {
            page[0] = 1;
            touched += 1;
            if touched % 1024 == 0 && until.is_over() {
                break;
            }
        }
        std::hint::black_box(&block);
    }
    touched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_touched_when_the_time_is_over() {
        assert_eq!(storm(Until::after(Some(0))), 0);
    }
}
