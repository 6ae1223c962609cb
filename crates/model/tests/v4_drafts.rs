//! V4's draft layer, from each kind of file that it comes in, against what tests/golden/deepseek_v4/draft.py computes.

use std::path::Path;
use std::sync::Arc;

use shoal_base::{BlockId, TokenId};
use shoal_checkpoint::Checkpoint;
use shoal_kernels::{Act, Cpu, Isa, Pool};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::memory::Footprint;
use shoal_model::{
    IoMode, KvCache, Model, ModelConfig, OpenOptions, Phase, Role, Span, Step, open, with_draft_layer,
};
use shoal_testkit::gguf::GgufWriter;
use shoal_testkit::hub::{EXPERTS, Official};
use shoal_testkit::{Golden, golden_dir};

/// The files of the draft layer: as llama.cpp's converter writes it, and as ds4 does.
const FILES: [&str; 2] = ["draft.gguf", "draft_ds4.gguf"];

fn joined_with(draft: &Path) -> Checkpoint {
    let model = Checkpoint::open(&golden_dir("deepseek_v4").join("model.gguf")).expect("a golden file reads");
    let draft = Checkpoint::open(draft).expect("a good file");
    with_draft_layer(model, draft).expect("it belongs to the model")
}

fn load(checkpoint: Checkpoint) -> Model {
    let options = OpenOptions { memory: None, drafts: true, io: IoMode::Auto, progress: &|_, _| {} };
    open(Arc::new(checkpoint), &options, Cpu::new(Isa::best(), Arc::new(Pool::new(2)))).expect("it loads")
}

fn load_hub(folder: &Path) -> Model {
    load(Checkpoint::open(folder).expect("a good folder"))
}

/// Streams and logits of the draft layer for every token but the last, computed in steps of `chunk`.
fn run(model: &Model, tokens: &[TokenId], chunk: usize) -> [Vec<f32>; 2] {
    assert!(model.has_drafts());
    let blocks: Vec<BlockId> = (0..tokens.len().div_ceil(BLOCK_LEN) as u32).rev().map(BlockId).collect();
    let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
    let mut all = [Vec::new(), Vec::new()];
    for first_pos in (0..tokens.len() - 1).step_by(chunk) {
        let len = chunk.min(tokens.len() - 1 - first_pos);
        let rows: Vec<usize> = (0..len).collect();
        let span = || vec![Span { rows: 0..len, first_pos, blocks: &blocks, phase: Phase::Prefill }];
        // The model's logits are not wanted: its streams must be there nevertheless.
        let step = Step { tokens: &tokens[first_pos..][..len], spans: span(), logits: &[] };
        let hidden = model.forward_with_hidden(&step, &mut kv).expect("resident weights").hidden;
        let next = Step { tokens: &tokens[first_pos + 1..][..len], spans: span(), logits: &rows };
        let draft =
            model.draft(&next, &hidden.expect("it was asked for"), &mut kv).expect("resident weights");
        let add = |all: &mut Vec<f32>, part: &Act| all.extend_from_slice(part.as_slice());
        add(&mut all[0], &draft.hidden.expect("what it ends with"));
        add(&mut all[1], &draft.logits);
    }
    all
}

fn max_diff(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

#[test]
fn the_draft_layer_is_the_reference_from_either_file() {
    let dir = golden_dir("deepseek_v4");
    let ids = Golden::open(&dir.join("vectors.safetensors")).i64("input_ids");
    let golden = Golden::open(&dir.join("draft.safetensors"));
    let ((shape, streams), (_, logits)) = (golden.f32("hidden"), golden.f32("logits"));
    let tokens: Vec<TokenId> = ids[..=shape[0]].iter().map(|&id| TokenId(id as u32)).collect();
    for file in FILES {
        let model = load(joined_with(&dir.join(file)));
        let whole = run(&model, &tokens, tokens.len());
        let (of_streams, of_logits) = (max_diff(&whole[0], &streams), max_diff(&whole[1], &logits));
        println!("{file}: streams within {of_streams}, logits within {of_logits}");
        assert!(of_streams <= 1e-3 && of_logits <= 1e-3, "{file}: off by {of_streams} and {of_logits}");
        for chunk in [1, 7, 64] {
            let parts = run(&model, &tokens, chunk);
            let bits = |of: &[Vec<f32>; 2]| of.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert!(bits(&parts) == bits(&whole), "{file}: chunks of {chunk} change bits");
        }
    }
}

/// An official folder has the layer among its shards, packed like the others.
#[test]
fn an_official_folder_drafts_as_its_exact_values_do() {
    let official = Official::v4(EXPERTS);
    let folders = [&official.packed, &official.exact].map(|model| {
        let dir = tempfile::tempdir().expect("a folder");
        model.write(dir.path(), 3);
        dir
    });
    let tokens: Vec<TokenId> = (0..70).map(|i| TokenId(i * 37 % 512)).collect();
    let [packed, exact] = folders.each_ref().map(|dir| run(&load_hub(dir.path()), &tokens, 64));
    let largest = exact[1].iter().fold(0f32, |a, b| a.max(b.abs()));
    let diff = max_diff(&packed[1], &exact[1]);
    println!("logits within {diff} at {largest}");
    assert!(diff <= 2e-2 * largest && largest > 1.0, "logits off by {diff} at {largest}");
}

/// A slot is as large as the largest expert, so one layer with larger experts must not make all slots larger.
#[test]
fn larger_experts_of_a_draft_layer_take_no_slots() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("draft_f32.gguf");
    write_in_f32(&golden_dir("deepseek_v4").join(FILES[0]), &path);
    let (equal, larger) = (golden_dir("deepseek_v4").join(FILES[0]), path);
    let tokens: Vec<TokenId> = (0..20).map(TokenId).collect();
    let logits = [(equal, Role::Experts, 5), (larger, Role::Dense, 4)].map(|(path, role, layers)| {
        let checkpoint = joined_with(&path);
        let config = ModelConfig::read(&checkpoint).expect("a good model").with_drafts(true);
        let role_in = |layer| {
            let stack = checkpoint.tensor(&format!("blk.{layer}.ffn_gate_exps.weight"));
            Model::role(&config, stack.expect("the layer's experts"))
        };
        assert_eq!([role_in(3), role_in(4)], [Role::Experts, role]);
        assert_eq!(Footprint::of(&checkpoint, &config).slots_max, layers * 8);
        run(&load(checkpoint), &tokens, 7)[1].clone()
    });
    assert!(max_diff(&logits[0], &logits[1]) < 1e-4, "{}", max_diff(&logits[0], &logits[1]));
}

/// Writes a GGUF file of V4 again with all its tensors in F32.
fn write_in_f32(from: &Path, to: &Path) {
    let checkpoint = Checkpoint::open(from).expect("a golden file reads");
    let mut file = GgufWriter::new(3).kv("general.architecture", "deepseek4");
    for tensor in checkpoint.tensors() {
        let bytes = checkpoint.read(tensor).expect("it reads");
        let mut row = vec![0.0; tensor.cols() as usize];
        let mut values = Vec::new();
        for bytes in bytes.chunks_exact(tensor.row_bytes() as usize) {
            shoal_quant::decode_row(tensor.dtype, bytes, &mut row);
            values.extend(row.iter().flat_map(|x| x.to_le_bytes()));
        }
        file = file.tensor(&tensor.name, 0, &tensor.shape, &values);
    }
    std::fs::write(to, file.finish()).expect("a temporary file");
}
