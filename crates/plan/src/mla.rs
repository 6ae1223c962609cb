//! Latent attention with a mixture of experts: V2-Lite to V3.2.

use shoal_checkpoint::Value;

use crate::shape::{Builder, Purpose, Shape};

/// Dimensions, with the hub's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mla {
    pub(crate) name: &'static str,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) q_lora_rank: Option<usize>,
    pub(crate) intermediate_size: usize,
    pub(crate) moe_intermediate_size: usize,
    pub(crate) n_routed_experts: usize,
    pub(crate) n_shared_experts: usize,
    pub(crate) num_experts_per_tok: usize,
    pub(crate) first_k_dense_replace: usize,
    /// Groups of experts and how many of them a token may use.
    pub(crate) groups: (usize, usize),
    /// Whether scores are sigmoids with a correction, normalised; else a softmax.
    pub(crate) sigmoid: bool,
    pub(crate) routed_scaling_factor: f64,
    pub(crate) mscale_all_dim: f64,
    pub(crate) vocab_size: usize,
    /// Heads, width and choice of the indexer.
    pub(crate) indexer: Option<[usize; 3]>,
}

/// Equal in all of them.
const KV_LORA_RANK: usize = 512;
const NOPE: usize = 128;
const ROPE: usize = 64;
const VALUE: usize = 128;
const CONTEXT: usize = 163_840;

impl Mla {
    /// The first `layers` layers, of which as great a part is dense as of all, but no mixture is left out.
    pub(crate) fn shape(&self, layers: usize) -> Shape {
        let dense = if layers == self.num_hidden_layers { self.first_k_dense_replace } else { 0 };
        let architecture = if self.indexer.is_some() { "deepseek32" } else { "deepseek2" };
        let mut out = Builder::new(self.name, architecture, layers);
        self.keys(&mut out, layers, dense);
        out.ends(self.vocab_size, self.hidden_size, false);
        for layer in 0..layers {
            let block = format!("blk.{layer}.");
            out.tensor(format!("{block}attn_norm"), &[self.hidden_size], Purpose::Norm);
            self.attention(&mut out, &block);
            out.tensor(format!("{block}ffn_norm"), &[self.hidden_size], Purpose::Norm);
            if layer < dense {
                out.feed_forward(&block, "", self.hidden_size, self.intermediate_size);
            } else {
                self.mixture(&mut out, &block);
            }
        }
        out.finish(Some((self.num_experts_per_tok, self.n_routed_experts)))
    }

    fn keys(&self, out: &mut Builder, layers: usize, dense: usize) {
        for (key, value) in [
            ("block_count", layers),
            ("context_length", CONTEXT),
            ("embedding_length", self.hidden_size),
            ("feed_forward_length", self.intermediate_size),
            ("attention.head_count", self.num_attention_heads),
            ("attention.head_count_kv", 1),
            ("attention.kv_lora_rank", KV_LORA_RANK),
            ("attention.key_length", KV_LORA_RANK + ROPE),
            ("attention.value_length", KV_LORA_RANK),
            ("attention.key_length_mla", NOPE + ROPE),
            ("attention.value_length_mla", VALUE),
            ("rope.dimension_count", ROPE),
            ("rope.scaling.original_context_length", 4096),
            ("leading_dense_block_count", dense),
            ("expert_count", self.n_routed_experts),
            ("expert_used_count", self.num_experts_per_tok),
            ("expert_shared_count", self.n_shared_experts),
            ("expert_feed_forward_length", self.moe_intermediate_size),
            ("expert_group_count", self.groups.0),
            ("expert_group_used_count", self.groups.1),
            ("expert_gating_func", if self.sigmoid { 2 } else { 1 }),
        ] {
            out.count(key, value);
        }
        if let Some(rank) = self.q_lora_rank {
            out.count("attention.q_lora_rank", rank);
        }
        out.put("expert_weights_norm", Value::Bool(self.sigmoid));
        out.put("rope.scaling.type", Value::Str("yarn".to_owned()));
        for (key, value) in [
            ("attention.layer_norm_rms_epsilon", 1e-6),
            ("rope.freq_base", 10_000.0),
            ("rope.scaling.factor", 40.0),
            ("rope.scaling.yarn_log_multiplier", 0.1 * self.mscale_all_dim),
            ("expert_weights_scale", self.routed_scaling_factor),
        ] {
            out.number(key, value);
        }
        if let Some([heads, width, top_k]) = self.indexer {
            out.count("attention.indexer.head_count", heads);
            out.count("attention.indexer.key_length", width);
            out.count("attention.indexer.top_k", top_k);
        }
    }

    fn attention(&self, out: &mut Builder, block: &str) {
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        match self.q_lora_rank {
            None => out.tensor(format!("{block}attn_q"), &[heads * (NOPE + ROPE), hidden], Purpose::Dense),
            Some(rank) => {
                out.tensor(format!("{block}attn_q_a"), &[rank, hidden], Purpose::Dense);
                out.tensor(format!("{block}attn_q_a_norm"), &[rank], Purpose::Norm);
                out.tensor(format!("{block}attn_q_b"), &[heads * (NOPE + ROPE), rank], Purpose::Dense);
            }
        }
        out.tensor(format!("{block}attn_kv_a_mqa"), &[KV_LORA_RANK + ROPE, hidden], Purpose::Dense);
        out.tensor(format!("{block}attn_kv_a_norm"), &[KV_LORA_RANK], Purpose::Norm);
        out.tensor(format!("{block}attn_k_b"), &[heads, KV_LORA_RANK, NOPE], Purpose::Heads);
        out.tensor(format!("{block}attn_v_b"), &[heads, VALUE, KV_LORA_RANK], Purpose::Heads);
        out.tensor(format!("{block}attn_output"), &[hidden, heads * VALUE], Purpose::Dense);
        if let Some([heads, width, _]) = self.indexer {
            let rank = self.q_lora_rank.unwrap_or(hidden);
            out.tensor(format!("{block}indexer.attn_q_b"), &[heads * width, rank], Purpose::Delicate);
            out.tensor(format!("{block}indexer.attn_k"), &[width, hidden], Purpose::Delicate);
            out.tensor(format!("{block}indexer.k_norm"), &[width], Purpose::Norm);
            out.bias(&format!("{block}indexer.k_norm"), width);
            out.tensor(format!("{block}indexer.proj"), &[heads, hidden], Purpose::Delicate);
        }
    }

    fn mixture(&self, out: &mut Builder, block: &str) {
        let (hidden, count) = (self.hidden_size, self.n_routed_experts);
        out.tensor(format!("{block}ffn_gate_inp"), &[count, hidden], Purpose::Router);
        if self.sigmoid {
            out.bias(&format!("{block}exp_probs_b"), count);
        }
        out.experts(block, count, hidden, self.moe_intermediate_size);
        out.feed_forward(block, "_shexp", hidden, self.n_shared_experts * self.moe_intermediate_size);
    }
}
