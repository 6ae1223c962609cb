//! Rows that only the next few positions look at: they live in frames, of which there are fewer than blocks.
//!
//! V4 sees the last 128 tokens as they are and older ones compressed. What is kept of a token as it is takes fifteen times what is
//! kept of it for good, so only blocks near the end of something that may go on have a frame for it:
//!
//! ```text
//! blocks of a sequence   | 0 | 1 | 2 | ... | n-2 | n-1 | n |          compressed rows: in every block
//! frames                                     f5    f2    f9           rows as they are: where the end is
//! ```
//! A sequence can be gone on with at a position if the blocks of the 128 positions before it have frames. Frames of running sequences
//! are held; of the others the one that was used longest ago goes first, but those at every 1024th position go last, so that a
//! long prompt can be gone on with from there when another shares its beginning.

use std::ops::Range;

use shoal_base::BlockId;

use crate::kv_cache::{BLOCK_LEN, TAKEN_BACK_MAX};

/// Positions between two ends that are kept longer than others.
const MARK_LEN: usize = 1024;

/// Frames for marks, at the most.
const MARK_FRAMES_MAX: usize = 16;

/// Which block has which frame.
#[derive(Debug)]
pub(crate) struct Frames {
    /// For each block its frame.
    of_block: Vec<Option<u32>>,
    frames: Vec<Frame>,
    /// Positions before its own that a position looks at.
    look_back: usize,
    clock: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    block: Option<BlockId>,
    used: u64,
    is_mark: bool,
    is_held: bool,
}

/// How many frames a cache needs for so many sequences at a time, where a position looks at the `look_back` before it.
pub(crate) fn frame_count(look_back: usize, block_count: usize, sequences: usize) -> usize {
    let blocks_back = look_back.div_ceil(BLOCK_LEN);
    // From the middle of a block a position looks into one more. Before a step a sequence holds those; the step gives frames to as many,
    // and to one more if tokens may be taken back.
    let running = sequences * (2 * (blocks_back + 1) + 1);
    let marks = (block_count * BLOCK_LEN / MARK_LEN * blocks_back).min(MARK_FRAMES_MAX);
    (running + marks).min(block_count)
}

impl Frames {
    pub(crate) fn new(block_count: usize, frame_count: usize, look_back: usize) -> Self {
        Self {
            of_block: vec![None; block_count],
            frames: vec![Frame::default(); frame_count],
            look_back,
            clock: 0,
        }
    }

    /// Frames up to the last that ever had a block.
    pub(crate) fn used(&self) -> usize {
        self.frames.iter().rposition(|frame| frame.used > 0).map_or(0, |last| last + 1)
    }

    /// The frame of a block.
    pub(crate) fn of(&self, block: BlockId) -> Option<usize> {
        self.of_block[block.idx()].map(|frame| frame as usize)
    }

    /// Places of the blocks that position `position` looks into before itself.
    const fn reach(&self, position: usize) -> Range<usize> {
        position.saturating_sub(self.look_back) / BLOCK_LEN..position.div_ceil(BLOCK_LEN)
    }

    /// Whether a sequence of `blocks` can be gone on with after its first `len` positions.
    pub(crate) fn can_go_on(&self, blocks: &[BlockId], len: usize) -> bool {
        blocks[self.reach(len)].iter().all(|&block| self.of(block).is_some())
    }

    /// Holds the frames of exactly these running sequences, each given by its blocks and the positions that are computed.
    pub(crate) fn hold<'a>(&mut self, running: impl Iterator<Item = (&'a [BlockId], usize)>) {
        self.frames.iter_mut().for_each(|frame| frame.is_held = false);
        running.for_each(|(blocks, len)| self.hold_also(blocks, len));
    }

    /// Holds the frames of this sequence as well.
    pub(crate) fn hold_also(&mut self, blocks: &[BlockId], len: usize) {
        blocks[self.reach(len)].iter().for_each(|&block| self.hold_one(block));
    }

    /// Gives frames to what is written of a sequence from position `computed` to `end`: to the blocks that the next position looks into, also
    /// if tokens are taken back, and to marks as long as there are any.
    ///
    /// # Panics
    /// If all frames are held: there are as many as running sequences can need.
    pub(crate) fn give_to(&mut self, blocks: &[BlockId], computed: usize, end: usize) {
        let written = computed / BLOCK_LEN..end.div_ceil(BLOCK_LEN);
        let first = self.reach(end.saturating_sub(TAKEN_BACK_MAX)).start;
        let needed = first.max(written.start)..written.end;
        for place in needed.clone() {
            assert!(self.give(blocks[place], place), "frames for all running sequences");
            self.hold_one(blocks[place]);
        }
        for place in written.start..needed.start {
            if self.is_mark(place) {
                self.give(blocks[place], place);
            }
        }
    }

    /// Whether the block at place `place` is looked into by the position after a mark.
    const fn is_mark(&self, place: usize) -> bool {
        let blocks = MARK_LEN / BLOCK_LEN;
        place % blocks + self.look_back.div_ceil(BLOCK_LEN) >= blocks
    }

    /// Gives the block at place `place` of its sequence a frame, if it has none; says whether it has one then.
    pub(crate) fn give(&mut self, block: BlockId, place: usize) -> bool {
        self.clock += 1;
        let Some(frame) = self.of(block).or_else(|| self.take()) else { return false };
        let (used, is_mark, is_held) = (self.clock, self.is_mark(place), self.frames[frame].is_held);
        self.frames[frame] = Frame { block: Some(block), used, is_mark, is_held };
        self.of_block[block.idx()] = Some(frame as u32);
        true
    }

    /// Holds the frame of a block, if it has one.
    pub(crate) fn hold_one(&mut self, block: BlockId) {
        if let Some(frame) = self.of(block) {
            self.frames[frame].is_held = true;
        }
    }

    /// Takes the frame of a block whose recent rows are not those of its lasting ones.
    pub(crate) fn drop_frame(&mut self, block: BlockId) {
        if let Some(frame) = self.of_block[block.idx()].take() {
            self.frames[frame as usize] =
                Frame { block: None, is_held: false, ..self.frames[frame as usize] };
        }
    }

    /// Says that a frame was looked at.
    pub(crate) fn touch(&mut self, block: BlockId) {
        self.clock += 1;
        if let Some(frame) = self.of(block) {
            self.frames[frame].used = self.clock;
        }
    }

    /// Gives the frame of `from` to `to`, which has the same rows, unless `to` has one.
    pub(crate) fn hand_on(&mut self, from: BlockId, to: BlockId) {
        if let (Some(frame), None) = (self.of(from), self.of(to)) {
            self.frames[frame].block = Some(to);
            self.of_block[to.idx()] = self.of_block[from.idx()].take();
        }
    }

    /// A frame that nobody has any more; `None` if all are held.
    fn take(&mut self) -> Option<usize> {
        let free = (0..self.frames.len()).filter(|&frame| !self.frames[frame].is_held);
        let frame = free.min_by_key(|&frame| {
            let Frame { block, used, is_mark, .. } = self.frames[frame];
            // Those without a block go in order, so that memory is taken late.
            (block.is_some(), is_mark, used, frame)
        })?;
        if let Some(block) = self.frames[frame].block {
            self.of_block[block.idx()] = None;
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK_BACK: usize = 127;

    #[test]
    fn from_the_middle_of_a_block_three_are_looked_into() {
        let frames = Frames::new(9, 9, LOOK_BACK);
        assert_eq!((frames.reach(0), frames.reach(1), frames.reach(128)), (0..0, 0..1, 0..2));
        assert_eq!((frames.reach(129), frames.reach(191), frames.reach(192)), (0..3, 1..3, 1..3));
        assert_eq!(frames.reach(256), 2..4);
    }

    fn blocks(ids: std::ops::Range<u32>) -> Vec<BlockId> {
        ids.map(BlockId).collect()
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_marks_go_last() {
        let mut frames = Frames::new(40, 6, LOOK_BACK);
        let chain = blocks(0..20);
        for place in 0..20 {
            frames.hold([(&chain[..], place * BLOCK_LEN)].into_iter());
            frames.give_to(&chain, place * BLOCK_LEN, (place + 1) * BLOCK_LEN);
        }
        assert!(frames.can_go_on(&chain, 20 * BLOCK_LEN) && frames.can_go_on(&chain, 19 * BLOCK_LEN));
        assert!(frames.can_go_on(&chain, 1024), "a mark");
        assert!(!frames.can_go_on(&chain, 1024 - 64) && !frames.can_go_on(&chain, 640));
        assert!(frames.can_go_on(&chain, 0), "the beginning needs nothing");
        assert_eq!(frames.used(), 6);
    }

    #[test]
    fn held_frames_stay_and_equal_blocks_hand_theirs_on() {
        let mut frames = Frames::new(10, 3, LOOK_BACK);
        let (a, b) = (blocks(0..2), blocks(2..6));
        frames.give_to(&a, 0, 128);
        for place in 0..4 {
            frames.hold([(&a[..], 128)].into_iter());
            frames.give_to(&b, place * BLOCK_LEN, (place + 1) * BLOCK_LEN);
        }
        assert!(!frames.give(BlockId(8), 9), "the last one was given in this step");
        assert!(frames.can_go_on(&a, 128) && !frames.can_go_on(&b, 256));
        frames.hand_on(a[1], BlockId(9));
        assert!(frames.of(BlockId(9)).is_some() && frames.of(a[1]).is_none());
    }

    #[test]
    fn a_long_prompt_in_one_step_leaves_its_end_and_its_marks() {
        let mut frames = Frames::new(64, 9, LOOK_BACK);
        let chain = blocks(0..64);
        frames.give_to(&chain, 0, 64 * BLOCK_LEN - 10);
        assert!(frames.can_go_on(&chain, 64 * BLOCK_LEN - 10));
        assert!([1024, 2048, 3072].iter().all(|&mark| frames.can_go_on(&chain, mark)));
        assert!(!frames.can_go_on(&chain, 1100));
    }

    #[test]
    fn there_are_as_many_as_running_sequences_can_need() {
        assert_eq!(frame_count(LOOK_BACK, 64, 1), 7 + 8);
        assert_eq!(frame_count(LOOK_BACK, 4, 1), 4, "no more than blocks");
        assert_eq!(frame_count(LOOK_BACK, 16_384, 4), 28 + 16);
    }
}
