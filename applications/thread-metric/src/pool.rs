//! Blocks of fixed size, handed out and taken back.

use heapless::Vec;

/// Bytes of a block, as in the suite.
const BLOCK: usize = 128;
const BLOCKS: usize = 16;

/// A block that was handed out: whoever holds it owns the memory behind it until it is freed.
pub(crate) struct Block(u8);

/// The pool. Handing out and taking back are a pop and a push: constant time.
pub(crate) struct Pool {
    memory: [[u8; BLOCK]; BLOCKS],
    free: Vec<u8, BLOCKS>,
    /// Blocks that were never handed out are not in the list yet, so that `new` is a constant.
    fresh: u8,
}

impl Pool {
    pub(crate) const fn new() -> Self {
        Self {
            memory: [[0; BLOCK]; BLOCKS],
            free: Vec::new(),
            fresh: 0,
        }
    }

    /// A block; none if all are out.
    pub(crate) fn allocate(&mut self) -> Option<Block> {
        if let Some(number) = self.free.pop() {
            return Some(Block(number));
        }
        let number = self.fresh;
        // The first byte is written, so that a block without memory behind it would show.
        *self.memory.get_mut(usize::from(number))?.first_mut()? = number;
        self.fresh += 1;
        Some(Block(number))
    }

    /// Takes a block back. There are no more blocks than the list has room for.
    pub(crate) fn free(&mut self, block: Block) {
        let _ = self.free.push(block.0);
    }
}
