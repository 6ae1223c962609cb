//! What attention keeps of the tokens it has seen, in blocks that sequences share out among themselves.
//!
//! Every layer has one row for each position of each block. What a row holds is the family's matter: keys then
//! values of all heads for grouped-query attention, the latent then the rope part of the key for MLA. A sequence
//! is a list of blocks; who owns which block is decided above this crate.

use std::ops::Range;

use shoal_base::BlockId;
use shoal_kernels::Act;
use shoal_kernels::attention::BlockRows;

use crate::config::ModelConfig;

/// Positions in a block.
pub const BLOCK_LEN: usize = 64;

/// KV rows of all layers, `[layers][blocks, BLOCK_LEN, width]` f32.
pub struct KvCache {
    layers: Vec<Vec<f32>>,
    width: usize,
    block_count: usize,
    /// Blocks up to the last that was ever written: the memory that has been taken.
    written: usize,
}

impl KvCache {
    /// A cache of `block_count` blocks for `config`. The memory is taken as it is first written.
    #[must_use]
    pub fn new(config: &ModelConfig, block_count: usize) -> Self {
        let width = config.kv_width();
        let layers = config.common().num_hidden_layers;
        let layer = || vec![0.0; block_count * BLOCK_LEN * width];
        Self { layers: (0..layers).map(|_| layer()).collect(), width, block_count, written: 0 }
    }

    /// Bytes that `positions` positions take in all layers of a model.
    #[must_use]
    pub fn bytes_for(config: &ModelConfig, positions: usize) -> u64 {
        let blocks = positions.div_ceil(BLOCK_LEN);
        let row_bytes = config.kv_width() * size_of::<f32>() * config.common().num_hidden_layers;
        (blocks * BLOCK_LEN) as u64 * row_bytes as u64
    }

    /// Bytes of memory that have been taken: blocks up to the last that was ever written.
    #[must_use]
    pub const fn bytes_written(&self) -> u64 {
        (self.written * BLOCK_LEN * self.width * size_of::<f32>() * self.layers.len()) as u64
    }

    /// Takes the memory of `blocks` into account, which are about to be written.
    pub(crate) fn will_write(&mut self, blocks: &[BlockId]) {
        let last = blocks.iter().map(|block| block.idx() + 1).max().unwrap_or(0);
        self.written = self.written.max(last);
    }

    /// Copies the first `len` positions of block `from` to block `to`, in all layers.
    ///
    /// # Panics
    /// If a block has fewer positions.
    pub fn copy_positions(&mut self, from: BlockId, to: BlockId, len: usize) {
        assert!(len <= BLOCK_LEN, "positions of one block");
        self.will_write(&[to]);
        let start = |block: BlockId| block.idx() * BLOCK_LEN * self.width;
        let (from, to) = (start(from), start(to));
        for layer in &mut self.layers {
            layer.copy_within(from..from + len * self.width, to);
        }
    }

    /// Bytes of a block in all layers.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.layers.len() * BLOCK_LEN * self.width * size_of::<f32>()
    }

    /// The rows of a block: layer after layer, as f32 with the lowest byte first.
    #[must_use]
    pub fn block_to_bytes(&self, block: BlockId) -> Vec<u8> {
        let len = BLOCK_LEN * self.width;
        let mut bytes = Vec::with_capacity(self.block_bytes());
        for layer in &self.layers {
            let rows = &layer[block.idx() * len..][..len];
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
        let len = BLOCK_LEN * self.width;
        let mut values = bytes.chunks_exact(size_of::<f32>());
        for layer in &mut self.layers {
            let rows = &mut layer[block.idx() * len..][..len];
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

    /// The rows of layer `layer`, from column `first_column` on.
    pub(crate) fn rows(&self, layer: usize, first_column: usize) -> BlockRows<'_> {
        BlockRows { data: &self.layers[layer][first_column..], block_len: BLOCK_LEN, width: self.width }
    }

    /// Writes rows `rows` of `parts`, side by side, at positions from `first_pos` on of the sequence `blocks`.
    ///
    /// # Panics
    /// If the parts together are not as wide as a row, or the positions lie outside the blocks.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        blocks: &[BlockId],
        first_pos: usize,
        rows: Range<usize>,
        parts: &[&Act],
    ) {
        assert_eq!(parts.iter().map(|part| part.cols()).sum::<usize>(), self.width, "parts fill a row");
        for (i, row) in rows.enumerate() {
            let position = first_pos + i;
            let slot = blocks[position / BLOCK_LEN].idx() * BLOCK_LEN + position % BLOCK_LEN;
            let mut out = &mut self.layers[layer][slot * self.width..][..self.width];
            for part in parts {
                let (head, tail) = out.split_at_mut(part.cols());
                head.copy_from_slice(part.row(row));
                out = tail;
            }
        }
    }
}
