//! The lightning indexer: what a token attends to, chosen by small heads of its own.
//!
//! ```text
//! q^I_h = rope(W^IQ_h c^Q),   w_h = (W^w h)_h,   I(t, s) = sum_h w_h ReLU(q^I_h . k^I_s)
//! ```
//! The reference divides `w` by `sqrt(H_I K_I)`, which changes nothing of what is chosen and is left out.
//!
//! V3.2 makes an index key of every token ([`IndexKeys`]), V4 one of every compressed row (`compressor`). Where the reference rounds
//! index queries and keys to 8 or 4 bits it turns them by a Hadamard matrix first; in f32 that changes nothing and is left out.
//!
//! Source    DeepSeek-V3.2, equation 1; DeepSeek-V4 (arXiv 2606.19348), section 2.3
//! Letters   T tokens in this step · D hidden_size · Rq q_lora_rank · H_I index_n_heads · K_I index_head_dim

use shoal_kernels::attention::BlockRows;
use shoal_kernels::attention::index::IndexSpan;
use shoal_kernels::rope::{RopeLayout, RopeTable};
use shoal_kernels::{Act, Cpu, Matrix};

use crate::Error;
use crate::config::IndexerConfig;
use crate::weights::LayerBinder;

/// Where the turned elements of an index query or key stand, and how they pair: V3.2 has them first, in halves; V4 last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexRope {
    pub(crate) offset: usize,
    pub(crate) layout: RopeLayout,
}

pub(crate) struct Indexer {
    config: IndexerConfig,
    rope: IndexRope,
    wq_b: Matrix,
    weights_proj: Matrix,
}

impl Indexer {
    pub(crate) fn load(
        weights: &LayerBinder<'_>,
        config: IndexerConfig,
        rope: IndexRope,
        hidden: usize,
        q_rank: usize,
    ) -> Result<Self, Error> {
        let IndexerConfig { index_n_heads: heads, index_head_dim: dim, .. } = config;
        Ok(Self {
            config,
            rope,
            wq_b: weights.matrix("indexer.attn_q_b.weight", heads * dim, q_rank)?,
            weights_proj: weights.matrix("indexer.proj.weight", heads, hidden)?,
        })
    }

    pub(crate) const fn config(&self) -> &IndexerConfig {
        &self.config
    }

    /// The rows that each token of `spans` attends to, in ascending order.
    #[rustfmt::skip]
    pub(crate) fn select(
        &self, cpu: &Cpu, c_q: &Act, h: &Act, rope: &RopeTable, keys: BlockRows<'_>, spans: &[IndexSpan<'_>],
    ) -> Vec<Vec<u32>> {
        let IndexerConfig { index_head_dim: dim, index_topk, .. } = self.config;
        let is_all = |span: &IndexSpan<'_>| span.visible.iter().all(|&visible| visible <= index_topk);
        if spans.iter().all(is_all) {
            let all = |span: &IndexSpan<'_>| span.visible.clone();
            return spans.iter().flat_map(all).map(|visible| (0..visible as u32).collect()).collect();
        }
        let mut q = cpu.matmul(c_q, &self.wq_b);                                         // [T, H_I·K_I]  q^I
        cpu.rope(&mut q, rope, dim, self.rope.offset, self.rope.layout);
        let w = cpu.matmul(h, &self.weights_proj);                                       // [T, H_I]      w
        cpu.index_select(&q, &w, keys, spans, index_topk)
    }
}

/// Index keys of V3.2: `k^I = rope(LayerNorm(W^IK h))`, one for all heads.
pub(crate) struct IndexKeys {
    wk: Matrix,
    k_norm: (Vec<f32>, Vec<f32>),
    rope: IndexRope,
}

/// Added to the variance of an index key; the reference's own number, whatever the model's other norms add.
const K_NORM_EPS: f32 = 1e-6;

impl IndexKeys {
    pub(crate) fn load(
        weights: &LayerBinder<'_>,
        config: IndexerConfig,
        rope: IndexRope,
        hidden: usize,
    ) -> Result<Self, Error> {
        let dim = config.index_head_dim;
        let k_norm =
            (weights.vector("indexer.k_norm.weight", dim)?, weights.vector("indexer.k_norm.bias", dim)?);
        Ok(Self { wk: weights.matrix("indexer.attn_k.weight", dim, hidden)?, k_norm, rope })
    }

    /// `[T, K_I]`.
    pub(crate) fn forward(&self, cpu: &Cpu, h: &Act, rope: &RopeTable) -> Act {
        let (weight, bias) = &self.k_norm;
        let mut keys = cpu.layer_norm(&cpu.matmul(h, &self.wk), weight, bias, K_NORM_EPS);
        cpu.rope(&mut keys, rope, weight.len(), self.rope.offset, self.rope.layout);
        keys
    }
}
