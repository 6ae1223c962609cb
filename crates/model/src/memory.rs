//! What a model takes of memory, and who gives way to whom.
//!
//! ```text
//!   memory = dense weights + derived weights         fixed once loaded
//!          + KV rows written so far                  grow with the conversation
//!          + activations of the widest step so far   stay: the allocator may keep what was freed
//!          + slots for experts                       whatever is left
//! ```
//! Slots are the only part that can give way without harm: an expert that is not in memory is read again. So before
//! every step the rest is counted and the slots are told what they may take; see [`Ledger`].

use std::sync::atomic::{AtomicU64, Ordering};

use shoal_base::Bytes;
use shoal_checkpoint::{Checkpoint, TensorInfo};
use shoal_kernels::act::KEPT_BYTES_MAX;
use shoal_kernels::attention::index::SCORE_BYTES_MAX;
use shoal_quant::Dtype;
use shoal_store::{Role, dense_bytes, slot_bytes};

use crate::Error;
use crate::config::{DeepseekConfig, DeepseekV4Config, IndexerConfig, ModelConfig};
use crate::kv_cache::KvCache;
use crate::mla::{ABSORBED_TOKENS, EXPANDED_BYTES_MAX};
use crate::weights::{expert_stacks, is_kept_as_f32, key_up, role, transposed_dtype};

/// What a model takes before it has seen a token, and what its experts would like to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Weights that every token needs, as they are read.
    pub dense: u64,
    /// What is made of them: transposes, and vectors as f32.
    pub derived: u64,
    /// Memory for one expert; 0 if there are none in a file.
    pub slot: u64,
    /// Experts that a token needs in a layer.
    pub slots_min: u64,
    /// All experts of all layers, as far as they are in files.
    pub slots_max: u64,
}

impl Footprint {
    /// The footprint of the model in `checkpoint`.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint, config: &ModelConfig) -> Self {
        let common = config.common();
        let layers = common.layers_used();
        let role = |tensor: &TensorInfo| role(tensor, common);
        let vectors = checkpoint.tensors().iter().filter(|t| role(t) == Role::Dense && is_kept_as_f32(t));
        let vectors: u64 = vectors.map(|tensor| tensor.elements() * 4).sum();
        let mut footprint = Self {
            dense: dense_bytes(checkpoint, &role),
            derived: vectors,
            slot: 0,
            slots_min: config.experts_per_token() as u64,
            slots_max: 0,
        };
        if let ModelConfig::Deepseek(config) = config {
            let transposes = (0..layers).map(|layer| transpose_bytes(checkpoint, config, layer));
            footprint.derived += transposes.sum::<u64>();
        }
        let count = config.moe().map_or(0, |moe| moe.n_routed_experts);
        let banks = (0..common.layers_with_slots()).filter_map(|layer| expert_stacks(checkpoint, layer));
        for stacks in banks.filter(|_| count > 0) {
            let slot = slot_bytes(checkpoint, stacks, count);
            footprint.slot = footprint.slot.max(slot);
            footprint.slots_max += if slot > 0 { count as u64 } else { 0 };
        }
        footprint
    }

    /// Weights in memory, whatever the budget.
    #[must_use]
    pub const fn fixed(&self) -> u64 {
        self.dense + self.derived
    }
}

/// Transposes of one layer's key matrices: `heads * R * N` elements.
fn transpose_bytes(checkpoint: &Checkpoint, config: &DeepseekConfig, layer: usize) -> u64 {
    let elements = config.common.num_attention_heads * config.kv_lora_rank * config.qk_nope_head_dim;
    let dtype = key_up(checkpoint, layer).map_or(Dtype::F32, |tensor| transposed_dtype(tensor.dtype));
    dtype.row_bytes(elements).unwrap_or(0) as u64
}

/// Activations of a step of `tokens` tokens whose longest sequence reaches `context` positions, at the most: what lives at a
/// time in the widest part of a layer, and what is kept for the next.
#[must_use]
pub fn scratch_bytes(config: &ModelConfig, tokens: usize, context: usize) -> u64 {
    let common = config.common();
    let (hidden, heads) = (common.hidden_size, common.num_attention_heads);
    let attention = match config {
        ModelConfig::Llama(llama) => 4 * tokens * (heads + 2 * llama.num_key_value_heads) * llama.head_dim,
        ModelConfig::Deepseek(config) => mla_elements(config, tokens, context),
        ModelConfig::DeepseekV4(config) => compressed_elements(config, tokens, context),
    };
    let mixture = config.moe().map_or(0, |moe| {
        let slots = tokens * moe.num_experts_per_tok;
        slots * (hidden + 3 * moe.moe_intermediate_size) + 3 * tokens * moe.n_routed_experts
    });
    // What every part of a layer has beside its own: the residual, its norm, the sum and their quantised copies.
    let streams = if let ModelConfig::DeepseekV4(config) = config { config.hyper.mult } else { 0 };
    // What a draft layer starts from, its input, and what it ends with.
    let drafts = if common.drafts { 4 * streams.max(1) } else { 0 };
    let residual = (6 + streams + drafts) * tokens * hidden;
    let dense = 3 * tokens * common.intermediate_size;
    let widest = attention.max(mixture).max(dense);
    let live = (residual + widest + common.vocab_size * 2) * size_of::<f32>();
    (live + live.min(KEPT_BYTES_MAX)) as u64
}

/// Elements that latent attention takes for a step.
fn mla_elements(config: &DeepseekConfig, tokens: usize, context: usize) -> usize {
    let heads = config.common.num_attention_heads;
    let key = config.qk_nope_head_dim + config.qk_rope_head_dim;
    let wide = tokens * heads * (3 * key + 3 * config.v_head_dim);
    let at_a_time = tokens.min(ABSORBED_TOKENS);
    let absorbed = 3 * at_a_time * heads * (config.kv_lora_rank + config.qk_rope_head_dim);
    let latents = context * (config.kv_lora_rank + config.qk_rope_head_dim);
    let one_head = 2 * context * (key + config.v_head_dim);
    let expanded =
        one_head.max(2 * EXPANDED_BYTES_MAX / size_of::<f32>()).min(one_head.saturating_mul(heads));
    let choice = config.indexer.map_or(0, |indexer| choice_elements(indexer, tokens, context));
    wide + absorbed + latents + expanded + choice
}

/// Elements that V4's attention takes for a step.
fn compressed_elements(config: &DeepseekV4Config, tokens: usize, context: usize) -> usize {
    let queries = config.common.num_attention_heads * config.head_dim;
    let outputs = config.o_groups * config.o_lora_rank;
    let raw = 8 * (config.head_dim + config.indexer.index_head_dim);
    let wide = tokens * (3 * queries + 3 * config.q_lora_rank + 2 * outputs + raw);
    // A listed row is two words long.
    let lists = 2 * tokens * (config.sliding_window + config.indexer.index_topk.max(context.div_ceil(128)));
    wide + lists + choice_elements(config.indexer, tokens, context.div_ceil(4))
}

/// Elements that choosing among `rows` rows takes: index queries, scores, and what was chosen.
fn choice_elements(indexer: IndexerConfig, tokens: usize, rows: usize) -> usize {
    let queries = tokens * indexer.index_n_heads * (indexer.index_head_dim + 1);
    let scores = (tokens * rows).min(SCORE_BYTES_MAX / size_of::<f32>()).max(rows);
    2 * queries + 2 * scores + tokens * indexer.index_topk.min(rows)
}

/// Memory for everything of a loaded model but its fixed weights.
#[derive(Debug)]
pub(crate) struct Ledger {
    flexible: u64,
    /// The most that a step has needed for activations.
    scratch: AtomicU64,
}

impl Ledger {
    /// What is left of `memory` beside fixed weights.
    pub(crate) fn new(memory: Bytes, footprint: &Footprint) -> Result<Self, Error> {
        let needed = footprint.fixed() + footprint.slots_min * footprint.slot;
        if needed > memory.0 {
            return Err(Error::TooLittleMemory { needed: Bytes(needed), memory });
        }
        Ok(Self { flexible: memory.0 - footprint.fixed(), scratch: AtomicU64::new(0) })
    }

    /// What slots may take while a step runs that needs `scratch` bytes for activations.
    pub(crate) fn for_experts(&self, kv: &KvCache, scratch: u64) -> Bytes {
        let scratch = self.scratch.fetch_max(scratch, Ordering::Relaxed).max(scratch);
        Bytes(self.flexible.saturating_sub(kv.bytes_written() + scratch))
    }
}
