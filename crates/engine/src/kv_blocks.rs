//! Who owns which KV block, and what is kept of ended sequences.
//!
//! A block is in one of three states:
//!
//! ```text
//! free   nothing in it
//! held   by one sequence or more; those that share it only read it
//! kept   by no sequence, but its rows are those of a known prefix: a later prompt may hold it again
//! ```
//! and `free + held + kept == total` after every operation. A block that is filled is *published* under the name of the prefix before it and
//! its own tokens: from then on others find it. One that ended half full is published as well; nobody holds it again, since two sequences
//! would go on writing in it, but who shares its beginning copies those rows.
//!
//! **Who goes first.** When no block is free, the kept one that was used longest ago is forgotten. Whoever uses a block uses all before
//! it, and an ending sequence lets its last block go first; so of a chain the end is always older than the beginning, and nothing is ever
//! forgotten before what depends on it. A conversation that is gone loses its last turns first, and a system prompt that all share stays.

use std::collections::{BTreeMap, HashMap};

use shoal_base::{BlockId, TokenId};
pub use shoal_model::kv_cache::BLOCK_LEN;

use crate::prefix::PrefixName;

/// What a published block holds.
#[derive(Clone, Debug)]
struct Published {
    /// The prefix before it.
    before: PrefixName,
    /// Its tokens: [`BLOCK_LEN`], or fewer of one that ended half full.
    tokens: Vec<TokenId>,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// Sequences that hold it.
    holders: usize,
    published: Option<Published>,
    /// When it was let go; its key among the kept.
    let_go: u64,
}

/// What is known of the beginning of some tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// A whole block of them, held from now on.
    Whole(BlockId),
    /// The first `len` rows of a block that is another's, held from now on as well: to be copied and let go.
    Beginning {
        /// The block.
        block: BlockId,
        /// How many rows.
        len: usize,
        /// How many it has.
        written: usize,
    },
}

/// All blocks of a KV cache.
#[derive(Debug)]
pub struct BlockPool {
    blocks: Vec<Block>,
    free: Vec<BlockId>,
    /// Published blocks by the prefix before them.
    after: HashMap<PrefixName, Vec<BlockId>>,
    /// Kept blocks in the order they were let go.
    kept: BTreeMap<u64, BlockId>,
    clock: u64,
}

impl BlockPool {
    /// A pool of `total` free blocks.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self {
            blocks: vec![Block::default(); total],
            // The lowest id is handed out first, so that a small cache stays a small part of its memory.
            free: (0..total as u32).rev().map(BlockId).collect(),
            after: HashMap::new(),
            kept: BTreeMap::new(),
            clock: 0,
        }
    }

    /// How many blocks there are.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.blocks.len()
    }

    /// How many blocks are free.
    #[must_use]
    pub const fn free_count(&self) -> usize {
        self.free.len()
    }

    /// How many blocks are kept.
    #[must_use]
    pub fn kept_count(&self) -> usize {
        self.kept.len()
    }

    /// Holds an empty block: a free one, or else the kept one that was used longest ago. `None` if all are held.
    pub fn take(&mut self) -> Option<BlockId> {
        if self.free.is_empty() {
            let (_, oldest) = self.kept.pop_first()?;
            self.unpublish(oldest);
            self.free.push(oldest);
        }
        let block = self.free.pop()?;
        self.blocks[block.idx()].holders = 1;
        Some(block)
    }

    /// What is known of the beginning of `tokens`, which come after the prefix `before`.
    pub fn find(&mut self, before: &PrefixName, tokens: &[TokenId]) -> Option<Known> {
        let shared_len = |block: &BlockId| {
            let published = self.blocks[block.idx()].published.as_ref()?;
            let len = published.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
            Some((len, published.tokens.len()))
        };
        let candidates = self.after.get(before)?;
        let lens = candidates.iter().filter_map(|block| Some((shared_len(block)?, *block)));
        let ((len, written), block) =
            lens.max_by_key(|((len, _), _)| *len).filter(|((len, _), _)| *len > 0)?;
        self.hold(block);
        Some(if len == BLOCK_LEN { Known::Whole(block) } else { Known::Beginning { block, len, written } })
    }

    /// The block of exactly `tokens` after `before`, which is not held by this.
    #[must_use]
    pub fn find_whole(&self, before: &PrefixName, tokens: &[TokenId]) -> Option<BlockId> {
        let is_it = |block: &&BlockId| {
            self.blocks[block.idx()].published.as_ref().is_some_and(|published| published.tokens == tokens)
        };
        self.after.get(before)?.iter().find(is_it).copied()
    }

    /// Makes `block`, which its caller holds and will not write any more, known as `tokens` after `before`. If another is known as
    /// that, the caller holds the other from now on. Returns what is held.
    pub fn publish(&mut self, block: BlockId, before: &PrefixName, tokens: &[TokenId]) -> BlockId {
        let siblings = self.after.entry(*before).or_default().clone();
        for sibling in siblings {
            let Some(published) = &self.blocks[sibling.idx()].published else { continue };
            if sibling != block && published.tokens.starts_with(tokens) {
                self.hold(sibling);
                self.let_go(block);
                return sibling;
            }
            // Whatever it is good for, the longer one is as well.
            if tokens.starts_with(&published.tokens) && self.blocks[sibling.idx()].holders == 0 {
                self.kept.remove(&self.blocks[sibling.idx()].let_go);
                self.unpublish(sibling);
                self.free.push(sibling);
            }
        }
        self.after.entry(*before).or_default().push(block);
        self.blocks[block.idx()].published = Some(Published { before: *before, tokens: tokens.to_vec() });
        block
    }

    /// Ends one holding of `block`. What nobody holds is kept if it is published, and else free.
    ///
    /// # Panics
    /// If nobody holds it.
    pub fn let_go(&mut self, block: BlockId) {
        self.clock += 1;
        let entry = &mut self.blocks[block.idx()];
        assert!(entry.holders > 0, "a block is let go once for each time it was held");
        entry.holders -= 1;
        if entry.holders > 0 {
            return;
        }
        if entry.published.is_some() {
            entry.let_go = self.clock;
            self.kept.insert(self.clock, block);
        } else {
            self.free.push(block);
        }
    }

    /// Forgets everything that is kept.
    pub fn forget(&mut self) {
        for block in std::mem::take(&mut self.kept).into_values() {
            self.unpublish(block);
            self.free.push(block);
        }
    }

    fn hold(&mut self, block: BlockId) {
        let entry = &mut self.blocks[block.idx()];
        if entry.holders == 0 {
            self.kept.remove(&entry.let_go);
        }
        entry.holders += 1;
    }

    fn unpublish(&mut self, block: BlockId) {
        let Some(published) = self.blocks[block.idx()].published.take() else { return };
        if let Some(siblings) = self.after.get_mut(&published.before) {
            siblings.retain(|sibling| *sibling != block);
            if siblings.is_empty() {
                self.after.remove(&published.before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn tokens(of: u32, len: usize) -> Vec<TokenId> {
        (0..len as u32).map(|i| TokenId(of * 1000 + i)).collect()
    }

    /// A sequence of blocks, each of them one of a few contents; it plays the part of the engine.
    struct Player {
        blocks: Vec<BlockId>,
        name: PrefixName,
    }

    impl Player {
        fn new() -> Self {
            Self { blocks: Vec::new(), name: PrefixName::root(b"") }
        }

        /// Holds a known block of content `of`, or a new one.
        fn extend(&mut self, pool: &mut BlockPool, of: u32) {
            let tokens = tokens(of, BLOCK_LEN);
            let block = match pool.find(&self.name, &tokens) {
                Some(Known::Whole(block)) => block,
                found => {
                    if let Some(Known::Beginning { block, .. }) = found {
                        pool.let_go(block);
                    }
                    let Some(block) = pool.take() else { return };
                    pool.publish(block, &self.name, &tokens)
                }
            };
            self.blocks.push(block);
            self.name = self.name.then(&tokens);
        }

        fn end(&mut self, pool: &mut BlockPool) {
            for block in self.blocks.drain(..).rev() {
                pool.let_go(block);
            }
            *self = Self::new();
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_ends_before_beginnings() {
        let mut pool = BlockPool::new(4);
        let mut player = Player::new();
        for chain in [[1, 2], [3, 4]] {
            chain.into_iter().for_each(|of| player.extend(&mut pool, of));
            player.end(&mut pool);
        }
        assert_eq!((pool.free_count(), pool.kept_count()), (0, 4));
        assert_eq!(pool.take(), Some(BlockId(1)), "the end of the older chain");
        let root = PrefixName::root(b"");
        assert_eq!(pool.find(&root, &tokens(1, BLOCK_LEN)), Some(Known::Whole(BlockId(0))));
        assert_eq!(pool.take(), Some(BlockId(3)), "the beginning of the older chain is held now");
        assert_eq!(pool.take(), Some(BlockId(2)));
        assert_eq!(pool.take(), None, "all are held");
        pool.let_go(BlockId(0));
        assert_eq!(pool.take(), Some(BlockId(0)));
        assert!(pool.find(&root, &tokens(1, BLOCK_LEN)).is_none(), "it was forgotten");
    }

    #[test]
    fn beginnings_are_found_and_longer_ones_replace_shorter() {
        let mut pool = BlockPool::new(3);
        let root = PrefixName::root(b"");
        let short = pool.take().expect("one");
        assert_eq!(pool.publish(short, &root, &tokens(1, 10)), short);
        pool.let_go(short);
        let beginning = |len| Some(Known::Beginning { block: short, len, written: 10 });
        assert_eq!(pool.find(&root, &tokens(1, 7)), beginning(7));
        assert_eq!(pool.find(&root, &tokens(1, BLOCK_LEN)), beginning(10));
        assert_eq!(pool.find(&root, &tokens(2, 7)), None);
        assert_eq!(pool.find(&PrefixName::root(b"x"), &tokens(1, 7)), None, "another salt");
        pool.let_go(short);
        pool.let_go(short);
        let long = pool.take().expect("one");
        assert_eq!(pool.publish(long, &root, &tokens(1, BLOCK_LEN)), long);
        assert_eq!((pool.free_count(), pool.kept_count()), (2, 0), "the shorter one is free");
        let twin = pool.take().expect("one");
        assert_eq!(pool.publish(twin, &root, &tokens(1, BLOCK_LEN)), long, "one of two equals is enough");
        assert_eq!(pool.free_count(), 2);
    }

    proptest! {
        #[test]
        fn every_block_is_in_one_state_and_equal_prefixes_are_one_block(
            moves in prop::collection::vec((0..4usize, 0..4u32), 0..200), total in 1..12usize,
        ) {
            let mut pool = BlockPool::new(total);
            let mut players: Vec<Player> = (0..3).map(|_| Player::new()).collect();
            for (player, of) in moves {
                match players.get_mut(player) {
                    Some(player) if player.blocks.len() < 4 => player.extend(&mut pool, of),
                    Some(player) => player.end(&mut pool),
                    None => pool.forget(),
                }
                let held: HashSet<BlockId> = players.iter().flat_map(|p| p.blocks.iter().copied()).collect();
                prop_assert_eq!(held.len() + pool.free_count() + pool.kept_count(), total);
                prop_assert!(pool.free.iter().chain(pool.kept.values()).all(|block| !held.contains(block)));
                let mut names = HashSet::new();
                for block in pool.blocks.iter().filter_map(|block| block.published.as_ref()) {
                    prop_assert!(names.insert(block.before.then(&block.tokens)), "two blocks of one name");
                }
            }
        }
    }
}
