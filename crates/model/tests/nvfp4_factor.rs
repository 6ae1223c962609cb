//! NVFP4 weights may have a factor in a tensor of their own. That is not applied, so it must not be passed over.

use std::sync::Arc;

use shoal_checkpoint::Checkpoint;
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::{IoMode, OpenOptions, open};
use shoal_quant::Dtype;
use shoal_testkit::gguf::GgufWriter;

/// Numbers of the two formats in files.
const F32_ID: u32 = 0;
const NVFP4_ID: u32 = 40;
const HIDDEN: u64 = 64;
const VOCAB: u64 = 32;

/// A Llama of one layer with all matrices in NVFP4.
fn model() -> GgufWriter {
    let mut file = GgufWriter::new(3).kv("general.architecture", "llama");
    let numbers = [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", HIDDEN),
        ("vocab_size", VOCAB),
        ("attention.head_count", 2),
        ("rope.dimension_count", HIDDEN / 2),
    ];
    for (key, value) in numbers {
        file = file.kv(&format!("llama.{key}"), value as u32);
    }
    file = file.kv("llama.attention.layer_norm_rms_epsilon", 1e-6f32);
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
        file = file.tensor(&format!("{name}.weight"), F32_ID, &[HIDDEN], &[0; 4 * HIDDEN as usize]);
    }
    let nvfp4 = |file: GgufWriter, name: &str, rows: u64| {
        let bytes = vec![0x38; Dtype::NVFP4.row_bytes((HIDDEN * rows) as usize).expect("whole blocks")];
        file.tensor(&format!("{name}.weight"), NVFP4_ID, &[HIDDEN, rows], &bytes)
    };
    file = nvfp4(file, "token_embd", VOCAB);
    for part in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
        file = nvfp4(file, &format!("blk.0.{part}"), HIDDEN);
    }
    file
}

/// The sentence with which the model is refused, if it is.
fn refusal(file: GgufWriter) -> Option<String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, file.finish()).expect("a temporary file");
    let checkpoint = Arc::new(Checkpoint::open(&path).expect("our own file"));
    let options = OpenOptions { memory: None, drafts: false, io: IoMode::Auto, progress: &|_, _| {} };
    let cpu = Cpu::new(Isa::Scalar, Arc::new(Pool::new(1)));
    open(checkpoint, &options, cpu).err().map(|err| err.to_string())
}

#[test]
fn nvfp4_loads_without_a_factor_and_is_refused_with_one() {
    assert_eq!(refusal(model()), None);
    let with_factor = model().tensor("blk.0.ffn_up.scale", F32_ID, &[1], &2f32.to_le_bytes());
    let sentence = refusal(with_factor).expect("a factor that would be passed over");
    assert!(sentence.contains("`blk.0.ffn_up.weight`") && sentence.contains("NVFP4"), "{sentence}");
}
