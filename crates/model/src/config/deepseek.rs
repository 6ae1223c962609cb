//! DeepSeek V2-Lite to V3.2.

use shoal_base::limits::WIDTH_MAX;
use shoal_checkpoint::Checkpoint;
use shoal_kernels::rope::RopeLayout;

use super::keys::Keys;
use super::moe::MoeConfig;
use super::{CommonConfig, IndexerConfig};
use crate::Error;

/// Multi-head latent attention with a mixture of experts: DeepSeek V2-Lite to V3.2.
#[derive(Clone, Debug)]
pub struct DeepseekConfig {
    /// What every family has.
    pub common: CommonConfig,
    /// Width of the compressed query (Rq); absent in V2-Lite.
    pub q_lora_rank: Option<usize>,
    /// Width of the compressed key and value (R).
    pub kv_lora_rank: usize,
    /// Elements of a head's query and key without position (N).
    pub qk_nope_head_dim: usize,
    /// Elements with rotary position (P).
    pub qk_rope_head_dim: usize,
    /// Elements of a head's value (V).
    pub v_head_dim: usize,
    /// Layers from the first on that have a dense feed-forward network.
    pub first_k_dense_replace: usize,
    /// The mixture of experts; absent if all layers are dense.
    pub moe: Option<MoeConfig>,
    /// The indexer of V3.2; without one a token attends to all before it.
    pub indexer: Option<IndexerConfig>,
}

impl DeepseekConfig {
    /// Elements that the KV cache keeps for one token in one layer: latent, rope key and index key.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        let index_key = self.indexer.map_or(0, |indexer| indexer.index_head_dim);
        self.kv_lora_rank + self.qk_rope_head_dim + index_key
    }
}

impl Keys<'_> {
    pub(super) fn deepseek(
        &self,
        checkpoint: &Checkpoint,
        indexer: Option<IndexerConfig>,
    ) -> Result<DeepseekConfig, Error> {
        let rope_dim = self.count("rope.dimension_count", WIDTH_MAX)?;
        // Files made since the latent form was split into k_b and v_b name the per-head widths apart.
        let length = |new: &str, old: &str| match self.optional_count(new, WIDTH_MAX)? {
            Some(length) => Ok(length),
            None => self.count(old, WIDTH_MAX),
        };
        let qk_head_dim = length("attention.key_length_mla", "attention.key_length")?;
        let v_head_dim = length("attention.value_length_mla", "attention.value_length")?;
        if qk_head_dim <= rope_dim {
            return self.bad(
                "attention.key_length_mla",
                format!("more than the {rope_dim} of rope"),
                qk_head_dim,
            );
        }
        let common = self.common(
            checkpoint,
            self.rope(rope_dim, RopeLayout::Interleaved)?,
            self.feed_forward_length()?,
        )?;
        let dense_layers = self.metadata.u32(&self.key("leading_dense_block_count"))?.unwrap_or(0) as usize;
        let first_k_dense_replace = dense_layers.min(common.num_hidden_layers);
        let moe = if first_k_dense_replace < common.num_hidden_layers { Some(self.moe()?) } else { None };
        let q_lora_rank = self.optional_count("attention.q_lora_rank", WIDTH_MAX)?;
        if let Some(IndexerConfig { index_head_dim, .. }) = indexer {
            if index_head_dim < rope_dim {
                let expected = format!("at least the {rope_dim} of rope");
                return self.bad("attention.indexer.key_length", expected, index_head_dim);
            }
            if q_lora_rank.is_none() {
                return self.bad(
                    "attention.q_lora_rank",
                    "a number, since the indexer reads the latent",
                    "none",
                );
            }
        }
        Ok(DeepseekConfig {
            q_lora_rank,
            kv_lora_rank: self.count("attention.kv_lora_rank", WIDTH_MAX)?,
            qk_nope_head_dim: qk_head_dim - rope_dim,
            qk_rope_head_dim: rope_dim,
            v_head_dim,
            first_k_dense_replace,
            moe,
            indexer,
            common,
        })
    }
}
