//! The whole process keeps to its memory: the most that it ever had is what it had before plus what the model may take. One test, in a
//! process of its own.

#![cfg(target_os = "linux")]

mod support;

use std::path::Path;

use shoal_testkit::gguf::GgufWriter;
use shoal_testkit::seeded::random_bytes;

const F32: u32 = 0;
const Q8_0: u32 = 8;

const LAYERS: u64 = 4;
const EXPERTS: u64 = 48;
const USED: u64 = 4;
const HIDDEN: u64 = 512;
const WIDTH: u64 = 512;
const VOCAB: u64 = 512;
const HEADS: u64 = 4;
const NOPE: u64 = 32;
const ROPE: u64 = 16;
const VALUE: u64 = 32;
const RANK: u64 = 64;

/// Blocks of Q8_0 whose weights are small: random bytes behind a scale of 2^-12.
fn q8_0(seed: u64, elements: u64) -> Vec<u8> {
    let mut bytes = random_bytes(seed, (elements / 32 * 34) as usize);
    bytes.chunks_exact_mut(34).for_each(|block| block[..2].copy_from_slice(&0x0C00u16.to_le_bytes()));
    bytes
}

fn ones(len: u64) -> Vec<u8> {
    (0..len).flat_map(|_| 1.0f32.to_le_bytes()).collect()
}

/// Some 150 MB of experts and little else.
fn write_model(path: &Path) {
    let a = "deepseek2";
    let mut file = GgufWriter::new(3).kv("general.architecture", a).kv("general.name", "large");
    let numbers = [
        ("block_count", LAYERS),
        ("context_length", 4096),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", WIDTH),
        ("vocab_size", VOCAB),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", 1),
        ("attention.kv_lora_rank", RANK),
        ("attention.key_length", RANK + ROPE),
        ("attention.value_length", RANK),
        ("attention.key_length_mla", NOPE + ROPE),
        ("attention.value_length_mla", VALUE),
        ("rope.dimension_count", ROPE),
        ("leading_dense_block_count", 0),
        ("expert_count", EXPERTS),
        ("expert_used_count", USED),
        ("expert_shared_count", 1),
        ("expert_feed_forward_length", WIDTH),
        ("expert_gating_func", 1),
    ];
    for (key, value) in numbers {
        file = file.kv(&format!("{a}.{key}"), value as u32);
    }
    file = file.kv(&format!("{a}.attention.layer_norm_rms_epsilon"), 1e-6f32);
    file = file.kv(&format!("{a}.rope.freq_base"), 1e4f32).kv(&format!("{a}.expert_weights_scale"), 1.0f32);
    let matrix = |file: GgufWriter, name: &str, dims: &[u64]| {
        file.tensor(name, Q8_0, dims, &q8_0(name.len() as u64, dims.iter().product()))
    };
    let vector = |file: GgufWriter, name: &str, len: u64| file.tensor(name, F32, &[len], &ones(len));
    file = matrix(file, "token_embd.weight", &[HIDDEN, VOCAB]);
    file = matrix(file, "output.weight", &[HIDDEN, VOCAB]);
    file = vector(file, "output_norm.weight", HIDDEN);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        let (norms, widths) = (["attn_norm", "ffn_norm", "attn_kv_a_norm"], [HIDDEN, HIDDEN, RANK]);
        for (part, width) in norms.into_iter().zip(widths) {
            file = vector(file, &name(part), width);
        }
        let router = random_bytes(layer, (EXPERTS * HIDDEN) as usize);
        let router: Vec<u8> =
            router.iter().flat_map(|x| (f32::from(*x) / 128.0 - 1.0).to_le_bytes()).collect();
        file = file.tensor(&name("ffn_gate_inp"), F32, &[HIDDEN, EXPERTS], &router);
        let matrices: [(&str, &[u64]); 11] = [
            ("attn_q", &[HIDDEN, HEADS * (NOPE + ROPE)]),
            ("attn_kv_a_mqa", &[HIDDEN, RANK + ROPE]),
            ("attn_k_b", &[NOPE, RANK, HEADS]),
            ("attn_v_b", &[RANK, VALUE, HEADS]),
            ("attn_output", &[HEADS * VALUE, HIDDEN]),
            ("ffn_gate_shexp", &[HIDDEN, WIDTH]),
            ("ffn_up_shexp", &[HIDDEN, WIDTH]),
            ("ffn_down_shexp", &[WIDTH, HIDDEN]),
            ("ffn_gate_exps", &[HIDDEN, WIDTH, EXPERTS]),
            ("ffn_up_exps", &[HIDDEN, WIDTH, EXPERTS]),
            ("ffn_down_exps", &[WIDTH, HIDDEN, EXPERTS]),
        ];
        for (part, dims) in matrices {
            file = matrix(file, &name(part), dims);
        }
    }
    std::fs::write(path, file.finish()).expect("a temporary file");
}

#[test]
fn the_peak_stays_within_the_budget() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    write_model(&path);
    support::check(&path);
}
