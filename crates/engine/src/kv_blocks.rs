//! Who owns which KV block.
//!
//! A block is free or belongs to one sequence. The pool only keeps the list of free ones; a sequence keeps its own.
//! `free + held == total` holds after every operation.

use shoal_base::BlockId;

/// The blocks that no sequence owns.
#[derive(Debug)]
pub struct BlockPool {
    free: Vec<BlockId>,
    total: usize,
}

impl BlockPool {
    /// A pool of `total` free blocks.
    #[must_use]
    pub fn new(total: usize) -> Self {
        // The lowest id is handed out first, so that a small cache stays a small part of its memory.
        Self { free: (0..total as u32).rev().map(BlockId).collect(), total }
    }

    /// How many blocks are free.
    #[must_use]
    pub const fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Takes one block, if any is free.
    pub fn take(&mut self) -> Option<BlockId> {
        self.free.pop()
    }

    /// Gives blocks back.
    ///
    /// # Panics
    /// If more come back than there are.
    pub fn give_back(&mut self, blocks: impl IntoIterator<Item = BlockId>) {
        self.free.extend(blocks);
        assert!(self.free.len() <= self.total, "a block came back twice");
    }
}
