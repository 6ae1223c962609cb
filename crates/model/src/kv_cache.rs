//! What attention keeps of the tokens it has seen, in blocks that sequences share out among themselves.
//!
//! A layer keeps one kind of row or several ([`KvTrack`]): a row for each position (keys then values of all heads for
//! grouped-query attention; latent, rope key and index key for MLA), one for each window of positions, or the rows of the last
//! few. Every block has its share of each, so whatever follows from a prefix stands in the blocks of that prefix, and who
//! holds the blocks can go on from there. A sequence is a list of blocks; who owns which block is decided above this crate.
//!
//! ```text
//! positions        64 rows a block      row of position p:   block p / 64, row p % 64
//! windows of r     64 / r rows, or 1    row of window i:     where its last position r (i + 1) - 1 is
//! last             16 rows              row of position p:   block p / 64, row p % 16; older ones are overwritten
//! ```
//! Rows that only the next few positions look at (`recent`) are not kept in every block: see `kv_frames`.

use shoal_base::BlockId;
use shoal_kernels::Act;
use shoal_kernels::attention::BlockRows;

use crate::config::ModelConfig;
use crate::kv_frames::{Frames, frame_count};

/// Positions in a block.
pub const BLOCK_LEN: usize = 64;

/// Rows of the last positions that a block keeps.
const LAST_LEN: usize = 16;

/// Tokens that may be taken back after a step: what is written in their place finds all that it looks at.
pub const TAKEN_BACK_MAX: usize = 8;

/// One kind of row that a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvTrack {
    rows: TrackRows,
    /// Elements in a row.
    width: usize,
    /// Whether only the next few positions look at them.
    is_recent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrackRows {
    Positions,
    Windows { ratio: usize },
    Last { needed: usize },
}

impl KvTrack {
    /// A row of `width` elements for each position.
    #[must_use]
    pub const fn positions(width: usize) -> Self {
        Self { rows: TrackRows::Positions, width, is_recent: false }
    }

    /// A row for each window of `ratio` positions.
    ///
    /// # Panics
    /// If windows fit neither into blocks nor blocks into windows.
    #[must_use]
    pub const fn windows(ratio: usize, width: usize) -> Self {
        assert!(
            BLOCK_LEN.is_multiple_of(ratio) || ratio.is_multiple_of(BLOCK_LEN),
            "whole windows or whole blocks"
        );
        Self { rows: TrackRows::Windows { ratio }, width, is_recent: false }
    }

    /// Rows of the last positions, of which `needed` are looked at.
    ///
    /// # Panics
    /// If more are needed than are kept.
    #[must_use]
    pub const fn last(needed: usize, width: usize) -> Self {
        assert!(needed + TAKEN_BACK_MAX <= LAST_LEN && BLOCK_LEN.is_multiple_of(LAST_LEN), "kept in a block");
        Self { rows: TrackRows::Last { needed }, width, is_recent: true }
    }

    /// The same rows, if only the next [`ModelConfig::look_back`] positions look at them.
    #[must_use]
    pub const fn recent(self) -> Self {
        Self { is_recent: true, ..self }
    }

    /// Rows in a block.
    const fn rows_per_block(self) -> usize {
        match self.rows {
            TrackRows::Positions => BLOCK_LEN,
            TrackRows::Windows { ratio } if ratio < BLOCK_LEN => BLOCK_LEN / ratio,
            TrackRows::Windows { .. } => 1,
            TrackRows::Last { .. } => LAST_LEN,
        }
    }

    /// Elements in a block.
    const fn block_len(self) -> usize {
        self.rows_per_block() * self.width
    }

    /// Where row `index` is, of a position or of a window: in which block of the sequence, and which of its rows.
    const fn spot(self, index: usize) -> (usize, usize) {
        match self.rows {
            TrackRows::Positions => (index / BLOCK_LEN, index % BLOCK_LEN),
            TrackRows::Windows { ratio } => {
                let last = (index + 1) * ratio - 1;
                (last / BLOCK_LEN, if ratio < BLOCK_LEN { last % BLOCK_LEN / ratio } else { 0 })
            }
            TrackRows::Last { .. } => (index / BLOCK_LEN, index % LAST_LEN),
        }
    }

    /// The place of row `index` of the sequence `blocks` among all rows of the track.
    ///
    /// # Panics
    /// If the rows are recent and their block has no frame.
    fn place(self, blocks: &[BlockId], index: usize, frames: &Frames) -> u32 {
        let (block, row) = self.spot(index);
        (self.home(blocks[block], frames) * self.rows_per_block() + row) as u32
    }

    /// The number of the block, or of its frame where rows are recent.
    fn home(self, block: BlockId, frames: &Frames) -> usize {
        if self.is_recent {
            frames.of(block).expect("a frame for rows that are looked at")
        } else {
            block.idx()
        }
    }

    /// Rows of a block to copy for someone who goes on after its first `len` positions, of `written` that have been; `None` if
    /// some that are needed are gone.
    const fn rows_to_copy(self, len: usize, written: usize) -> Option<usize> {
        match self.rows {
            TrackRows::Positions => Some(len),
            TrackRows::Windows { ratio } if ratio < BLOCK_LEN => Some(len / ratio),
            TrackRows::Windows { .. } => Some(len / BLOCK_LEN),
            TrackRows::Last { needed } if written + needed <= len + LAST_LEN => Some(LAST_LEN),
            TrackRows::Last { .. } => None,
        }
    }
}

/// The rows of one track of one layer.
struct TrackData {
    track: KvTrack,
    data: Vec<f32>,
}

/// KV rows of all layers, `[layers][tracks][blocks, rows, width]` f32.
pub struct KvCache {
    layers: Vec<Vec<TrackData>>,
    frames: Frames,
    block_count: usize,
    bytes: BlockBytes,
    /// Blocks up to the last that was ever written: the memory that has been taken.
    written: usize,
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvSizes {
    /// Blocks.
    pub block_count: usize,
    /// Sequences that run at a time.
    pub sequences: usize,
}

impl KvSizes {
    /// Room for `sequences` at a time, each of `context_len` tokens.
    #[must_use]
    pub const fn for_sequences(sequences: usize, context_len: usize) -> Self {
        Self { block_count: sequences * context_len.div_ceil(BLOCK_LEN), sequences }
    }
}

/// Bytes of one block in all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockBytes {
    /// In every block.
    lasting: usize,
    /// In those that have a frame.
    recent: usize,
}

impl BlockBytes {
    fn of(config: &ModelConfig) -> Self {
        let tracks = (0..config.common().layers_used()).flat_map(|layer| config.kv_tracks(layer));
        let mut bytes = Self { lasting: 0, recent: 0 };
        for track in tracks {
            let part = if track.is_recent { &mut bytes.recent } else { &mut bytes.lasting };
            *part += track.block_len() * size_of::<f32>();
        }
        bytes
    }
}

impl KvCache {
    /// A cache for `config`. The memory is taken as it is first written.
    #[must_use]
    pub fn new(config: &ModelConfig, sizes: KvSizes) -> Self {
        let frames = Self::frame_count(config, sizes);
        let track = |track: KvTrack| {
            let homes = if track.is_recent { frames } else { sizes.block_count };
            TrackData { track, data: vec![0.0; homes * track.block_len()] }
        };
        let layer = |layer: usize| config.kv_tracks(layer).into_iter().map(track).collect();
        Self {
            layers: (0..config.common().layers_used()).map(layer).collect(),
            frames: Frames::new(sizes.block_count, frames, config.look_back()),
            block_count: sizes.block_count,
            bytes: BlockBytes::of(config),
            written: 0,
        }
    }

    fn frame_count(config: &ModelConfig, sizes: KvSizes) -> usize {
        match config.look_back() {
            0 => 0,
            back => frame_count(back, sizes.block_count, sizes.sequences),
        }
    }

    /// Bytes that a cache takes when all of it is written.
    #[must_use]
    pub fn bytes_for(config: &ModelConfig, sizes: KvSizes) -> u64 {
        let BlockBytes { lasting, recent } = BlockBytes::of(config);
        (sizes.block_count * lasting + Self::frame_count(config, sizes) * recent) as u64
    }

    /// Bytes of memory that have been taken: blocks and frames up to the last that was ever written.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        (self.written * self.bytes.lasting + self.frames.used() * self.bytes.recent) as u64
    }

    /// Before `tokens` tokens are written after the first `computed` positions of the sequence `blocks`: takes memory into account, and
    /// gives blocks that are written frames.
    ///
    /// # Panics
    /// If recent rows that will be looked at are gone: see [`KvCache::can_go_on`].
    pub(crate) fn will_write(&mut self, blocks: &[BlockId], computed: usize, tokens: usize) {
        let end = (computed + tokens).div_ceil(BLOCK_LEN);
        self.take_memory(&blocks[..end]);
        if self.bytes.recent == 0 {
            return;
        }
        assert!(self.frames.can_go_on(blocks, computed), "recent rows of a running sequence are kept");
        let begun = computed.div_ceil(BLOCK_LEN);
        blocks[..begun].iter().for_each(|&block| self.frames.touch(block));
        self.frames.give_to(blocks, computed, computed + tokens);
    }

    fn take_memory(&mut self, blocks: &[BlockId]) {
        let last = blocks.iter().map(|block| block.idx() + 1).max().unwrap_or(0);
        self.written = self.written.max(last);
    }

    /// Whether a sequence of `blocks` can be gone on with after its first `len` positions: whether recent rows are there.
    #[must_use]
    pub fn can_go_on(&self, blocks: &[BlockId], len: usize) -> bool {
        self.bytes.recent == 0 || self.frames.can_go_on(blocks, len)
    }

    /// Keeps the recent rows of exactly these running sequences, each given by its blocks and the positions that are computed.
    pub fn hold_recent<'a>(&mut self, running: impl Iterator<Item = (&'a [BlockId], usize)>) {
        if self.bytes.recent > 0 {
            self.frames.hold(running);
        }
    }

    /// Keeps the recent rows of this sequence as well, until [`KvCache::hold_recent`] is called again.
    pub fn hold_recent_also(&mut self, blocks: &[BlockId], computed: usize) {
        if self.bytes.recent > 0 {
            self.frames.hold_also(blocks, computed);
        }
    }

    /// Lets `to`, whose rows are those of `from`, have the recent rows of `from` as well.
    pub fn hand_on_recent(&mut self, from: BlockId, to: BlockId) {
        if self.bytes.recent > 0 {
            self.frames.hand_on(from, to);
        }
    }

    /// Copies the first `len` positions of block `from`, of which `written` were written, to block `to`, which is at place `place` of its
    /// sequence, in all layers. Says whether that can be: what is kept of the last positions alone is gone if too many came after.
    ///
    /// # Panics
    /// If a block has fewer positions.
    #[must_use]
    pub fn copy_positions(
        &mut self,
        from: BlockId,
        to: BlockId,
        len: usize,
        written: usize,
        place: usize,
    ) -> bool {
        assert!(len <= written && written <= BLOCK_LEN, "positions of one block");
        let copies = |of: &TrackData| of.track.rows_to_copy(len, written).is_some();
        if !self.layers.iter().flatten().all(copies) {
            return false;
        }
        if self.bytes.recent > 0 {
            if self.frames.of(from).is_none() {
                return false;
            }
            // The frame of `from` must not be the one that is taken.
            self.frames.hold_one(from);
            if !self.frames.give(to, place) {
                return false;
            }
        }
        self.take_memory(&[to]);
        for TrackData { track, data } in self.layers.iter_mut().flatten() {
            let rows = track.rows_to_copy(len, written).unwrap_or(0);
            let start = |block: BlockId| track.home(block, &self.frames) * track.block_len();
            data.copy_within(start(from)..start(from) + rows * track.width, start(to));
        }
        true
    }

    /// Bytes that a block may have, as [`KvCache::block_to_bytes`] gives them: without recent rows, and with them.
    #[must_use]
    pub const fn block_bytes(&self) -> [usize; 2] {
        [self.bytes.lasting, self.bytes.lasting + self.bytes.recent]
    }

    /// The rows of a block: those that last, layer after layer, track after track, then the recent ones if they are there; as f32 with the
    /// lowest byte first.
    #[must_use]
    pub fn block_to_bytes(&self, block: BlockId) -> Vec<u8> {
        let has_recent = self.bytes.recent > 0 && self.frames.of(block).is_some();
        let mut bytes = Vec::with_capacity(self.block_bytes()[usize::from(has_recent)]);
        for is_recent in [false, true].into_iter().take(1 + usize::from(has_recent)) {
            for TrackData { track, data } in
                self.layers.iter().flatten().filter(|of| of.track.is_recent == is_recent)
            {
                let len = track.block_len();
                let rows = &data[track.home(block, &self.frames) * len..][..len];
                bytes.extend(rows.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        bytes
    }

    /// Fills a block, which is at place `place` of its sequence, with what [`KvCache::block_to_bytes`] gave.
    ///
    /// # Panics
    /// If the bytes are not as many as a block's.
    pub fn block_from_bytes(&mut self, block: BlockId, place: usize, bytes: &[u8]) {
        assert!(self.block_bytes().contains(&bytes.len()), "the bytes of a block");
        self.take_memory(&[block]);
        let has_recent = bytes.len() > self.bytes.lasting && self.frames.give(block, place);
        if self.bytes.recent > 0 && !has_recent {
            // What it was before is not what it is now.
            self.frames.drop_frame(block);
        }
        let mut values = bytes.chunks_exact(size_of::<f32>());
        for is_recent in [false, true].into_iter().take(1 + usize::from(has_recent)) {
            let tracks = self.layers.iter_mut().flatten().filter(|of| of.track.is_recent == is_recent);
            for TrackData { track, data } in tracks {
                let len = track.block_len();
                let rows = &mut data[track.home(block, &self.frames) * len..][..len];
                for (row, value) in rows.iter_mut().zip(&mut values) {
                    *row = f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
                }
            }
        }
    }

    /// How many blocks there are.
    #[must_use]
    pub const fn block_count(&self) -> usize {
        self.block_count
    }

    /// The rows of track `track` of layer `layer`, from column `first_column` on.
    pub(crate) fn rows(&self, layer: usize, track: usize, first_column: usize) -> BlockRows<'_> {
        let TrackData { track, data } = &self.layers[layer][track];
        BlockRows { data: &data[first_column..], block_len: track.rows_per_block(), width: track.width }
    }

    /// The place of row `index` of the sequence `blocks` among all rows of a track.
    pub(crate) fn place(&self, layer: usize, track: usize, blocks: &[BlockId], index: usize) -> u32 {
        self.layers[layer][track].track.place(blocks, index, &self.frames)
    }

    /// Writes, of recent rows only those whose blocks have a frame, rows from `first_row` on of `parts`, side by side, as rows `indices` (positions or windows) of the sequence `blocks`.
    ///
    /// # Panics
    /// If the parts together are not as wide as a row, or the rows lie outside the blocks.
    pub(crate) fn write(
        &mut self,
        (layer, track): (usize, usize),
        blocks: &[BlockId],
        indices: std::ops::Range<usize>,
        first_row: usize,
        parts: &[&Act],
    ) {
        let TrackData { track, data } = &mut self.layers[layer][track];
        assert_eq!(parts.iter().map(|part| part.cols()).sum::<usize>(), track.width, "parts fill a row");
        for (i, index) in indices.enumerate() {
            if track.is_recent && self.frames.of(blocks[track.spot(index).0]).is_none() {
                continue;
            }
            let mut out =
                &mut data[track.place(blocks, index, &self.frames) as usize * track.width..][..track.width];
            for part in parts {
                let (head, tail) = out.split_at_mut(part.cols());
                head.copy_from_slice(part.row(first_row + i));
                out = tail;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl KvTrack {
        fn spot_in(self, blocks: &[BlockId], index: usize) -> u32 {
            let lasting = Self { is_recent: false, ..self };
            lasting.place(blocks, index, &Frames::new(0, 0, 0))
        }
    }

    #[test]
    fn every_row_has_a_spot_of_its_own_among_those_that_are_needed() {
        let blocks = [BlockId(2), BlockId(0), BlockId(5)];
        let positions = KvTrack::positions(3);
        assert_eq!((positions.spot_in(&blocks, 0), positions.spot_in(&blocks, 65)), (128, 1));
        let fours = KvTrack::windows(4, 3);
        assert_eq!(
            (fours.rows_per_block(), fours.spot_in(&blocks, 0), fours.spot_in(&blocks, 15)),
            (16, 32, 47)
        );
        assert_eq!((fours.spot_in(&blocks, 16), fours.spot_in(&blocks, 33)), (0, 81));
        let long = KvTrack::windows(128, 3);
        assert_eq!((long.rows_per_block(), long.spot_in(&blocks, 0)), (1, 0), "in the block of position 127");
        let last = KvTrack::last(7, 3);
        assert_eq!(
            (last.spot_in(&blocks, 3), last.spot_in(&blocks, 19), last.spot_in(&blocks, 64)),
            (35, 35, 0)
        );
    }

    #[test]
    fn a_beginning_is_copied_while_what_it_needs_is_there() {
        assert_eq!(KvTrack::positions(1).rows_to_copy(10, 64), Some(10));
        assert_eq!(KvTrack::windows(4, 1).rows_to_copy(11, 64), Some(2));
        assert_eq!(KvTrack::windows(128, 1).rows_to_copy(63, 64), Some(0));
        assert_eq!(KvTrack::windows(128, 1).rows_to_copy(64, 64), Some(1));
        let last = KvTrack::last(7, 1);
        // After position 40 positions 33 to 39 are needed; 33 is overwritten by position 49.
        assert_eq!((last.rows_to_copy(40, 49), last.rows_to_copy(40, 50)), (Some(16), None));
    }
}
