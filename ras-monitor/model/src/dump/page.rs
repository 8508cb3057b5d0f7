//! Where a dump's pages come from; how one is kept is [`darma_ras_model_codec`]'s.

use crate::memory::{GuestPhysRead, PAGE_BYTES};
use darma_abi::units::GuestPhys;
pub use darma_ras_model_codec::Compressor;
use darma_ras_model_codec::WORD_BYTES;

/// The memory that is dumped. The edge has better ways than the ones given here.
pub trait PageSource: GuestPhysRead {
    /// The word of which the page at `at` is made throughout; `None` if it holds different ones or
    /// cannot be read.
    fn uniform(&self, at: GuestPhys) -> Option<u64> {
        let mut page = [0; PAGE_BYTES];
        if !self.read(at, &mut page) {
            return None;
        }
        let (words, _) = page.as_chunks::<WORD_BYTES>();
        let (first, rest) = words.split_first()?;
        rest.iter()
            .all(|word| word == first)
            .then(|| u64::from_le_bytes(*first))
    }
}
