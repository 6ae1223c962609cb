//! `config.json` from the keys of a GGUF file.

use serde_json::{Map, Value as Json, json};

use crate::gguf::Value;
use crate::gguf_reader::GgufFile;

const COMMON: &[(&str, &str)] = &[
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("max_position_embeddings", "context_length"),
    ("vocab_size", "vocab_size"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("num_key_value_heads", "attention.head_count_kv"),
];

const MIXTURE: &[(&str, &str)] = &[
    ("q_lora_rank", "attention.q_lora_rank"),
    ("qk_rope_head_dim", "rope.dimension_count"),
    ("n_routed_experts", "expert_count"),
    ("num_experts_per_tok", "expert_used_count"),
    ("n_shared_experts", "expert_shared_count"),
    ("moe_intermediate_size", "expert_feed_forward_length"),
    ("n_group", "expert_group_count"),
    ("topk_group", "expert_group_used_count"),
    ("routed_scaling_factor", "expert_weights_scale"),
    ("norm_topk_prob", "expert_weights_norm"),
    ("index_n_heads", "attention.indexer.head_count"),
    ("index_head_dim", "attention.indexer.key_length"),
    ("index_topk", "attention.indexer.top_k"),
];

const LATENT: &[(&str, &str)] = &[
    ("kv_lora_rank", "attention.kv_lora_rank"),
    ("v_head_dim", "attention.value_length_mla"),
    ("first_k_dense_replace", "leading_dense_block_count"),
];

const V4: &[(&str, &str)] = &[
    ("head_dim", "attention.key_length"),
    ("sliding_window", "attention.sliding_window"),
    ("o_groups", "attention.output_group_count"),
    ("o_lora_rank", "attention.output_lora_rank"),
    ("compress_ratios", "attention.compress_ratios"),
    ("compress_rope_theta", "attention.compress_rope_freq_base"),
    ("hc_mult", "hyper_connection.count"),
    ("hc_sinkhorn_iters", "hyper_connection.sinkhorn_iterations"),
    ("hc_eps", "hyper_connection.epsilon"),
    ("num_hash_layers", "hash_layer_count"),
];

const YARN: &[(&str, &str)] = &[
    ("factor", "rope.scaling.factor"),
    ("original_max_position_embeddings", "rope.scaling.original_context_length"),
    ("beta_fast", "rope.scaling.yarn_beta_fast"),
    ("beta_slow", "rope.scaling.yarn_beta_slow"),
];

/// A value in JSON; an f32 by its shortest decimal.
fn to_json(value: &Value) -> Json {
    match value {
        Value::U32(number) => json!(number),
        Value::F32(number) => json!(decimal(*number)),
        Value::Bool(flag) => json!(flag),
        Value::String(text) => json!(text),
        Value::Array(items) => items.iter().map(to_json).collect(),
        other => panic!("no configuration has {other:?}"),
    }
}

fn decimal(number: f32) -> f64 {
    format!("{number}").parse().expect("a number")
}

/// The configuration of the model in `file`.
pub(super) fn of(file: &GgufFile) -> Map<String, Json> {
    let Some(Value::String(architecture)) = file.get("general.architecture") else { panic!("a model") };
    let get = |key: &str| file.get(&format!("{architecture}.{key}"));
    let fields = |table: &[(&str, &str)]| -> Vec<(String, Json)> {
        let field = |(hub, key): &(&str, &str)| Some(((*hub).to_owned(), to_json(get(key)?)));
        table.iter().filter_map(field).collect()
    };
    let mut config: Map<String, Json> = fields(COMMON).into_iter().collect();
    let scoring = match get("expert_gating_func") {
        Some(Value::U32(1)) => "softmax",
        Some(Value::U32(2)) => "sigmoid",
        _ => "sqrtsoftplus",
    };
    let model_type = match architecture.as_str() {
        "deepseek2" if scoring == "softmax" => "deepseek_v2",
        "deepseek2" => "deepseek_v3",
        "deepseek32" => "deepseek_v32",
        "deepseek4" => "deepseek_v4",
        dense => dense,
    };
    config.insert("model_type".to_owned(), json!(model_type));
    if architecture.starts_with("deepseek") {
        config.extend(fields(MIXTURE));
        config.insert("scoring_func".to_owned(), json!(scoring));
    }
    match (get("attention.key_length_mla"), get("rope.dimension_count")) {
        (Some(Value::U32(key)), Some(Value::U32(rope))) => {
            config.extend(fields(LATENT));
            config.insert("qk_nope_head_dim".to_owned(), json!(key - rope));
        }
        _ if architecture == "deepseek4" => config.extend(fields(V4)),
        _ => config.extend(fields(&[("head_dim", "attention.key_length")])),
    }
    if let Some(Value::Array(limits)) = get("swiglu_clamp_exp") {
        config.insert("swiglu_limit".to_owned(), to_json(&limits[0]));
    }
    if get("rope.scaling.type").is_some() {
        let mut scaling: Map<String, Json> = fields(YARN).into_iter().collect();
        // Both names, as some writers have it.
        scaling.extend([("type".to_owned(), json!("yarn")), ("rope_type".to_owned(), json!("yarn"))]);
        if let Some(Value::F32(tenth)) = get("rope.scaling.yarn_log_multiplier") {
            scaling.insert("mscale_all_dim".to_owned(), json!(10.0 * decimal(*tenth)));
        }
        config.insert("rope_scaling".to_owned(), scaling.into());
    } else if file.tensors.iter().any(|tensor| tensor.name == "rope_freqs.weight") {
        // The rule that gave the golden Llama its divisors.
        let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64});
        config.insert("rope_scaling".to_owned(), scaling);
    }
    config
}
