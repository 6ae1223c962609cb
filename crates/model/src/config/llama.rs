//! Llama and Qwen2.

use shoal_base::limits::WIDTH_MAX;
use shoal_checkpoint::Checkpoint;
use shoal_kernels::rope::RopeLayout;

use super::CommonConfig;
use super::keys::Keys;
use crate::Error;

/// Grouped-query attention with a dense feed-forward network: Llama, Qwen2.
#[derive(Clone, Debug)]
pub struct LlamaConfig {
    /// What every family has.
    pub common: CommonConfig,
    /// Key-value heads (G).
    pub num_key_value_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl Keys<'_> {
    pub(super) fn llama(&self, checkpoint: &Checkpoint, layout: RopeLayout) -> Result<LlamaConfig, Error> {
        let heads = self.count("attention.head_count", WIDTH_MAX)?;
        let num_key_value_heads = self.optional_count("attention.head_count_kv", WIDTH_MAX)?.unwrap_or(heads);
        if !heads.is_multiple_of(num_key_value_heads) {
            return self.bad("attention.head_count_kv", format!("a divisor of {heads}"), num_key_value_heads);
        }
        let hidden_size = self.count("embedding_length", WIDTH_MAX)?;
        let head_dim = match self.optional_count("attention.key_length", WIDTH_MAX)? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => return self.bad("embedding_length", format!("a multiple of {heads} heads"), hidden_size),
        };
        let rope_dim = self.optional_count("rope.dimension_count", WIDTH_MAX)?.unwrap_or(head_dim);
        if rope_dim > head_dim {
            return self.bad("rope.dimension_count", format!("at most {head_dim}"), rope_dim);
        }
        let common = self.common(checkpoint, self.rope(rope_dim, layout)?, self.feed_forward_length()?)?;
        Ok(LlamaConfig { common, num_key_value_heads, head_dim })
    }
}
