//! The KV rows of all sequences: which are there, which are known from others, which are on the drive.
//!
//! A sequence holds blocks for what is computed of it, and takes more before each step. There are as many blocks as all sequences
//! together can need, so there is always one; what nobody needs is kept for later prompts (`kv_blocks`), and on a drive if there is a
//! folder for it (`kv_files`).

use std::collections::VecDeque;

use shoal_base::{BlockId, TokenId};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::{KvCache, ModelConfig};

use crate::kv_blocks::{BlockPool, Known};
use crate::kv_files::KvFiles;
use crate::prefix::PrefixName;
use crate::sequence::Sequence;

/// A block that is to be saved, if it is still there then.
struct Unsaved {
    name: PrefixName,
    before: PrefixName,
    /// Whether nothing is before it.
    is_first: bool,
    tokens: Vec<TokenId>,
}

pub(crate) struct Kv {
    pub(crate) cache: KvCache,
    pub(crate) pool: BlockPool,
    pub(crate) files: Option<KvFiles>,
    /// Published blocks that are not on the drive yet, in the order they were published.
    unsaved: VecDeque<Unsaved>,
    /// Whether rows of generated tokens are those that a prompt's would be. Generated tokens of latent attention go in by the absorbed
    /// form; a prompt takes the expanded one, so they are computed again: a kept prefix must not change an answer.
    keeps_answers: bool,
}

impl Kv {
    pub(crate) fn new(config: &ModelConfig, sizes: KvSizes) -> Self {
        Self {
            cache: KvCache::new(config, sizes),
            pool: BlockPool::new(sizes.block_count),
            files: None,
            unsaved: VecDeque::new(),
            keeps_answers: config.rows_are_of_one_phase(),
        }
    }

    /// Takes over what is known of a sequence's prompt beyond what it has, as far as it can be gone on with from there.
    pub(crate) fn adopt(&mut self, sequence: &mut Sequence) {
        if sequence.computed != sequence.published {
            return;
        }
        let before = sequence.blocks.len();
        let mut names = vec![sequence.name];
        let wanted = sequence.wanted().to_vec();
        let mut whole = wanted.chunks_exact(BLOCK_LEN);
        let beginning = loop {
            let (name, place) = (names[names.len() - 1], sequence.blocks.len());
            let at = (place - before) * BLOCK_LEN;
            let found = self.pool.find(&name, &wanted[at..]);
            let block = match (found, whole.next()) {
                (Some(Known::Whole(block)), _) => block,
                (found, Some(tokens)) => {
                    let Some(block) = self.restore(&name, place, tokens) else { break found };
                    if let Some(Known::Beginning { block, .. }) = found {
                        self.pool.let_go(block);
                    }
                    block
                }
                (found, None) => break found,
            };
            names.push(name.then(&wanted[at..at + BLOCK_LEN]));
            sequence.blocks.push(block);
        };
        let known = sequence.blocks.len();
        while sequence.blocks.len() > before
            && !self.cache.can_go_on(&sequence.blocks, sequence.blocks.len() * BLOCK_LEN)
        {
            self.pool.let_go(sequence.blocks.pop().expect("more than before"));
        }
        let mut len = (sequence.blocks.len() - before) * BLOCK_LEN;
        sequence.published += len;
        sequence.name = names[sequence.blocks.len() - before];
        if let Some(Known::Beginning { block, len: shared, written }) = beginning {
            if sequence.blocks.len() == known {
                self.cache.hold_recent_also(&sequence.blocks, known * BLOCK_LEN);
                len += self.copy(sequence, block, shared, written);
            }
            self.pool.let_go(block);
        }
        sequence.computed += len;
        sequence.cached += len;
    }

    /// Gives a sequence a block of its own that begins with the first `len` positions of another, which has `written`; how many
    /// it got.
    fn copy(&mut self, sequence: &mut Sequence, block: BlockId, len: usize, written: usize) -> usize {
        // If every block is in use now, one will be left for this sequence once the other is let go.
        let Some(own) = self.pool.take() else { return 0 };
        if !self.cache.copy_positions(block, own, len, written, sequence.blocks.len()) {
            self.pool.let_go(own);
            return 0;
        }
        sequence.blocks.push(own);
        len
    }

    /// A block of `tokens` after `before`, which will be at place `place` of its sequence, from the drive.
    fn restore(&mut self, before: &PrefixName, place: usize, tokens: &[TokenId]) -> Option<BlockId> {
        let files = self.files.as_ref()?;
        let name = before.then(tokens);
        if !files.has(&name) {
            return None;
        }
        let rows = files.load(&name, before, tokens)?;
        let block = self.pool.take()?;
        self.cache.block_from_bytes(block, place, &rows);
        Some(self.publish_block(block, before, tokens))
    }

    /// Makes a block known; what is held from now on.
    fn publish_block(&mut self, block: BlockId, before: &PrefixName, tokens: &[TokenId]) -> BlockId {
        let held = self.pool.publish(block, before, tokens);
        if held != block {
            self.cache.hand_on_recent(block, held);
        }
        held
    }

    /// Takes the blocks that the next `tokens` of a sequence are written to.
    pub(crate) fn take_blocks(&mut self, sequence: &mut Sequence, tokens: usize) {
        let needed = (sequence.computed + tokens).div_ceil(BLOCK_LEN);
        while sequence.blocks.len() < needed {
            sequence.blocks.push(self.pool.take().expect("each sequence has room for a context"));
        }
    }

    /// Makes the blocks of a sequence that have become whole known to others.
    pub(crate) fn publish(&mut self, sequence: &mut Sequence) {
        let reusable = self.reusable_len(sequence);
        while sequence.published + BLOCK_LEN <= reusable {
            let tokens = &sequence.tokens[sequence.published..][..BLOCK_LEN];
            let place = sequence.published / BLOCK_LEN;
            sequence.blocks[place] = self.publish_block(sequence.blocks[place], &sequence.name, tokens);
            let (before, name) = (sequence.name, sequence.name.then(tokens));
            if self.files.as_ref().is_some_and(|files| !files.has(&name)) {
                let is_first = sequence.published == 0;
                self.unsaved.push_back(Unsaved { name, before, is_first, tokens: tokens.to_vec() });
                // A drive that takes nothing must not make the line longer than what could still be there.
                if self.unsaved.len() > self.pool.total() {
                    self.unsaved.pop_front();
                }
            }
            sequence.name = name;
            sequence.published += BLOCK_LEN;
        }
    }

    /// Lets the blocks of an ended sequence go; what a later prompt may share is kept.
    pub(crate) fn end(&mut self, mut sequence: Sequence) {
        let reusable = self.reusable_len(&sequence);
        if sequence.published < reusable {
            let tokens = &sequence.tokens[sequence.published..reusable];
            let place = sequence.published / BLOCK_LEN;
            sequence.blocks[place] = self.publish_block(sequence.blocks[place], &sequence.name, tokens);
        }
        // The last goes first: see `kv_blocks`.
        sequence.blocks.into_iter().rev().for_each(|block| self.pool.let_go(block));
    }

    /// Saves published blocks, as many as the drive takes now; says whether any are left.
    pub(crate) fn save(&mut self) -> bool {
        let Some(files) = &self.files else { return false };
        while let Some(Unsaved { name, before, is_first, tokens }) = self.unsaved.front() {
            // What was forgotten in the meantime is not missed: it was not used.
            if let Some(block) = self.pool.find_whole(before, tokens)
                && !files.save(*name, *before, *is_first, tokens, || self.cache.block_to_bytes(block))
            {
                return true;
            }
            self.unsaved.pop_front();
        }
        false
    }

    /// How many tokens of a sequence have rows that a prompt's would equal.
    fn reusable_len(&self, sequence: &Sequence) -> usize {
        if self.keeps_answers { sequence.computed } else { sequence.computed.min(sequence.prompt_len) }
    }
}
