//! The hub's tensors from those of a GGUF file: its names, and its layout where that is another.

use crate::gguf::Value;
use crate::gguf_reader::{GgufFile, GgufTensor};
use crate::safetensors::HubTensor;

/// What both have one for one, by the part of the name behind the layer.
const LAYER: &[(&str, &str)] = &[
    ("attn_norm.weight", "input_layernorm.weight"),
    ("ffn_norm.weight", "post_attention_layernorm.weight"),
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_q.bias", "self_attn.q_proj.bias"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_k.bias", "self_attn.k_proj.bias"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_v.bias", "self_attn.v_proj.bias"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("attn_q_a.weight", "self_attn.q_a_proj.weight"),
    ("attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"),
    ("attn_q_b.weight", "self_attn.q_b_proj.weight"),
    ("attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"),
    ("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"),
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
    ("ffn_gate_inp.weight", "mlp.gate.weight"),
    ("exp_probs_b.bias", "mlp.gate.e_score_correction_bias"),
    ("ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight"),
    ("ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight"),
    ("ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight"),
    ("ffn_gate_exps.weight", "mlp.experts.*.gate_proj.weight"),
    ("ffn_up_exps.weight", "mlp.experts.*.up_proj.weight"),
    ("ffn_down_exps.weight", "mlp.experts.*.down_proj.weight"),
    ("indexer.attn_q_b.weight", "self_attn.indexer.wq_b.weight"),
    ("indexer.attn_k.weight", "self_attn.indexer.wk.weight"),
    ("indexer.k_norm.weight", "self_attn.indexer.k_norm.weight"),
    ("indexer.k_norm.bias", "self_attn.indexer.k_norm.bias"),
    ("indexer.proj.weight", "self_attn.indexer.weights_proj.weight"),
];

const ENDS: &[(&str, &str)] = &[
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

const V4_LAYER: &[(&str, &str)] = &[
    ("attn_norm.weight", "attn_norm.weight"),
    ("ffn_norm.weight", "ffn_norm.weight"),
    ("hc_attn_fn.weight", "hc_attn_fn"),
    ("hc_attn_base.weight", "hc_attn_base"),
    ("hc_attn_scale.weight", "hc_attn_scale"),
    ("hc_ffn_fn.weight", "hc_ffn_fn"),
    ("hc_ffn_base.weight", "hc_ffn_base"),
    ("hc_ffn_scale.weight", "hc_ffn_scale"),
    ("attn_sinks.weight", "attn.attn_sink"),
    ("attn_q_a.weight", "attn.wq_a.weight"),
    ("attn_q_a_norm.weight", "attn.q_norm.weight"),
    ("attn_q_b.weight", "attn.wq_b.weight"),
    ("attn_kv.weight", "attn.wkv.weight"),
    ("attn_kv_a_norm.weight", "attn.kv_norm.weight"),
    ("attn_output_a.weight", "attn.wo_a.weight"),
    ("attn_output_b.weight", "attn.wo_b.weight"),
    ("attn_compressor_kv.weight", "attn.compressor.wkv.weight"),
    ("attn_compressor_gate.weight", "attn.compressor.wgate.weight"),
    ("attn_compressor_ape.weight", "attn.compressor.ape"),
    ("attn_compressor_norm.weight", "attn.compressor.norm.weight"),
    ("indexer.attn_q_b.weight", "attn.indexer.wq_b.weight"),
    ("indexer.proj.weight", "attn.indexer.weights_proj.weight"),
    ("indexer_compressor_kv.weight", "attn.indexer.compressor.wkv.weight"),
    ("indexer_compressor_gate.weight", "attn.indexer.compressor.wgate.weight"),
    ("indexer_compressor_ape.weight", "attn.indexer.compressor.ape"),
    ("indexer_compressor_norm.weight", "attn.indexer.compressor.norm.weight"),
    ("ffn_gate_inp.weight", "ffn.gate.weight"),
    ("exp_probs_b.bias", "ffn.gate.bias"),
    ("ffn_gate_tid2eid.weight", "ffn.gate.tid2eid"),
    ("ffn_gate_shexp.weight", "ffn.shared_experts.w1.weight"),
    ("ffn_down_shexp.weight", "ffn.shared_experts.w2.weight"),
    ("ffn_up_shexp.weight", "ffn.shared_experts.w3.weight"),
    ("ffn_gate_exps.weight", "ffn.experts.*.w1.weight"),
    ("ffn_down_exps.weight", "ffn.experts.*.w2.weight"),
    ("ffn_up_exps.weight", "ffn.experts.*.w3.weight"),
];

const V4_ENDS: &[(&str, &str)] = &[
    ("token_embd.weight", "embed.weight"),
    ("output_norm.weight", "norm.weight"),
    ("output.weight", "head.weight"),
    ("output_hc_fn.weight", "hc_head_fn"),
    ("output_hc_base.weight", "hc_head_base"),
    ("output_hc_scale.weight", "hc_head_scale"),
];

/// All tensors of the model in `file`.
pub(super) fn tensors(file: &GgufFile) -> Vec<HubTensor> {
    let Some(Value::String(architecture)) = file.get("general.architecture") else { panic!("a model") };
    let is_v4 = architecture == "deepseek4";
    let (layer_names, ends) = if is_v4 { (V4_LAYER, V4_ENDS) } else { (LAYER, ENDS) };
    let find = |table: &[(&str, &'static str)], name: &str| {
        table.iter().find(|(gguf, _)| *gguf == name).map(|(_, hub)| *hub)
    };
    let mut tensors = Vec::new();
    for tensor in &file.tensors {
        let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let Some((layer, part)) = layer else {
            if let Some(hub) = find(ends, &tensor.name) {
                tensors.push(renamed(tensor, hub.to_owned()));
            }
            continue;
        };
        let prefix = if is_v4 { format!("layers.{layer}.") } else { format!("model.layers.{layer}.") };
        match (part, find(layer_names, part)) {
            ("attn_k_b.weight", _) => {
                let values = format!("blk.{layer}.attn_v_b.weight");
                let values = file.tensors.iter().find(|other| other.name == values).expect("both parts");
                tensors.push(joined_kv_b(tensor, values, format!("{prefix}self_attn.kv_b_proj.weight")));
            }
            ("attn_v_b.weight", _) => {}
            (_, Some(hub)) if hub.contains('*') => tensors.extend(cut(tensor, &format!("{prefix}{hub}"))),
            (_, Some(hub)) => {
                let mut renamed = renamed(tensor, format!("{prefix}{hub}"));
                if architecture == "llama" && (part.starts_with("attn_q.") || part.starts_with("attn_k.")) {
                    let Some(Value::U32(dim)) = file.get("llama.attention.key_length") else {
                        panic!("a head")
                    };
                    halve(&mut renamed, *dim as usize);
                }
                tensors.push(renamed);
            }
            (other, None) => panic!("the hub has no name for {other}"),
        }
    }
    tensors
}

/// The same data under another name; ids become those of 64 bits.
fn renamed(tensor: &GgufTensor, name: String) -> HubTensor {
    let shape = tensor.dims.iter().rev().map(|&dim| dim as usize).collect();
    let (element, bytes) = match tensor.ggml_type {
        0 => ("F32", tensor.bytes.clone()),
        1 => ("F16", tensor.bytes.clone()),
        30 => ("BF16", tensor.bytes.clone()),
        _ => {
            let ids = tensor.bytes.as_chunks().0.iter().map(|id| i64::from(i32::from_le_bytes(*id)));
            ("I64", ids.flat_map(i64::to_le_bytes).collect())
        }
    };
    HubTensor { name, element, shape, bytes }
}

/// One matrix for each expert; `*` in `name` stands for its number.
fn cut(tensor: &GgufTensor, name: &str) -> Vec<HubTensor> {
    let whole = renamed(tensor, String::new());
    let bytes = whole.bytes.len() / whole.shape[0];
    let experts = whole.bytes.chunks_exact(bytes).enumerate();
    let expert = |(idx, bytes): (usize, &[u8])| HubTensor {
        name: name.replace('*', &idx.to_string()),
        element: whole.element,
        shape: whole.shape[1..].to_vec(),
        bytes: bytes.to_vec(),
    };
    experts.map(expert).collect()
}

/// Rows of each head from pairs side by side to first halves, then second halves.
fn halve(tensor: &mut HubTensor, head_dim: usize) {
    let row_bytes = tensor.bytes.len() / tensor.shape[0];
    let mut out = Vec::with_capacity(tensor.bytes.len());
    for head in tensor.bytes.chunks_exact(head_dim * row_bytes) {
        for first in [0, 1] {
            for row in (first..head_dim).step_by(2) {
                out.extend(&head[row * row_bytes..][..row_bytes]);
            }
        }
    }
    tensor.bytes = out;
}

/// `k_b` `[H, R, N]` and `v_b` `[H, V, R]` as one matrix `[H (N + V), R]`.
fn joined_kv_b(k_b: &GgufTensor, v_b: &GgufTensor, name: String) -> HubTensor {
    let (keys, values) = (renamed(k_b, name), renamed(v_b, String::new()));
    assert_eq!(keys.element, values.element, "both parts have one type");
    let [heads, rank, nope] = keys.shape[..] else { panic!("a stack") };
    let value_rows = values.shape[1];
    let size = keys.bytes.len() / (heads * rank * nope);
    let mut out = Vec::new();
    for head in 0..heads {
        for row in 0..nope {
            for latent in 0..rank {
                out.extend(&keys.bytes[((head * rank + latent) * nope + row) * size..][..size]);
            }
        }
        let bytes = value_rows * rank * size;
        out.extend(&values.bytes[head * bytes..][..bytes]);
    }
    HubTensor { shape: vec![heads * (nope + value_rows), rank], bytes: out, ..keys }
}
