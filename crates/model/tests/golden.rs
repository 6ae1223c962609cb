//! Every family against the reference implementation: hidden states layer by layer, then logits.
//!
//! The checkpoints are small and random, except `minnow`, which is trained; the vectors come from `transformers` in
//! f32 (see tests/golden/README.md). A wrong sign, a missing bias, a mask off by one: each moves logits by far more
//! than the bound.

use std::path::Path;
use std::sync::Arc;

use shoal_base::{BlockId, TokenId};
use shoal_checkpoint::Checkpoint;
use shoal_kernels::{Act, Cpu, Isa, Pool};
use shoal_model::kv_cache::{BLOCK_LEN, KvSizes};
use shoal_model::{Ignore, IoMode, KvCache, Model, Observer, OpenOptions, Phase, Span, Step, open};
use shoal_testkit::{Golden, golden_dir};

/// Bound on |logit - reference| at logits near 6.
const LOGITS_MAX_DIFF: f32 = 1e-3;

fn load(path: &Path, isa: Isa, threads: usize) -> Model {
    let checkpoint = Arc::new(Checkpoint::open(path).expect("the golden checkpoint reads"));
    let options = OpenOptions { memory: None, drafts: false, io: IoMode::Auto, progress: &|_, _| {} };
    open(checkpoint, &options, Cpu::new(isa, Arc::new(Pool::new(threads))))
        .expect("the golden checkpoint loads")
}

fn blocks(len: usize) -> Vec<BlockId> {
    // Not in order: a model that ignores the block table fails.
    (0..len.div_ceil(BLOCK_LEN) as u32).rev().map(BlockId).collect()
}

/// Runs `tokens` in steps of `chunk`, each in the phase that `phase_of` gives for its first position.
fn run(model: &Model, tokens: &[TokenId], chunk: usize, phase_of: impl Fn(usize) -> Phase) -> Vec<Act> {
    let blocks = blocks(tokens.len());
    let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
    let starts = (0..tokens.len()).step_by(chunk);
    starts
        .map(|first_pos| {
            let tokens = &tokens[first_pos..(first_pos + chunk).min(tokens.len())];
            let rows: Vec<usize> = (0..tokens.len()).collect();
            let span = Span { rows: 0..tokens.len(), first_pos, blocks: &blocks, phase: phase_of(first_pos) };
            let step = Step { tokens, spans: vec![span], logits: &rows };
            model.forward(&step, &mut kv, &mut Ignore).expect("resident weights")
        })
        .collect()
}

fn join(parts: &[Act]) -> Vec<f32> {
    parts.iter().flat_map(|part| part.as_slice().to_vec()).collect()
}

struct HiddenCheck<'a> {
    golden: &'a Golden,
    family: &'a str,
}

impl Observer for HiddenCheck<'_> {
    fn hidden(&mut self, layer: usize, x: &Act) {
        let (shape, want) = self.golden.f32(&format!("hidden.{layer}"));
        // V4 has several streams: `[T, M, D]`.
        let width = shape[1..].iter().product();
        assert_eq!((shape[0], width), (x.rows(), x.cols()), "{} hidden.{layer}", self.family);
        let scale = want.iter().fold(1f32, |a, b| a.max(b.abs()));
        let diff = max_diff(x.as_slice(), &want);
        assert!(diff <= 1e-4 * scale, "{} hidden.{layer}: off by {diff} at magnitude {scale}", self.family);
    }
}

fn max_diff(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

fn token_ids(golden: &Golden) -> Vec<TokenId> {
    golden.i64("input_ids").iter().map(|&id| TokenId(u32::try_from(id).expect("an id"))).collect()
}

fn check_family(family: &str) {
    let dir = golden_dir(family);
    let golden = Golden::open(&dir.join("vectors.safetensors"));
    let tokens = token_ids(&golden);
    let (_, want) = golden.f32("logits");
    for isa in Isa::available() {
        let model = load(&dir.join("model.gguf"), isa, 2);
        let blocks = blocks(tokens.len());
        let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
        let rows: Vec<usize> = (0..tokens.len()).collect();
        let span = Span { rows: 0..tokens.len(), first_pos: 0, blocks: &blocks, phase: Phase::Prefill };
        let step = Step { tokens: &tokens, spans: vec![span], logits: &rows };
        let mut hidden = HiddenCheck { golden: &golden, family };
        let logits = model.forward(&step, &mut kv, &mut hidden).expect("resident weights");
        let diff = max_diff(logits.as_slice(), &want);
        println!("{family} {isa}: logits within {diff} of the reference");
        assert!(diff <= LOGITS_MAX_DIFF, "{family} {isa}: logits off by {diff}");

        let decoded = join(&run(&model, &tokens, 1, |_| Phase::Decode));
        let diff = max_diff(&decoded, &want);
        assert!(diff <= LOGITS_MAX_DIFF, "{family} {isa}: cached decoding off by {diff}");

        for chunk in [1, 7, 64] {
            let chunked = join(&run(&model, &tokens, chunk, |_| Phase::Prefill));
            assert_eq!(
                bits(&chunked),
                bits(logits.as_slice()),
                "{family} {isa}: chunks of {chunk} change bits"
            );
        }
        let alone = load(&dir.join("model.gguf"), isa, 1);
        let one_thread = join(&run(&alone, &tokens, tokens.len(), |_| Phase::Prefill));
        assert_eq!(bits(&one_thread), bits(logits.as_slice()), "{family} {isa}: one thread changes bits");
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn llama_is_the_reference() {
    check_family("llama");
}

#[test]
fn qwen2_is_the_reference() {
    check_family("qwen2");
}

#[test]
fn deepseek_v2_lite_is_the_reference() {
    check_family("deepseek_v2_lite");
}

#[test]
fn deepseek_v2_is_the_reference() {
    check_family("deepseek_v2");
}

#[test]
fn deepseek_v3_is_the_reference() {
    check_family("deepseek_v3");
}

#[test]
fn deepseek_v32_is_the_reference() {
    check_family("deepseek_v32");
}

#[test]
fn deepseek_v4_is_the_reference() {
    check_family("deepseek_v4");
}

/// A block that comes back without its recent rows does not pass for one that has them, whatever was in its place before.
#[test]
fn v4_knows_which_blocks_have_recent_rows() {
    let dir = golden_dir("deepseek_v4");
    let tokens = token_ids(&Golden::open(&dir.join("vectors.safetensors")));
    let model = load(&dir.join("model.gguf"), Isa::best(), 2);
    let blocks = [BlockId(1), BlockId(0)];
    let mut kv = KvCache::new(model.config(), KvSizes { block_count: 2, sequences: 1 });
    let span = Span { rows: 0..128, first_pos: 0, blocks: &blocks, phase: Phase::Prefill };
    let step = Step { tokens: &tokens[..128], spans: vec![span], logits: &[] };
    let _ = model.forward(&step, &mut kv, &mut Ignore).expect("resident weights");
    let [lasting, all] = kv.block_bytes();
    let bytes = kv.block_to_bytes(BlockId(0));
    assert!(bytes.len() == all && lasting < all && kv.can_go_on(&blocks, 128));
    kv.block_from_bytes(BlockId(0), 1, &bytes[..lasting]);
    assert!(!kv.can_go_on(&blocks, 128) && kv.can_go_on(&blocks, 64));
    assert_eq!(kv.block_to_bytes(BlockId(0)), bytes[..lasting]);
    kv.block_from_bytes(BlockId(0), 1, &bytes);
    assert!(kv.can_go_on(&blocks, 128));
    assert_eq!(kv.block_to_bytes(BlockId(0)), bytes);
}

/// What was written beyond a position is no hindrance to going on from there: a window of compression that was closed by tokens
/// that are taken back is closed again by others.
#[test]
fn v4_goes_on_from_where_tokens_were_taken_back() {
    let dir = golden_dir("deepseek_v4");
    let tokens = token_ids(&Golden::open(&dir.join("vectors.safetensors")));
    let model = load(&dir.join("model.gguf"), Isa::best(), 2);
    let want = run(&model, &tokens, tokens.len(), |_| Phase::Prefill).remove(0);
    let blocks = blocks(tokens.len() + 8);
    for (kept, taken_back) in [(7, 1), (8, 4), (126, 3), (127, 8), (128, 5), (253, 8), (255, 1)] {
        let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
        let mut forward = |tokens: &[TokenId], first_pos: usize| {
            let rows: Vec<usize> = (0..tokens.len()).collect();
            let span = Span { rows: 0..tokens.len(), first_pos, blocks: &blocks, phase: Phase::Decode };
            let step = Step { tokens, spans: vec![span], logits: &rows };
            model.forward(&step, &mut kv, &mut Ignore).expect("resident weights")
        };
        let wrong: Vec<TokenId> = (0..taken_back).map(|i| TokenId(7 + 3 * i)).collect();
        let _ = forward(&[&tokens[..kept], &wrong].concat(), 0);
        let right = forward(&tokens[kept..], kept);
        for (i, row) in (kept..tokens.len()).enumerate() {
            assert_eq!(
                bits(right.row(i)),
                bits(want.row(row)),
                "{taken_back} taken back to {kept}: token {row}"
            );
        }
    }
}

/// The trained model: real routing, its logits at every fourth position (tests/golden/minnow/thin_vectors.py).
#[test]
fn minnow_is_the_reference() {
    let dir = golden_dir("minnow");
    let golden = Golden::open(&dir.join("vectors.safetensors"));
    let (tokens, positions) = (token_ids(&golden), golden.i64("positions"));
    let rows: Vec<usize> = positions.iter().map(|&position| position as usize).collect();
    let (_, want) = golden.f32("logits");
    let model = load(&dir.join("minnow.bf16.gguf"), Isa::best(), 2);
    for phase in [Phase::Prefill, Phase::Decode] {
        let blocks = blocks(tokens.len());
        let mut kv = KvCache::new(model.config(), KvSizes { block_count: blocks.len(), sequences: 1 });
        let span = Span { rows: 0..tokens.len(), first_pos: 0, blocks: &blocks, phase };
        let step = Step { tokens: &tokens, spans: vec![span], logits: &rows };
        let logits = model.forward(&step, &mut kv, &mut Ignore).expect("resident weights");
        let diff = max_diff(logits.as_slice(), &want);
        println!("minnow {phase:?}: logits within {diff} of the reference");
        assert!(diff <= LOGITS_MAX_DIFF, "minnow {phase:?}: logits off by {diff}");
    }
}

#[test]
fn a_token_does_not_feel_its_company() {
    let dir = golden_dir("deepseek_v3");
    let tokens = token_ids(&Golden::open(&dir.join("vectors.safetensors")));
    let model = load(&dir.join("model.gguf"), Isa::best(), 2);
    let (first, second) = tokens.split_at(40);
    let alone = [run(&model, first, 40, |_| Phase::Prefill), run(&model, second, 56, |_| Phase::Prefill)];
    // Both prompts and, after them, a generated token of each, in shared steps.
    let (blocks_a, blocks_b) = ([BlockId(2)], [BlockId(1)]);
    let mut kv = KvCache::new(model.config(), KvSizes { block_count: 3, sequences: 2 });
    let rows: Vec<usize> = (0..96).collect();
    let spans = vec![
        Span { rows: 0..40, first_pos: 0, blocks: &blocks_a, phase: Phase::Prefill },
        Span { rows: 40..96, first_pos: 0, blocks: &blocks_b, phase: Phase::Prefill },
    ];
    let together = model
        .forward(&Step { tokens: &tokens, spans, logits: &rows }, &mut kv, &mut Ignore)
        .expect("resident");
    assert_eq!(bits(together.as_slice()), bits(&[join(&alone[0]), join(&alone[1])].concat()));

    let next = [TokenId(7), TokenId(9)];
    let span = |row, first_pos, blocks| Span { rows: row..row + 1, first_pos, blocks, phase: Phase::Decode };
    let spans = vec![span(0, 40, &blocks_a[..]), span(1, 56, &blocks_b[..])];
    let both = model
        .forward(&Step { tokens: &next, spans, logits: &[0, 1] }, &mut kv, &mut Ignore)
        .expect("resident");
    let spans = vec![span(0, 56, &blocks_b[..])];
    let one = model
        .forward(&Step { tokens: &next[1..], spans, logits: &[0] }, &mut kv, &mut Ignore)
        .expect("resident");
    assert_eq!(bits(both.row(1)), bits(one.row(0)));
}
