//! From the hub's tensors to those of a GGUF file: names, and what is laid out differently.
//!
//! 1. Experts: one tensor for all of a layer, in as many pieces.
//! 2. Latent attention: `kv_b_proj` keeps its one piece, as in older GGUF files.
//! 3. Llama 3's rope scaling: a tensor of divisors instead of a rule ([`llama3_divisors`]).
//!
//! Rows of Llama's query and key stay as they are: see [`crate::Format::Safetensors`].

use std::sync::Arc;

use shoal_quant::Dtype;

use super::config::{Config, Family, RopeScaling};
use super::shards::Shards;
use super::weight::Weight;
use crate::error::shown;
use crate::{Error, Place, Source, TensorInfo};

/// The tensors taken so far, in the order in which GGUF files have them.
pub(super) struct Tensors<'a> {
    pub(super) config: &'a Config,
    pub(super) shards: Shards,
    family: Family,
    list: Vec<TensorInfo>,
}

/// What a model has.
pub(super) struct Taken {
    pub(super) sources: Vec<Source>,
    pub(super) tensors: Vec<TensorInfo>,
    /// Draft layers among them.
    pub(super) drafts: usize,
}

/// Takes every tensor from `shards`.
pub(super) fn take_all(config: &Config, family: Family, shards: Shards) -> Result<Taken, Error> {
    let mut tensors = Tensors { config, shards, family, list: Vec::new() };
    let drafts = if family == Family::DeepseekV4 { tensors.deepseek_v4()? } else { tensors.all_layers()? };
    let Tensors { shards, list, .. } = tensors;
    Ok(Taken { sources: shards.finish()?, tensors: list, drafts })
}

impl Tensors<'_> {
    fn push(&mut self, name: String, shape: &[usize], weight: Weight) {
        let Weight { dtype, bytes, piece, packed } = weight;
        let shape = shape.iter().rev().map(|&dim| dim as u64).collect();
        self.list.push(TensorInfo { name, dtype, shape, bytes, pieces: vec![piece], packed });
    }

    /// Takes `hub`, whose shape is `shape`, slowest dimension first, under the name `name`.
    pub(super) fn same(&mut self, name: String, hub: &str, shape: &[usize]) -> Result<(), Error> {
        let weight = self.shards.weight(hub, shape, self.config.weight_block())?;
        self.push(name, shape, weight);
        Ok(())
    }

    /// Takes a table of ids.
    pub(super) fn ids(&mut self, name: String, hub: &str, rows: usize, cols: usize) -> Result<(), Error> {
        let weight = self.shards.ids(hub, rows, cols)?;
        self.push(name, &[rows, cols], weight);
        Ok(())
    }

    /// Takes the matrices of all experts of a layer, `[rows, cols]` each and named by their number, as one tensor.
    pub(super) fn stack(
        &mut self,
        name: String,
        hub: impl Fn(usize) -> String,
        [rows, cols]: [usize; 2],
    ) -> Result<(), Error> {
        let (count, block) = (self.config.n_routed_experts, self.config.weight_block());
        let first = self.shards.weight(&hub(0), &[rows, cols], block)?;
        let mut pieces = Vec::with_capacity(count);
        for expert in 0..count {
            let hub = hub(expert);
            let Weight { dtype, piece, packed, .. } = self.shards.weight(&hub, &[rows, cols], block)?;
            if (dtype, packed) != (first.dtype, first.packed) {
                return Err(Error::MixedExperts { file: self.shards.folder(), tensor: shown(&hub) });
            }
            pieces.push(piece);
        }
        let shape = [cols, rows, count].map(|dim| dim as u64).to_vec();
        let Weight { dtype, bytes, packed, .. } = first;
        self.list.push(TensorInfo { name, dtype, shape, bytes: bytes * count as u64, pieces, packed });
        Ok(())
    }

    /// Takes everything but V4's; the number of draft layers that are whole.
    fn all_layers(&mut self) -> Result<usize, Error> {
        self.ends()?;
        let layers = self.config.num_hidden_layers;
        for layer in 0..layers {
            self.layer(layer)?;
        }
        let drafts = (layers..layers + self.config.draft_layers()).take_while(|&layer| self.try_draft(layer));
        let drafts = drafts.count();
        let draft_names: Vec<String> = (layers..layers + self.config.draft_layers()).map(hub_layer).collect();
        self.shards.leave_out(|name| {
            draft_names.iter().any(|draft| name.starts_with(draft)) || name.ends_with("rotary_emb.inv_freq")
        });
        Ok(drafts)
    }

    /// What stands before and after the layers.
    fn ends(&mut self) -> Result<(), Error> {
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        if let Some(scaling) = self.config.rope_scaling().filter(|scaling| scaling.kind() == "llama3") {
            let divisors = llama3_divisors(self.config, scaling);
            self.computed("rope_freqs.weight", &divisors);
        }
        self.same("token_embd.weight".to_owned(), "model.embed_tokens.weight", &[vocab, hidden])?;
        self.same("output_norm.weight".to_owned(), "model.norm.weight", &[hidden])?;
        if self.config.tie_word_embeddings {
            self.shards.leave_out(|name| name == "lm_head.weight");
            return Ok(());
        }
        self.same("output.weight".to_owned(), "lm_head.weight", &[vocab, hidden])
    }

    /// A vector that is in no file.
    fn computed(&mut self, name: &str, values: &[f32]) {
        let bytes: Arc<[u8]> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let place = Place { source_idx: self.shards.sources.len(), offset: 0, bytes: bytes.len() as u64 };
        self.shards.sources.push(Source::Computed(bytes));
        let shape = vec![values.len() as u64];
        self.list.push(TensorInfo::plain(name.to_owned(), Dtype::F32, shape, place));
    }

    fn layer(&mut self, layer: usize) -> Result<(), Error> {
        let (block, hub, hidden) = (format!("blk.{layer}."), hub_layer(layer), self.config.hidden_size);
        self.same(format!("{block}attn_norm.weight"), &format!("{hub}input_layernorm.weight"), &[hidden])?;
        self.same(
            format!("{block}ffn_norm.weight"),
            &format!("{hub}post_attention_layernorm.weight"),
            &[hidden],
        )?;
        match self.family {
            Family::Llama | Family::Qwen2 => self.attention(&block, &hub)?,
            Family::DeepseekV2 | Family::DeepseekV3 => self.latent_attention(&block, &hub)?,
            Family::DeepseekV32 => {
                self.latent_attention(&block, &hub)?;
                self.indexer(&block, &hub)?;
            }
            Family::DeepseekV4 => unreachable!("it has names of its own"),
        }
        if self.config.is_moe(layer) {
            self.experts(&block, &hub)
        } else {
            self.feed_forward(&block, "", &format!("{hub}mlp"), self.config.intermediate_size)
        }
    }

    /// `[q, k, v, o]` with the biases that are there.
    fn attention(&mut self, block: &str, hub: &str) -> Result<(), Error> {
        let (hidden, head_dim) = (self.config.hidden_size, self.config.head_dim());
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.key_value_heads());
        for (letter, heads) in [("q", heads), ("k", kv_heads), ("v", kv_heads)] {
            let rows = heads * head_dim;
            for (part, shape) in [("weight", vec![rows, hidden]), ("bias", vec![rows])] {
                let name = format!("{hub}self_attn.{letter}_proj.{part}");
                if part == "bias" && !self.shards.has(&name) {
                    continue;
                }
                self.same(format!("{block}attn_{letter}.{part}"), &name, &shape)?;
            }
        }
        let shape = [hidden, heads * head_dim];
        self.same(format!("{block}attn_output.weight"), &format!("{hub}self_attn.o_proj.weight"), &shape)
    }

    /// The indexer of V3.2.
    fn indexer(&mut self, block: &str, hub: &str) -> Result<(), Error> {
        let config = self.config;
        let (hidden, heads, dim) = (config.hidden_size, config.index_n_heads, config.index_head_dim);
        let q_rank = config.q_lora_rank.unwrap_or(0);
        for (name, hub_name, shape) in [
            ("attn_q_b.weight", "wq_b.weight", vec![heads * dim, q_rank]),
            ("attn_k.weight", "wk.weight", vec![dim, hidden]),
            ("k_norm.weight", "k_norm.weight", vec![dim]),
            ("k_norm.bias", "k_norm.bias", vec![dim]),
            ("proj.weight", "weights_proj.weight", vec![heads, hidden]),
        ] {
            let hub_name = format!("{hub}self_attn.indexer.{hub_name}");
            self.same(format!("{block}indexer.{name}"), &hub_name, &shape)?;
        }
        Ok(())
    }

    fn latent_attention(&mut self, block: &str, hub: &str) -> Result<(), Error> {
        let config = self.config;
        let (hidden, heads, rank) = (config.hidden_size, config.num_attention_heads, config.kv_lora_rank);
        let (nope, rope, value) = (config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim);
        let q_rows = heads * (nope + rope);
        let mut same = |name: &str, hub_name: &str, shape: &[usize]| {
            self.same(format!("{block}{name}.weight"), &format!("{hub}self_attn.{hub_name}.weight"), shape)
        };
        match config.q_lora_rank {
            Some(q_rank) => {
                same("attn_q_a", "q_a_proj", &[q_rank, hidden])?;
                same("attn_q_a_norm", "q_a_layernorm", &[q_rank])?;
                same("attn_q_b", "q_b_proj", &[q_rows, q_rank])?;
            }
            None => same("attn_q", "q_proj", &[q_rows, hidden])?,
        }
        same("attn_kv_a_mqa", "kv_a_proj_with_mqa", &[rank + rope, hidden])?;
        same("attn_kv_a_norm", "kv_a_layernorm", &[rank])?;
        same("attn_output", "o_proj", &[hidden, heads * value])?;
        same("attn_kv_b", "kv_b_proj", &[heads * (nope + value), rank])
    }

    fn feed_forward(&mut self, block: &str, suffix: &str, hub: &str, width: usize) -> Result<(), Error> {
        let hidden = self.config.hidden_size;
        for (part, shape) in [("gate", [width, hidden]), ("up", [width, hidden]), ("down", [hidden, width])] {
            self.same(
                format!("{block}ffn_{part}{suffix}.weight"),
                &format!("{hub}.{part}_proj.weight"),
                &shape,
            )?;
        }
        Ok(())
    }

    fn experts(&mut self, block: &str, hub: &str) -> Result<(), Error> {
        let config = self.config;
        let (hidden, count, width) =
            (config.hidden_size, config.n_routed_experts, config.moe_intermediate_size);
        self.same(format!("{block}ffn_gate_inp.weight"), &format!("{hub}mlp.gate.weight"), &[count, hidden])?;
        let bias = format!("{hub}mlp.gate.e_score_correction_bias");
        if self.shards.has(&bias) {
            self.same(format!("{block}exp_probs_b.bias"), &bias, &[count])?;
        }
        for (part, shape) in [("gate", [width, hidden]), ("up", [width, hidden]), ("down", [hidden, width])] {
            let name = |expert: usize| format!("{hub}mlp.experts.{expert}.{part}_proj.weight");
            self.stack(format!("{block}ffn_{part}_exps.weight"), name, shape)?;
        }
        if config.n_shared_experts > 0 {
            let width = config.n_shared_experts * width;
            self.feed_forward(block, "_shexp", &format!("{hub}mlp.shared_experts"), width)?;
        }
        Ok(())
    }

    fn try_draft(&mut self, layer: usize) -> bool {
        self.try_all(|tensors| tensors.layer(layer).and_then(|()| tensors.draft(layer)))
    }

    /// Takes a draft layer, all of it or nothing: a model runs without. Says whether it is there.
    pub(super) fn try_all(&mut self, take: impl FnOnce(&mut Self) -> Result<(), Error>) -> bool {
        let before = self.list.len();
        let is_whole = take(self).is_ok();
        if !is_whole {
            self.list.truncate(before);
        }
        is_whole
    }

    /// What a draft layer has beyond a decoder layer. Its embedding and head are copies of the model's own.
    fn draft(&mut self, layer: usize) -> Result<(), Error> {
        let (block, hub) = (format!("blk.{layer}.nextn."), hub_layer(layer));
        let (hidden, vocab) = (self.config.hidden_size, self.config.vocab_size);
        self.same(format!("{block}eh_proj.weight"), &format!("{hub}eh_proj.weight"), &[hidden, 2 * hidden])?;
        for norm in ["enorm", "hnorm"] {
            self.same(format!("{block}{norm}.weight"), &format!("{hub}{norm}.weight"), &[hidden])?;
        }
        let norm = format!("{hub}shared_head.norm.weight");
        self.same(format!("{block}shared_head_norm.weight"), &norm, &[hidden])?;
        for (name, hub_name) in [("embed_tokens", "embed_tokens"), ("shared_head_head", "shared_head.head")] {
            let hub_name = format!("{hub}{hub_name}.weight");
            if self.shards.has(&hub_name) {
                self.same(format!("{block}{name}.weight"), &hub_name, &[vocab, hidden])?;
            }
        }
        Ok(())
    }
}

fn hub_layer(layer: usize) -> String {
    format!("model.layers.{layer}.")
}

/// Divisors of the rope frequencies under Llama 3's scaling: 1 for waves much shorter than the trained context,
/// `factor` for much longer ones, blended in between.
fn llama3_divisors(config: &Config, scaling: &RopeScaling) -> Vec<f32> {
    let (dim, theta, factor) = (config.head_dim(), config.rope_theta(), scaling.factor.unwrap_or(8.0));
    let (low, high) = (scaling.low_freq_factor.unwrap_or(1.0), scaling.high_freq_factor.unwrap_or(4.0));
    let context = scaling.original_max_position_embeddings.unwrap_or(8192) as f32;
    let divisor = |i: usize| {
        let frequency = 1.0 / theta.powf((2 * i) as f32 / dim as f32);
        let wave_len = std::f32::consts::TAU / frequency;
        if wave_len < context / high {
            1.0
        } else if wave_len > context / low {
            factor
        } else {
            let smooth = (context / wave_len - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    (0..dim / 2).map(divisor).collect()
}
