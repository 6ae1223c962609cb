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

use shoal_base::BlockId;
use shoal_kernels::Act;
use shoal_kernels::attention::BlockRows;

use crate::config::ModelConfig;

/// Positions in a block.
pub const BLOCK_LEN: usize = 64;

/// Rows of the last positions that a block keeps.
const LAST_LEN: usize = 16;

/// One kind of row that a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvTrack {
    rows: TrackRows,
    /// Elements in a row.
    width: usize,
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
        Self { rows: TrackRows::Positions, width }
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
        Self { rows: TrackRows::Windows { ratio }, width }
    }

    /// Rows of the last positions, of which `needed` are looked at.
    ///
    /// # Panics
    /// If more are needed than are kept.
    #[must_use]
    pub const fn last(needed: usize, width: usize) -> Self {
        assert!(needed < LAST_LEN && BLOCK_LEN.is_multiple_of(LAST_LEN), "kept in a block");
        Self { rows: TrackRows::Last { needed }, width }
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
    pub(crate) fn place(self, blocks: &[BlockId], index: usize) -> u32 {
        let (block, row) = self.spot(index);
        (blocks[block].idx() * self.rows_per_block() + row) as u32
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
    block_count: usize,
    block_bytes: usize,
    /// Blocks up to the last that was ever written: the memory that has been taken.
    written: usize,
}

impl KvCache {
    /// A cache of `block_count` blocks for `config`. The memory is taken as it is first written.
    #[must_use]
    pub fn new(config: &ModelConfig, block_count: usize) -> Self {
        let track = |track: KvTrack| TrackData { track, data: vec![0.0; block_count * track.block_len()] };
        let layer = |layer: usize| config.kv_tracks(layer).into_iter().map(track).collect();
        Self {
            layers: (0..config.common().layers_used()).map(layer).collect(),
            block_count,
            block_bytes: Self::bytes_for(config, BLOCK_LEN) as usize,
            written: 0,
        }
    }

    /// Bytes that `positions` positions take in all layers of a model.
    #[must_use]
    pub fn bytes_for(config: &ModelConfig, positions: usize) -> u64 {
        let of_layer = |layer| config.kv_tracks(layer).into_iter().map(KvTrack::block_len).sum::<usize>();
        let elements: usize = (0..config.common().layers_used()).map(of_layer).sum();
        positions.div_ceil(BLOCK_LEN) as u64 * (elements * size_of::<f32>()) as u64
    }

    /// Bytes of memory that have been taken: blocks up to the last that was ever written.
    #[must_use]
    pub const fn bytes_written(&self) -> u64 {
        (self.written * self.block_bytes) as u64
    }

    /// Takes the memory of `blocks` into account, which are about to be written.
    pub(crate) fn will_write(&mut self, blocks: &[BlockId]) {
        let last = blocks.iter().map(|block| block.idx() + 1).max().unwrap_or(0);
        self.written = self.written.max(last);
    }

    /// Copies the first `len` positions of block `from`, of which `written` were written, to block `to`, in all layers. Says whether
    /// that can be: what is kept of the last positions alone is gone if too many came after.
    ///
    /// # Panics
    /// If a block has fewer positions.
    #[must_use]
    pub fn copy_positions(&mut self, from: BlockId, to: BlockId, len: usize, written: usize) -> bool {
        assert!(len <= written && written <= BLOCK_LEN, "positions of one block");
        let copies = |of: &TrackData| of.track.rows_to_copy(len, written).is_some();
        if !self.layers.iter().flatten().all(copies) {
            return false;
        }
        self.will_write(&[to]);
        for TrackData { track, data } in self.layers.iter_mut().flatten() {
            let rows = track.rows_to_copy(len, written).unwrap_or(0);
            let start = |block: BlockId| block.idx() * track.block_len();
            data.copy_within(start(from)..start(from) + rows * track.width, start(to));
        }
        true
    }

    /// Bytes of a block in all layers.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The rows of a block: layer after layer, track after track, as f32 with the lowest byte first.
    #[must_use]
    pub fn block_to_bytes(&self, block: BlockId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.block_bytes());
        for TrackData { track, data } in self.layers.iter().flatten() {
            let len = track.block_len();
            let rows = &data[block.idx() * len..][..len];
            bytes.extend(rows.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// Fills a block with what [`KvCache::block_to_bytes`] gave.
    ///
    /// # Panics
    /// If the bytes are not as many as a block's.
    pub fn block_from_bytes(&mut self, block: BlockId, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.block_bytes(), "the bytes of a block");
        self.will_write(&[block]);
        let mut values = bytes.chunks_exact(size_of::<f32>());
        for TrackData { track, data } in self.layers.iter_mut().flatten() {
            let len = track.block_len();
            let rows = &mut data[block.idx() * len..][..len];
            for (row, value) in rows.iter_mut().zip(&mut values) {
                *row = f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
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
        self.layers[layer][track].track.place(blocks, index)
    }

    /// Writes rows from `first_row` on of `parts`, side by side, as rows `indices` (positions or windows) of the sequence `blocks`.
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
            let mut out = &mut data[track.place(blocks, index) as usize * track.width..][..track.width];
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

    #[test]
    fn every_row_has_a_spot_of_its_own_among_those_that_are_needed() {
        let blocks = [BlockId(2), BlockId(0), BlockId(5)];
        let positions = KvTrack::positions(3);
        assert_eq!((positions.place(&blocks, 0), positions.place(&blocks, 65)), (128, 1));
        let fours = KvTrack::windows(4, 3);
        assert_eq!((fours.rows_per_block(), fours.place(&blocks, 0), fours.place(&blocks, 15)), (16, 32, 47));
        assert_eq!((fours.place(&blocks, 16), fours.place(&blocks, 33)), (0, 81));
        let long = KvTrack::windows(128, 3);
        assert_eq!((long.rows_per_block(), long.place(&blocks, 0)), (1, 0), "in the block of position 127");
        let last = KvTrack::last(7, 3);
        assert_eq!((last.place(&blocks, 3), last.place(&blocks, 19), last.place(&blocks, 64)), (35, 35, 0));
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
