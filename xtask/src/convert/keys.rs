//! Metadata that describes the model: from the hub's configuration to the keys of a GGUF file.

use anyhow::{Context, Result, bail};
use shoal_testkit::gguf::Value;

use super::config::{Config, Family, RopeScaling};
use super::mix::Mix;

/// Key-value pairs in the order in which they are written.
pub(crate) type Pairs = Vec<(String, Value)>;

struct Keys {
    architecture: &'static str,
    pairs: Pairs,
}

impl Keys {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.pairs.push((format!("{}.{key}", self.architecture), value.into()));
    }

    fn count(&mut self, key: &str, value: usize) -> Result<()> {
        let value = u32::try_from(value).with_context(|| format!("{key}: {value} does not fit 32 bits"))?;
        self.put(key, value);
        Ok(())
    }
}

/// All pairs of the model but the tokenizer's. `drafts` layers are counted in `block_count`.
pub(crate) fn pairs(config: &Config, name: &str, mix: Mix, drafts: usize) -> Result<Pairs> {
    let family = config.family()?;
    let general = [
        ("general.architecture", family.architecture().into()),
        ("general.type", "model".into()),
        ("general.name", name.into()),
        ("general.file_type", mix.file_type().into()),
        ("general.quantization_version", 2u32.into()),
    ];
    let pairs = general.map(|(key, value): (&str, Value)| (key.to_owned(), value)).into();
    let mut keys = Keys { architecture: family.architecture(), pairs };

    keys.count("block_count", config.num_hidden_layers + drafts)?;
    keys.count("context_length", config.max_position_embeddings)?;
    keys.count("embedding_length", config.hidden_size)?;
    if config.intermediate_size > 0 {
        keys.count("feed_forward_length", config.intermediate_size)?;
    }
    keys.count("vocab_size", config.vocab_size)?;
    keys.count("attention.head_count", config.num_attention_heads)?;
    keys.put("attention.layer_norm_rms_epsilon", config.rms_norm_eps);
    keys.put("rope.freq_base", config.rope_theta.unwrap_or(10_000.0));
    if let Some(scaling) = &config.rope_scaling {
        rope_scaling(&mut keys, scaling)?;
    }
    match family {
        Family::Llama | Family::Qwen2 => dense(&mut keys, config)?,
        Family::Deepseek => deepseek(&mut keys, config, drafts)?,
        Family::DeepseekV32 => {
            deepseek(&mut keys, config, drafts)?;
            indexer(&mut keys, config)?;
        }
        Family::DeepseekV4 => deepseek_v4(&mut keys, config, drafts)?,
    }
    Ok(keys.pairs)
}

fn dense(keys: &mut Keys, config: &Config) -> Result<()> {
    keys.count("attention.head_count_kv", config.num_key_value_heads)?;
    keys.count("attention.key_length", config.head_dim())?;
    keys.count("attention.value_length", config.head_dim())?;
    keys.count("rope.dimension_count", config.head_dim())
}

/// Llama 3's scaling has no keys: it becomes the tensor `rope_freqs.weight`.
fn rope_scaling(keys: &mut Keys, scaling: &RopeScaling) -> Result<()> {
    match scaling.r#type.as_str() {
        "llama3" | "default" => return Ok(()),
        "linear" => {}
        "yarn" => {
            let original = scaling.original_max_position_embeddings;
            let original =
                original.context("rope_scaling of type yarn: original_max_position_embeddings is missing")?;
            keys.count("rope.scaling.original_context_length", original)?;
            keys.put("rope.scaling.yarn_beta_fast", scaling.beta_fast.unwrap_or(32.0));
            keys.put("rope.scaling.yarn_beta_slow", scaling.beta_slow.unwrap_or(1.0));
            if let Some(mscale) = scaling.mscale_all_dim {
                // Files hold a tenth of the hub's number, and readers multiply by ten again.
                keys.put("rope.scaling.yarn_log_multiplier", (0.1 * mscale) as f32);
            }
        }
        other => bail!("rope_scaling: expected llama3, linear or yarn, found `{other}`"),
    }
    keys.put("rope.scaling.type", scaling.r#type.as_str());
    keys.put("rope.scaling.factor", scaling.factor);
    Ok(())
}

/// Latent attention is described as attention with one key head of the latent's width; the widths of the heads it
/// unfolds to stand in the `_mla` keys.
fn deepseek(keys: &mut Keys, config: &Config, drafts: usize) -> Result<()> {
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
    mixture(keys, config)?;
    if drafts > 0 {
        keys.count("nextn_predict_layers", drafts)?;
    }
    Ok(())
}

/// The indexer of sparse attention.
fn indexer(keys: &mut Keys, config: &Config) -> Result<()> {
    keys.count("attention.indexer.head_count", config.index_n_heads)?;
    keys.count("attention.indexer.key_length", config.index_head_dim)?;
    keys.count("attention.indexer.top_k", config.index_topk)
}

/// One row of a head's width is key and value of all heads.
fn deepseek_v4(keys: &mut Keys, config: &Config, drafts: usize) -> Result<()> {
    keys.count("attention.head_count_kv", 1)?;
    keys.count("attention.key_length", config.head_dim())?;
    keys.count("attention.value_length", config.head_dim())?;
    keys.count("rope.dimension_count", config.qk_rope_head_dim)?;
    keys.count("attention.q_lora_rank", config.q_lora_rank.context("q_lora_rank is missing")?)?;
    keys.count("attention.sliding_window", config.sliding_window.context("sliding_window is missing")?)?;
    indexer(keys, config)?;
    keys.count("attention.output_group_count", config.o_groups)?;
    keys.count("attention.output_lora_rank", config.o_lora_rank)?;
    let ratios: Vec<u32> = config.compress_ratios.iter().map(|&ratio| ratio as u32).collect();
    keys.put("attention.compress_ratios", ratios);
    keys.put(
        "attention.compress_rope_freq_base",
        config.compress_rope_theta.context("compress_rope_theta is missing")?,
    );
    keys.count("hyper_connection.count", config.hc_mult)?;
    keys.count("hyper_connection.sinkhorn_iterations", config.hc_sinkhorn_iters)?;
    keys.put("hyper_connection.epsilon", config.hc_eps.context("hc_eps is missing")?);
    keys.count("hash_layer_count", config.num_hash_layers)?;
    keys.count("embedding_length_out", config.hidden_size * config.hc_mult)?;
    if let Some(limit) = config.swiglu_limit {
        let limits = vec![limit; config.num_hidden_layers + drafts];
        keys.put("swiglu_clamp_exp", limits.clone());
        keys.put("swiglu_clamp_shexp", limits);
    }
    mixture(keys, config)?;
    if drafts > 0 {
        keys.count("nextn_predict_layers", drafts)?;
    }
    Ok(())
}

fn mixture(keys: &mut Keys, config: &Config) -> Result<()> {
    keys.count("expert_count", config.n_routed_experts)?;
    keys.count("expert_used_count", config.num_experts_per_tok)?;
    keys.count("expert_shared_count", config.n_shared_experts)?;
    keys.count("expert_feed_forward_length", config.moe_intermediate_size)?;
    if let (Some(groups), Some(used)) = (config.n_group, config.topk_group) {
        keys.count("expert_group_count", groups)?;
        keys.count("expert_group_used_count", used)?;
    }
    let gating = match config.scoring_func.as_deref() {
        Some("softmax") => 1u32,
        Some("sigmoid") => 2,
        Some("sqrtsoftplus") => 4,
        other => bail!("scoring_func: expected softmax, sigmoid or sqrtsoftplus, found {other:?}"),
    };
    keys.put("expert_gating_func", gating);
    if let Some(scale) = config.routed_scaling_factor {
        keys.put("expert_weights_scale", scale);
    }
    if config.norm_topk_prob {
        keys.put("expert_weights_norm", true);
    }
    Ok(())
}
