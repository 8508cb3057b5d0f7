#![no_std]
#![forbid(unsafe_code)]
//! How one page of a dump is kept: as it was, as one word repeated, or as an LZ4 block.
//!
//! The length says which: eight bytes are one word repeated, a whole page is the page, anything else
//! is an LZ4 block. LZ4 cannot make eight bytes of a page (its literal and match lengths alone take
//! more), so there is no ambiguity. Pages are compressed one by one: measured on kernel memory, blocks
//! of 32 KiB are smaller by 4 %, and a page alone is bounded work and can be read alone.
//!
//! A crate of its own, because the compiler optimises by crate: the image is made for size, but this code
//! goes over every byte of a dump, and half as many instructions are worth two kilobytes.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Length of a page that is one word repeated.
pub const WORD_BYTES: usize = 8;
/// What LZ4 wants as room for a page; more than any page takes.
const LZ4_ROOM: usize = PAGE_BYTES + PAGE_BYTES / 8;
/// A page that saves less is kept as it is: it is read faster.
const WORTH_IT: usize = PAGE_BYTES - PAGE_BYTES / 16;

/// The compressor's tables and buffers: 17 KiB, for a static.
pub struct Compressor {
    table: CompressTable,
    out: [u8; LZ4_ROOM],
    page: [u8; PAGE_BYTES],
}

impl core::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// Usable in a static.
    pub const fn new() -> Self {
        Self {
            table: CompressTable::small(),
            out: [0; LZ4_ROOM],
            page: [0; PAGE_BYTES],
        }
    }

    /// Room for the page that [`Self::pack`] takes next.
    pub const fn page(&mut self) -> &mut [u8; PAGE_BYTES] {
        &mut self.page
    }

    /// The page in [`Self::page`] as it is to be kept. About 50,000 instructions.
    #[inline(never)]
    pub fn pack(&mut self) -> &[u8] {
        match compress_into_with_table(&self.page, &mut self.out, &mut self.table) {
            Ok(bytes) if (WORD_BYTES + 1..WORTH_IT).contains(&bytes) => {
                self.out.get(..bytes).unwrap_or(&self.page)
            }
            _ => &self.page,
        }
    }

    /// What was kept of a page, packed if it was not. `None` if it is longer than a page.
    pub fn repacked(&mut self, kept: &[u8]) -> Option<&[u8]> {
        self.page.get_mut(..kept.len())?.copy_from_slice(kept);
        if kept.len() == PAGE_BYTES {
            return Some(self.pack());
        }
        self.page.get(..kept.len())
    }
}

/// Makes a page of what was kept of it; false if that is none.
pub fn unpack(kept: &[u8], out: &mut [u8; PAGE_BYTES]) -> bool {
    if let Ok(whole) = <&[u8; PAGE_BYTES]>::try_from(kept) {
        *out = *whole;
        true
    } else if let Ok(word) = <[u8; WORD_BYTES]>::try_from(kept) {
        let (words, _) = out.as_chunks_mut::<WORD_BYTES>();
        words.fill(word);
        true
    } else {
        matches!(decompress_into(kept, out), Ok(PAGE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(kept: &[u8]) -> [u8; PAGE_BYTES] {
        let mut out = [0xee; PAGE_BYTES];
        assert!(unpack(kept, &mut out));
        out
    }

    #[test]
    fn a_page_of_one_byte_packs_to_more_than_a_word_and_comes_back() {
        let mut compressor = Compressor::new();
        for fill in [0, 0xcc] {
            let page = [fill; PAGE_BYTES];
            let kept = compressor.repacked(&page).expect("a page");
            assert!(kept.len() > WORD_BYTES && kept.len() < 64, "{}", kept.len());
            assert_eq!(back(kept), page);
        }
    }

    #[test]
    fn a_word_is_repeated() {
        let page = back(&0x1122_3344_5566_7788u64.to_le_bytes());
        assert_eq!(
            page[..9],
            [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x88]
        );
    }

    proptest! {
        #[test]
        fn every_page_comes_back(words in prop::collection::vec(any::<u32>(), 1..300), times in 1usize..9) {
            let mut page = [0; PAGE_BYTES];
            let bytes = words.iter().flat_map(|word| word.to_le_bytes()).cycle();
            for (to, from) in page.iter_mut().zip(bytes.step_by(times)) {
                *to = from;
            }
            let mut compressor = Compressor::new();
            let kept = compressor.repacked(&page).expect("a page").to_vec();
            prop_assert!(kept.len() <= PAGE_BYTES && kept.len() > WORD_BYTES);
            prop_assert_eq!(back(&kept), page);
        }

        #[test]
        fn no_bytes_lead_astray(kept in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = [0; PAGE_BYTES];
            let _ = unpack(&kept, &mut out);
        }
    }
}
