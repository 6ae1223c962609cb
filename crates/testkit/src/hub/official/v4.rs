//! V4: one layer of each kind of attention, the first with experts by token, and what a reader leaves out.

use serde_json::json;

use super::{EXPERTS, Form, HIDDEN, Maker, Official, VOCAB};
use crate::safetensors::HubTensor;

const HEADS: usize = 4;
const DIM: usize = 64;
const ROPE: usize = 32;
/// Of queries.
const RANK: usize = 128;
const GROUPS: usize = 2;
const OUT_RANK: usize = 64;
const INDEX_HEADS: usize = 4;
const INDEX_DIM: usize = 32;
const WIDTH: usize = 128;
const STREAMS: usize = 4;
const RATIOS: [usize; 3] = [0, 4, 128];

pub(super) fn make(used: usize) -> Official {
    let mut m = Maker::new(4, Form::V4);
    m.bf16("embed.weight", &[VOCAB, HIDDEN]);
    m.norm("norm.weight", HIDDEN);
    m.bf16("head.weight", &[VOCAB, HIDDEN]);
    hyper(&mut m, "hc_head", STREAMS, 1);
    for (layer, ratio) in RATIOS.into_iter().enumerate() {
        block(&mut m, &format!("layers.{layer}"), ratio, (layer == 0).then_some(used));
    }
    draft(&mut m);
    m.fp8("mtp.0.main_proj.weight", [HIDDEN, 3 * HIDDEN]);
    m.bf16("mtp.2.markov_head.markov_w1.weight", &[VOCAB, 16]);
    m.f32("layers.1.ffn.gate.bias_vl", &[EXPERTS]);
    m.finish(&[config(), parts(used)])
}

/// One layer, whose tokens name their own `hashed` experts if it is one of the first.
fn block(m: &mut Maker, block: &str, ratio: usize, hashed: Option<usize>) {
    for part in ["attn", "ffn"] {
        m.norm(&format!("{block}.{part}_norm.weight"), HIDDEN);
        hyper(m, &format!("{block}.hc_{part}"), STREAMS * (2 + STREAMS), 3);
    }
    attention(m, &format!("{block}.attn"), ratio);
    mixture(m, &format!("{block}.ffn"), hashed);
}

/// The draft layer.
fn draft(m: &mut Maker) {
    block(m, "mtp.0", 0, None);
    for part in ["e_proj", "h_proj"] {
        m.fp8(&format!("mtp.0.{part}.weight"), [HIDDEN, HIDDEN]);
    }
    for norm in ["enorm", "hnorm", "norm"] {
        m.norm(&format!("mtp.0.{norm}.weight"), HIDDEN);
    }
    hyper(m, "mtp.0.hc_head", STREAMS, 1);
}

fn config() -> serde_json::Value {
    json!({
        "model_type": "deepseek_v4", "vocab_size": VOCAB, "hidden_size": HIDDEN, "num_hidden_layers": RATIOS.len(),
        "num_attention_heads": HEADS, "num_key_value_heads": 1, "head_dim": DIM, "qk_rope_head_dim": ROPE,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "compress_rope_theta": 160000.0,
        "rope_scaling": {"type": "yarn", "factor": 16, "original_max_position_embeddings": 256, "beta_fast": 32,
            "beta_slow": 1},
    })
}

/// What its parts are like.
fn parts(used: usize) -> serde_json::Value {
    json!({
        "q_lora_rank": RANK, "o_groups": GROUPS, "o_lora_rank": OUT_RANK, "index_n_heads": INDEX_HEADS,
        "index_head_dim": INDEX_DIM, "index_topk": 32, "sliding_window": 32, "compress_ratios": [0, 4, 128, 0],
        "hc_mult": STREAMS, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "num_hash_layers": 1, "swiglu_limit": 10.0,
        "n_routed_experts": EXPERTS, "n_shared_experts": 1, "num_experts_per_tok": used, "moe_intermediate_size": WIDTH,
        "scoring_func": "sqrtsoftplus", "norm_topk_prob": true, "routed_scaling_factor": 1.5,
        "num_nextn_predict_layers": 1, "expert_dtype": "fp4",
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0", "weight_block_size": [128, 128]},
    })
}

fn hyper(m: &mut Maker, name: &str, rows: usize, scales: usize) {
    m.f32(&format!("{name}_fn"), &[rows, STREAMS * HIDDEN]);
    m.f32(&format!("{name}_base"), &[rows]);
    m.f32(&format!("{name}_scale"), &[scales]);
}

fn attention(m: &mut Maker, block: &str, ratio: usize) {
    m.f32(&format!("{block}.attn_sink"), &[HEADS]);
    m.fp8(&format!("{block}.wq_a.weight"), [RANK, HIDDEN]);
    m.norm(&format!("{block}.q_norm.weight"), RANK);
    m.fp8(&format!("{block}.wq_b.weight"), [HEADS * DIM, RANK]);
    m.fp8(&format!("{block}.wkv.weight"), [DIM, HIDDEN]);
    m.norm(&format!("{block}.kv_norm.weight"), DIM);
    m.fp8(&format!("{block}.wo_a.weight"), [GROUPS * OUT_RANK, HEADS / GROUPS * DIM]);
    m.fp8(&format!("{block}.wo_b.weight"), [HIDDEN, GROUPS * OUT_RANK]);
    if ratio > 0 {
        compressor(m, &format!("{block}.compressor"), ratio, DIM);
    }
    if ratio == 4 {
        m.fp8(&format!("{block}.indexer.wq_b.weight"), [INDEX_HEADS * INDEX_DIM, RANK]);
        m.bf16(&format!("{block}.indexer.weights_proj.weight"), &[INDEX_HEADS, HIDDEN]);
        compressor(m, &format!("{block}.indexer.compressor"), ratio, INDEX_DIM);
    }
}

fn compressor(m: &mut Maker, prefix: &str, ratio: usize, width: usize) {
    let columns = if ratio == 4 { 2 * width } else { width };
    m.bf16(&format!("{prefix}.wkv.weight"), &[columns, HIDDEN]);
    m.bf16(&format!("{prefix}.wgate.weight"), &[columns, HIDDEN]);
    m.f32(&format!("{prefix}.ape"), &[ratio, columns]);
    m.norm(&format!("{prefix}.norm.weight"), width);
}

/// The experts of a layer, whose tokens name their own `hashed` ones.
fn mixture(m: &mut Maker, block: &str, hashed: Option<usize>) {
    m.bf16(&format!("{block}.gate.weight"), &[EXPERTS, HIDDEN]);
    // In a layer with experts by token it has no use.
    m.f32(&format!("{block}.gate.bias"), &[EXPERTS]);
    if let Some(used) = hashed {
        let ids = (0..VOCAB).flat_map(|id| (0..used).map(move |k| (id + 3 * k) % EXPERTS));
        let bytes: Vec<u8> = ids.flat_map(|id| (id as i64).to_le_bytes()).collect();
        let name = format!("{block}.gate.tid2eid");
        m.both(HubTensor { name, element: "I64", shape: vec![VOCAB, used], bytes });
    }
    for (w, shape) in [("w1", [WIDTH, HIDDEN]), ("w2", [HIDDEN, WIDTH]), ("w3", [WIDTH, HIDDEN])] {
        for expert in 0..EXPERTS {
            m.fp4(&format!("{block}.experts.{expert}.{w}.weight"), shape);
        }
        m.fp8(&format!("{block}.shared_experts.{w}.weight"), shape);
    }
}
