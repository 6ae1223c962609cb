//! V4's compressor: the tokens of a window become one row.
//!
//! ```text
//! u_j = W^kv h_j,   g_j = W^gate h_j + ape_(j mod r)                    for every token j
//! row_i = RMSNorm(sum_j softmax_j(g_j) u_j), per column                 over the tokens of window i: r i .. r (i + 1)
//! ```
//! then the last elements are turned as at the window's first position. With overlap (r = 4) `u` and `g` are twice as wide: a window
//! takes the second halves of its own tokens and the first halves of those of the window before, so every row sees 8 tokens and the
//! first only 4.
//!
//! `u` and `g` of the last tokens stand in the KV cache side by side until no window needs them any more, so a row does not depend
//! on the steps in which its tokens came.
//!
//! Source   DeepSeek-V4 (arXiv 2606.19348), section 2.3
//! Letters  T tokens in this step · D hidden_size · W width of a row · r tokens of a window

use shoal_kernels::attention::BlockRows;
use shoal_kernels::attention::listed::ListedRow;
use shoal_kernels::rope::RopeLayout;
use shoal_kernels::softmax_pool::PoolSlot;
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::DeepseekV4Config;
use crate::rope::Rope;
use crate::weights::LayerBinder;

pub(crate) struct Compressor {
    ratio: usize,
    width: usize,
    rms_norm_eps: f32,
    /// Elements at the end of a row that are turned.
    rope_dim: usize,
    wkv: Matrix,
    wgate: Matrix,
    /// `[r, W]`, or `[r, 2 W]` with overlap.
    ape: Act,
    norm: Vec<f32>,
}

impl Compressor {
    /// The compressor whose tensors begin with `prefix`, for windows of `ratio` tokens.
    pub(crate) fn load(
        weights: &LayerBinder<'_>,
        prefix: &str,
        ratio: usize,
        width: usize,
        config: &DeepseekV4Config,
    ) -> Result<Self, Error> {
        let (hidden, columns) =
            (config.common.hidden_size, if ratio == OVERLAP_RATIO { 2 * width } else { width });
        Ok(Self {
            ratio,
            width,
            rms_norm_eps: config.common.rms_norm_eps,
            rope_dim: config.common.rope.dim,
            wkv: weights.matrix(&format!("{prefix}_kv.weight"), columns, hidden)?,
            wgate: weights.matrix(&format!("{prefix}_gate.weight"), columns, hidden)?,
            ape: weights.table(&format!("{prefix}_ape.weight"), ratio, columns)?,
            norm: weights.vector(&format!("{prefix}_norm.weight"), width)?,
        })
    }

    /// Elements of a row.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// Elements of `u` and `g` of a token.
    pub(crate) fn raw_width(&self) -> usize {
        2 * self.ape.cols()
    }

    /// `u` and `g` of tokens at `positions`.
    pub(crate) fn raw(&self, cpu: &Cpu, h: &Act, positions: impl Iterator<Item = usize>) -> [Act; 2] {
        let [u, mut g] = cpu.matmuls(h, [&self.wkv, &self.wgate]);
        cpu.add_rows(&mut g, &self.ape, positions.map(|position| position % self.ratio));
        [u, g]
    }

    /// The row of window `window`, whose tokens have `u` and `g` in the rows that `row_of` says, from column `first_column` on. It
    /// is neither normalised nor turned.
    pub(crate) fn pool(
        &self,
        cpu: &Cpu,
        sources: &[BlockRows<'_>],
        row_of: impl Fn(usize) -> ListedRow,
        first_column: usize,
        window: usize,
    ) -> Act {
        let slot = |position: usize, column: usize| PoolSlot {
            row: row_of(position),
            column: first_column + column,
        };
        let own = window * self.ratio..(window + 1) * self.ratio;
        let slots: Vec<PoolSlot> = if self.ratio == OVERLAP_RATIO {
            let before = own.start.saturating_sub(self.ratio)..own.start;
            before.map(|j| slot(j, 0)).chain(own.map(|j| slot(j, self.width))).collect()
        } else {
            own.map(|j| slot(j, 0)).collect()
        };
        cpu.softmax_pool(sources, &slots, self.ape.cols(), self.width)
    }

    /// What [`Compressor::pool`] gave for the windows `windows`, finished.
    pub(crate) fn finish(&self, cpu: &Cpu, pooled: &Act, windows: &[usize], rope: &Rope) -> Act {
        let mut rows = cpu.rms_norm(pooled, &self.norm, self.rms_norm_eps);
        let positions: Vec<u32> = windows.iter().map(|window| (window * self.ratio) as u32).collect();
        let offset = self.width - self.rope_dim;
        cpu.rope(&mut rows, &rope.table(&positions), self.width, offset, RopeLayout::Interleaved);
        rows
    }
}

/// Tokens of a window that overlaps with the one before.
const OVERLAP_RATIO: usize = 4;
