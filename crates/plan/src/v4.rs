//! Window and compressed attention with a mixture of experts: V4, Flash and Pro.

use shoal_checkpoint::Value;

use crate::shape::{Builder, Purpose, Shape};

/// Dimensions, with the hub's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct V4 {
    pub(crate) name: &'static str,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) q_lora_rank: usize,
    pub(crate) o_groups: usize,
    pub(crate) o_lora_rank: usize,
    pub(crate) moe_intermediate_size: usize,
    pub(crate) n_routed_experts: usize,
    pub(crate) num_experts_per_tok: usize,
    pub(crate) routed_scaling_factor: f64,
    pub(crate) index_topk: usize,
    /// The first two layers; then 4 and 128 in turn.
    pub(crate) first_ratios: [u32; 2],
}

/// Equal in both.
const HEAD: usize = 512;
const ROPE: usize = 64;
const INDEX_HEADS: usize = 64;
const INDEX_HEAD: usize = 128;
const STREAMS: usize = 4;
const HASH_LAYERS: usize = 3;
const WINDOW: usize = 128;
const VOCAB: usize = 129_280;
const CONTEXT: usize = 1_048_576;

impl V4 {
    /// All layers, or `layers` from the middle: those with compression, none of which names experts by token.
    pub(crate) fn shape(&self, layers: usize) -> Shape {
        let is_whole = layers == self.num_hidden_layers;
        let first = if is_whole { self.first_ratios.to_vec() } else { Vec::new() };
        let ratios: Vec<u32> = first.into_iter().chain([4, 128].into_iter().cycle()).take(layers).collect();
        let hashed = if is_whole { HASH_LAYERS } else { 0 };
        let mut out = Builder::new(self.name, "deepseek4", layers);
        self.keys(&mut out, &ratios, hashed);
        let (hidden, streams) = (self.hidden_size, STREAMS);
        out.ends(VOCAB, hidden, false);
        hyper(&mut out, "output_hc", streams, 1, hidden);
        for (layer, &ratio) in ratios.iter().enumerate() {
            let block = format!("blk.{layer}.");
            for part in ["attn", "ffn"] {
                out.tensor(format!("{block}{part}_norm"), &[hidden], Purpose::Norm);
                hyper(&mut out, &format!("{block}hc_{part}"), streams * (2 + streams), 3, hidden);
            }
            self.attention(&mut out, &block, ratio as usize);
            self.mixture(&mut out, &block, layer < hashed);
        }
        out.finish(Some((self.num_experts_per_tok, self.n_routed_experts)))
    }

    fn keys(&self, out: &mut Builder, ratios: &[u32], hashed: usize) {
        for (key, value) in [
            ("block_count", ratios.len()),
            ("context_length", CONTEXT),
            ("embedding_length", self.hidden_size),
            ("attention.head_count", self.num_attention_heads),
            ("attention.head_count_kv", 1),
            ("attention.key_length", HEAD),
            ("attention.value_length", HEAD),
            ("attention.q_lora_rank", self.q_lora_rank),
            ("attention.sliding_window", WINDOW),
            ("attention.output_group_count", self.o_groups),
            ("attention.output_lora_rank", self.o_lora_rank),
            ("attention.indexer.head_count", INDEX_HEADS),
            ("attention.indexer.key_length", INDEX_HEAD),
            ("attention.indexer.top_k", self.index_topk),
            ("rope.dimension_count", ROPE),
            ("rope.scaling.original_context_length", 65_536),
            ("hyper_connection.count", STREAMS),
            ("hyper_connection.sinkhorn_iterations", 20),
            ("hash_layer_count", hashed),
            ("expert_count", self.n_routed_experts),
            ("expert_used_count", self.num_experts_per_tok),
            ("expert_shared_count", 1),
            ("expert_feed_forward_length", self.moe_intermediate_size),
            ("expert_gating_func", 4),
        ] {
            out.count(key, value);
        }
        out.put("attention.compress_ratios", Value::U32s(ratios.to_vec()));
        out.put("expert_weights_norm", Value::Bool(true));
        out.put("rope.scaling.type", Value::Str("yarn".to_owned()));
        out.put("swiglu_clamp_exp", Value::F32s(vec![10.0; ratios.len()]));
        for (key, value) in [
            ("attention.layer_norm_rms_epsilon", 1e-6),
            ("attention.compress_rope_freq_base", 160_000.0),
            ("rope.freq_base", 10_000.0),
            ("rope.scaling.factor", 16.0),
            ("hyper_connection.epsilon", 1e-6),
            ("expert_weights_scale", self.routed_scaling_factor),
        ] {
            out.number(key, value);
        }
    }

    fn attention(&self, out: &mut Builder, block: &str, ratio: usize) {
        let (hidden, heads, rank) = (self.hidden_size, self.num_attention_heads, self.q_lora_rank);
        let outputs = self.o_groups * self.o_lora_rank;
        out.tensor(format!("{block}attn_sinks"), &[heads], Purpose::Bias);
        out.tensor(format!("{block}attn_q_a"), &[rank, hidden], Purpose::Dense);
        out.tensor(format!("{block}attn_q_a_norm"), &[rank], Purpose::Norm);
        out.tensor(format!("{block}attn_q_b"), &[heads * HEAD, rank], Purpose::Dense);
        out.tensor(format!("{block}attn_kv"), &[HEAD, hidden], Purpose::Dense);
        out.tensor(format!("{block}attn_kv_a_norm"), &[HEAD], Purpose::Norm);
        out.tensor(format!("{block}attn_output_a"), &[outputs, heads / self.o_groups * HEAD], Purpose::Dense);
        out.tensor(format!("{block}attn_output_b"), &[hidden, outputs], Purpose::Dense);
        if ratio > 0 {
            compressor(out, &format!("{block}attn_compressor"), ratio, HEAD, hidden);
        }
        if ratio == 4 {
            out.tensor(
                format!("{block}indexer.attn_q_b"),
                &[INDEX_HEADS * INDEX_HEAD, rank],
                Purpose::Delicate,
            );
            out.tensor(format!("{block}indexer.proj"), &[INDEX_HEADS, hidden], Purpose::Delicate);
            compressor(out, &format!("{block}indexer_compressor"), ratio, INDEX_HEAD, hidden);
        }
    }

    fn mixture(&self, out: &mut Builder, block: &str, hashed: bool) {
        let (hidden, count) = (self.hidden_size, self.n_routed_experts);
        out.tensor(format!("{block}ffn_gate_inp"), &[count, hidden], Purpose::Router);
        if hashed {
            let ids = Purpose::Ids { count: count as u32 };
            out.tensor(format!("{block}ffn_gate_tid2eid"), &[VOCAB, self.num_experts_per_tok], ids);
        } else {
            out.bias(&format!("{block}exp_probs_b"), count);
        }
        out.experts(block, count, hidden, self.moe_intermediate_size);
        out.feed_forward(block, "_shexp", hidden, self.moe_intermediate_size);
    }
}

fn hyper(out: &mut Builder, name: &str, rows: usize, scales: usize, hidden: usize) {
    out.tensor(format!("{name}_fn"), &[rows, STREAMS * hidden], Purpose::Delicate);
    out.tensor(format!("{name}_base"), &[rows], Purpose::Bias);
    out.tensor(format!("{name}_scale"), &[scales], Purpose::Scale);
}

fn compressor(out: &mut Builder, name: &str, ratio: usize, width: usize, hidden: usize) {
    let columns = if ratio == 4 { 2 * width } else { width };
    out.tensor(format!("{name}_kv"), &[columns, hidden], Purpose::Delicate);
    out.tensor(format!("{name}_gate"), &[columns, hidden], Purpose::Delicate);
    out.tensor(format!("{name}_ape"), &[ratio, columns], Purpose::Bias);
    out.tensor(format!("{name}_norm"), &[width], Purpose::Norm);
}
