//! Metadata that describes the model: from the hub's configuration to the keys of a GGUF file.

use super::config::{Config, Family, RopeScaling, bad};
use crate::error::shown;
use crate::{Error, Value};

/// Key-value pairs in the order in which files have them.
pub(super) type Pairs = Vec<(String, Value)>;

struct Keys<'a> {
    file: &'a str,
    architecture: &'static str,
    pairs: Pairs,
}

impl Keys<'_> {
    fn put(&mut self, key: &str, value: Value) {
        self.pairs.push((format!("{}.{key}", self.architecture), value));
    }

    fn number(&mut self, key: &str, value: f32) {
        self.put(key, Value::F32(value));
    }

    fn count(&mut self, key: &str, value: usize) -> Result<(), Error> {
        let fits = u32::try_from(value).map_err(|_| bad(self.file, key, "a number of 32 bits", value))?;
        self.put(key, Value::U32(fits));
        Ok(())
    }

    /// What the configuration must have, by its name there.
    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| bad(self.file, key, "a value", "none"))
    }
}

/// All pairs of the model but the tokenizer's. `drafts` layers are counted in `block_count`; `file` names the configuration.
pub(super) fn pairs(
    file: &str,
    config: &Config,
    family: Family,
    name: &str,
    drafts: usize,
) -> Result<Pairs, Error> {
    let text = |text: &str| Value::Str(text.to_owned());
    let architecture = family.architecture();
    let general = [("architecture", text(architecture)), ("type", text("model")), ("name", text(name))];
    let pairs = general.map(|(key, value)| (format!("general.{key}"), value)).into();
    let mut keys = Keys { file, architecture, pairs };

    keys.count("block_count", config.num_hidden_layers + drafts)?;
    keys.count("context_length", config.max_position_embeddings)?;
    keys.count("embedding_length", config.hidden_size)?;
    if config.intermediate_size > 0 {
        keys.count("feed_forward_length", config.intermediate_size)?;
    }
    keys.count("vocab_size", config.vocab_size)?;
    keys.count("attention.head_count", config.num_attention_heads)?;
    keys.number("attention.layer_norm_rms_epsilon", config.rms_norm_eps);
    keys.number("rope.freq_base", config.rope_theta());
    if let Some(scaling) = config.rope_scaling() {
        rope_scaling(&mut keys, scaling)?;
    }
    match family {
        Family::Llama | Family::Qwen2 => dense(&mut keys, config)?,
        Family::DeepseekV2 | Family::DeepseekV3 => deepseek(&mut keys, config, family, drafts)?,
        Family::DeepseekV32 => {
            deepseek(&mut keys, config, family, drafts)?;
            indexer(&mut keys, config)?;
        }
        Family::DeepseekV4 => deepseek_v4(&mut keys, config, family, drafts)?,
    }
    Ok(keys.pairs)
}

fn dense(keys: &mut Keys<'_>, config: &Config) -> Result<(), Error> {
    keys.count("attention.head_count_kv", config.key_value_heads())?;
    keys.count("attention.key_length", config.head_dim())?;
    keys.count("attention.value_length", config.head_dim())?;
    keys.count("rope.dimension_count", config.head_dim())
}

/// Llama 3's scaling has no keys: it becomes a tensor of divisors.
fn rope_scaling(keys: &mut Keys<'_>, scaling: &RopeScaling) -> Result<(), Error> {
    match scaling.kind() {
        "llama3" => return Ok(()),
        "linear" => {}
        "yarn" => {
            let original = scaling.original_max_position_embeddings;
            let original = keys.required("rope_scaling.original_max_position_embeddings", original)?;
            keys.count("rope.scaling.original_context_length", original)?;
            keys.number("rope.scaling.yarn_beta_fast", scaling.beta_fast.unwrap_or(32.0));
            keys.number("rope.scaling.yarn_beta_slow", scaling.beta_slow.unwrap_or(1.0));
            if let Some(mscale) = scaling.mscale_all_dim {
                // Files hold a tenth of the hub's number, and readers multiply by ten again.
                keys.number("rope.scaling.yarn_log_multiplier", (0.1 * mscale) as f32);
            }
        }
        other => return Err(bad(keys.file, "rope_scaling.type", "llama3, linear or yarn", shown(other))),
    }
    keys.put("rope.scaling.type", Value::Str(scaling.kind().to_owned()));
    let factor = keys.required("rope_scaling.factor", scaling.factor)?;
    keys.number("rope.scaling.factor", factor);
    Ok(())
}

/// Latent attention is described as attention with one key head of the latent's width; the widths of the heads it
/// unfolds to stand in the `_mla` keys.
fn deepseek(keys: &mut Keys<'_>, config: &Config, family: Family, drafts: usize) -> Result<(), Error> {
    keys.count("attention.head_count_kv", 1)?;
    if let Some(rank) = config.q_lora_rank {
        keys.count("attention.q_lora_rank", rank)?;
    }
    keys.count("attention.kv_lora_rank", config.kv_lora_rank)?;
    keys.count("attention.key_length", config.kv_lora_rank + config.qk_rope_head_dim)?;
    keys.count("attention.value_length", config.kv_lora_rank)?;
    keys.count("attention.key_length_mla", config.qk_nope_head_dim + config.qk_rope_head_dim)?;
    keys.count("attention.value_length_mla", config.v_head_dim)?;
    keys.count("rope.dimension_count", config.qk_rope_head_dim)?;

    keys.count("leading_dense_block_count", config.first_k_dense_replace)?;
    mixture(keys, config, family)?;
    if drafts > 0 {
        keys.count("nextn_predict_layers", drafts)?;
    }
    Ok(())
}

/// The indexer of sparse attention.
fn indexer(keys: &mut Keys<'_>, config: &Config) -> Result<(), Error> {
    keys.count("attention.indexer.head_count", config.index_n_heads)?;
    keys.count("attention.indexer.key_length", config.index_head_dim)?;
    keys.count("attention.indexer.top_k", config.index_topk)
}

/// One row of a head's width is key and value of all heads.
fn deepseek_v4(keys: &mut Keys<'_>, config: &Config, family: Family, drafts: usize) -> Result<(), Error> {
    keys.count("attention.head_count_kv", 1)?;
    keys.count("attention.key_length", config.head_dim())?;
    keys.count("attention.value_length", config.head_dim())?;
    keys.count("rope.dimension_count", config.qk_rope_head_dim)?;
    let q_rank = keys.required("q_lora_rank", config.q_lora_rank)?;
    keys.count("attention.q_lora_rank", q_rank)?;
    let window = keys.required("sliding_window", config.sliding_window)?;
    keys.count("attention.sliding_window", window)?;
    indexer(keys, config)?;
    keys.count("attention.output_group_count", config.o_groups)?;
    keys.count("attention.output_lora_rank", config.o_lora_rank)?;
    let ratio = |&ratio: &usize| {
        u32::try_from(ratio).map_err(|_| bad(keys.file, "compress_ratios", "numbers of 32 bits", ratio))
    };
    let ratios = config.compress_ratios.iter().map(ratio).collect::<Result<_, _>>()?;
    keys.put("attention.compress_ratios", Value::U32s(ratios));
    let theta = keys.required("compress_rope_theta", config.compress_rope_theta)?;
    keys.number("attention.compress_rope_freq_base", theta);
    keys.count("hyper_connection.count", config.hc_mult)?;
    keys.count("hyper_connection.sinkhorn_iterations", config.hc_sinkhorn_iters)?;
    let eps = keys.required("hc_eps", config.hc_eps)?;
    keys.number("hyper_connection.epsilon", eps);
    keys.count("hash_layer_count", config.num_hash_layers)?;
    keys.count("embedding_length_out", config.hidden_size * config.hc_mult)?;
    if let Some(limit) = config.swiglu_limit {
        let limits = vec![limit; config.num_hidden_layers + drafts];
        keys.put("swiglu_clamp_exp", Value::F32s(limits.clone()));
        keys.put("swiglu_clamp_shexp", Value::F32s(limits));
    }
    mixture(keys, config, family)?;
    if drafts > 0 {
        keys.count("nextn_predict_layers", drafts)?;
    }
    Ok(())
}

fn mixture(keys: &mut Keys<'_>, config: &Config, family: Family) -> Result<(), Error> {
    keys.count("expert_count", config.n_routed_experts)?;
    keys.count("expert_used_count", config.num_experts_per_tok)?;
    keys.count("expert_shared_count", config.n_shared_experts)?;
    keys.count("expert_feed_forward_length", config.moe_intermediate_size)?;
    if let (Some(groups), Some(used)) = (config.n_group, config.topk_group) {
        keys.count("expert_group_count", groups)?;
        keys.count("expert_group_used_count", used)?;
    }
    let gating = match config.scoring_func.as_deref().unwrap_or(family.scoring()) {
        "softmax" => 1,
        "sigmoid" => 2,
        "sqrtsoftplus" => 4,
        other => {
            return Err(bad(keys.file, "scoring_func", "softmax, sigmoid or sqrtsoftplus", shown(other)));
        }
    };
    keys.put("expert_gating_func", Value::U32(gating));
    if let Some(scale) = config.routed_scaling_factor {
        keys.number("expert_weights_scale", scale);
    }
    if config.norm_topk_prob {
        keys.put("expert_weights_norm", Value::Bool(true));
    }
    Ok(())
}
