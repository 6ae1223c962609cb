//! A model in the hub's own files computes what it computes as GGUF, bit for bit where the layout is the same; official FP8 and FP4
//! are the values that they stand for; and experts come from the shards under any budget.

use std::path::Path;
use std::sync::Arc;

use shoal_base::{BlockId, Bytes, TokenId};
use shoal_checkpoint::{Checkpoint, Format};
use shoal_kernels::{Cpu, Isa, Pool};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::memory::{Footprint, scratch_bytes};
use shoal_model::{Ignore, IoMode, KvCache, Model, ModelConfig, OpenOptions, Phase, Span, Step, open};
use shoal_testkit::golden_dir;
use shoal_testkit::hub::{EXPERTS, HubModel, Official, Scales};

/// Tokens of the prompt, and as many that are decoded.
const TOKENS: usize = 40;

fn load(path: &Path, memory: Option<Bytes>, io: IoMode) -> Model {
    let checkpoint = Arc::new(Checkpoint::open(path).unwrap_or_else(|error| panic!("{error}")));
    let options = OpenOptions { memory, drafts: false, io, progress: &|_, _| {} };
    open(checkpoint, &options, Cpu::new(Isa::best(), Arc::new(Pool::new(2)))).expect("it loads")
}

/// Logits of a prompt and of tokens after it.
fn logits(model: &Model) -> Vec<f32> {
    let vocab_size = model.config().common().vocab_size;
    let tokens: Vec<TokenId> =
        (0..2 * TOKENS).map(|i| TokenId(((i * 37 + 11) % vocab_size) as u32)).collect();
    let blocks: Vec<BlockId> = (0..tokens.len().div_ceil(BLOCK_LEN) as u32).map(BlockId).collect();
    let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
    let mut all = Vec::new();
    let mut run = |range: std::ops::Range<usize>, phase| {
        let tokens = &tokens[range.clone()];
        let rows: Vec<usize> = (0..tokens.len()).collect();
        let span = Span { rows: 0..tokens.len(), first_pos: range.start, blocks: &blocks, phase };
        let step = Step { tokens, spans: vec![span], logits: &rows };
        all.extend_from_slice(model.forward(&step, &mut kv, &mut Ignore).expect("it runs").as_slice());
    };
    run(0..TOKENS, Phase::Prefill);
    (TOKENS..2 * TOKENS).for_each(|token| run(token..token + 1, Phase::Decode));
    all
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn max_diff(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

/// The logits of a golden file, and those of the same model in one file and in three shards.
fn in_all_forms(gguf: &Path) -> [Vec<f32>; 3] {
    let hub = HubModel::of_gguf(gguf);
    let in_shards = |shards: usize| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        hub.write(dir.path(), shards);
        let path = if shards == 1 { dir.path().join("config.json") } else { dir.path().to_owned() };
        assert_eq!(Checkpoint::open(&path).expect("it opens").format(), Format::Safetensors);
        logits(&load(&path, None, IoMode::Auto))
    };
    [logits(&load(gguf, None, IoMode::Auto)), in_shards(1), in_shards(3)]
}

#[test]
fn every_family_computes_what_it_computes_as_gguf() {
    for family in ["qwen2", "deepseek_v2_lite", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4"] {
        let [want, whole, shards] = in_all_forms(&golden_dir(family).join("model.gguf"));
        assert!(bits(&whole) == bits(&want), "{family}: off by {}", max_diff(&whole, &want));
        assert!(bits(&shards) == bits(&want), "{family} in shards: off by {}", max_diff(&shards, &want));
    }
}

#[test]
fn minnow_computes_what_it_computes_as_gguf() {
    let [want, whole, shards] = in_all_forms(&golden_dir("minnow").join("minnow.bf16.gguf"));
    assert!(bits(&whole) == bits(&want) && bits(&shards) == bits(&want), "{}", max_diff(&whole, &want));
}

/// Its pairs stand apart, so that sums run in another order.
#[test]
fn llama_computes_what_it_computes_as_gguf_but_for_the_order_of_sums() {
    let [want, whole, shards] = in_all_forms(&golden_dir("llama").join("model.gguf"));
    assert!(max_diff(&whole, &want) <= 2e-5, "off by {}", max_diff(&whole, &want));
    assert_eq!(bits(&shards), bits(&whole));
}

/// Decodes a tensor of `checkpoint`, read whole.
fn decoded(checkpoint: &Checkpoint, name: &str) -> Vec<u32> {
    let tensor = checkpoint.tensor(name).unwrap_or_else(|| panic!("{name}"));
    let mut values = vec![0.0; tensor.elements() as usize];
    let bytes = checkpoint.read(tensor).expect("it reads");
    let rows = bytes.chunks_exact(tensor.row_bytes() as usize);
    for (row, out) in rows.zip(values.chunks_exact_mut(tensor.cols() as usize)) {
        shoal_quant::decode_row(tensor.dtype, row, out);
    }
    // The sign of zero is lost in integer codes.
    values.iter().map(|x| (x + 0.0).to_bits()).collect()
}

/// Compares an official checkpoint with its exact values: each tensor bit for bit, logits within `bound` of their largest.
fn check_official(official: &Official, bound: f32) {
    let (packed_dir, exact_dir) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    official.packed.write(packed_dir.path(), 3);
    official.exact.write(exact_dir.path(), 1);
    let [packed, exact] =
        [&packed_dir, &exact_dir].map(|dir| Checkpoint::open(dir.path()).unwrap_or_else(|e| panic!("{e}")));
    let names = |c: &Checkpoint| c.tensors().iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&packed), names(&exact));
    let weights = exact.tensors().iter().filter(|tensor| tensor.dtype.is_weight());
    for name in weights.map(|tensor| tensor.name.as_str()) {
        assert!(decoded(&packed, name) == decoded(&exact, name), "{name}");
    }
    let [got, want] = [&packed_dir, &exact_dir].map(|dir| logits(&load(dir.path(), None, IoMode::Auto)));
    let (diff, largest) = (max_diff(&got, &want), want.iter().fold(0f32, |a, b| a.max(b.abs())));
    println!("logits within {diff} at {largest}");
    assert!(diff <= bound * largest && largest > 1.0, "logits off by {diff} at {largest}");
}

#[test]
fn official_v3_is_its_exact_values() {
    for scales in [Scales::Any, Scales::PowersOfTwo] {
        check_official(&Official::v3(scales), 1e-3);
    }
}

/// Experts in FP4 meet activations of 8 bits. All of them are used, or a router near a tie would choose others.
#[test]
fn official_v4_is_its_exact_values() {
    check_official(&Official::v4(EXPERTS), 2e-2);
}

#[test]
fn experts_from_shards_under_a_small_budget_are_those_in_memory() {
    for official in [Official::v3(Scales::Any), Official::v4(3)] {
        let dir = tempfile::tempdir().expect("a folder");
        official.packed.write(dir.path(), 4);
        let resident = load(dir.path(), None, IoMode::Auto);
        let want = bits(&logits(&resident));
        let checkpoint = Checkpoint::open(dir.path()).expect("it opens");
        let config = ModelConfig::read(&checkpoint).expect("a good model");
        let footprint = Footprint::of(&checkpoint, &config);
        let kv = KvCache::bytes_for(&config, KvSizes::for_sequences(1, 2 * TOKENS));
        let logits_bytes = (TOKENS * config.common().vocab_size * size_of::<f32>()) as u64;
        let rest = footprint.fixed() + kv + scratch_bytes(&config, TOKENS, 2 * TOKENS) + logits_bytes;
        for (slots, io) in [(3, IoMode::Auto), (5, IoMode::Threads)] {
            let model = load(dir.path(), Some(Bytes(rest + slots * footprint.slot)), io);
            assert!(bits(&logits(&model)) == want, "{slots} slots, {io:?}");
            let traffic = model.traffic();
            assert!(
                traffic.read_bytes > resident.traffic().read_bytes,
                "experts were read again: {traffic:?}"
            );
        }
    }
}
