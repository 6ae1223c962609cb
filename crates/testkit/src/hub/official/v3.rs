//! V3: latent attention, one dense layer, two with experts, and a draft layer.

use serde_json::json;

use super::{EXPERTS, Form, HIDDEN, Maker, Official, Scales, VOCAB};

const HEADS: usize = 2;
/// Of queries and of keys and values.
const RANK: usize = 128;
const NOPE: usize = 64;
const ROPE: usize = 64;
const VALUE: usize = 64;
const DENSE: usize = 384;
/// Columns of the down projection: one block and a half.
const WIDTH: usize = 192;
const LAYERS: usize = 3;

pub(super) fn make(scales: Scales) -> Official {
    let mut m = Maker::new(3, Form::V3(scales));
    m.bf16("model.embed_tokens.weight", &[VOCAB, HIDDEN]);
    m.norm("model.norm.weight", HIDDEN);
    m.bf16("lm_head.weight", &[VOCAB, HIDDEN]);
    (0..=LAYERS).for_each(|layer| decoder_layer(&mut m, layer));
    draft(&mut m, &format!("model.layers.{LAYERS}"));
    m.finish(&[json!({
        "model_type": "deepseek_v3", "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": DENSE,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": HEADS,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "q_lora_rank": RANK,
        "kv_lora_rank": RANK, "qk_nope_head_dim": NOPE, "qk_rope_head_dim": ROPE, "v_head_dim": VALUE,
        "first_k_dense_replace": 1, "n_routed_experts": EXPERTS, "n_shared_experts": 1, "num_experts_per_tok": 3,
        "moe_intermediate_size": WIDTH, "n_group": 4, "topk_group": 2, "scoring_func": "sigmoid",
        "norm_topk_prob": true, "routed_scaling_factor": 2.5, "num_nextn_predict_layers": 1,
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
    })])
}

fn decoder_layer(m: &mut Maker, layer: usize) {
    let block = format!("model.layers.{layer}");
    let attention = |part: &str| format!("{block}.self_attn.{part}.weight");
    m.norm(&format!("{block}.input_layernorm.weight"), HIDDEN);
    m.norm(&format!("{block}.post_attention_layernorm.weight"), HIDDEN);
    m.fp8(&attention("q_a_proj"), [RANK, HIDDEN]);
    m.norm(&attention("q_a_layernorm"), RANK);
    m.fp8(&attention("q_b_proj"), [HEADS * (NOPE + ROPE), RANK]);
    m.fp8(&attention("kv_a_proj_with_mqa"), [RANK + ROPE, HIDDEN]);
    m.norm(&attention("kv_a_layernorm"), RANK);
    m.fp8(&attention("kv_b_proj"), [HEADS * (NOPE + VALUE), RANK]);
    m.fp8(&attention("o_proj"), [HIDDEN, HEADS * VALUE]);
    if layer == 0 {
        return network(m, &format!("{block}.mlp"), DENSE);
    }
    m.bf16(&format!("{block}.mlp.gate.weight"), &[EXPERTS, HIDDEN]);
    m.f32(&format!("{block}.mlp.gate.e_score_correction_bias"), &[EXPERTS]);
    (0..EXPERTS).for_each(|expert| network(m, &format!("{block}.mlp.experts.{expert}"), WIDTH));
    network(m, &format!("{block}.mlp.shared_experts"), WIDTH);
}

fn network(m: &mut Maker, prefix: &str, width: usize) {
    m.fp8(&format!("{prefix}.gate_proj.weight"), [width, HIDDEN]);
    m.fp8(&format!("{prefix}.up_proj.weight"), [width, HIDDEN]);
    m.fp8(&format!("{prefix}.down_proj.weight"), [HIDDEN, width]);
}

fn draft(m: &mut Maker, block: &str) {
    m.bf16(&format!("{block}.embed_tokens.weight"), &[VOCAB, HIDDEN]);
    m.bf16(&format!("{block}.eh_proj.weight"), &[HIDDEN, 2 * HIDDEN]);
    for norm in ["enorm", "hnorm", "shared_head.norm"] {
        m.norm(&format!("{block}.{norm}.weight"), HIDDEN);
    }
    m.bf16(&format!("{block}.shared_head.head.weight"), &[VOCAB, HIDDEN]);
}
