//! The same for weights that are stored packed: FP8 is brought into rows in the memory it was read into, so no more is taken than the
//! rows need, neither for dense weights at the start nor for experts later. One test, in a process of its own.

#![cfg(target_os = "linux")]

mod support;

use serde_json::json;
use shoal_testkit::golden_dir;
use shoal_testkit::hub::HubModel;
use shoal_testkit::safetensors::HubTensor;
use shoal_testkit::seeded::random_bytes;

const LAYERS: usize = 5;
const EXPERTS: usize = 24;
const HIDDEN: usize = 512;
const WIDTH: usize = 512;
const DENSE: usize = 512;
/// So many that embedding and head have 48 MB each: it shows if one of them is held twice.
const VOCAB: usize = 96 << 10;
const HEADS: usize = 4;
const NOPE: usize = 32;
const ROPE: usize = 32;
const VALUE: usize = 32;
const RANK: usize = 128;

fn vector(name: String, len: usize) -> HubTensor {
    let bytes = (0..len).flat_map(|_| 1f32.to_le_bytes()).collect();
    HubTensor { name, element: "F32", shape: vec![len], bytes }
}

/// Random codes that are numbers, under scales of 2^-12.
fn fp8(name: &str, rows: usize, cols: usize) -> [HubTensor; 2] {
    let mut codes = random_bytes(name.len() as u64, rows * cols);
    codes.iter_mut().for_each(|code| *code ^= u8::from(*code & 0x7F == 0x7F));
    let shape = [rows, cols].map(|n| n.div_ceil(128)).to_vec();
    let scales = (0..shape.iter().product()).flat_map(|_: usize| 2f32.powi(-12).to_le_bytes()).collect();
    [
        HubTensor { name: name.to_owned(), element: "F8_E4M3", shape: vec![rows, cols], bytes: codes },
        HubTensor { name: format!("{name}_scale_inv"), element: "F32", shape, bytes: scales },
    ]
}

fn network(tensors: &mut Vec<HubTensor>, prefix: &str, width: usize) {
    for (part, rows, cols) in [("gate", width, HIDDEN), ("up", width, HIDDEN), ("down", HIDDEN, width)] {
        tensors.extend(fp8(&format!("{prefix}.{part}_proj.weight"), rows, cols));
    }
}

fn layer(tensors: &mut Vec<HubTensor>, block: &str, is_dense: bool) {
    tensors.push(vector(format!("{block}.input_layernorm.weight"), HIDDEN));
    tensors.push(vector(format!("{block}.post_attention_layernorm.weight"), HIDDEN));
    tensors.push(vector(format!("{block}.self_attn.kv_a_layernorm.weight"), RANK));
    for (part, rows, cols) in [
        ("q_proj", HEADS * (NOPE + ROPE), HIDDEN),
        ("kv_a_proj_with_mqa", RANK + ROPE, HIDDEN),
        ("kv_b_proj", HEADS * (NOPE + VALUE), RANK),
        ("o_proj", HIDDEN, HEADS * VALUE),
    ] {
        tensors.extend(fp8(&format!("{block}.self_attn.{part}.weight"), rows, cols));
    }
    if is_dense {
        return network(tensors, &format!("{block}.mlp"), DENSE);
    }
    tensors.extend(fp8(&format!("{block}.mlp.gate.weight"), EXPERTS, HIDDEN));
    (0..EXPERTS).for_each(|expert| network(tensors, &format!("{block}.mlp.experts.{expert}"), WIDTH));
}

/// Some 75 MB of experts, 96 MB of dense weights and little else.
fn model() -> HubModel {
    let golden = HubModel::of_gguf(&golden_dir("deepseek_v3").join("model.gguf"));
    let config = json!({
        "model_type": "deepseek_v2", "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": DENSE,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
        "kv_lora_rank": RANK, "qk_nope_head_dim": NOPE, "qk_rope_head_dim": ROPE, "v_head_dim": VALUE,
        "first_k_dense_replace": 1, "n_routed_experts": EXPERTS, "num_experts_per_tok": 4, "moe_intermediate_size": WIDTH,
        "routed_scaling_factor": 1.0,
    });
    let mut tensors = vec![vector("model.norm.weight".to_owned(), HIDDEN)];
    tensors.extend(fp8("model.embed_tokens.weight", VOCAB, HIDDEN));
    tensors.extend(fp8("lm_head.weight", VOCAB, HIDDEN));
    (0..LAYERS).for_each(|i| layer(&mut tensors, &format!("model.layers.{i}"), i == 0));
    HubModel { config: config.as_object().expect("an object").clone(), tensors, ..golden }
}

#[test]
fn the_peak_stays_within_the_budget() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    model().write(dir.path(), 2);
    support::check(dir.path());
}
